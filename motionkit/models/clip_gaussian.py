"""A distribution of clips around a mean: of each coordinate by itself, and of its frames alone or of its frequencies.

With a variance for each frame, every number of a clip errs on its own, and what is known of one frame says nothing of
the next. With a variance for each coefficient of the cosine transform it does: what is left over of a motion is smooth
wherever fast oscillations are improbable. The transform keeps volumes, so that both kinds of density compare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from motionkit.representation.dct import dct, dct_matrix


@dataclass(frozen=True)
class ClipGaussian:
    """mean: (batch, frames, joints, 3) in metres. log_var: as the mean; of the frames, or where ``is_spectral`` of the
    cosine coefficients, slowest first, in the place of the frames."""

    mean: Float[Tensor, "batch frames joints axes"]
    log_var: Float[Tensor, "batch frames joints axes"]
    is_spectral: bool = False

    def log_prob(self, clips: Float[Tensor, "batch frames joints axes"]) -> Float[Tensor, "batch"]:
        """Log-density of each clip [nats; lengths in metres]."""
        away = clips - self.mean
        if self.is_spectral:
            away = _over_frames(dct, away)
        return -0.5 * (away.square() * torch.exp(-self.log_var) + self.log_var + math.log(2 * math.pi)).flatten(1).sum(
            1
        )

    def variance(self) -> Float[Tensor, "batch frames joints axes"]:
        """Of each coordinate in each frame, in square metres."""
        if not self.is_spectral:
            return self.log_var.exp()
        basis = dct_matrix(self.mean.shape[1]).to(self.mean)
        return torch.einsum("kt,bkjc->btjc", basis.square(), self.log_var.exp())

    def sample(self) -> Float[Tensor, "batch frames joints axes"]:
        """One draw; the noise is of torch's global generator."""
        noise = torch.exp(0.5 * self.log_var) * torch.randn_like(self.mean)
        if self.is_spectral:
            basis = dct_matrix(self.mean.shape[1]).to(noise)
            noise = torch.einsum("kt,bkjc->btjc", basis, noise)
        return self.mean + noise

    def given(
        self, clips: Float[Tensor, "batch frames joints axes"], is_seen: Bool[Tensor, "batch frames joints axes"]
    ) -> tuple[Float[Tensor, "batch frames joints axes"], Float[Tensor, "batch frames joints axes"]]:
        """Mean and variance of clips of which some numbers are seen; these are returned as they came, with variance 0.

        Values of ``clips`` that are not seen have no influence; they may be NaN.
        """
        clips = torch.where(is_seen, clips, self.mean)
        if not self.is_spectral:
            return clips, torch.where(is_seen, 0.0, self.log_var.exp())
        batch, frames, joints, _ = clips.shape
        seen = _rows(is_seen)
        # Coordinates with all frames seen need nothing; without them there are as many matrices as gaps.
        chosen = ~seen.all(1)
        seen, left_over = seen[chosen], _rows(clips - self.mean)[chosen].double()
        basis = dct_matrix(frames).to(clips.device)
        cov = basis.t() @ (_rows(self.log_var)[chosen].double().exp()[:, :, None] * basis)
        inner = torch.where(seen[:, :, None] & seen[:, None, :], cov, torch.diag_embed((~seen).double()))
        across = torch.where(seen[:, None, :], cov, 0.0)  # of all frames with the seen ones
        gain = torch.linalg.solve(inner, across, left=False)
        shift, variance = (torch.zeros(batch * joints * 3, frames).to(clips) for _ in range(2))
        shift[chosen] = (gain @ left_over[:, :, None])[:, :, 0].to(clips.dtype)
        left = cov.diagonal(dim1=1, dim2=2) - (gain * across).sum(2)
        variance[chosen] = left.clamp_min(0).to(clips.dtype)
        shift, variance = (x.view(batch, joints, 3, frames).permute(0, 3, 1, 2) for x in (shift, variance))
        return torch.where(is_seen, clips, self.mean + shift), torch.where(is_seen, 0.0, variance)


def _rows(x: Tensor) -> Tensor:
    """A row of frames for each coordinate: (batch, frames, joints, 3) -> (batch joints 3, frames)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _over_frames(transform, x: Tensor) -> Tensor:
    return transform(x.movedim(1, -1)).movedim(-1, 1)
