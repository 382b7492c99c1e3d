"""Probabilistic principal components of whole clips: the normal distribution that a linear model makes of motion.

A clip, all its D numbers in a row, is mean + W z + noise, with z of q standard normal numbers and noise of one variance
everywhere. The best such distribution has a closed form, and so has what it says of numbers that are not seen; what a
deep model adds is what it does better than this.

Source: Tipping and Bishop 1999, "Probabilistic principal component analysis", section 3.2, Eq. 7 and 8 with R = 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

CHUNK = 2**21  # float64 numbers in the largest buffer; a few of these are held at once
MOST_NOISE, NOISE_STEPS, GOLDEN = 4.0, 16, (math.sqrt(5) - 1) / 2  # powers of ten, to 2 thousandths of one
LEAST_NOISE = 1e-12  # of the largest variance: less than this left over is rounding


@dataclass(frozen=True)
class LinearPrior:
    """A normal distribution of clips with covariance W W^T + noise_variance I.

    mean: (frames, joints, 3) in metres. loadings: W, (frames joints 3, components) in metres, in the order of a
    flattened clip. noise_variance: in square metres, more than 0.
    They lie on the device of the clips that are asked about; densities and conditionals are computed in float64 and
    returned in the type of those clips.

    Raises: ``ValueError`` for loadings that do not fit the mean, no noise, and clips of another shape than the mean's.
    """

    mean: Float[Tensor, "frames joints 3"]
    loadings: Float[Tensor, "numbers components"]
    noise_variance: Float[Tensor, ""]

    def __post_init__(self) -> None:
        if len(self.loadings) != self.mean.numel():
            raise ValueError(f"loadings have {len(self.loadings)} rows, and the mean {self.mean.numel()} numbers")
        if not self.noise_variance > 0:
            raise ValueError(f"noise_variance must be more than 0, got {self.noise_variance.item()}")

    @classmethod
    def fit(cls, clips: Float[Tensor, "count frames joints 3"], num_components: int) -> LinearPrior:
        """The distribution under which the clips are most probable.

        Takes the eigenvectors of their covariance, which is summed up in parts: D numbers squared are less than the
        clips where those are many, and float64 leaves room for the squares. Fewer clips than D vary in the space that
        they span: there it takes those of their products with each other.
        Raises: ``ValueError`` for a number of components below 1 or not below count and D, for numbers that are not
        finite, and where the components leave nothing to the noise, so that densities have no bound.
        """
        flat = clips.flatten(1)
        count, size = flat.shape
        if not 1 <= num_components < min(count, size):
            raise ValueError(
                f"num_components must be at least 1 and below {min(count, size)}, the lesser of {count} clips and "
                f"{size} numbers, got {num_components}"
            )
        parts = flat.split(max(1, CHUNK // size))
        mean = sum(part.double().sum(0) for part in parts) / count
        if not mean.isfinite().all():
            raise ValueError("clips hold numbers that are not finite")
        if count < size:
            away = flat.double() - mean
            variances, across = torch.linalg.eigh(away @ away.t() / count)  # smallest first
            largest = variances[-num_components:].clamp_min(torch.finfo(variances.dtype).tiny)
            axes = away.t() @ across[:, -num_components:] / (count * largest).sqrt()
        else:
            covariance = torch.zeros(size, size, dtype=torch.float64, device=clips.device)
            for part in parts:
                away = part.double() - mean
                covariance.addmm_(away.t(), away, alpha=1 / count)
            variances, axes = torch.linalg.eigh(covariance)
        variances = variances.clamp_min(0)
        noise = variances[:-num_components].sum() / (size - num_components)
        if noise <= LEAST_NOISE * variances[-1]:
            raise ValueError(f"num_components is {num_components}, and the clips vary in no more directions")
        stretch = (variances[-num_components:] - noise).clamp_min(0).sqrt()
        loadings = (axes[:, -num_components:] * stretch).flip(1)
        return cls(mean.view(clips.shape[1:]).to(clips), loadings.to(clips), noise.to(clips))

    def calibrated(self, clips: Float[Tensor, "count frames joints 3"]) -> LinearPrior:
        """The same axes with as much noise as makes other clips most probable, those of people that it was not fitted
        to: they differ in more ways than the training clips showed, and what it says of gaps is then less sure and
        nearer to the truth. Never less noise than it had.

        Raises ``ValueError`` without clips.
        """
        if not len(clips):
            raise ValueError("there are no clips to calibrate by")
        low, high = 0.0, MOST_NOISE  # powers of ten
        for _ in range(NOISE_STEPS):  # of a golden section: the density has one peak
            one, other = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
            if self._noisier(one).log_prob(clips).mean() < self._noisier(other).log_prob(clips).mean():
                low = one
            else:
                high = other
        return self._noisier((low + high) / 2)

    def _noisier(self, power: float) -> LinearPrior:
        return replace(self, noise_variance=10**power * self.noise_variance)

    def to(self, device: str | torch.device) -> LinearPrior:
        """The same distribution on another device."""
        return LinearPrior(self.mean.to(device), self.loadings.to(device), self.noise_variance.to(device))

    def log_prob(self, clips: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch"]:
        """Log-density of each clip [nats; lengths in metres]."""
        self._check(clips)
        loadings, noise = self.loadings.double(), self.noise_variance.double()
        size, num_components = loadings.shape
        root = torch.linalg.cholesky(_precision(loadings, noise))
        log_det = (size - num_components) * noise.log() + 2 * root.diagonal().log().sum()
        # Woodbury's identity, as the noise and the latent of least squares: a difference of squares would cancel.
        squares = []
        for part in clips.split(max(1, CHUNK // size)):
            away = (part.double() - self.mean.double()).flatten(1)
            latent = torch.cholesky_solve(loadings.t() @ away.t(), root)
            squares.append((away - (loadings @ latent).t()).square().sum(1) / noise + latent.square().sum(0))
        return (-0.5 * (torch.cat(squares) + log_det + size * math.log(2 * math.pi))).to(clips.dtype)

    def latents(self, clips: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch components"]:
        """What to expect of z given each clip: its principal components, the largest first, each in units of its own
        standard deviation and a little shrunk by the noise.

        Source: Tipping and Bishop 1999, section 3.3.
        """
        self._check(clips)
        loadings, noise = self.loadings.double(), self.noise_variance.double()
        root = torch.linalg.cholesky(_precision(loadings, noise))
        away = (clips.double() - self.mean.double()).flatten(1)
        return torch.cholesky_solve(loadings.t() @ away.t(), root).t().to(clips.dtype)

    def sample(
        self, count: int, generator: torch.Generator | None = None, *, has_noise: bool = True
    ) -> Float[Tensor, "count frames joints 3"]:
        """Draws; random numbers are of the generator, by default torch's global one. has_noise: without it, the mean of
        clips given a draw of z."""
        like = {"generator": generator, "dtype": self.mean.dtype, "device": self.mean.device}
        size, num_components = self.loadings.shape
        away = torch.randn(count, num_components, **like) @ self.loadings.t()
        if has_noise:
            away = away + self.noise_variance.sqrt() * torch.randn(count, size, **like)
        return self.mean + away.view(count, *self.mean.shape)

    def given(
        self, clips: Float[Tensor, "batch frames joints 3"], is_seen: Bool[Tensor, "batch frames joints 3"]
    ) -> tuple[Float[Tensor, "batch frames joints 3"], Float[Tensor, "batch frames joints 3"]]:
        """Mean and variance of clips of which some numbers are seen; these are returned as they came, with variance 0.

        Values of ``clips`` that are not seen have no influence; they may be NaN.
        """
        self._check(clips)
        loadings, noise = self.loadings.double(), self.noise_variance.double()
        size, num_components = loadings.shape
        away = torch.where(is_seen, clips.double() - self.mean.double(), 0.0).flatten(1)
        mean, variance = torch.empty_like(away), torch.empty_like(away)
        step = max(1, CHUNK // (size * num_components))
        for at in (slice(start, start + step) for start in range(0, len(clips), step)):
            seen = loadings * is_seen[at].flatten(1)[:, :, None]
            root = torch.linalg.cholesky(_precision(seen, noise))
            latent = torch.cholesky_solve(loadings.t() @ away[at, :, None], root)
            mean[at] = (loadings @ latent)[:, :, 0]
            spread = torch.linalg.solve_triangular(root, loadings.t().expand(len(seen), -1, -1), upper=False)
            variance[at] = noise * (1 + torch.linalg.vector_norm(spread, dim=1).square())
        mean, variance = (x.view(clips.shape).to(clips.dtype) for x in (self.mean.double().flatten() + mean, variance))
        return torch.where(is_seen, clips, mean), torch.where(is_seen, 0.0, variance)

    def _check(self, clips: Tensor) -> None:
        frames, joints, _ = self.mean.shape
        if clips.shape[1:] != self.mean.shape:
            raise ValueError(f"clips have shape {tuple(clips.shape)}; expected (batch, {frames}, {joints}, 3)")


def _precision(loadings: Float[Tensor, "*batch numbers components"], noise: Tensor) -> Tensor:
    """That of the latent given the numbers of these rows, times the variance of the noise."""
    eye = torch.eye(loadings.shape[-1], dtype=loadings.dtype, device=loadings.device)
    return loadings.mT @ loadings + noise * eye
