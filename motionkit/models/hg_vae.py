"""HG-VAE: a hierarchical variational autoencoder of short motion clips over graphs of fewer and fewer nodes.

A clip is a graph with a node for each coordinate of each joint, whose features are the cosine transform of its frames.
Going up, an encoder merges nodes until one is left; coming down, a trunk of full size collects a latent at each level,
each drawn given all levels above it: z0, one node, is what the whole clip has in common, the last one its details.

Source: paper 4 (Bourached and others), section 3.3, Eq. 4 and 5, Figure 2; sizes, which the text leaves out, are those
of its public program. ``layout="published_code"`` does as that program does where it differs from the text: clips are
reshaped to (joints x 3, frames) instead of transposed, so that a node is a run of unrelated numbers; the cosine
transform is replaced by its inverse; a bias is shared by all nodes; and the top level has a map that nothing reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from motionkit.models.clip_gaussian import ClipGaussian
from motionkit.models.clip_nodes import ClipNodes, Layout
from motionkit.models.elbo import ClipVAE, Inference
from motionkit.models.gaussian import Gaussian, standard
from motionkit.models.graph_layers import GraphBlock, GraphConv, GraphGaussian, added

Shape = tuple[int, int]  # nodes, features


@dataclass(frozen=True)
class HGVAEConfig:
    """Sizes of an ``HGVAE`` and how its loss warms up.

    num_joints, num_frames: of a clip; three nodes a joint.
    levels: (nodes, features) of the encoder's activations from the clip up, and so of the latents from the last to z0.
    trunk_features: of the decoder's trunk, which has a node for each coordinate.
    num_classes: with more than 0, a clip's class is appended to z0 as a one-hot vector.
    off_levels: levels, counted from z0, whose latent is a mean and adds nothing to the loss (Table 1).
    off_latent: which mean. With the prior's, a level that is off knows nothing of the clip: with one level left this is
        the classical VAE that the paper speaks of. With the posterior's, it tells of the clip for nothing, and what is
        trained is no bound any more.
    kl_start, kl_steps: weight of the divergence at first, and the step from which it is 1; linear in between.
    likelihood: what the variances of the output are of (``ClipGaussian``): of frames as published, or of frequencies.
    layout: see above.

    Raises: ``ValueError`` naming the field and its value.
    """

    num_joints: int = 18
    num_frames: int = 50
    levels: tuple[Shape, ...] = ((54, 128), (24, 128), (8, 128), (1, 256))
    trunk_features: int = 256
    num_classes: int = 0
    off_levels: tuple[int, ...] = ()
    off_latent: Literal["prior", "posterior"] = "prior"
    kl_start: float = 0.001
    kl_steps: int = 1
    likelihood: Literal["frames", "frequencies"] = "frames"
    layout: Layout = "paper"

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", tuple(tuple(level) for level in self.levels))
        for name in ("num_joints", "num_frames", "trunk_features", "kl_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.levels or any(len(level) != 2 or min(level) < 1 for level in self.levels):
            raise ValueError(f"levels must be pairs of nodes and features, at least one, got {self.levels}")
        if self.num_classes < 0:
            raise ValueError(f"num_classes must be 0 or more, got {self.num_classes}")
        if unknown := [level for level in self.off_levels if not 0 <= level < len(self.levels)]:
            raise ValueError(f"off_levels must be 0 to {len(self.levels) - 1}, got {unknown[0]}")
        if self.off_latent not in ("prior", "posterior"):
            raise ValueError(f"off_latent must be 'prior' or 'posterior', got {self.off_latent!r}")
        if not 0 <= self.kl_start <= 1:
            raise ValueError(f"kl_start must be 0 to 1, got {self.kl_start}")
        if self.likelihood not in ("frames", "frequencies"):
            raise ValueError(f"likelihood must be 'frames' or 'frequencies', got {self.likelihood!r}")
        if self.layout == "published_code" and self.likelihood != "frames":
            raise ValueError("layout 'published_code' has likelihood 'frames'; its nodes have no frequencies")
        if self.layout not in ("paper", "published_code"):
            raise ValueError(f"layout must be 'paper' or 'published_code', got {self.layout!r}")

    @property
    def num_nodes(self) -> int:
        return 3 * self.num_joints


PUBLISHED_CODE = HGVAEConfig(layout="published_code")  # 2,602,713 parameters

# Table 1 has a family of 16 levels and 15 M parameters and gives no sizes: nodes fall evenly where they can, and the
# features are those that come nearest to 15 M (15,011,486).
NODES_OF_16_LEVELS = (54, 54, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 2, 1)


def sixteen_levels(features: int = 156, top_features: int = 256) -> tuple[Shape, ...]:
    """The ``levels`` of the family of Table 1, with so many features in each, and in z0."""
    return (*((nodes, features) for nodes in NODES_OF_16_LEVELS[:-1]), (1, top_features))


def off_levels(num_levels: int, depth: int, keep: Literal["lowest", "highest"] = "lowest") -> tuple[int, ...]:
    """The ``off_levels`` that leave ``depth`` of the levels drawn: the lowest ones, as section 5.3 has it ("top latent
    variables turned off"), or the highest ones, of which depth 1 leaves one vector, "a classical VAE" (section 6).

    >>> off_levels(4, 1), off_levels(4, 1, "highest")
    ((0, 1, 2), (1, 2, 3))

    Raises: ``ValueError`` for a depth outside 1 to ``num_levels``.
    """
    if not 1 <= depth <= num_levels:
        raise ValueError(f"depth must be 1 to {num_levels}, got {depth}")
    return tuple(range(num_levels - depth)) if keep == "lowest" else tuple(range(depth, num_levels))


class HGVAE(ClipVAE):
    """Clips (batch, frames, joints, 3), metres, root at the origin <-> latents (nodes, batch, features) a level.

    Trains with ``loss``. All noise is of torch's global generator. With ``precision="bf16-mixed"`` its products are of
    half precision: on processors with units for them a step at the published sizes takes two thirds of the time. From
    the published batch of 800, as four of 200 (``TrainConfig(accumulation=4)``), a CPU core learns in half the time, in
    half precision in five sixths of it; ``compile=True`` saves another quarter, after a minute or two.
    Raises: ``ValueError`` for clips of another shape, and for classes that are missing or not expected.
    """

    def __init__(self, config: HGVAEConfig) -> None:
        super().__init__()
        self.config = c = config
        is_paper = c.layout == "paper"
        self.nodes = ClipNodes(c.num_joints, c.num_frames, c.likelihood == "frequencies", c.layout)
        clip, trunk = (c.num_nodes, c.num_frames), (c.num_nodes, c.trunk_features)
        sizes = [clip, *c.levels]
        self.up = nn.ModuleList(
            _Up(below, here, is_paper, leads_on=not is_paper or number < len(c.levels))
            for number, (below, here) in enumerate(pairwise(sizes), start=1)
        )
        top_nodes, top_features = c.levels[-1]
        self.top = GraphGaussian(c.levels[-1], c.levels[-1], is_paper)
        self.from_top = GraphConv((top_nodes, top_features + c.num_classes), trunk, is_paper)
        self.down = nn.ModuleList(_Down(trunk, here, is_paper) for here in c.levels[-2::-1])
        self.last = GraphBlock(trunk, is_paper)
        self.out = GraphGaussian(trunk, clip, is_paper)
        if not is_paper:
            for module in self.modules():
                if isinstance(module, GraphConv):
                    module.start_as_published()

    def infer(
        self,
        clips: Float[Tensor, "batch frames joints 3"],
        classes: Int[Tensor, "batch"] | None = None,
        *,
        is_drawn: bool = True,
        has_output: bool = True,
    ) -> Inference:
        """Posteriors given the clips, one draw of their latents, the priors given the draws above, and the output.

        is_drawn: with ``False`` the posteriors' means take the place of draws. has_output: with ``False`` what only the
        output needs is left out; with neither, which is all that ``log_posterior`` needs, the posteriors' log-variances
        are NaN.
        """
        *activations, top = self._activations(clips)
        has_variance = is_drawn or has_output
        posterior = self.top(top, has_variance)
        priors = [standard(posterior.mean)]
        posteriors = [priors[0] if self._is_blind(0) else posterior]
        latents = [self._drawn(0, posteriors[0], is_drawn)]
        trunk = self._begun(latents[0], classes)
        for number, down in enumerate(self.down, start=1):
            trunk, above = down.passed(trunk)
            prior, activation = down.prior(above), activations.pop()
            is_blind = self._is_blind(number)
            posterior = prior if is_blind else down.posterior(down.combined(trunk, activation), has_variance)
            trunk = down.left(trunk, above)
            posteriors.append(posterior)
            priors.append(prior)
            latents.append(self._drawn(number, posterior, is_drawn))
            if activations or has_output:
                trunk = down.joined(trunk, latents[-1])
        output = self.nodes.clips(self.out(self.last(trunk))) if has_output else None
        return Inference(posteriors, priors, latents, output, self.config.off_levels)

    def reconstruct(
        self, clips: Float[Tensor, "batch frames joints 3"], classes: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch frames joints 3"]:
        """The mean of the output at the posteriors' means, in metres: of ``infer`` what a reconstruction needs."""
        *activations, top = self._activations(clips)
        z0 = self.top.mean(top)
        trunk = self._begun(torch.zeros_like(z0) if self._is_blind(0) else z0, classes)
        for number, down in enumerate(self.down, start=1):
            trunk, above = down.passed(trunk)
            activation = activations.pop()
            is_blind = self._is_blind(number)
            latent = down.prior.mean(above) if is_blind else down.posterior.mean(down.combined(trunk, activation))
            trunk = down.joined(down.left(trunk, above), latent)
        return self.nodes.mean_clips(self.out.mean(self.last(trunk)))

    @torch.no_grad()
    def top_of(self, clips: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "nodes batch features"]:
        """The posterior's mean of z0, which knows nothing of classes: what ``generate`` begins with."""
        z0 = self.top.mean(self._activations(clips)[-1])
        return torch.zeros_like(z0) if self._is_blind(0) else z0

    @torch.no_grad()
    def generate(
        self,
        z0: Float[Tensor, "nodes batch features"],
        classes: Int[Tensor, "batch"] | None = None,
        *,
        drawn_levels: int | None = None,
        temperatures: Sequence[float] | None = None,
    ) -> ClipGaussian:
        """New clips (batch, frames, joints, 3): levels below z0 are drawn from their priors.

        z0: e.g. ``sample_top``. drawn_levels: only so many levels below z0 are drawn, further ones are their means
        (Figure 5 takes 0); ``None``: all.
        temperatures: one a level from z0 down: by how much its draw, of z0 the given one, departs from its prior's
            mean; 0 is the mean, 1 as drawn. The noise of the other levels does not depend on it.
        Raises: ``ValueError`` for another number of temperatures than of levels, or with ``drawn_levels`` besides.
        """
        if temperatures is not None:
            self._check_temperatures(temperatures, drawn_levels)
            z0 = temperatures[0] * z0
        trunk = self._begun(z0, classes)
        for number, down in enumerate(self.down, start=1):
            trunk, above = down.passed(trunk)
            trunk, prior = down.left(trunk, above), down.prior(above)
            is_drawn = drawn_levels is None or number <= drawn_levels
            latent = self._drawn(number, prior) if is_drawn else prior.mean
            if temperatures is not None:
                latent = torch.lerp(prior.mean, latent, temperatures[number])
            trunk = down.joined(trunk, latent)
        return self.nodes.clips(self.out(self.last(trunk)))

    def sample_top(self, count: int) -> Float[Tensor, "nodes count features"]:
        """Draws of z0 from its prior; its mean, 0, of a model to which z0 never told anything."""
        nodes, features = self.config.levels[-1]
        z0 = torch.randn(nodes, count, features, device=self.top.mean.weight.device)
        return torch.zeros_like(z0) if self._is_blind(0) else z0

    def _activations(self, clips: Tensor) -> list[Tensor]:
        """What the posteriors read of the clips, from the clips up."""
        activations, x = [], self.nodes(clips)
        for up in self.up:
            activation, x = up(x)
            activations.append(activation)
        return activations

    def _check_temperatures(self, temperatures: Sequence[float], drawn_levels: int | None) -> None:
        if len(temperatures) != len(self.config.levels):
            raise ValueError(f"{len(temperatures)} temperatures for {len(self.config.levels)} levels")
        if drawn_levels is not None:
            raise ValueError(f"drawn_levels is {drawn_levels}, and temperatures are given: leave one out")

    def _drawn(self, level: int, distribution: Gaussian, is_drawn: bool = True) -> Tensor:
        return distribution.sample() if is_drawn and level not in self.config.off_levels else distribution.mean

    def _is_blind(self, level: int) -> bool:
        """Whether the latent of this level knows nothing of the clip."""
        return level in self.config.off_levels and self.config.off_latent == "prior"

    def _begun(self, z0: Tensor, classes: Tensor | None) -> Tensor:
        c = self.config
        if (classes is None) != (c.num_classes == 0):
            raise ValueError(
                f"num_classes is {c.num_classes}, and classes are {'missing' if classes is None else 'given'}"
            )
        if classes is not None:
            z0 = torch.cat([z0, F.one_hot(classes, c.num_classes).to(z0).expand(len(z0), -1, -1)], -1)
        return self.from_top(z0)


class _Up(nn.Module):
    """One step up: what this level's posterior reads, and what the next level begins with."""

    def __init__(self, below: Shape, here: Shape, has_node_bias: bool, leads_on: bool) -> None:
        super().__init__()
        self.reduce = GraphConv(below, here, has_node_bias)
        self.block = GraphBlock(here, has_node_bias)
        self.skip = GraphConv(below, here, has_node_bias) if leads_on else None
        self.alpha = nn.Parameter(torch.zeros(1)) if leads_on else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        activation = self.block(self.reduce(x))
        return activation, None if self.skip is None else added(self.skip(x), self.alpha, activation)


class _Down(nn.Module):
    """One step down: prior and posterior of this level's latent given the trunk, and the latent joined to the trunk."""

    def __init__(self, trunk: Shape, here: Shape, has_node_bias: bool) -> None:
        super().__init__()
        both = (here[0], 2 * here[1])
        self.block = GraphBlock(trunk, has_node_bias)
        self.resize = GraphConv(trunk, here, has_node_bias)
        self.posterior_block = GraphBlock(both, has_node_bias)
        self.posterior = GraphGaussian(both, here, has_node_bias)
        self.prior_block = GraphBlock(trunk, has_node_bias)
        self.prior = GraphGaussian(trunk, here, has_node_bias)
        self.widen = GraphConv(here, trunk, has_node_bias)
        self.alphas = nn.Parameter(torch.zeros(3))

    def passed(self, trunk: Tensor) -> tuple[Tensor, Tensor]:
        """The trunk after this level's block, and what its prior reads of it."""
        trunk = added(trunk, self.alphas[0], self.block(trunk))
        return trunk, self.prior_block(trunk)

    def combined(self, trunk: Tensor, activation: Tensor) -> Tensor:
        """What the posterior reads of the passed trunk and the encoder's activation."""
        return self.posterior_block(torch.cat([self.resize(trunk), activation], -1))

    def left(self, trunk: Tensor, above: Tensor) -> Tensor:
        """The passed trunk with what the prior read."""
        return added(trunk, self.alphas[1], above)

    def joined(self, trunk: Tensor, latent: Tensor) -> Tensor:
        return added(trunk, self.alphas[2], self.widen(latent))
