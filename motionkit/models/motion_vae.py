"""The conventional variational autoencoder of motion clips: fully connected, one latent vector, no graph.

Source: paper 4 (HG-VAE; Bourached and others), section 5.2, "VAE". What the text leaves out is as in its public
program: GELU, batch normalization after it, and a linear layer each for the mean and the log-variance of the latent and
of the output, with the variances within the same limits as HG-VAE's. The paper prints 20.81 M parameters; its sizes,
read so, give 21,344,900.
Differs: that program reshapes clips for HG-VAE in a way that mixes joints and frames; here they are as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from motionkit.models.clip_gaussian import ClipGaussian
from motionkit.models.clip_nodes import ClipNodes
from motionkit.models.elbo import ClipVAE, Inference
from motionkit.models.gaussian import LOG_VAR_RANGE, Gaussian, standard


@dataclass(frozen=True)
class MotionVAEConfig:
    """Sizes of a ``MotionVAE`` and how its loss warms up; as published.

    num_joints, num_frames: of a clip.
    hidden: widths of the encoder's hidden layers; the decoder's are the same in reverse.
    latent_dim: numbers a clip is reduced to.
    likelihood: what the variances of the output are of (``ClipGaussian``): of frames as published, or of frequencies.
    kl_start, kl_steps: weight of the divergence at first, and the step from which it is 1; linear in between.

    Raises: ``ValueError`` naming the field and its value.
    """

    num_joints: int = 18
    num_frames: int = 50
    hidden: tuple[int, ...] = (2000, 1000, 500, 100, 50)
    latent_dim: int = 50
    likelihood: Literal["frames", "frequencies"] = "frames"
    kl_start: float = 0.001
    kl_steps: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))
        for name in ("num_joints", "num_frames", "latent_dim", "kl_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must be one width or more, each at least 1, got {self.hidden}")
        if self.likelihood not in ("frames", "frequencies"):
            raise ValueError(f"likelihood must be 'frames' or 'frequencies', got {self.likelihood!r}")
        if not 0 <= self.kl_start <= 1:
            raise ValueError(f"kl_start must be 0 to 1, got {self.kl_start}")


class MotionVAE(ClipVAE):
    """Clips (batch, frames, joints, 3), metres, root at the origin <-> one latent vector, (1, batch, latent_dim).

    Trains with ``loss``; ``nodes.standardize`` before it spares steps. All noise is of torch's global generator.
    Batch normalization takes the statistics of the batch in training mode and running ones in eval mode: judge and
    generate clips in eval mode, where what is said of a clip does not depend on the others of its batch.
    Raises: ``ValueError`` for clips of another shape, and for classes, which this model does not know.
    """

    def __init__(self, config: MotionVAEConfig) -> None:
        super().__init__()
        self.config = c = config
        self.nodes = ClipNodes(c.num_joints, c.num_frames, c.likelihood == "frequencies")
        size = 3 * c.num_joints * c.num_frames
        self.encoder = _layers((size, *c.hidden))
        self.latent = _Head(c.hidden[-1], c.latent_dim)
        self.decoder = _layers((c.latent_dim, *c.hidden[::-1]))
        self.out = _Head(c.hidden[0], size)

    def infer(
        self,
        clips: Float[Tensor, "batch frames joints 3"],
        classes: Int[Tensor, "batch"] | None = None,
        *,
        is_drawn: bool = True,
        has_output: bool = True,
    ) -> Inference:
        """Posterior given the clips, one draw of their latents, the prior, and the output; all of one level.

        is_drawn: else the latent is its posterior's mean. has_output: else the output is ``None``.
        """
        _refuse_classes(classes)
        posterior = self.latent(self.encoder(self.nodes(clips).transpose(0, 1).flatten(1))[None])
        z = posterior.sample() if is_drawn else posterior.mean
        output = self._output(z) if has_output else None
        return Inference([posterior], [standard(posterior.mean)], [z], output)

    def reconstruct(
        self, clips: Float[Tensor, "batch frames joints 3"], classes: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch frames joints 3"]:
        """The mean of the output at the posterior's mean, in metres."""
        return self.infer(clips, classes, is_drawn=False).output.mean

    @torch.no_grad()
    def generate(
        self, z0: Float[Tensor, "1 batch features"], classes: Int[Tensor, "batch"] | None = None
    ) -> ClipGaussian:
        """The clips (batch, frames, joints, 3) that latents stand for. z0: e.g. ``sample_top``."""
        _refuse_classes(classes)
        return self._output(z0)

    def sample_top(self, count: int) -> Float[Tensor, "1 count features"]:
        """Draws of the latent from its prior."""
        return torch.randn(1, count, self.config.latent_dim, device=self.latent.mean.weight.device)

    def _output(self, z: Tensor) -> ClipGaussian:
        flat = self.out(self.decoder(z[0]))
        mean, log_var = (
            x.unflatten(1, (-1, self.config.num_frames)).transpose(0, 1) for x in (flat.mean, flat.log_var)
        )
        return self.nodes.clips(Gaussian(mean, log_var))


class _Head(nn.Module):
    """Mean and log-variance, a linear layer each."""

    def __init__(self, features_in: int, features_out: int) -> None:
        super().__init__()
        self.mean = nn.Linear(features_in, features_out)
        self.log_var = nn.Linear(features_in, features_out)

    def forward(self, x: Tensor) -> Gaussian:
        return Gaussian(self.mean(x), self.log_var(x).clamp(*LOG_VAR_RANGE))


def _layers(widths: tuple[int, ...]) -> nn.Sequential:
    steps = [(nn.Linear(before, after), nn.GELU(), nn.BatchNorm1d(after)) for before, after in pairwise(widths)]
    return nn.Sequential(*(layer for step in steps for layer in step))


def _refuse_classes(classes: Tensor | None) -> None:
    if classes is not None:
        raise ValueError(f"MotionVAE knows no classes, and {len(classes)} are given")
