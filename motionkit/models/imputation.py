"""What is missing of clips, filled in by a generative model of motion: any pattern, a pattern a clip, and what was seen
stays as it is, bit for bit.

``impute_map`` is the published procedure: gradient ascent of the missing numbers on log p(z|x). ``impute`` needs no
gradient: it takes what the model makes of a clip, and carries what is left over of the seen numbers across the gaps;
both are repeated with the clip so filled. ``draw_imputations`` does so with draws instead of means. All of them ask the
model in eval mode, and leave it as it was.

Source: paper 4 (HG-VAE), sections 5.3 and 6, appendix B; draws: Rezende and others 2014, appendix F.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from motionkit.fitting.surroundings import eval_mode
from motionkit.models.clip_gaussian import Bridge, ClipGaussian
from motionkit.models.clip_spectra import own_spectra
from motionkit.models.elbo import Inference, log_posterior
from motionkit.models.opinions import share_of_second, spread_of_draws
from motionkit.representation.dct import dct

# clips, or draws of them, that are filled at once: each of their matrices, frames squared a coordinate, has 35 MB at
# most at 50 frames. With 128 a processor took up to 1.6 times as long (half of the frames lost). Other devices have no
# such caches to leave, and more to do at once: they are given eight times as many
CHUNK = 32
# times as much is left over, squared, in gaps as beside them, when a model's opinion is weighed: measured .8 in short
# ones and 3 to 14 in long ones
UNSEEN = 2.0
# how far draws vary where a start has a variance: errors in gaps are, squared, so many times what it says, measured .7
# to 6, least where single numbers are lost; a model's are no less, however little it leaves over where it sees
WIDER = 1.5
# passes in which spectra of clips are looked up: of a poor start a model leaves over too much at first, and a second
# step is worth up to .3 % of the error anyway
SETTLED = 2
SMALLEST_DEVIATION_M = 1e-4  # of a coefficient: leftovers below it are noise of the recording


@runtime_checkable
class Reconstructing(Protocol):
    """What ``impute`` needs of a model: the clips it makes of clips."""

    def reconstruct(
        self, clips: Float[Tensor, "batch frames joints 3"], classes: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch frames joints 3"]: ...


@runtime_checkable
class MotionPrior(Reconstructing, Protocol):
    """What draws and the ascent need of a model besides, such as ``HGVAE``."""

    def infer(
        self,
        clips: Float[Tensor, "batch frames joints 3"],
        classes: Int[Tensor, "batch"] | None = None,
        *,
        is_drawn: bool = True,
        has_output: bool = True,
    ) -> Inference: ...


@dataclass(frozen=True)
class Imputation:
    """clips: (batch, frames, joints, 3) in metres, seen numbers as they came. score: (batch,) log p(z|x) [nats], of
    the step that was kept. steps: (batch,) which step that was; 0 is the start."""

    clips: Float[Tensor, "batch frames joints 3"]
    score: Float[Tensor, "batch"]
    steps: Int[Tensor, "batch"]


@torch.no_grad()
def leftovers_of(
    model: Reconstructing, clips: Float[Tensor, "count frames joints 3"], classes: Int[Tensor, "count"] | None = None
) -> Float[Tensor, "frames joints 3"]:
    """Log-variance of the cosine coefficients of what reconstructions leave over [log m^2], for each coordinate.

    clips: complete ones, not those of training, whose leftovers are smaller and of other frequencies.
    Raises ``ValueError`` without clips.
    """
    if not len(clips):
        raise ValueError("there are no clips whose leftovers could be measured")
    with eval_mode(model):
        squares = [
            dct((part - model.reconstruct(part, labels)).movedim(1, -1)).square().sum(0)
            for part, labels in in_chunks(clips, classes)
        ]
    mean = torch.stack(squares).sum(0).movedim(-1, 0) / len(clips)
    return mean.clamp_min(SMALLEST_DEVIATION_M**2).log()


@torch.no_grad()
def impute(
    model: Reconstructing,
    clips: Float[Tensor, "batch frames joints 3"],
    is_seen: Bool[Tensor, "batch frames joints 3"],
    start: Float[Tensor, "batch frames joints 3"],
    leftovers: Float[Tensor, "frames joints 3"],
    *,
    start_variance: Float[Tensor, "batch frames joints 3"] | None = None,
    num_steps: int = 10,
    classes: Int[Tensor, "batch"] | None = None,
) -> Float[Tensor, "batch frames joints 3"]:
    """The clips with every number that is not seen filled in.

    start: the first guess there, e.g. by ``interpolate_gaps`` or ``bridged``; values that are not seen of
        ``clips`` have no influence and may be NaN.
    leftovers: of ``leftovers_of``. How much more or less is left over of each clip is looked up where it is seen
        (``own_spectra``), in the first ``SETTLED`` passes, and ``UNSEEN`` times as much is expected in its gaps.
    num_steps: passes through the model; with 0 the start comes back.
    start_variance: how far off the start may be [m^2], e.g. by ``bridged``: with it the start is a second
        opinion, and each pass ends at the mean of both, weighed by their variances and by what both must miss;
        without, it is where they begin.
    Raises: ``ValueError`` for a start, its variance or a mask of another shape, and where a seen number is not finite.
    """
    _check(clips, is_seen, start, start_variance)
    filled, leftovers = [], leftovers.to(clips.device)
    with eval_mode(model):
        for part, seen, begun, variance, labels in in_chunks(clips, is_seen, start, start_variance, classes):
            guess, bridge, share = _settled(model, part, seen, begun, leftovers, variance, num_steps, labels)
            for _ in range(SETTLED, num_steps):
                guess = _agreed(seen, begun, bridge(part, model.reconstruct(guess, labels)), share)
            filled.append(guess)
    return torch.cat(filled)


@torch.no_grad()
def draw_imputations(
    model: MotionPrior,
    clips: Float[Tensor, "batch frames joints 3"],
    is_seen: Bool[Tensor, "batch frames joints 3"],
    start: Float[Tensor, "batch frames joints 3"],
    leftovers: Float[Tensor, "frames joints 3"],
    *,
    num_draws: int,
    start_variance: Float[Tensor, "batch frames joints 3"] | None = None,
    num_steps: int = 10,
    classes: Int[Tensor, "batch"] | None = None,
) -> Float[Tensor, "draws batch frames joints 3"]:
    """As ``impute``, with latents and leftovers drawn: each draw is the end of a chain of ``num_steps`` of its own.
    Spectra are looked up before the first, in as many passes as there.

    With the start's variance the start is drawn too, a deviate for each coordinate and none of its own for a frame, so
    that draws are as smooth as starts are, and what comes out is stretched: both opinions are taken to err by ``WIDER``
    times that variance, so that it says how far draws vary, besides what drawn latents add, and leftovers say only how.
    A start that knows nothing has draws that know nothing; leave its variance out. Chains then converge to draws of the
    model's distribution of clips given the seen numbers as far as the encoder's posterior is the true one.

    The noise is of torch's global generator.
    Raises: as ``impute``, and ``ValueError`` for less than 1 draw.
    """
    if num_draws < 1:
        raise ValueError(f"num_draws must be at least 1, got {num_draws}")
    _check(clips, is_seen, start, start_variance)
    parts, leftovers = [], leftovers.to(clips.device)
    with eval_mode(model):
        for part, seen, begun, variance, labels in in_chunks(clips, is_seen, start, start_variance, classes):
            _, bridge, share = _settled(model, part, seen, begun, leftovers, variance, num_steps, labels)
            log_var = (bridge.log_var + math.log(UNSEEN)).expand_as(part)
            if variance is not None and num_steps > 0:
                wider = spread_of_draws(variance, UNSEEN * bridge.variance, WIDER * variance)
            else:
                wider = math.sqrt(WIDER)
            chains = []
            for count in _at_once(num_draws, part):
                expected, away = begun, part.new_zeros(count, *part.shape)
                if variance is not None:
                    away = variance.sqrt() * torch.randn_like(away[:, :, :1])
                from_start, guess = away, torch.where(seen, part, begun + away)
                for _ in range(num_steps):
                    made = _drawn(model, guess, labels)
                    # around a draw of the whole clip, what the seen numbers say of the others is a draw too
                    around = ClipGaussian(made.flatten(0, 1), log_var.repeat(count, 1, 1, 1), is_spectral=True).sample()
                    modeled = bridge(part, made)
                    expected = _agreed(seen, begun, modeled, share)
                    # how far the draw is from what is expected
                    away = _agreed(seen, from_start, bridge(part, around.view_as(made)) - modeled, share)
                    guess = torch.where(seen, part, expected + away)
                if variance is not None:
                    guess = torch.where(seen, part, expected + wider * away)
                chains.append(guess)
            parts.append(torch.cat(chains))
    return torch.cat(parts, 1)


def impute_map(
    model: MotionPrior,
    clips: Float[Tensor, "batch frames joints 3"],
    is_seen: Bool[Tensor, "batch frames joints 3"],
    start: Float[Tensor, "batch frames joints 3"],
    *,
    num_steps: int = 10,
    lr: float = 1e-2,
    classes: Int[Tensor, "batch"] | None = None,
    score: Callable[[Inference], Float[Tensor, "batch"]] | None = None,
) -> Imputation:
    """The published procedure: Adam on the missing numbers alone, up log p(z|x), the best step of each clip kept.

    lr: in metres a step; the paper's 1.0 is in the public program's millimetres and too small to arrive in 10 steps.
    score: another function of what the model makes of the clips; it must not need the output.
    Differs: the posteriors' means are taken instead of draws, so that the best step is not the luckiest one; weights
    get no gradient, and the output is not computed.
    Raises: as ``impute``.
    """
    _check(clips, is_seen, start)
    score = score or (lambda seen: log_posterior(seen).sum(0))
    kept = [
        _ascend(model, part, seen, guess, labels, num_steps, lr, score)
        for part, seen, guess, labels in in_chunks(clips, is_seen, start, classes)
    ]
    return Imputation(*(torch.cat(parts) for parts in zip(*kept, strict=True)))


def _ascend(model, clips, is_seen, start, classes, num_steps, lr, score) -> tuple[Tensor, Tensor, Tensor]:
    filled = torch.where(is_seen, clips, start)
    missing = torch.where(is_seen, 0.0, start).requires_grad_()  # full size: a gradient that is masked costs nothing
    optimizer = torch.optim.Adam([missing], lr=lr)
    best, best_score = filled, torch.full((len(clips),), -torch.inf).to(clips)
    best_step = torch.zeros(len(clips), dtype=torch.int64, device=clips.device)
    with eval_mode(model), _frozen(model):
        for step in range(num_steps + 1):
            filled = torch.where(is_seen, clips, missing)
            value = score(model.infer(filled, classes, is_drawn=False, has_output=False))
            is_better = value.detach() > best_score
            best = torch.where(is_better[:, None, None, None], filled.detach(), best)
            best_score = torch.where(is_better, value.detach(), best_score)
            best_step = torch.where(is_better, step, best_step)
            if step < num_steps:
                (missing.grad,) = torch.autograd.grad(-value.sum(), missing)
                optimizer.step()
    return best, best_score, best_step


class _frozen:
    """Weights without gradients, which half of the backward pass is otherwise spent on."""

    def __init__(self, model) -> None:
        self.parameters = [p for p in model.parameters() if p.requires_grad]

    def __enter__(self) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def __exit__(self, *_) -> None:
        for parameter in self.parameters:
            parameter.requires_grad_(True)


def _at_once(num_draws: int, clips: Tensor) -> list[int]:
    """How many draws to make side by side, again and again: as many as fill a chunk."""
    most = max(1, _chunk(clips) // max(1, len(clips)))
    return [min(most, num_draws - at) for at in range(0, num_draws, most)]


def _drawn(
    model: MotionPrior, clips: Float[Tensor, "draws batch frames joints 3"], classes: Tensor | None
) -> Float[Tensor, "draws batch frames joints 3"]:
    """Means of the model's output at draws of the latents, another one for each."""
    labels = None if classes is None else classes.repeat(len(clips))
    return model.infer(clips.flatten(0, 1), labels).output.mean.view_as(clips)


def _settled(
    model: Reconstructing,
    clips: Tensor,
    is_seen: Tensor,
    start: Tensor,
    leftovers: Tensor,
    variance: Tensor | None,
    num_steps: int,
    classes: Tensor | None,
) -> tuple[Tensor, Bridge, Tensor | None]:
    """The clips after the first passes, in which their spectra are looked up; the bridge over these; and the share that
    the model's opinion has in the mean of the start's and its own, ``None`` where the start has no variance and before
    the first pass."""
    guess, bridge, share = torch.where(is_seen, clips, start), Bridge.over(is_seen, leftovers[None]), None
    for _ in range(min(num_steps, SETTLED)):
        made = model.reconstruct(guess, classes)
        bridge = Bridge.over(is_seen, own_spectra(bridge, clips - made, leftovers))
        if variance is not None:
            share = share_of_second(variance, UNSEEN * bridge.variance)
        guess = _agreed(is_seen, start, bridge(clips, made), share)
    return guess, bridge, share


def _agreed(is_seen: Tensor, start: Tensor, modeled: Tensor, share: Tensor | None) -> Tensor:
    """Means of both opinions where nothing is seen."""
    return modeled if share is None else torch.where(is_seen, modeled, torch.lerp(start, modeled, share))


def in_chunks(*tensors: Tensor | None):
    """Parts of equally long tensors, side by side; ``None`` stays ``None``."""
    size = _chunk(tensors[0])
    for at in range(0, max(1, len(tensors[0])), size):
        yield tuple(None if tensor is None else tensor[at : at + size] for tensor in tensors)


def _chunk(tensor: Tensor) -> int:
    return CHUNK if tensor.device.type == "cpu" else 8 * CHUNK


def _check(clips: Tensor, is_seen: Tensor, start: Tensor, start_variance: Tensor | None = None) -> None:
    for name, tensor in (("is_seen", is_seen), ("start", start), ("start_variance", start_variance)):
        if tensor is not None and tensor.shape != clips.shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, clips {tuple(clips.shape)}: make them equal")
    if bad := int((is_seen & ~clips.isfinite()).sum()):
        raise ValueError(f"{bad} numbers that are seen are not finite")
    if bad := int((~is_seen & ~start.isfinite()).sum()):
        raise ValueError(f"{bad} numbers of the start that are not seen are not finite")
