"""What variational models of clips share: the bound on the evidence that they are trained by, and the density of
latents by which a clip is judged."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motionkit.models.clip_gaussian import ClipGaussian
from motionkit.models.gaussian import Gaussian


@dataclass(frozen=True)
class Inference:
    """What a model makes of clips: its latents from the top down, and the clips they stand for.

    posteriors, priors, latents: one a level, each (nodes, batch, features).
    output: the clips given the latents; ``None`` where it was not asked for.
    off_levels: levels whose latent is not drawn but a mean: they count neither in the bound nor in densities.
    """

    posteriors: list[Gaussian]
    priors: list[Gaussian]
    latents: list[Tensor]
    output: ClipGaussian | None
    off_levels: Collection[int] = ()


def elbo_loss(
    seen: Inference,
    clips: Float[Tensor, "batch frames joints 3"],
    kl_weight: float = 1.0,
) -> dict[str, Tensor]:
    """``"loss"`` = ``kl_weight`` KL - log-likelihood in nats a clip, and, detached, its parts: ``"log_likelihood"``,
    ``"kl"``, that of each level ``"kl/0"`` ... from the top down, ``"kl_weight"`` and ``"mse"``, the squared error
    summed over a clip [m^2].

    The divergence of levels that are off is told and not counted.
    Source: paper 4, Eq. 1 and section 4.
    """
    log_likelihood = seen.output.log_prob(clips).mean()
    levels = zip(seen.posteriors, seen.priors, strict=True)
    parts = [posterior.divergence_from(prior).sum((0, 2)).mean() for posterior, prior in levels]
    counted = [part for number, part in enumerate(parts) if number not in seen.off_levels]
    kl = torch.stack(counted).sum() if counted else torch.zeros_like(parts[0])
    told = {f"kl/{number}": part.detach() for number, part in enumerate(parts)}
    mse = (seen.output.mean.detach() - clips).square().flatten(1).sum(1).mean()
    told |= {"log_likelihood": log_likelihood.detach(), "kl": kl.detach(), "mse": mse}
    return {"loss": kl_weight * kl - log_likelihood, "kl_weight": torch.tensor(kl_weight)} | told


class ClipVAE(nn.Module):
    """What variational models of clips train by; they have ``infer``, and a ``config`` with ``kl_start``, the weight of
    the divergence at first, and ``kl_steps``, the step from which it is 1."""

    def loss(self, batch: Tensor | Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """See ``elbo_loss``. batch: see ``parts_of``."""
        clips, shown, classes = parts_of(batch)
        return elbo_loss(self.infer(shown, classes), clips, self.kl_weight(step))

    def kl_weight(self, step: int) -> float:
        """Weight of the divergence at this step."""
        return warm_up(self.config.kl_start, 1.0, self.config.kl_steps, step)


def parts_of(batch: Tensor | Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
    """Clips, what the encoder is shown of them, and classes or ``None``, of a batch: clips (B, T, J, 3) alone, or
    ``{"clips": clips, "input": clips with gaps filled in somehow, "classes": (B,) int64}``, all but the first optional.

    With another input the bound still is one: it holds for whatever distribution the latents are drawn from. A model
    trained so learns to tell latents from what is left of a clip (a denoising criterion; Im and others 2017).
    """
    if isinstance(batch, Tensor):
        return batch, batch, None
    return batch["clips"], batch.get("input", batch["clips"]), batch.get("classes")


def warm_up(start: float, end: float, steps: int, step: int) -> float:
    """The weight at a step: from ``start`` to ``end`` in a line, which it reaches at step ``steps``."""
    return start + (end - start) * min(1.0, step / steps)


def log_posterior(seen: Inference) -> Float[Tensor, "levels batch"]:
    """The paper's log p(z|x), level by level (add them up): log-density [nats] of a posterior's mean under its prior.

    It depends on the draws by which the priors were conditioned: average over several.
    Levels that are off have 0.
    Source: sections 5.3 and 6, which do not define it; as the public program has it.
    """
    levels = zip(seen.posteriors, seen.priors, strict=True)
    parts = [prior.log_prob(posterior.mean).sum((0, 2)) for posterior, prior in levels]
    return torch.stack([part * (number not in seen.off_levels) for number, part in enumerate(parts)])


def log_evidence(seen: Inference, clips: Float[Tensor, "batch frames joints 3"]) -> Float[Tensor, "batch"]:
    """log p(x|z) + log p(z) - log q(z|x) at the draws [nats]: its mean over draws is at most the log-density of the
    clip, the logarithm of the mean of its exponential comes closer (importance weights)."""
    levels = enumerate(zip(seen.latents, seen.priors, seen.posteriors, strict=True))
    costs = [(p.log_prob(z) - q.log_prob(z)).sum((0, 2)) for level, (z, p, q) in levels if level not in seen.off_levels]
    return seen.output.log_prob(clips) + sum(costs)
