"""HM-VAE: a variational autoencoder of motion clips in two levels, all joints below and groups of joints above.

The encoder averages the nodes of adjacent joints for the top level; the decoder copies them back. Unlike in HG-VAE
(``hg_vae``), what is merged is not learned, and nothing leads from level to level but the unpooled top latent.

Source: Li and others 2021 (arXiv 2106.04004), as paper 4 (HG-VAE; Bourached and others), section 5.2, says it did: 6
pooled joints, so that graphs have 18 and 54 nodes, and otherwise the settings of HG-VAE. Layers, which it leaves out,
are HG-VAE's here: a block for each level and direction, latents of 128 features, a trunk of 256; as in Li's public
program, unpooled features and the lower latent are put side by side.
Differs: Li has rotations, convolutions over time, four poolings, one variance and a standard prior for both latents.
Here prior and posterior of the lower latent are given the top one, and the variance of the output is learned, so that
with ``kl_end=1`` the loss is a bound on the evidence. With 0.003 (``PUBLISHED``), the weight that paper 4 prints, it is
none; in Li's program that weight stands beside a mean squared error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from motionkit.data.skeleton import AMASS_18
from motionkit.models.clip_gaussian import ClipGaussian
from motionkit.models.clip_nodes import ClipNodes
from motionkit.models.elbo import ClipVAE, Inference, warm_up
from motionkit.models.gaussian import standard
from motionkit.models.graph_layers import GraphBlock, GraphConv, GraphGaussian

Shape = tuple[int, int]  # nodes, features
Groups = tuple[tuple[int, ...], ...]  # of joints

# Legs, spine, head, arms of paper 4's AMASS joints; it does not say which joints it pools.
AMASS_18_GROUPS: Groups = tuple(
    tuple(AMASS_18.index(name) for name in names.split())
    for names in (
        "left_knee left_ankle left_foot",
        "right_knee right_ankle right_foot",
        "spine2 spine3",
        "neck head",
        "left_collar left_shoulder left_elbow left_wrist",
        "right_collar right_shoulder right_elbow right_wrist",
    )
)


@dataclass(frozen=True)
class HMVAEConfig:
    """Sizes of an ``HMVAE`` and how its loss warms up.

    num_joints, num_frames: of a clip; three nodes a joint.
    groups: joints that are one at the top level, by index; each joint in one group.
    level_features: of the encoder's activations and of the latents, at both levels.
    trunk_features: of the decoder.
    kl_start, kl_end, kl_steps: weight of the divergence at first, at last, and the step from which it is that; linear
        in between.
    likelihood: what the variances of the output are of (``ClipGaussian``): of frames, or of frequencies.

    Raises: ``ValueError`` naming the field and its value.
    """

    num_joints: int = 18
    num_frames: int = 50
    groups: Groups = AMASS_18_GROUPS
    level_features: int = 128
    trunk_features: int = 256
    kl_start: float = 0.001
    kl_end: float = 1.0
    kl_steps: int = 1
    likelihood: Literal["frames", "frequencies"] = "frames"

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", tuple(tuple(group) for group in self.groups))
        for name in ("num_joints", "num_frames", "level_features", "trunk_features", "kl_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        grouped = sorted(joint for group in self.groups for joint in group)
        if grouped != list(range(self.num_joints)) or not all(self.groups):
            raise ValueError(f"groups must hold each joint from 0 to {self.num_joints - 1} once, got {self.groups}")
        for name in ("kl_start", "kl_end"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, got {getattr(self, name)}")
        if self.likelihood not in ("frames", "frequencies"):
            raise ValueError(f"likelihood must be 'frames' or 'frequencies', got {self.likelihood!r}")


PUBLISHED = HMVAEConfig(kl_end=0.003)


class HMVAE(ClipVAE):
    """Clips (batch, frames, joints, 3), metres, root at the origin <-> latents (nodes, batch, features) of two levels.

    Trains with ``loss``; ``nodes.standardize`` before it spares steps. All noise is of torch's global generator.
    Raises: ``ValueError`` for clips of another shape, and for classes, which this model does not know.
    """

    def __init__(self, config: HMVAEConfig) -> None:
        super().__init__()
        self.config = c = config
        nodes, top_nodes = 3 * c.num_joints, 3 * len(c.groups)
        clip, trunk, top_trunk = (nodes, c.num_frames), (nodes, c.trunk_features), (top_nodes, c.trunk_features)
        here, top = (nodes, c.level_features), (top_nodes, c.level_features)
        self.nodes = ClipNodes(c.num_joints, c.num_frames, c.likelihood == "frequencies")
        self.pooling = Pooling(c.groups)
        self.encoder = nn.Sequential(GraphConv(clip, here), GraphBlock(here))
        self.top_encoder = GraphBlock(top)
        self.top = GraphGaussian(top, top)
        self.from_top = nn.Sequential(GraphConv(top, top_trunk), GraphBlock(top_trunk))
        self.prior = nn.Sequential(GraphBlock(trunk), GraphGaussian(trunk, here))
        both = (nodes, 2 * c.level_features)
        self.resize = GraphConv(trunk, here)
        self.posterior = nn.Sequential(GraphBlock(both), GraphGaussian(both, here))
        self.join = GraphConv((nodes, c.trunk_features + c.level_features), trunk)
        self.out = nn.Sequential(GraphBlock(trunk), GraphGaussian(trunk, clip))

    def infer(
        self,
        clips: Float[Tensor, "batch frames joints 3"],
        classes: Int[Tensor, "batch"] | None = None,
        *,
        is_drawn: bool = True,
        has_output: bool = True,
    ) -> Inference:
        """Posteriors given the clips, one draw of their latents, the priors given the draws above, and the output.

        is_drawn: else latents are their posteriors' means. has_output: else the output is ``None``.
        """
        _refuse_classes(classes)
        activation = self.encoder(self.nodes(clips))
        top = self.top(self.top_encoder(self.pooling(activation)))
        z0 = top.sample() if is_drawn else top.mean
        trunk = self._begun(z0)
        posterior = self.posterior(torch.cat([self.resize(trunk), activation], -1))
        z1 = posterior.sample() if is_drawn else posterior.mean
        output = self._output(trunk, z1) if has_output else None
        return Inference([top, posterior], [standard(top.mean), self.prior(trunk)], [z0, z1], output)

    def reconstruct(
        self, clips: Float[Tensor, "batch frames joints 3"], classes: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch frames joints 3"]:
        """The mean of the output at the posteriors' means, in metres."""
        return self.infer(clips, classes, is_drawn=False).output.mean

    @torch.no_grad()
    def generate(
        self,
        z0: Float[Tensor, "nodes batch features"],
        classes: Int[Tensor, "batch"] | None = None,
        *,
        drawn_levels: int | None = None,
    ) -> ClipGaussian:
        """New clips (batch, frames, joints, 3): the lower latent is drawn from its prior.

        z0: e.g. ``sample_top``. drawn_levels: with 0 the lower latent is its prior's mean.
        """
        _refuse_classes(classes)
        trunk = self._begun(z0)
        prior = self.prior(trunk)
        return self._output(trunk, prior.mean if drawn_levels == 0 else prior.sample())

    def sample_top(self, count: int) -> Float[Tensor, "nodes count features"]:
        """Draws of z0 from its prior."""
        c = self.config
        return torch.randn(3 * len(c.groups), count, c.level_features, device=self.top.mean.weight.device)

    def kl_weight(self, step: int) -> float:
        """Weight of the divergence at this step."""
        c = self.config
        return warm_up(c.kl_start, c.kl_end, c.kl_steps, step)

    def _begun(self, z0: Tensor) -> Tensor:
        return self.pooling.undo(self.from_top(z0))

    def _output(self, trunk: Tensor, z1: Tensor) -> ClipGaussian:
        return self.nodes.clips(self.out(self.join(torch.cat([trunk, z1], -1))))


class Pooling(nn.Module):
    """Nodes of joints to nodes of groups of joints by averaging, axis by axis: x with x, y with y, z with z."""

    def __init__(self, groups: Groups) -> None:
        super().__init__()
        shares = torch.zeros(len(groups), sum(map(len, groups)))
        for number, group in enumerate(groups):
            shares[number, list(group)] = 1 / len(group)
        shares = torch.kron(shares, torch.eye(3))  # node = 3 joint + axis
        self.register_buffer("shares", shares, persistent=False)
        self.register_buffer("group_of", shares.argmax(0), persistent=False)

    def forward(self, x: Float[Tensor, "nodes batch features"]) -> Float[Tensor, "groups batch features"]:
        return (self.shares @ x.flatten(1)).unflatten(1, x.shape[1:])

    def undo(self, x: Float[Tensor, "groups batch features"]) -> Float[Tensor, "nodes batch features"]:
        """To each node a copy of its group's."""
        return x.index_select(0, self.group_of)


def _refuse_classes(classes: Tensor | None) -> None:
    if classes is not None:
        raise ValueError(f"HMVAE knows no classes, and {len(classes)} are given")
