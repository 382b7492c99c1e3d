"""Poses as seen from the pelvis: each frame moved and turned so that the pelvis is at the origin and does not turn.

Source: paper 4 (HG-VAE), whose data have the root's rotation and translation set to zero. Differs: the pelvis is turned
by what the positions show, so that recordings without rotations can be used too.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from motionkit.data.catalogue import load_dataset
from motionkit.data.clip import MotionClip, convert_clip
from motionkit.data.labels import split_parts
from motionkit.data.skeleton import AMASS_18, Skeleton, convert_joints
from motionkit.data.windows import Windows, cut_windows, thin

_NEEDED = ("pelvis", "left_hip", "right_hip")
_SPINE = ("spine_low", "spine_mid", "spine_high", "thorax")  # lowest first: the nearest to being one with the pelvis
_PARTS = Skeleton("pelvis_frame", (*_NEEDED, *_SPINE), None, ())
_LEAST_M = 1e-4  # joints that are nearer to each other show no direction


def to_pelvis_frame(
    positions: Float[np.ndarray, "*batch joints 3"], skeleton: Skeleton
) -> Float[np.ndarray, "*batch joints 3"]:
    """Positions in each frame's own axes, from the pelvis: x from the right hip to the left, y up the spine, z ahead.

    y is the direction from the pelvis to the lowest joint of the spine that the skeleton has, made perpendicular to x;
    z = x cross y. Joints are found by their anatomical names; a pelvis or spine that is a midpoint is computed.

    Lengths and angles within a frame are kept, and nothing else: any rigid motion of a frame gives the same. Where the
    joint of the spine does not turn with the pelvis (Human3.6M, CMU), bending the back turns the axes about x.

    positions: metres; the result has their dtype. Convert to layouts without hips (``AMASS_18``) afterwards.

    Raises ``ValueError`` naming the skeleton and the joints it lacks, or the frame in which the hips, or the pelvis and
    the spine, lie too near to each other to show a direction.
    """
    exact = np.asarray(positions, dtype=np.float64)
    parts, observed = convert_joints(exact, skeleton, _PARTS)
    there = [name for name, is_there in zip(_PARTS.joints, observed, strict=True) if is_there]
    lacking = [name for name in _NEEDED if name not in there]
    spine = next((name for name in _SPINE if name in there), None)
    if lacking or spine is None:
        lacking += [] if spine else [" or ".join(_SPINE)]
        raise ValueError(f"skeleton {skeleton.name!r} has no {', '.join(lacking)}: its pelvis has no axes")
    pelvis, left, right = (parts[..., _PARTS.index(name), :] for name in _NEEDED)
    x = _directions(left - right, f"skeleton {skeleton.name!r}: the hips coincide")
    up = parts[..., _PARTS.index(spine), :] - pelvis
    up = up - (up * x).sum(-1, keepdims=True) * x
    y = _directions(up, f"skeleton {skeleton.name!r}: pelvis and {spine} coincide, or lie in line with the hips")
    axes = np.stack([x, y, np.cross(x, y)], axis=-1)
    return ((exact - pelvis[..., None, :]) @ axes).astype(positions.dtype)


def clip_to_pelvis_frame(clip: MotionClip) -> MotionClip:
    """The clip with each frame in its pelvis' axes, see :func:`to_pelvis_frame`.

    Raises ``ValueError`` naming the clip as well.
    """
    try:
        return replace(clip, positions=to_pelvis_frame(clip.positions, clip.skeleton))
    except ValueError as error:
        raise ValueError(f"clip {clip.name!r}: {error}") from None


def pelvis_windows(
    dataset: str | Path,
    *,
    length: int,
    stride: int,
    fps: float,
    unseen: Collection[str] = (),
    held_out: Collection[str] = (),
    most: int | None = None,
) -> dict[str, Windows]:
    """What paper 4 learns from: windows in the pelvis' frame of the 18 joints it uses (``AMASS_18``), by part:
    ``"train"``, ``"calibration"``, ``"test"`` and ``"unseen"`` as of ``split_parts``.

    dataset, unseen, held_out: see ``load_dataset`` and ``split_parts``. length, stride, fps: see ``cut_windows``.
    most: of all parts but the first at most so many windows, evenly spread. A part without clips is left out.
    """
    clips = [convert_clip(clip_to_pelvis_frame(clip), AMASS_18) for clip in load_dataset(dataset)]
    parts = split_parts(dataset, clips, unseen=unseen, held_out=held_out)
    windows = {
        field.name: cut_windows(part, length=length, stride=stride, fps=fps)
        for field in fields(parts)
        if (part := getattr(parts, field.name))
    }
    return {name: part if most is None or name == "train" else thin(part, most) for name, part in windows.items()}


def _directions(vectors: Float[np.ndarray, "*batch 3"], problem: str) -> Float[np.ndarray, "*batch 3"]:
    """Unit vectors; ``ValueError`` with the first frame whose vector is too short to have a direction."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    short = np.argwhere(lengths[..., 0] < _LEAST_M)
    if len(short):
        where = "".join(f"[{index}]" for index in short[0])
        raise ValueError(f"{problem} in frame{where}, one of {len(short)}: {lengths[tuple(short[0])][0]:.2g} m")
    return vectors / lengths
