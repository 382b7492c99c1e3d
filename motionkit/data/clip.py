"""The noun everything else is about: one recorded or generated motion."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from motionkit.data.skeleton import Skeleton, convert_confidence, convert_joints


@dataclass(frozen=True, eq=False)
class MotionClip:
    """One motion of one person.

    positions: (frames, joints, 3) float32, metres, Y up, right-handed; NaN is refused (use ``confidence`` 0).
    fps: native frame rate in Hz; never silently resampled.
    skeleton: names and order of the joints.
    name: unique within its data set, e.g. ``"cmu/01_01"``.
    subject, action, captions, source: labels as far as the source gives them.
    confidence: (frames, joints) float32 in [0, 1], or ``None`` when every joint was observed.

    Raises ``ValueError`` naming the clip, the field and the offending value.
    """

    positions: np.ndarray
    fps: float
    skeleton: Skeleton
    name: str = ""
    subject: str = ""
    action: str = ""
    captions: tuple[str, ...] = field(default=())
    source: str = ""
    confidence: np.ndarray | None = None

    def __post_init__(self) -> None:
        where = f"clip {self.name!r}"
        positions = np.asarray(self.positions, dtype=np.float32)
        if positions.ndim != 3 or positions.shape[1:] != (self.skeleton.num_joints, 3):
            raise ValueError(
                f"{where}: positions have shape {positions.shape}, "
                f"skeleton {self.skeleton.name!r} needs (frames, {self.skeleton.num_joints}, 3)"
            )
        if len(positions) == 0:
            raise ValueError(f"{where}: positions are empty (0 frames)")
        bad = np.argwhere(~np.isfinite(positions))
        if len(bad):
            frame, joint, axis = bad[0]
            raise ValueError(
                f"{where}: positions[frame {frame}, joint {self.skeleton.joints[joint]!r}, {'xyz'[axis]}] "
                f"is {positions[frame, joint, axis]} ({len(bad)} non-finite values in all)"
            )
        fps = float(self.fps)
        if not (np.isfinite(fps) and 1.0 <= fps <= 1000.0):
            raise ValueError(f"{where}: fps is {self.fps}; expected 1 to 1000 Hz")
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "fps", fps)
        object.__setattr__(self, "captions", tuple(self.captions))
        if self.confidence is not None:
            confidence = np.asarray(self.confidence, dtype=np.float32)
            if confidence.shape != positions.shape[:2]:
                raise ValueError(f"{where}: confidence has shape {confidence.shape}, expected {positions.shape[:2]}")
            if not (np.isfinite(confidence).all() and confidence.min() >= 0 and confidence.max() <= 1):
                raise ValueError(f"{where}: confidence must lie in [0, 1]")
            object.__setattr__(self, "confidence", confidence)

    @property
    def num_frames(self) -> int:
        return len(self.positions)

    @property
    def duration_s(self) -> float:
        """Length in seconds, counting each frame as lasting 1/fps."""
        return self.num_frames / self.fps


def convert_clip(clip: MotionClip, target: Skeleton) -> MotionClip:
    """The same motion in another joint layout, see :func:`convert_joints`.

    Joints that ``clip`` does not have get a sensible place and confidence 0; a computed joint has the least confidence
    of those it is computed from. Without such joints, a clip without confidence stays one.
    """
    positions, observed = convert_joints(clip.positions, clip.skeleton, target)
    confidence = clip.confidence
    if confidence is not None:
        confidence = convert_confidence(confidence, clip.skeleton, target)
    elif not observed.all():
        confidence = np.broadcast_to(observed.astype(np.float32), positions.shape[:2])
    return replace(clip, positions=positions, skeleton=target, confidence=confidence)


def nominal_fps(fps: float) -> float:
    """The whole frame rate that a file meant where it wrote a rounded one (120.00004577, or 1 / 0.0083333).

    Rates that are off by more than 0.01 % are no rounding and stay: 29.97 is not 30.

    >>> nominal_fps(1 / 0.0083333), nominal_fps(29.97)
    (120.0, 29.97)
    """
    return float(round(fps)) if abs(fps - round(fps)) <= 1e-4 * fps else float(fps)
