"""Windows: fixed-length cuts of clips, splits of clips into training and test, and batches of windows.

What stays on the device is joint positions, never pictures (64 frames x 31 joints are 24 kB; their heatmaps are tens
of MB): a batch is one gather from the resident tensor, and a ``transform`` makes heatmaps, noise or views from it.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline
from torch import Tensor

from motionkit.data.clip import MotionClip
from motionkit.data.gaps import bridge_gaps
from motionkit.data.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Windows:
    """Equally long cuts of clips that share one skeleton and one frame rate.

    positions: (windows, frames, joints, 3) float32, metres, Y up.
    confidence: (windows, frames, joints) float32 in [0, 1], or ``None`` when no clip has one.
    clip_index: (windows,) int64, which of ``clips`` a window was cut from.
    start: (windows,) int64, its first frame, counted at ``fps``.
    fps: frames per second of every window.
    clips: the clips as they were passed (labels, native frame rate, full length).
    too_short: names of the clips that gave no window.
    """

    positions: Float[Tensor, "windows frames joints 3"]
    confidence: Float[Tensor, "windows frames joints"] | None
    clip_index: Int[Tensor, "windows"]
    start: Int[Tensor, "windows"]
    fps: float
    skeleton: Skeleton
    clips: tuple[MotionClip, ...]
    too_short: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def num_frames(self) -> int:
        """Frames of one window."""
        return self.positions.shape[1]

    @property
    def is_observed(self) -> Bool[Tensor, "joints"]:
        """Joints that any window shows; the others stand between joints of another layout (``convert_joints``)."""
        shown = self.positions.new_ones(1, 1, self.skeleton.num_joints)
        return (shown if self.confidence is None else self.confidence).flatten(0, 1).gt(0).any(0)

    def clip(self, window: int) -> MotionClip:
        """The clip that a window was cut from."""
        return self.clips[int(self.clip_index[window])]


def cut_windows(clips: Sequence[MotionClip], *, length: int, stride: int, fps: float | None = None) -> Windows:
    """Cut clips into windows of ``length`` frames that start every ``stride`` frames; none crosses a clip's end.

    fps: resample every clip to this rate first (see `resample_clip`); ``None`` keeps the native rate, which must then
    be the same for all clips. ``length`` and ``stride`` count frames at the resulting rate.

    Clips shorter than a window are named in a warning and in ``Windows.too_short``.

    Raises ``ValueError`` when clips differ in skeleton or (without ``fps``) in frame rate, naming both; when no clip is
    long enough; when ``length`` or ``stride`` is below 1.
    """
    if length < 1 or stride < 1:
        raise ValueError(f"length and stride must be at least 1 frame; got length {length}, stride {stride}")
    if not clips:
        raise ValueError("there are no clips to cut windows from")
    _check_alike(clips, same_fps=fps is None)
    rate = clips[0].fps if fps is None else float(fps)
    resampled = clips if fps is None else [resample_clip(clip, rate) for clip in clips]
    counts = [max(0, (clip.num_frames - length) // stride + 1) for clip in resampled]
    too_short = tuple(clip.name for clip, count in zip(clips, counts, strict=True) if count == 0)
    if len(too_short) == len(clips):
        longest = max(resampled, key=lambda clip: clip.num_frames)
        raise ValueError(
            f"no clip has {length} frames at {rate:g} fps: the longest, {longest.name!r}, has {longest.num_frames}"
        )
    if too_short:
        shown = ", ".join(too_short[:8]) + (", ..." if len(too_short) > 8 else "")
        warnings.warn(
            f"{len(too_short)} of {len(clips)} clips are shorter than {length} frames at {rate:g} fps "
            f"and give no window: {shown}",
            stacklevel=2,
        )
    has_confidence = any(clip.confidence is not None for clip in clips)
    skeleton = clips[0].skeleton
    total = sum(counts)
    positions = torch.empty(total, length, skeleton.num_joints, 3)
    confidence = torch.ones(total, length, skeleton.num_joints) if has_confidence else None
    first = 0
    for clip, count in zip(resampled, counts, strict=True):
        rows = slice(first, first + count)
        positions[rows] = _cuts(clip.positions, length, stride)[:count]
        if confidence is not None and clip.confidence is not None:
            confidence[rows] = _cuts(clip.confidence, length, stride)[:count]
        first += count
    return Windows(
        positions=positions,
        confidence=confidence,
        clip_index=torch.repeat_interleave(torch.arange(len(clips)), torch.tensor(counts)),
        start=torch.cat([torch.arange(count) * stride for count in counts]),
        fps=rate,
        skeleton=skeleton,
        clips=tuple(clips),
        too_short=too_short,
    )


def thin(windows: Windows, max_windows: int) -> Windows:
    """At most ``max_windows`` of the windows, evenly spread over their order."""
    if max_windows < 1:
        raise ValueError(f"max_windows must be at least 1; got {max_windows}")
    if len(windows) <= max_windows:
        return windows
    return pick(windows, torch.linspace(0, len(windows) - 1, max_windows, dtype=torch.float64).round().long())


def pick(windows: Windows, which: Int[Tensor, "picked"]) -> Windows:
    """The windows of these numbers, in their order; the clips stay all."""
    confidence = None if windows.confidence is None else windows.confidence[which]
    parts = {"positions": windows.positions[which], "confidence": confidence}
    return replace(windows, **parts, clip_index=windows.clip_index[which], start=windows.start[which])


def _check_alike(clips: Sequence[MotionClip], *, same_fps: bool) -> None:
    first = clips[0]
    for clip in clips[1:]:
        if clip.skeleton != first.skeleton:
            raise ValueError(
                f"clips have different skeletons: {first.name!r} has {first.skeleton.name!r}, "
                f"{clip.name!r} has {clip.skeleton.name!r}; convert them to one first"
            )
        if same_fps and clip.fps != first.fps:
            raise ValueError(
                f"clips have different frame rates: {first.name!r} has {first.fps:g} fps, "
                f"{clip.name!r} has {clip.fps:g}; pass fps=... to resample them"
            )


def _cuts(values: np.ndarray, length: int, stride: int) -> Tensor:
    """All cuts of the leading axis as a view: (frames, ...) -> (cuts, length, ...); none when too short."""
    frames = torch.from_numpy(np.ascontiguousarray(values))
    if len(frames) < length:
        return frames.new_empty(0, length, *frames.shape[1:])
    return frames.unfold(0, length, stride).movedim(-1, 1)


def resample_clip(clip: MotionClip, fps: float) -> MotionClip:
    """The clip at another frame rate: its positions at the instants 0, 1/fps, 2/fps, ... up to its last frame.

    Where the native rate is a multiple of ``fps`` the frames are picked, bit for bit. Otherwise each coordinate is
    interpolated by a cubic spline through all frames: a sine of f Hz and amplitude A sampled at r Hz is then off by
    about A (2 pi f / r)^4 / 384 inside the clip (2 Hz, 10 cm, 30 fps: under 0.01 mm), where linear interpolation is
    off by A (2 pi f / r)^2 / 8 (2 mm) and shortens bones.

    There is no low-pass filter before a reduction: what the clip holds above ``fps / 2`` folds back, as in the usual
    20 or 30 fps versions of motion data sets. Body motion has almost nothing there; marker noise and impacts do.

    Unobserved joints (confidence 0) do not bend the spline: they are bridged linearly, and a resampled frame is as
    confident as the less confident of the two frames around it.

    Raises ``ValueError`` when ``fps`` is not within 1 to 1000 Hz (by `MotionClip`).
    """
    ratio = clip.fps / fps if fps > 0 else float("nan")
    last = clip.num_frames - 1
    if not np.isfinite(ratio):
        raise ValueError(f"clip {clip.name!r}: cannot resample to {fps} fps; expected 1 to 1000 Hz")
    # Rates as files state them are off in the last digits (120.00004 Hz): a drift below 1/100 frame is none.
    step = max(1, round(ratio))
    if abs(ratio - step) * max(last, 1) / ratio < 0.01:
        picked = slice(None, None, step)
        confidence = None if clip.confidence is None else clip.confidence[picked]
        return replace(clip, positions=clip.positions[picked], confidence=confidence, fps=fps)
    # The small allowance keeps the last frame when rounding puts its instant a hair beyond the end.
    at = np.minimum(np.arange(int(last / ratio + 1e-6) + 1) * ratio, last)
    frames = np.arange(clip.num_frames)
    values = clip.positions.astype(np.float64)
    confidence = None
    if clip.confidence is not None:
        values = bridge_gaps(values, clip.confidence > 0)
        before = np.floor(at).astype(int)
        after = np.minimum(np.ceil(at).astype(int), last)
        confidence = np.minimum(clip.confidence[before], clip.confidence[after])
    positions = CubicSpline(frames, values, axis=0)(at) if last else values[at.astype(int)]
    return replace(clip, positions=positions.astype(np.float32), confidence=confidence, fps=fps)


def split_by_subject(
    clips: Sequence[MotionClip], *, held_out: Iterable[str] | None = None
) -> tuple[list[MotionClip], list[MotionClip]]:
    """(training, test) clips so that no person is in both.

    held_out: subjects of the test part; ``None`` takes about a fifth of the subjects (at least one), chosen by a hash
    of their names, so that the choice does not depend on the order of the clips or on the machine.

    Raises ``ValueError`` when there is only one subject, a held-out name is not among them, or nothing would be left.
    """
    return _split(clips, [clip.subject for clip in clips], "subject", held_out)


def split_by_clip(
    clips: Sequence[MotionClip], *, held_out: Iterable[str] | None = None
) -> tuple[list[MotionClip], list[MotionClip]]:
    """As `split_by_subject`, by clip name: for data of one person. Says nothing about new persons."""
    return _split(clips, [clip.name for clip in clips], "clip", held_out)


def default_split(clips: Sequence[MotionClip]) -> tuple[list[MotionClip], list[MotionClip]]:
    """`split_by_subject` where two or more subjects are named, else `split_by_clip`."""
    return split_by_subject(clips) if len({clip.subject for clip in clips}) > 1 else split_by_clip(clips)


def _split(
    clips: Sequence[MotionClip], keys: Sequence[str], kind: str, held_out: Iterable[str] | None
) -> tuple[list[MotionClip], list[MotionClip]]:
    names = sorted(set(keys))
    if len(names) < 2:
        raise ValueError(f"cannot hold out a {kind}: there is only {', '.join(map(repr, names)) or 'none'}")
    if held_out is None:
        by_hash = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
        test_names = set(by_hash[: max(1, round(len(names) / 5))])
    else:
        test_names = {held_out} if isinstance(held_out, str) else set(held_out)
        if unknown := sorted(test_names - set(names)):
            raise ValueError(f"held-out {kind} {unknown[0]!r} is not among the {len(names)}: {', '.join(names[:40])}")
        if not test_names or len(test_names) == len(names):
            raise ValueError(f"holding out {len(test_names)} of {len(names)} {kind}s leaves one part empty")
    train = [clip for clip, key in zip(clips, keys, strict=True) if key not in test_names]
    test = [clip for clip, key in zip(clips, keys, strict=True) if key in test_names]
    return train, test


class WindowBatches:
    """An endless, reproducible supply of batches: ``batches(index)`` depends on ``seed`` and ``index`` alone.

    The windows run in epochs, each a new permutation, laid end to end: batch ``index`` takes the places
    ``index * batch_size`` and on, so every batch is full, every window is used once an epoch, and an epoch's last
    batch may continue with the next epoch's first windows. Any index may be asked for, in any order.

    transform: ``transform(positions, generator) -> batch`` with positions (batch, frames, joints, 3) on ``device``
    and a ``torch.Generator`` of that device seeded by (seed, index): all randomness of a transform comes from it.
    Windows with confidences pass them as a third argument, ``transform(positions, generator, confidence)``.
    Without a transform a batch is the positions.

    Raises ``ValueError`` when there are fewer windows than ``batch_size``, or when ``seed`` or an index is negative.
    """

    def __init__(
        self,
        windows: Windows,
        batch_size: int,
        *,
        seed: int,
        transform: Callable[..., Any] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        if not 1 <= batch_size <= len(windows):
            raise ValueError(
                f"batch_size is {batch_size}, but there are {len(windows)} windows; "
                f"use 1 to {len(windows)}, a smaller stride, or more clips"
            )
        if seed < 0:
            raise ValueError(f"seed must be 0 or more; got {seed}")
        self.windows, self.batch_size, self.seed = windows, batch_size, seed
        self.device = torch.device(device)
        self._transform = transform
        self._positions = windows.positions.to(self.device)
        self._confidence = None if windows.confidence is None else windows.confidence.to(self.device)
        self._orders: dict[int, Tensor] = {}

    def __call__(self, index: int) -> Any:
        return self._make(self.indices(index).to(self.device), self._generator(_BATCH, index))

    def indices(self, index: int) -> Int[Tensor, "batch"]:
        """Which windows are in batch ``index``."""
        if index < 0:
            raise ValueError(f"batch index must be 0 or more; got {index}")
        count = len(self.windows)
        places = torch.arange(index * self.batch_size, (index + 1) * self.batch_size)
        epochs = places // count
        first, last = int(epochs[0]), int(epochs[-1])
        orders = torch.stack([self._order(epoch) for epoch in range(first, last + 1)])
        return orders[epochs - first, places % count]

    def in_order(self, batch_size: int | None = None) -> Iterator[Any]:
        """Every window once, in order, for evaluation; the last batch may be smaller. The same at each call."""
        size = self.batch_size if batch_size is None else batch_size
        if size < 1:
            raise ValueError(f"batch_size must be at least 1; got {size}")
        rows = torch.arange(len(self.windows), device=self.device)
        for index, chosen in enumerate(rows.split(size)):
            yield self._make(chosen, self._generator(_IN_ORDER, index))

    def _make(self, chosen: Tensor, generator: torch.Generator) -> Any:
        positions = self._positions.index_select(0, chosen)
        if self._transform is None:
            return positions
        if self._confidence is None:
            return self._transform(positions, generator)
        return self._transform(positions, generator, self._confidence.index_select(0, chosen))

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            # A batch spans two epochs at most: older ones are dropped, and made again if they are ever asked for.
            self._orders = {kept: order for kept, order in self._orders.items() if abs(kept - epoch) <= 1}
            generator = torch.Generator().manual_seed(_mix(self.seed, _EPOCH, epoch))
            self._orders[epoch] = torch.randperm(len(self.windows), generator=generator)
        return self._orders[epoch]

    def _generator(self, purpose: int, index: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(_mix(self.seed, purpose, index))


# Purposes of a seed, so that an epoch's order, a batch's noise and an evaluation's noise are independent.
_EPOCH, _BATCH, _IN_ORDER = 0, 1, 2


def _mix(*numbers: int) -> int:
    """One well-mixed 63-bit seed from several small numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def sample_segments(
    positions: Float[Tensor, "batch span joints values"],
    generator: torch.Generator,
    *,
    num_frames: int = 64,
    min_length: int = 16,
) -> Float[Tensor, "batch num_frames joints values"]:
    """Frames as the public implementation of the heatmap VQ-GAN draws them, for use in a transform.

    Of each span (300 frames there) the first n frames are kept, n uniform in [min_length, span); they are divided into
    ``num_frames`` equal segments and one frame is drawn from each. Speed thus varies from clip to clip, and time steps
    are uneven; the paper's own text says 64 frames at stride 90.

    Source: public implementation of the VQ-GAN paper, after PYSKL's uniform sampling. Differs: where n is below
    ``num_frames`` frames repeat in place, rather than the clip being repeated from its start.
    """
    batch, span = positions.shape[:2]
    if not 1 <= min_length < span:
        raise ValueError(f"min_length is {min_length}; spans of {span} frames need 1 to {span - 1}")
    device = positions.device
    lengths = torch.randint(min_length, span, (batch, 1), generator=generator, device=device)
    jitter = torch.rand(batch, num_frames, generator=generator, device=device)
    frames = ((torch.arange(num_frames, device=device) + jitter) * lengths / num_frames).long()
    frames = frames.minimum(lengths - 1)  # a jitter that rounds up to 1 must not leave the last segment
    return positions[torch.arange(batch, device=device)[:, None], frames]
