"""Human3.6M as exponential maps (text, 50 fps), put on one given skeleton by forward kinematics.

Source: the files that A. Jain et al., Structural-RNN, CVPR 2016, made of C. Ionescu et al., Human3.6M, TPAMI 2014, and
that J. Martinez et al., CVPR 2017, LTD, HisRepItself and others read: ``S1/walking_1.txt``, one frame a line, 99
comma-separated numbers. The skeleton is the one in their code, with the bones of one person: all subjects get the same
body.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

from motionkit.data.clip import MotionClip, convert_clip
from motionkit.data.kinematics import axis_angle_to_matrix, forward_kinematics
from motionkit.data.skeleton import H36M_32, Skeleton

ACTIONS = (
    *("directions", "discussion", "eating", "greeting", "phoning", "posing", "purchases", "sitting"),
    *("sittingdown", "smoking", "takingphoto", "waiting", "walking", "walkingdog", "walkingtogether"),
)
FPS = 50.0
_COLUMNS = 99
_MM = 0.001
# Of each joint of H36M_32 in its parent's frame: x to the left, y up, z forward. Without a turn the arms point up.
_OFFSETS_MM = np.array(
    [
        (0, 0, 0),
        (-132.948591, 0, 0),
        (0, -442.894612, 0),
        (0, -454.206447, 0),
        (0, 0, 162.767078),
        (0, 0, 74.999437),
        (132.948826, 0, 0),
        (0, -442.894413, 0),
        (0, -454.206590, 0),
        (0, 0, 162.767426),
        (0, 0, 74.999948),
        (0, 0.1, 0),
        (0, 233.383263, 0),
        (0, 257.077681, 0),
        (0, 121.134938, 0),
        (0, 115.002227, 0),
        (0, 257.077681, 0),
        (0, 151.034226, 0),
        (0, 278.882773, 0),
        (0, 251.733451, 0),
        (0, 0, 0),
        (0, 0, 99.999627),
        (0, 100.000188, 0),
        (0, 0, 0),
        (0, 257.077681, 0),
        (0, 151.031437, 0),
        (0, 278.892924, 0),
        (0, 251.728680, 0),
        (0, 0, 0),
        (0, 0, 99.999888),
        (0, 137.499922, 0),
        (0, 0, 0),
    ]
)


def read_h36m(path: str | Path, *, skeleton: Skeleton = H36M_32, keep_root: bool = True) -> MotionClip:
    """Read one file as a clip of joint positions in metres.

    Columns 0-2: the pelvis' step since the frame before, in mm; 3-5: its turn since then, both in the axes that the
    pelvis had there; 6-98: the rotations of the 31 other joints in their parents' frames. Turns and rotations are
    exponential maps in radians for row vectors (position times matrix), so they turn the other way round.

    The files do not keep where the person stood and faced: the clip starts with the pelvis at the origin and not
    turned, the person facing +Z. Y is thus the up of the first frame's pelvis, which may lean a little.

    Subject and action are those of the path (``S1/walking_1.txt`` -> ``S1``, ``walking``), else empty.

    skeleton: the layout of the clip (``H36M_17``, ``AMASS_18``, ... by ``convert_clip``).
    keep_root: with ``False`` the pelvis neither turns nor moves, as LTD and HisRepItself have it.

    Raises ``ValueError`` naming the file, the line and the value that cannot be used.
    """
    path = Path(path)
    frames = _read_frames(path)
    rotations = axis_angle_to_matrix(-frames[:, 3:].reshape(len(frames), 32, 3))
    if keep_root:
        rotations[:, 0], root = _add_up(rotations[:, 0], frames[:, :3])
    else:
        rotations[:, 0], root = np.eye(3), np.zeros(3)
    subject, action = _labels(path)
    try:
        clip = MotionClip(
            positions=forward_kinematics(rotations, _OFFSETS_MM, H36M_32.parents, root) * _MM,
            fps=FPS,
            skeleton=H36M_32,
            name="/".join(part for part in ("h36m", subject, path.stem) if part),
            subject=subject,
            action=action,
            source=f"Human3.6M {subject} {path.name}",
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return convert_clip(clip, skeleton)


def is_h36m(path: Path) -> bool:
    """Whether a file is named as the data set's are: ``S1/walking_1.txt``, one of ``ACTIONS``. It is not opened."""
    subject, action = _labels(path)
    return bool(subject) and action in ACTIONS and path.suffix == ".txt"


def _labels(path: Path) -> tuple[str, str]:
    """Subject and action, each empty where the path does not have it."""
    subject = re.fullmatch(r"S\d+", path.absolute().parent.name)
    action = re.fullmatch(r"([a-z]+)_[12]", path.stem)
    return subject[0] if subject else "", action[1] if action else ""


def _read_frames(path: Path) -> Float[np.ndarray, "frames 99"]:
    numbers, rows = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        words = line.split(",")
        if not line.strip():
            continue
        if len(words) != _COLUMNS:
            raise ValueError(f"{path}, line {number}: {len(words)} values, expected {_COLUMNS}: {line[:60]!r}")
        try:
            rows.append(list(map(float, words)))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        numbers.append(number)
    if not rows:
        raise ValueError(f"{path}: the file has no frames ({path.stat().st_size} bytes)")
    frames = np.array(rows)
    bad = np.argwhere(~np.isfinite(frames))
    if len(bad):
        frame, column = bad[0]
        raise ValueError(
            f"{path}, line {numbers[frame]}: column {column} is {frames[frame, column]}, one of {len(bad)} not finite"
        )
    return frames


def _add_up(
    turns: Float[np.ndarray, "frames 3 3"], steps: Float[np.ndarray, "frames 3"]
) -> tuple[Float[np.ndarray, "frames 3 3"], Float[np.ndarray, "frames 3"]]:
    """Rotations and places of a root that starts at the origin, from its turn and step before each frame."""
    rotations, places = np.empty_like(turns), np.empty_like(steps)
    rotation, place = np.eye(3), np.zeros(3)
    for frame, (turn, step) in enumerate(zip(turns, steps, strict=True)):
        place = place + rotation @ step  # along the axes before the turn
        rotation = rotation @ turn
        rotations[frame], places[frame] = rotation, place
    return rotations, places
