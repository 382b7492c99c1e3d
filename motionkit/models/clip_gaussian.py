"""A distribution of clips around a mean: of each coordinate by itself, and of its frames alone or of its frequencies.

With a variance for each frame, every number of a clip errs on its own, and what is known of one frame says nothing of
the next. With a variance for each coefficient of the cosine transform it does: what is left over of a motion is smooth
wherever fast oscillations are improbable. The transform keeps volumes, so that both kinds of density compare.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
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

    is_seen, log_var: as of ``over``. gaps: (batch joints 3,) the coordinates with a number that is not seen.
    frames: of each, those that are not seen; where others have more of them, seen ones fill the row.
    root: Cholesky's, of the inverse covariance of those, [1/m]; 1 where a seen one fills the row.
    gain: which maps what is left over of the seen frames to what to expect of those; 0 for the seen ones.
    variance: (batch, frames, joints, 3) in square metres, 0 where seen.
    Gains are solved and applied in float64: the slowest coefficients vary a hundred million times as much as the
    fastest, which is more than float32 tells apart. They come of the inverse covariance, of which only what is not seen
    has to be inverted back.
    """

    is_seen: Bool[Tensor, "batch frames joints 3"]
    log_var: Float[Tensor, "#batch frames joints 3"]
    gaps: Bool[Tensor, "coordinates"]
    frames: Int[Tensor, "gaps missing"]
    root: Float64[Tensor, "gaps missing missing"]
    gain: Float64[Tensor, "gaps missing frames"]
    variance: Float[Tensor, "batch frames joints 3"]

    @classmethod
    def over(cls, is_seen: Bool[Tensor, "batch frames joints 3"], log_var: Float[Tensor, "#batch frames joints 3"]):
        """For variances of cosine coefficients, of each clip or of all."""
        seen, rows = _rows(is_seen), _rows(log_var.expand(is_seen.shape))
        gaps = ~seen.all(1)  # a coordinate that is seen throughout needs no matrix
        seen, basis = seen[gaps], dct_matrix(seen.shape[1]).to(rows.device)
        num_missing = int((~seen).sum(1).max()) if len(seen) else 0
        frames = seen.byte().argsort(dim=1, stable=True)[:, :num_missing]  # those not seen come first
        is_missing = ~seen.gather(1, frames)
        # the lines of the inverse covariance of those that are not seen
        lines = (basis.t()[frames] * rows[gaps].double().neg().exp()[:, None]) @ basis
        inner = lines.gather(2, frames[:, None].expand(-1, num_missing, -1))
        pair = is_missing[:, :, None] & is_missing[:, None, :]
        root = torch.linalg.cholesky(torch.where(pair, inner, torch.eye(num_missing).to(inner)))
        across = torch.where(is_missing[:, :, None] & seen[:, None, :], lines, 0.0)
        spread = torch.cholesky_inverse(root).diagonal(dim1=1, dim2=2) * is_missing
        variance = torch.zeros(len(gaps), is_seen.shape[1]).to(lines)
        variance[gaps] = torch.zeros_like(seen, dtype=lines.dtype).scatter(1, frames, spread)
        variance = _clips(variance, is_seen.shape).to(log_var)
        return cls(is_seen, log_var, gaps, frames, root, -torch.cholesky_solve(across, root), variance)

    def coefficient_variance(self) -> Float64[Tensor, "batch frames joints 3"]:
        """Of the cosine coefficients, given what is seen [m^2, float64]; 0 where a coordinate is seen throughout."""
        shape, basis = self.is_seen.shape, dct_matrix(self.is_seen.shape[1]).to(self.root.device)
        is_missing = ~_rows(self.is_seen)[self.gaps].gather(1, self.frames)
        waves = torch.linalg.solve_triangular(self.root, basis.t()[self.frames] * is_missing[:, :, None], upper=False)
        variance = torch.zeros(len(self.gaps), shape[1]).to(waves)
        variance[self.gaps] = waves.square().sum(1)
        return _clips(variance, shape)

    def __call__(
        self, clips: Float[Tensor, "batch frames joints 3"], mean: Float[Tensor, "*draws batch frames joints 3"]
    ) -> Float[Tensor, "*draws batch frames joints 3"]:
        """The clips where they are seen, bit for bit; elsewhere what to expect around this mean, or each of several."""
        left_over = torch.where(self.is_seen, clips - mean, 0.0).reshape(-1, *clips.shape[1:])
        rows = _rows(left_over).view(mean.shape[:-4].numel(), len(self.gaps), clips.shape[1])
        in_gaps, shift = rows[:, self.gaps], torch.zeros_like(rows)
        expected = (self.gain @ in_gaps.permute(1, 2, 0).double()).permute(2, 0, 1).to(rows)
        shift[:, self.gaps] = torch.zeros_like(in_gaps).scatter(2, self.frames.expand_as(expected), expected)
        shift = _clips(shift.flatten(0, 1), left_over.shape).reshape(mean.shape)
        return torch.where(self.is_seen, clips, mean + shift)


def _rows(x: Tensor) -> Tensor:
    """A row of frames for each coordinate: (batch, frames, joints, 3) -> (batch joints 3, frames)."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _clips(rows: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of ``_rows``."""
    batch, frames, joints, axes = shape
    return rows.view(batch, joints, axes, frames).permute(0, 3, 1, 2)


def _over_frames(transform, x: Tensor) -> Tensor:
    return transform(x.movedim(1, -1)).movedim(-1, 1)
