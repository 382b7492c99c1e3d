"""BVH motion files: read any layout, write any clip whose skeleton is a tree.

A BVH file has a hierarchy (joints with an offset from their parent and a list of channels, in any order, on any joint)
and one line of channel values a frame. Angles are degrees; the unit of length is not stated in the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from motionkit.data.atomic import written_whole
from motionkit.data.clip import MotionClip, nominal_fps
from motionkit.data.kinematics import euler_to_matrix, forward_kinematics, matrix_to_euler, solve_rotations
from motionkit.data.skeleton import SKELETONS, Limb, Skeleton, left_right_pairs

CMU_UNIT_M = 0.0254 / 0.45
"""Metres in one unit of the CMU recordings: an inch over the scale of 0.45 that their skeleton files state."""

_CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in "XYZ")


@dataclass
class _Joint:
    name: str
    parent: int
    line: int
    is_end: bool = False
    offset: tuple[float, ...] | None = None
    channels: tuple[str, ...] | None = None


def read_bvh(
    path: str | Path,
    *,
    unit_m: float = 0.01,
    skeleton: Skeleton | None = None,
    skip_frames: int = 0,
    end_sites: bool = False,
) -> MotionClip:
    """Read a BVH file as a clip of world positions.

    unit_m: metres in one unit of the file (0.01: centimetres; ``CMU_UNIT_M`` for the CMU recordings).
    skeleton: take these joints, found by name; by default a named layout if the hierarchy is one, else all joints.
    skip_frames: leave out so many frames at the start (1 for the CMU files, which begin with a T-pose).
    end_sites: add the tips of the last bones as joints, ``"<joint>_end"`` (only without ``skeleton``).

    Position channels replace a joint's offset, on any joint; the file's frame time is taken as the whole rate it
    rounds (:func:`nominal_fps`); the axes are taken as they are (Y up in all sources known here).

    Raises ``ValueError`` naming the file, the line and the value that cannot be used.
    """
    path = Path(path)
    lines = _decode(path).splitlines()
    motion = next((n for n, line in enumerate(lines) if line.strip().upper() == "MOTION"), None)
    if motion is None:
        raise ValueError(f"{path}: no line MOTION in {len(lines)} lines: not a BVH file, or cut off in its hierarchy")
    joints = _parse_hierarchy(path, lines[:motion])
    frame_time, values = _parse_motion(path, lines, motion + 1, joints)
    if not 0 <= skip_frames < len(values):
        raise ValueError(f"{path}: skip_frames is {skip_frames}, the file has {len(values)} frames")
    positions = _positions(joints, values[skip_frames:]) * unit_m
    if skeleton is None:
        used = [index for index, joint in enumerate(joints) if end_sites or not joint.is_end]
        skeleton = _skeleton([joints[index] for index in used], used)
    index = {joint.name: number for number, joint in enumerate(joints)}
    missing = [joint for joint in skeleton.joints if joint not in index]
    if missing:
        raise ValueError(f"{path}: no joint {missing[0]!r} of skeleton {skeleton.name!r}; it has {', '.join(index)}")
    positions = positions[:, [index[joint] for joint in skeleton.joints]]
    return MotionClip(positions, nominal_fps(1 / frame_time), skeleton, name=path.stem, source=path.name)


def _decode(path: Path) -> str:
    """The text of the file, with or without a byte order mark."""
    data = path.read_bytes()
    if not data.strip():
        raise ValueError(f"{path}: the file is empty ({len(data)} bytes)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text") from None


def _parse_hierarchy(path: Path, lines: list[str]) -> list[_Joint]:
    joints: list[_Joint] = []
    opened: list[int] = []  # the joints whose braces are open, outermost first
    awaits_brace = False
    for number, line in enumerate(lines, start=1):
        for piece in re.findall(r"[{}]|[^{}]+", line):
            words = piece.split()
            if not words or (number, words) == (1, ["HIERARCHY"]):
                continue
            where = f"{path}, line {number}"
            keyword = words[0].upper()
            if (keyword == "{") != awaits_brace:
                raise ValueError(
                    f"{where}: {piece.strip()!r} where {'an opening brace' if awaits_brace else 'none'} is due"
                )
            if keyword == "{":
                opened.append(len(joints) - 1)
                awaits_brace = False
            elif keyword in ("ROOT", "JOINT", "END"):
                joints.append(_new_joint(where, number, words, joints, opened))
                awaits_brace = True
            elif not opened:
                raise ValueError(f"{where}: {piece.strip()!r} outside of any joint")
            elif keyword == "}":
                _check_complete(path, joints[opened.pop()])
            elif keyword == "OFFSET":
                joints[opened[-1]].offset = _offset(where, words)
            elif keyword == "CHANNELS":
                joints[opened[-1]].channels = _channels(where, words)
            else:
                raise ValueError(f"{where}: unknown keyword {words[0]!r}")
    if awaits_brace or opened or not joints:
        inside = f"joint {joints[-1].name!r} is not closed" if joints else "no joint"
        raise ValueError(f"{path}, line {len(lines)}: the hierarchy ends too early, {inside}")
    return joints


def _new_joint(where: str, line: int, words: list[str], joints: list[_Joint], opened: list[int]) -> _Joint:
    if (words[0].upper() == "ROOT") == bool(opened):
        raise ValueError(f"{where}: {' '.join(words)!r} {'inside' if opened else 'outside'} of another joint")
    parent = opened[-1] if opened else -1
    names = {joint.name for joint in joints}
    if words[0].upper() == "END":
        name, copies = f"{joints[parent].name}_end", 1
        while name in names:
            copies += 1
            name = f"{joints[parent].name}_end{copies}"
        return _Joint(name, parent, line, is_end=True, channels=())
    name = " ".join(words[1:])
    if not name or name in names:
        raise ValueError(f"{where}: joint name {name!r} is {'used twice' if name else 'missing'}")
    return _Joint(name, parent, line)


def _check_complete(path: Path, joint: _Joint) -> None:
    for field in ("offset", "channels"):
        if getattr(joint, field) is None:
            raise ValueError(f"{path}, line {joint.line}: joint {joint.name!r} has no {field.upper()}")


def _offset(where: str, words: list[str]) -> tuple[float, ...]:
    try:
        offset = tuple(float(word) for word in words[1:])
    except ValueError:
        offset = ()
    if len(offset) != 3 or not np.isfinite(offset).all():
        raise ValueError(f"{where}: {' '.join(words)!r} does not give three finite numbers")
    return offset


def _channels(where: str, words: list[str]) -> tuple[str, ...]:
    known = {channel.lower(): channel for channel in _CHANNELS}
    channels = tuple(known.get(word.lower(), "") for word in words[2:])
    if "" in channels:
        raise ValueError(
            f"{where}: unknown channel {words[2 + channels.index('')]!r}; known are {', '.join(_CHANNELS)}"
        )
    if words[1:2] != [str(len(channels))] or len(set(channels)) != len(channels):
        raise ValueError(f"{where}: {' '.join(words)!r} gives {len(set(channels))} channels")
    return channels


def _parse_motion(path: Path, lines: list[str], start: int, joints: list[_Joint]) -> tuple[float, np.ndarray]:
    """Frame time in seconds, and the channel values (frames, channels)."""
    rows = [(number, line) for number, line in enumerate(lines[start:], start=start + 1) if line.strip()]
    num_frames = _header(path, rows, 0, "Frames", len(lines))
    frame_time = _header(path, rows, 1, "Frame Time", len(lines))
    if not 0.001 <= frame_time <= 1:
        raise ValueError(
            f"{path}, line {rows[1][0]}: frame time is {frame_time} s; expected 0.001 to 1 (1 to 1000 fps)"
        )
    rows = rows[2:]
    if num_frames < 1 or num_frames != len(rows):
        last = rows[-1][0] if rows else len(lines)
        raise ValueError(f"{path}, line {last}: {len(rows)} frames up to here, but 'Frames:' says {num_frames:g}")
    names = [f"{channel} of {joint.name!r}" for joint in joints for channel in joint.channels]
    try:
        values = np.loadtxt([line for _, line in rows], dtype=np.float64, comments=None, ndmin=2)
    except ValueError:
        values = None
    if values is None or values.shape[1] != len(names) or not np.isfinite(values).all():
        raise _bad_row(path, rows, names)
    return frame_time, values


def _header(path: Path, rows: list[tuple[int, str]], place: int, key: str, num_lines: int) -> float:
    if len(rows) <= place:
        raise ValueError(f"{path}, line {num_lines}: the file ends before {key + ':'!r}")
    number, line = rows[place]
    name, _, value = line.partition(":")
    try:
        if " ".join(name.split()).lower() != key.lower():
            raise ValueError
        return float(value)
    except ValueError:
        raise ValueError(f"{path}, line {number}: {line.strip()[:60]!r} where '{key}: <number>' is due") from None


def _bad_row(path: Path, rows: list[tuple[int, str]], names: list[str]) -> ValueError:
    """What is wrong with the first line that is no list of finite numbers, one a channel."""
    for number, line in rows:
        words = line.split()
        for word, name in zip(words, names, strict=False):
            try:
                is_number = word.isascii() and "_" not in word and np.isfinite(float(word))
            except ValueError:
                is_number = False
            if not is_number:
                return ValueError(f"{path}, line {number}: {word!r} for {name} is not a finite number")
        if len(words) != len(names):
            return ValueError(f"{path}, line {number}: {len(words)} values, the hierarchy has {len(names)} channels")
    return ValueError(f"{path}: the frames cannot be read as numbers")


def _positions(joints: list[_Joint], values: np.ndarray) -> np.ndarray:
    """World positions (frames, joints, 3) in the file's unit."""
    rotations = np.broadcast_to(np.eye(3), (len(values), len(joints), 3, 3)).copy()
    offsets = np.broadcast_to(np.array([joint.offset for joint in joints]), (len(values), len(joints), 3)).copy()
    column = 0
    for number, joint in enumerate(joints):
        turns = []
        for channel in joint.channels:
            if channel.endswith("position"):
                offsets[:, number, "XYZ".index(channel[0])] = values[:, column]
            else:
                turns.append(column)
            column += 1
        if turns:
            order = "".join(channel[0] for channel in joint.channels if channel.endswith("rotation"))
            rotations[:, number] = euler_to_matrix(np.radians(values[:, turns]), order)
    return forward_kinematics(rotations, offsets, [joint.parent for joint in joints], np.zeros(3))


def _skeleton(joints: list[_Joint], numbers: list[int]) -> Skeleton:
    """The named layout with this hierarchy, else a new one; ``numbers``: the places of ``joints`` in the file."""
    names = tuple(joint.name for joint in joints)
    parents = tuple(numbers.index(joint.parent) if joint.parent >= 0 else -1 for joint in joints)
    tree = _tree(names, parents)
    for skeleton in SKELETONS.values():
        if skeleton.parents is not None and _tree(skeleton.joints, skeleton.parents) == tree:
            return skeleton
    limbs: list[Limb] = [
        (parent, number)
        for number, (joint, parent) in enumerate(zip(joints, parents, strict=True))
        if parent >= 0 and (any(joint.offset) or any("position" in channel for channel in joint.channels))
    ]
    return Skeleton(f"bvh_{len(names)}", names, parents, tuple(limbs), left_right_pairs(names))


def _tree(joints: tuple[str, ...], parents: tuple[int, ...]) -> dict[str, str]:
    return {joint: joints[parent] if parent >= 0 else "" for joint, parent in zip(joints, parents, strict=True)}


def write_bvh(clip: MotionClip, path: str | Path, *, unit_m: float = 0.01, tolerance_m: float = 1e-4) -> None:
    """Write a clip so that reading it back (same ``unit_m``) gives its positions to within ``tolerance_m``.

    Every joint gets three rotation channels, the root also three for its position; the pose of the first frame is the
    rest pose, see :func:`solve_rotations`. A joint that a rigid body cannot reach (key points whose bones change
    length) gets position channels as well: then some other programs refuse the file or ignore them. BVH has no place
    for confidence, labels and captions. The file appears whole or not at all.

    Raises ``ValueError`` when the skeleton is no tree.
    """
    path, skeleton = Path(path), clip.skeleton
    if skeleton.parents is None:
        raise ValueError(f"{path}: skeleton {skeleton.name!r} is no tree, which BVH needs; convert the clip first")
    rotations, offsets = solve_rotations(clip.positions, skeleton.parents, tolerance_m)
    offsets, angles = offsets / unit_m, np.degrees(matrix_to_euler(rotations))
    moves = [
        parent < 0 or bool((offsets[:, joint] != offsets[0, joint]).any())
        for joint, parent in enumerate(skeleton.parents)
    ]
    rest = np.where(np.array(skeleton.parents)[:, None] < 0, 0.0, offsets[0])
    text, columns = ["HIERARCHY"], []
    for root in [joint for joint, parent in enumerate(skeleton.parents) if parent < 0]:
        for joint in _write_branch(text, skeleton, root, rest, moves):
            columns += [offsets[:, joint]] * moves[joint] + [angles[:, joint]]
    text += ["MOTION", f"Frames: {clip.num_frames}", f"Frame Time: {1 / clip.fps!r}"]
    text += [_numbers(row) for row in np.concatenate(columns, axis=1).tolist()]
    with written_whole(path) as aside:
        aside.write_text("\n".join(text) + "\n", encoding="utf-8")


def _write_branch(
    text: list[str], skeleton: Skeleton, joint: int, rest: np.ndarray, moves: list[bool], depth: int = 0
) -> list[int]:
    """Append the lines of a joint and all below it to ``text``; their joint numbers in the order written."""
    tab, written = "\t" * depth, [joint]
    channels = "6 Xposition Yposition Zposition" if moves[joint] else "3"
    text += [f"{tab}{'JOINT' if depth else 'ROOT'} {skeleton.joints[joint]}", tab + "{"]
    text += [f"{tab}\tOFFSET {_numbers(rest[joint])}", f"{tab}\tCHANNELS {channels} Zrotation Yrotation Xrotation"]
    children = [child for child, parent in enumerate(skeleton.parents) if parent == joint]
    for child in children:
        written += _write_branch(text, skeleton, child, rest, moves, depth + 1)
    if not children:
        text += [f"{tab}\tEnd Site", f"{tab}\t{{", f"{tab}\t\tOFFSET {_numbers((0, 0, 0))}", f"{tab}\t}}"]
    text.append(tab + "}")
    return written


def _numbers(values: Iterable[float]) -> str:
    return " ".join([f"{value:.6f}" for value in values])
