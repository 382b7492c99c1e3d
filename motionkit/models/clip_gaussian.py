"""A distribution of clips around a mean: of each coordinate by itself, and of its frames alone or of its frequencies.

With a variance for each frame, every number of a clip errs on its own, and what is known of one frame says nothing of
the next. With a variance for each coefficient of the cosine transform it does: what is left over of a motion is smooth
wherever fast oscillations are improbable. The transform keeps volumes, so that both kinds of density compare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from motionkit.representation.dct import dct, dct_matrix


@dataclass(frozen=True)
class ClipGaussian:
    """mean: (batch, frames, joints, 3) in metres. log_var: as the mean; of the frames, or where ``is_spectral`` of the
    cosine coefficients, slowest first, in the place of the frames."""

    mean: Float[Tensor, "batch frames joints 3"]
    log_var: Float[Tensor, "batch frames joints 3"]
    is_spectral: bool = False

    def log_prob(self, clips: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch"]:
        """Log-density of each clip [nats; lengths in metres]."""
        away = clips - self.mean
        if self.is_spectral:
            away = _over_frames(dct, away)
        return -0.5 * (away.square() * torch.exp(-self.log_var) + self.log_var + math.log(2 * math.pi)).flatten(1).sum(
            1
        )

    def variance(self) -> Float[Tensor, "batch frames joints 3"]:
        """Of each coordinate in each frame, in square metres."""
        if not self.is_spectral:
            return self.log_var.exp()
        basis = dct_matrix(self.mean.shape[1]).to(self.mean)
        return torch.einsum("kt,bkjc->btjc", basis.square(), self.log_var.exp())

    def sample(self) -> Float[Tensor, "batch frames joints 3"]:
        """One draw; the noise is of torch's global generator."""
        noise = torch.exp(0.5 * self.log_var) * torch.randn_like(self.mean)
        if self.is_spectral:
            basis = dct_matrix(self.mean.shape[1]).to(noise)
            noise = torch.einsum("kt,bkjc->btjc", basis, noise)
        return self.mean + noise

    def given(
        self, clips: Float[Tensor, "batch frames joints 3"], is_seen: Bool[Tensor, "batch frames joints 3"]
    ) -> tuple[Float[Tensor, "batch frames joints 3"], Float[Tensor, "batch frames joints 3"]]:
        """Mean and variance of clips of which some numbers are seen; these are returned as they came, with variance 0.

        Values of ``clips`` that are not seen have no influence; they may be NaN.
        """
        if not self.is_spectral:
            return torch.where(is_seen, clips, self.mean), torch.where(is_seen, 0.0, self.log_var.exp())
        bridge = Bridge.over(is_seen, self.log_var)
        return bridge(clips, self.mean), bridge.variance


@dataclass(frozen=True)
class Bridge:
    """How the numbers that are not seen follow from those that are, whatever the mean: made once, used for many means.

    is_seen: (batch, frames, joints, 3). gaps: (batch joints 3,) the coordinates with a number that is not seen.
    gain: (gaps, frames, frames), which maps what is left over of the seen frames to what to expect of all of them.
    variance: (batch, frames, joints, 3) in square metres, 0 where seen.
    Gains are solved and applied in float64: the slowest coefficients vary a hundred million times as much as the
    fastest, which is more than float32 tells apart.
    """

    is_seen: Bool[Tensor, "batch frames joints 3"]
    gaps: Bool[Tensor, "coordinates"]
    gain: Float64[Tensor, "gaps frames frames"]
    variance: Float[Tensor, "batch frames joints 3"]

    @classmethod
    def over(cls, is_seen: Bool[Tensor, "batch frames joints 3"], log_var: Float[Tensor, "#batch frames joints 3"]):
        """For variances of cosine coefficients, of each clip or of all."""
        frames = is_seen.shape[1]
        seen, rows = _rows(is_seen), _rows(log_var.expand(is_seen.shape)).double()
        gaps = ~seen.all(1)  # a coordinate that is seen throughout needs no matrix
        seen, basis = seen[gaps], dct_matrix(frames).to(rows)
        cov = basis.t() @ (rows[gaps].exp()[:, :, None] * basis)
        inner = torch.where(seen[:, :, None] & seen[:, None, :], cov, torch.diag_embed((~seen).to(cov)))
        across = torch.where(seen[:, None, :], cov, 0.0)  # of all frames with the seen ones
        gain = torch.linalg.solve(inner, across, left=False)
        variance = torch.zeros_like(rows)
        variance[gaps] = (cov.diagonal(dim1=1, dim2=2) - (gain * across).sum(2)).clamp_min(0)
        return cls(is_seen, gaps, gain, torch.where(is_seen, 0.0, _clips(variance, is_seen.shape)).to(log_var))

    def __call__(
        self, clips: Float[Tensor, "batch frames joints 3"], mean: Float[Tensor, "batch frames joints 3"]
    ) -> Float[Tensor, "batch frames joints 3"]:
        """The clips where they are seen, bit for bit; elsewhere what to expect around this mean."""
        left_over = _rows(torch.where(self.is_seen, clips - mean, 0.0))
        shift = torch.zeros_like(left_over)
        shift[self.gaps] = (self.gain @ left_over[self.gaps].double()[:, :, None])[:, :, 0].to(shift)
        return torch.where(self.is_seen, clips, mean + _clips(shift, clips.shape))


def _rows(x: Tensor) -> Tensor:
    """A row of frames for each coordinate: (batch, frames, joints, 3) -> (batch joints 3, frames)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _clips(rows: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of ``_rows``."""
    batch, frames, joints, axes = shape
    return rows.view(batch, joints, axes, frames).permute(0, 3, 1, 2)


def _over_frames(transform, x: Tensor) -> Tensor:
    return transform(x.movedim(1, -1)).movedim(-1, 1)
