"""Probabilistic principal components of whole clips: the distribution that a linear model makes of motion.

A clip, all its D numbers in a row, is mean + W z + noise, with z of q standard normal numbers and noise of one variance
everywhere. The best such distribution has a closed form, and so has what it says of numbers that are not seen; what a
deep model adds is what it does better than this. Some people move in ways that the components hold and others do not:
where calibration clips show that, each clip has a scale of its own, which makes Student's distribution of the normal.

Source: Tipping and Bishop 1999, "Probabilistic principal component analysis", section 3.2, Eq. 7 and 8 with R = 1; with
scales: Chen, Martin and Montague 2009, "Robust probabilistic PCA with missing data and contribution analysis for
outlier detection", section 3. Differs: scales are fitted to calibration clips, and components without them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from scipy.stats import chi2
from torch import Tensor

from motionkit.data.skeleton import Skeleton
from motionkit.representation.mirror_images import mirrored

CHUNK = 2**21  # float64 numbers in the largest buffer; a few of these are held at once
NOISE = (0.0, 4.0)  # how much more of it is looked for, in powers of ten
FREEDOM = (0.4, 4.0)  # degrees of it, in powers of ten: with fewer there is no variance, with more no scales
SEARCH_PLACES, SEARCH_STEPS = 9, 13  # to 2 thousandths of a power of ten
GOLDEN = (math.sqrt(5) - 1) / 2
LEAST_NOISE = 1e-12  # of the largest variance: less than this left over is rounding
LEAST_RATIO = 1e-12  # of squared errors to variances: a witness about whom nothing is wrong has a logarithm too
TRUST = 0.35  # in witnesses, who are few people: 0 leaves variances as they are, 1 makes them right for the witnesses


@dataclass(frozen=True)
class LinearPrior:
    """A distribution of clips around their mean, with scale matrix S = W W^T + noise_variance I.

    mean: (frames, joints, 3) in metres. loadings: W, (frames joints 3, components) in metres, in the order of a
    flattened clip. noise_variance: in square metres, more than 0.
    freedom: degrees of freedom of Student's distribution, more than 2; with infinitely many it is the normal one with
        covariance S. Otherwise each clip's covariance is S times a scale of its own, freedom / chi-squared.
    witnesses: clips that it was not fitted to, of the mean's shape, by which ``given`` scales its variances:
        it looks how wrong it is about them where the same numbers are lost. Without any, they are the distribution's.
    Tensors lie on the device of the clips that are asked about; densities and conditionals are computed in float64 and
    returned in the type of those clips.

    Raises: ``ValueError`` for loadings that do not fit the mean, no noise, too little freedom, and clips of another
    shape than the mean's.
    """

    mean: Float[Tensor, "frames joints 3"]
    loadings: Float[Tensor, "numbers components"]
    noise_variance: Float[Tensor, ""]
    freedom: float = math.inf
    witnesses: Float[Tensor, "witnesses frames joints 3"] | None = None

    def __post_init__(self) -> None:
        if len(self.loadings) != self.mean.numel():
            raise ValueError(f"loadings have {len(self.loadings)} rows, and the mean {self.mean.numel()} numbers")
        if not self.noise_variance > 0:
            raise ValueError(f"noise_variance must be more than 0, got {self.noise_variance.item()}")
        if not self.freedom > 2:
            raise ValueError(f"freedom must be more than 2, for there to be variances, got {self.freedom}")
        if self.witnesses is not None:
            self._check(self.witnesses)

    @classmethod
    def fit(
        cls, clips: Float[Tensor, "count frames joints 3"], num_components: int, skeleton: Skeleton | None = None
    ) -> LinearPrior:
        """The normal distribution under which the clips are most probable; with their skeleton, under which they and
        their mirror images are, which networks are shown too (``PartialClips``).

        skeleton: see ``mirrored``; images count as clips below.
        Takes the eigenvectors of their covariance, which is summed up in parts: D numbers squared are less than the
        clips where those are many, and float64 leaves room for the squares. Fewer clips than D vary in the space that
        they span: there it takes those of their products with each other.
        Raises: ``ValueError`` for a number of components below 1 or not below count and D, for numbers that are not
        finite, and where the components leave nothing to the noise, so that densities have no bound.
        """
        if skeleton is not None:
            clips = torch.cat([clips, mirrored(clips, skeleton)])
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
        """The same axes with as much noise and freedom as make other clips most probable, those of people that it was
        not fitted to: they differ in more ways than the training clips showed, and not all of them as much. What it
        says of gaps is then less sure and nearer to the truth. Never less noise than it had. The clips stay with it as
        witnesses: people differ most in what components of others do not hold, and noise that is the same everywhere is
        too little for the middle of long gaps, several times on CMU.

        Raises ``ValueError`` without clips, and for numbers that are not finite.
        """
        if not len(clips):
            raise ValueError("there are no clips to calibrate by")
        if not clips.isfinite().all():
            raise ValueError("clips hold numbers that are not finite")
        power = _peak(lambda power: self._noisier(power)._freed(clips)[1], *NOISE)
        return replace(self._noisier(power)._freed(clips)[0], witnesses=clips)

    def _noisier(self, power: float) -> LinearPrior:
        return replace(self, noise_variance=10**power * self.noise_variance)

    def _freed(self, clips: Tensor) -> tuple[LinearPrior, float]:
        """With the freedom under which clips are most probable, and how probable they are then."""
        distances, log_det = self._distances(clips)

        def score(freedom: float) -> float:
            return _log_density(distances, log_det, len(self.loadings), freedom).mean().item()

        best = max(10 ** _peak(lambda power: score(10**power), *FREEDOM), math.inf, key=score)
        return replace(self, freedom=best), score(best)

    def to(self, device: str | torch.device) -> LinearPrior:
        """The same distribution on another device."""
        tensors = {name: getattr(self, name).to(device) for name in ("mean", "loadings", "noise_variance")}
        return replace(self, **tensors, witnesses=None if self.witnesses is None else self.witnesses.to(device))

    def log_prob(self, clips: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch"]:
        """Log-density of each clip [nats; lengths in metres]."""
        return _log_density(*self._distances(clips), len(self.loadings), self.freedom).to(clips.dtype)

    def _distances(self, clips: Tensor) -> tuple[Float[Tensor, "batch"], Float[Tensor, ""]]:
        """Squared distance of each clip from the mean, measured by S, and the logarithm of S's determinant."""
        self._check(clips)
        loadings, noise = self.loadings.double(), self.noise_variance.double()
        size, num_components = loadings.shape
        root = torch.linalg.cholesky(_precision(loadings.t() @ loadings, noise))
        log_det = (size - num_components) * noise.log() + 2 * root.diagonal().log().sum()
        # Woodbury's identity, as the noise and the latent of least squares: a difference of squares would cancel.
        squares = []
        for part in clips.split(max(1, CHUNK // size)):
            away = (part.double() - self.mean.double()).flatten(1)
            latent = torch.cholesky_solve(loadings.t() @ away.t(), root)
            squares.append((away - (loadings @ latent).t()).square().sum(1) / noise + latent.square().sum(0))
        return torch.cat(squares), log_det

    def latents(self, clips: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch components"]:
        """What to expect of z given each clip: its principal components, the largest first, each in units of its own
        standard deviation and a little shrunk by the noise.

        Source: Tipping and Bishop 1999, section 3.3.
        """
        self._check(clips)
        loadings, noise = self.loadings.double(), self.noise_variance.double()
        root = torch.linalg.cholesky(_precision(loadings.t() @ loadings, noise))
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
        if math.isfinite(self.freedom):
            even = torch.rand(count, 1, generator=generator, dtype=torch.float64, device=self.mean.device)
            scale = self.freedom / torch.from_numpy(chi2.ppf(even.cpu().numpy(), self.freedom))
            away = away * scale.sqrt().to(away)
        return self.mean + away.view(count, *self.mean.shape)

    def given(
        self, clips: Float[Tensor, "batch frames joints 3"], is_seen: Bool[Tensor, "batch frames joints 3"]
    ) -> tuple[Float[Tensor, "batch frames joints 3"], Float[Tensor, "batch frames joints 3"]]:
        """Mean and variance of clips of which some numbers are seen; these are returned as they came, with variance 0.

        Values of ``clips`` that are not seen have no influence; they may be NaN. Where there are witnesses, variances
        stand a third of the way, in logarithms, from the distribution's own to those with which its squared errors on
        them agree. With the latter, what it and others say together is worse for people who move more like those of
        training than the witnesses do (joints of the embedded sample by a tenth), and no better for others (CMU; both
        without mirror images).
        """
        self._check(clips)
        loadings, noise, center = self.loadings.double(), self.noise_variance.double(), self.mean.double().flatten()
        whole = loadings.t() @ loadings
        mean = clips.clone(memory_format=torch.contiguous_format)
        variance = torch.zeros_like(mean)
        known = mean[:0] if self.witnesses is None else self.witnesses
        witnesses = known.flatten(1).double() - center
        for clip, seen, its_mean, its_variance in zip(clips, is_seen, mean, variance, strict=True):
            seen = seen.flatten()
            if seen.all():
                continue
            shown, hidden = loadings[seen], loadings[~seen]
            # the product over all numbers less that over the lost ones costs less where few are lost
            products = shown.t() @ shown if len(shown) < len(hidden) else whole - hidden.t() @ hidden
            root = torch.linalg.cholesky(_precision(products, noise))
            away = torch.cat([clip.flatten()[seen].double()[None] - center[seen], witnesses[:, seen]])
            latents = torch.cholesky_solve((away @ shown).t(), root).t()
            expected = latents @ hidden.t()
            spread = torch.linalg.solve_triangular(root, hidden.t(), upper=False)
            open_variance = noise * (1 + torch.linalg.vector_norm(spread, dim=0).square())
            scales = torch.ones(len(away), dtype=away.dtype, device=away.device)
            if math.isfinite(self.freedom):
                distances = (away - latents @ shown.t()).square().sum(1) / noise + latents.square().sum(1)
                scales = (self.freedom + distances) / (self.freedom + len(shown) - 2)
            wrong = 1.0
            if len(witnesses):
                squares = (witnesses[:, ~seen] - expected[1:]).square().sum(1)
                ratios = squares / (scales[1:] * open_variance.sum())
                wrong = (TRUST * ratios.clamp_min(LEAST_RATIO).log().mean()).exp()
            its_mean.view(-1)[~seen] = (center[~seen] + expected[0]).to(clips.dtype)
            its_variance.view(-1)[~seen] = (wrong * scales[0] * open_variance).to(clips.dtype)
        return mean, variance

    def _check(self, clips: Tensor) -> None:
        frames, joints, _ = self.mean.shape
        if clips.shape[1:] != self.mean.shape:
            raise ValueError(f"clips have shape {tuple(clips.shape)}; expected (batch, {frames}, {joints}, 3)")


def _precision(products: Float[Tensor, "components components"], noise: Tensor) -> Tensor:
    """That of the latent given numbers whose loadings have these products, times the variance of the noise."""
    return products + noise * torch.eye(len(products), dtype=products.dtype, device=products.device)


def _log_density(distances: Tensor, log_det: Tensor, size: int, freedom: float) -> Float[Tensor, "batch"]:
    """Of points of so many dimensions at squared distances from the mean."""
    if math.isinf(freedom):
        return -0.5 * (distances + log_det + size * math.log(2 * math.pi))
    whole = math.lgamma((freedom + size) / 2) - math.lgamma(freedom / 2) - size / 2 * math.log(freedom * math.pi)
    return whole - 0.5 * log_det - (freedom + size) / 2 * (distances / freedom).log1p()


def _peak(height: Callable[[float], float], low: float, high: float) -> float:
    """Where a function is highest: the best of some places, then golden sections around it."""
    step = (high - low) / (SEARCH_PLACES - 1)
    best = max((low + step * place for place in range(SEARCH_PLACES)), key=height)
    low, high = max(low, best - step), min(high, best + step)
    for _ in range(SEARCH_STEPS):
        one, other = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        if height(one) < height(other):
            low = one
        else:
            high = other
    return (low + high) / 2
