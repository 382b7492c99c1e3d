"""How usual a clip is to a generative model: the density of its latents, level by level, the evidence, and the density
of what reconstructions leave over.

All scores are log-densities in nats: the higher, the more usual. They compare clips of one shape under one model, and
none says "unusual" by itself: ``motionkit.metrics.detection`` sets thresholds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.fitting.surroundings import eval_mode, seeded
from motionkit.models.clip_gaussian import ClipGaussian
from motionkit.models.elbo import Inference, elbo_loss, log_evidence, log_posterior
from motionkit.models.imputation import Reconstructing

CHUNK = 256  # clips that are judged at once

POSTERIOR = "log p(z|x)"
EVIDENCE = "evidence"
LEFTOVERS = "leftovers"


@runtime_checkable
class LatentModel(Protocol):
    """What ``usual_scores`` needs of a model, such as ``HGVAE``: posteriors, priors, draws and the output of clips."""

    def infer(
        self,
        clips: Float[Tensor, "batch frames joints 3"],
        classes: Int[Tensor, "batch"] | None = None,
        *,
        is_drawn: bool = True,
    ) -> Inference: ...


@torch.no_grad()
def usual_scores(
    model: LatentModel,
    clips: Float[Tensor, "clips frames joints 3"],
    *,
    num_draws: int,
    seed: int,
    classes: Int[Tensor, "clips"] | None = None,
) -> dict[str, Float[Tensor, "clips"]]:
    """``"log p(z|x)"``, its parts ``"log p(z|x), level 0"`` and on from the top down, and ``"evidence"`` of each clip,
    in nats, lengths in metres.

    num_draws: of the latents. The parts are means over the draws. The evidence is log p(x) by importance sampling, the
        logarithm of the mean weight p(x, z) / q(z|x): too low on average, less so with more draws; with one it is the
        bound that models are trained by.
    seed: of the draws. Torch's global generators are left as they were, and so is the mode of the model, which is
        judged in eval mode.

    Raises ``ValueError`` for less than 1 draw.
    Source: ``log_posterior``; Burda and others 2016, Eq. 8.
    """
    if num_draws < 1:
        raise ValueError(f"num_draws is {num_draws}; it must be at least 1")
    parts = []
    with eval_mode(model):
        for number, (part, labels) in enumerate(_parts(clips, classes)):
            with seeded(clips.device, seed, number):
                parts.append(_scores(model, part, labels, num_draws))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@torch.no_grad()
def likelihoods(
    model: LatentModel, clips: Float[Tensor, "clips frames joints 3"], *, num_draws: int, seed: int
) -> dict[str, float]:
    """How well a model of clips knows others than those of its training: what Table 1 tells, and the evidence.

    "log(X)": mean log-likelihood of a clip given draws of its latents [nats]. "MSE": squared error of the output's mean
    summed over a clip [m^2]. "KL-Divergence": of posteriors from priors [nats]; "KL of z0" and on, by level. "log(X)"
    less the divergence is the bound; "evidence", of ``usual_scores``, is what it bounds.

    Raises ``ValueError`` without clips, and for less than 1 draw.
    Source: paper 4, Table 1, whose numbers fit lengths in metres.
    """
    if not len(clips):
        raise ValueError("there are no clips to judge")
    evidence = usual_scores(model, clips, num_draws=num_draws, seed=seed)[EVIDENCE].double().mean().item()
    sums: Counter[str] = Counter()
    with seeded(clips.device, seed), eval_mode(model):
        for part in clips.split(CHUNK):
            for _ in range(num_draws):
                parts = elbo_loss(model.infer(part), part)
                sums.update({name: parts[name].item() * len(part) / num_draws for name in parts})
    told = {"log(X)": "log_likelihood", "MSE": "mse", "KL-Divergence": "kl"}
    told |= {f"KL of z{name.removeprefix('kl/')}": name for name in sums if name.startswith("kl/")}
    return {shown: sums[name] / len(clips) for shown, name in told.items()} | {"evidence": evidence}


@torch.no_grad()
def posterior_of_means(
    model: LatentModel, clips: Float[Tensor, "clips frames joints 3"], classes: Int[Tensor, "clips"] | None = None
) -> Float[Tensor, "levels clips"]:
    """log p(z|x) [nats] of each level at the posteriors' means, not at draws: the same each time, and in one pass."""
    with eval_mode(model):
        return torch.cat([
            log_posterior(model.infer(part, labels, is_drawn=False)) for part, labels in _parts(clips, classes)
        ], 1)  # fmt: skip


@torch.no_grad()
def leftover_scores(
    model: Reconstructing,
    clips: Float[Tensor, "clips frames joints 3"],
    leftovers: Float[Tensor, "frames joints 3"],
    classes: Int[Tensor, "clips"] | None = None,
) -> Float[Tensor, "clips"]:
    """Log-density [nats; lengths in metres] of what reconstructions leave over, if it varies in time as on calibration
    clips: what is fast where leftovers are slow is improbable, however small.

    leftovers: of ``motionkit.models.imputation.leftovers_of``.
    """
    with eval_mode(model):
        return torch.cat([
            ClipGaussian(model.reconstruct(part, labels), leftovers.expand(part.shape).to(part), is_spectral=True)
            .log_prob(part)
            for part, labels in _parts(clips, classes)
        ])  # fmt: skip


def _parts(clips: Tensor, classes: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    for start in range(0, max(1, len(clips)), CHUNK):
        at = slice(start, start + CHUNK)
        yield clips[at], None if classes is None else classes[at]


def _scores(model: LatentModel, clips: Tensor, classes: Tensor | None, num_draws: int) -> dict[str, Tensor]:
    levels, weights = [], []
    for _ in range(num_draws):
        seen = model.infer(clips, classes)
        levels.append(log_posterior(seen).double())
        weights.append(log_evidence(seen, clips).double())
    mean = torch.stack(levels).mean(0)
    evidence = torch.stack(weights).logsumexp(0) - math.log(num_draws)
    scores = {POSTERIOR: mean.sum(0)} | {f"{POSTERIOR}, level {number}": part for number, part in enumerate(mean)}
    return {name: values.to(clips.dtype) for name, values in (scores | {EVIDENCE: evidence}).items()}
