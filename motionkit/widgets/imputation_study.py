"""What an imputation explorer computes and changes, without its controls: what is missing, what a model puts there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from motionkit.data.clip import MotionClip
from motionkit.data.masks import PATTERNS
from motionkit.data.windows import Windows
from motionkit.fitting.surroundings import seeded
from motionkit.metrics.position import MM_PER_M
from motionkit.models.elbo import log_posterior
from motionkit.models.fillers import Given, bridged, plain_fillers, remembered
from motionkit.models.imputation import WIDER, MotionPrior, draw_imputations, impute, impute_map
from motionkit.models.linear_prior import LinearPrior

METHODS = ("fill", "ascent")
NUM_DRAWS = 16  # of which the spread is taken: it is then off by a fifth

Cell = tuple[int, int]  # joint, frame


class Occlusion:
    """Which numbers of a clip are seen, and how that came about: every change can be taken back.

    is_seen: as it is now.
    """

    def __init__(self, num_frames: int, num_joints: int) -> None:
        self.is_seen = torch.ones(num_frames, num_joints, 3, dtype=torch.bool)
        self._before: list[Tensor] = []

    @property
    def missing(self) -> list[list[int]]:
        """[joint][frame]: how many of the three coordinates are missing."""
        return (~self.is_seen).sum(-1).t().tolist()

    @property
    def can_undo(self) -> bool:
        return bool(self._before)

    def paint(self, cells: Iterable[Cell], is_missing: bool) -> None:
        """Take joints away in frames, or give them back."""
        is_seen = self.is_seen.clone()
        for joint, frame in cells:
            is_seen[frame, joint] = not is_missing
        self._change(is_seen)

    def draw(self, pattern: str, share: float, generator: torch.Generator) -> None:
        """A pattern of ``motionkit.data.masks`` in place of what is missing now."""
        self._change(PATTERNS[pattern]((1, *self.is_seen.shape), share, generator)[0])

    def clear(self) -> None:
        """Give everything back."""
        self._change(torch.ones_like(self.is_seen))

    def undo(self) -> None:
        """Take back the last change, if there is one."""
        if self._before:
            self.is_seen = self._before.pop()

    def _change(self, is_seen: Tensor) -> None:
        if not torch.equal(is_seen, self.is_seen):
            self._before.append(self.is_seen)
            self.is_seen = is_seen


@dataclass(frozen=True)
class Setting:
    """What is filled, and how.

    start: one of the study's ``starts``. method: one of ``METHODS``; with 0 steps the start stays.
    """

    window: int
    start: str
    method: str
    num_steps: int


@dataclass(frozen=True)
class Filling:
    """One clip before and after, each (frames, joints, 3) in metres.

    kept_step: which step of the ascent was the best one; ``None`` for the other method.
    """

    truth: Float[Tensor, "frames joints 3"]
    is_seen: Bool[Tensor, "frames joints 3"]
    start: Float[Tensor, "frames joints 3"]
    filled: Float[Tensor, "frames joints 3"]
    kept_step: int | None = None

    @property
    def is_lost(self) -> Bool[Tensor, "frames joints"]:
        """Which joints lack a coordinate or more."""
        return ~self.is_seen.all(-1)

    def rmse_mm(self, clip: Float[Tensor, "frames joints 3"]) -> float:
        """Root of the mean squared error of the missing numbers in millimetres; NaN where none is missing."""
        return MM_PER_M * F.mse_loss(clip[~self.is_seen], self.truth[~self.is_seen]).sqrt().item()


class ImputationStudy:
    """What a model makes of windows of which something is missing. ``linear`` may be ``None``, ``classes`` too.

    Raises ``ValueError`` without windows, and for leftovers, a mean or classes that do not fit them.
    """

    def __init__(
        self,
        windows: Windows,
        model: MotionPrior,
        leftovers: Float[Tensor, "..."],
        mean: Float[Tensor, "..."],
        linear: LinearPrior | None = None,
        classes: Int[Tensor, "..."] | None = None,
        seed: int = 0,
    ) -> None:
        if len(windows) == 0:
            raise ValueError("there are no windows to explore")
        shape = windows.positions.shape[1:]
        for name, values in (("leftovers", leftovers), ("mean", mean)):
            if values.shape != shape:
                raise ValueError(f"{name} has shape {tuple(values.shape)}, windows {tuple(shape)}: make them equal")
        if classes is not None and classes.shape != (len(windows),):
            raise ValueError(f"classes have shape {tuple(classes.shape)}, and there are {len(windows)} windows")
        self.windows, self.model, self.seed = windows, model, seed
        self._given = {} if linear is None else _expectations(linear.to("cpu"), mean.cpu())
        self._fillers = plain_fillers(mean.cpu(), self._given)
        self._device = next(iter(model.parameters())).device
        self._leftovers = leftovers.to(self._device)
        self._classes = None if classes is None else classes.to(self._device)

    @property
    def starts(self) -> tuple[str, ...]:
        """Names of the first guesses: the ``plain_fillers``."""
        return tuple(self._fillers)

    def truth(self, window: int) -> Float[Tensor, "1 frames joints 3"]:
        return self.windows.positions[window : window + 1]

    def label(self, window: int) -> str:
        """The window's clip and the second at which it starts there."""
        start_s = float(self.windows.start[window]) / self.windows.fps
        return f"{self.windows.clip(window).name or 'clip'} from {start_s:.1f} s"

    @torch.no_grad()
    def start(
        self, window: int, start: str, is_seen: Bool[Tensor, "frames joints 3"]
    ) -> Float[Tensor, "1 frames joints 3"]:
        """The first guess."""
        return self._fillers[start](self.truth(window), is_seen[None])

    def fill(self, setting: Setting, is_seen: Bool[Tensor, "frames joints 3"]) -> Filling:
        """The clip with what the method puts where it is not seen."""
        clips, mask, start, variance, classes = self._asked(setting, is_seen)
        if setting.method == "ascent":
            found = impute_map(self.model, clips, mask, start, num_steps=setting.num_steps, classes=classes)
            filled, kept = found.clips, int(found.steps)
        else:
            filled, kept = impute(self.model, clips, mask, start, self._leftovers, start_variance=variance,
                                  num_steps=setting.num_steps, classes=classes), None  # fmt: skip
        return Filling(clips[0].cpu(), is_seen, start[0].cpu(), filled[0].cpu(), kept)

    def spread(
        self, setting: Setting, is_seen: Bool[Tensor, "frames joints 3"]
    ) -> Float[Tensor, "frames joints 3"] | None:
        """Standard deviation in metres of what could as well be there, 0 where seen: of draws, which a start without a
        step gives too if it knows its variance. ``None`` for other starts, and for the ascent, which finds one clip
        alone."""
        if setting.num_steps == 0 and setting.start in self._given:
            variance = self._given[setting.start](self.truth(setting.window), is_seen[None])[1][0]
            return (WIDER * variance).sqrt()
        if setting.num_steps == 0 or setting.method == "ascent":
            return None
        clips, mask, start, variance, classes = self._asked(setting, is_seen)
        with seeded(self._device, self.seed):
            drawn = draw_imputations(self.model, clips, mask, start, self._leftovers, num_draws=NUM_DRAWS,
                                     start_variance=variance, num_steps=setting.num_steps, classes=classes)  # fmt: skip
        return drawn[:, 0].std(0).cpu()

    @torch.no_grad()
    def scores(self, window: int, clips: Sequence[Float[Tensor, "frames joints 3"]]) -> Float[Tensor, "levels clips"]:
        """log p(z|x) [nats] of each level at the posteriors' means, of clips of this window's class; see
        ``log_posterior``."""
        stacked = torch.stack(list(clips)).to(self._device)
        classes = None if self._classes is None else self._classes[window].expand(len(stacked))
        return log_posterior(self.model.infer(stacked, classes, is_drawn=False, has_output=False)).cpu()

    def generate(self, temperatures: Sequence[float], seed: int, label: int | None = None) -> MotionClip:
        """A new clip, of a model that has a prior to draw from; see ``HGVAE.generate``."""
        with seeded(self._device, seed):
            z0 = self.model.sample_top(1)
            classes = None if label is None else torch.tensor([label], device=z0.device)
            clips = self.model.generate(z0, classes, temperatures=temperatures).mean
        return self.clip_of(clips[0].cpu(), f"generated, seed {seed}")

    def clip_of(self, positions: Float[Tensor, "frames joints 3"], name: str) -> MotionClip:
        """Positions as a clip with the windows' skeleton and frame rate."""
        return MotionClip(positions.numpy(), self.windows.fps, self.windows.skeleton, name=name)

    def _asked(self, setting: Setting, is_seen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """Clips, mask, start and its variance if it has one, and classes, each of one clip, where the model is."""
        start, variance = self.start(setting.window, setting.start, is_seen), None
        if setting.start in self._given:
            variance = self._given[setting.start](self.truth(setting.window), is_seen[None])[1].to(self._device)
        classes = None if self._classes is None else self._classes[setting.window : setting.window + 1]
        clips = self.truth(setting.window).to(self._device)
        return clips, is_seen[None].to(self._device), start.to(self._device), variance, classes


def _expectations(linear: LinearPrior, mean: Float[Tensor, "frames joints 3"]) -> dict[str, Given]:
    """What a linear model expects and, where it was calibrated, what it and the bridged mean clip say together."""
    given = {"linear": remembered(linear.given)}
    if linear.witnesses is not None:
        given["no network"] = remembered(bridged(given["linear"], mean, linear.witnesses))
    return given
