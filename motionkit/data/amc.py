"""ASF/AMC motion files of Acclaim, the form in which CMU's recordings were first published.

The ASF file of a subject gives bones (direction, length, axes, degrees of freedom) and their hierarchy; the AMC file of
a trial gives, frame by frame, the root's position and each bone's angles. A bone turns at its start, so the joints of
the clip are the starts of the bones and the root.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import numpy as np

from motionkit.data.clip import MotionClip
from motionkit.data.kinematics import euler_to_matrix, forward_kinematics
from motionkit.data.skeleton import CMU_31, Skeleton, left_right_pairs

INCH_M = 0.0254

# The joint of CMU_31 at the start of each bone of CMU's subjects.
_CMU_JOINTS = {
    "root": "Hips",
    "lowerback": "LowerBack",
    "upperback": "Spine",
    "thorax": "Spine1",
    "lowerneck": "Neck",
    "upperneck": "Neck1",
    "head": "Head",
}
for _letter, _side in (("l", "Left"), ("r", "Right")):
    _CMU_JOINTS |= {
        f"{_letter}hipjoint": f"{_letter.upper()}HipJoint",
        f"{_letter}femur": f"{_side}UpLeg",
        f"{_letter}tibia": f"{_side}Leg",
        f"{_letter}foot": f"{_side}Foot",
        f"{_letter}toes": f"{_side}ToeBase",
        f"{_letter}clavicle": f"{_side}Shoulder",
        f"{_letter}humerus": f"{_side}Arm",
        f"{_letter}radius": f"{_side}ForeArm",
        f"{_letter}wrist": f"{_side}Hand",
        f"{_letter}hand": f"{_side}FingerBase",
        f"{_letter}fingers": f"{_side}HandIndex1",
        f"{_letter}thumb": f"{_letter.upper()}Thumb",
    }


@dataclass
class _Bone:
    name: str
    line: int
    parent: str = ""
    direction: tuple[float, ...] = (0.0, 0.0, 0.0)
    length: float = 0.0
    axis: tuple[float, ...] = (0.0, 0.0, 0.0)
    axis_order: str = "XYZ"
    dof: tuple[str, ...] = ()


@dataclass
class _Subject:
    bones: dict[str, _Bone] = field(default_factory=lambda: {"root": _Bone("root", 0)})
    length_scale: float = 1.0
    angle_factor: float = float(np.pi / 180)  # to radians
    position: tuple[float, ...] = (0.0, 0.0, 0.0)


def read_amc(
    amc_path: str | Path, asf_path: str | Path, *, fps: float = 120.0, unit_m: float | None = None
) -> MotionClip:
    """Read a trial (AMC) of a subject (ASF) as a clip of world positions.

    fps: AMC files do not state it; CMU's are at 120 Hz, some at 60.
    unit_m: metres in one unit of length; by default an inch over the ASF's ``length`` scale, for CMU 0.056444 m.

    Subjects with CMU's bones give ``CMU_31``; others a skeleton named after their bones. Here the thorax and the lower
    forearm have their length, which CMU's BVH versions leave out: there everything above ``Spine1`` sits some 12 cm
    lower, and the hands some 9 cm nearer to the elbows, while pelvis, legs and lower spine agree.

    Raises ``ValueError`` naming the file, the line and the value that cannot be used.
    """
    amc_path, asf_path = Path(amc_path), Path(asf_path)
    subject = _read_asf(asf_path)
    columns, values = _read_frames(amc_path, subject)
    if unit_m is None:
        unit_m = INCH_M / subject.length_scale
    names = list(subject.bones)
    rotations = np.empty((len(values), len(names), 3, 3))
    offsets = np.zeros((len(names), 3))
    for joint, bone in enumerate(subject.bones.values()):
        rotations[:, joint] = _rotations(bone, values[:, columns[bone.name]], subject.angle_factor)
        if bone.parent:
            start = subject.bones[bone.parent]
            offsets[joint] = np.multiply(start.direction, start.length)
    root = values[:, columns["root"]]
    order = [subject.bones["root"].dof.index(name) for name in ("TX", "TY", "TZ")]
    parents = tuple(names.index(bone.parent) if bone.parent else -1 for bone in subject.bones.values())
    positions = forward_kinematics(rotations, offsets, parents, root[:, order] + np.array(subject.position)) * unit_m
    skeleton, positions = _as_cmu(names, parents, offsets, positions)
    return MotionClip(positions, fps, skeleton, name=amc_path.stem, source=amc_path.name)


def _rotations(bone: _Bone, values: np.ndarray, angle_factor: float) -> np.ndarray:
    """Each frame's rotation in the parent's frame: the angles turn about the bone's own axes.

    Acclaim lists the turn that is applied first at the left, :func:`euler_to_matrix` at the right.
    """
    turning = [(column, name[1]) for column, name in enumerate(bone.dof) if name[0] == "R"][::-1]
    order = "".join(axis for _, axis in turning)
    turns = euler_to_matrix(values[:, [column for column, _ in turning]] * angle_factor, order)
    axes = euler_to_matrix(np.array(bone.axis)[::-1] * angle_factor, bone.axis_order[::-1])
    return axes @ turns @ axes.T


def _as_cmu(
    names: list[str], parents: tuple[int, ...], offsets: np.ndarray, positions: np.ndarray
) -> tuple[Skeleton, np.ndarray]:
    """In the layout CMU_31 if the bones are CMU's, else in one of the file's own."""
    joints = tuple(_CMU_JOINTS.get(name, name) for name in names)
    if set(joints) == set(CMU_31.joints):
        return CMU_31, positions[:, [joints.index(joint) for joint in CMU_31.joints]]
    limbs = tuple((parent, joint) for joint, parent in enumerate(parents) if parent >= 0 and offsets[joint].any())
    return Skeleton(f"asf_{len(names)}", tuple(names), parents, limbs, left_right_pairs(tuple(names))), positions


# --- the two files ----------------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, words) of each line that is neither empty nor a comment."""
    data = path.read_bytes()
    if not data.strip():
        raise ValueError(f"{path}: the file is empty ({len(data)} bytes)")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text") from None
    for number, line in enumerate(text.splitlines(), start=1):  # one at a time: keeping all words is slow
        words = line.split()
        if words and words[0][0] != "#":
            yield number, words


def _floats(where: str, what: str, words: list[str], count: int) -> tuple[float, ...]:
    try:
        values = tuple(map(float, words))
    except ValueError:
        values = ()
    if len(values) != count or not all(map(isfinite, values)):
        raise ValueError(f"{where}: {what} {' '.join(words)!r} is not {count} finite numbers")
    return values


def _read_asf(path: Path) -> _Subject:
    subject, section, bone = _Subject(), "", None
    seen: set[str] = set()
    for number, words in _lines(path):
        where = f"{path}, line {number}"
        keyword, rest = words[0].lower(), words[1:]
        if bone is not None and (keyword == "begin" or keyword.startswith(":")):
            raise ValueError(f"{path}, line {bone.line}: bone {bone.name!r} has no end")
        if keyword.startswith(":"):
            section = keyword[1:]
            seen.add(section)
        elif section == "units" and keyword == "length":
            (subject.length_scale,) = _floats(where, "length", rest, 1)
            if subject.length_scale <= 0:
                raise ValueError(f"{where}: length scale is {subject.length_scale}; it must be positive")
        elif section == "units" and keyword == "angle":
            subject.angle_factor = _angle_factor(where, " ".join(rest))
        elif section == "root":
            _root_line(where, subject, keyword, rest)
        elif section == "bonedata" and keyword == "begin":
            bone = _Bone("", number)
        elif section == "bonedata" and keyword == "end":
            if bone is None or not bone.name or bone.name in subject.bones:
                raise ValueError(f"{where}: bone {bone.name if bone else ''!r} has no name or one that is taken")
            subject.bones[bone.name] = bone
            bone = None
        elif section == "bonedata":
            if bone is None:
                raise ValueError(f"{where}: {' '.join(words)!r} outside of any bone")
            _bone_line(where, bone, keyword, rest)
        elif section == "hierarchy" and keyword not in ("begin", "end"):
            _hierarchy_line(where, subject, words)
    missing = {"root", "bonedata", "hierarchy"} - seen
    if missing:
        raise ValueError(f"{path}: cut off: no section :{min(missing)}")
    return _sorted_by_hierarchy(path, subject)


def _angle_factor(where: str, word: str) -> float:
    if word.lower()[:3] not in ("deg", "rad"):
        raise ValueError(f"{where}: angle unit {word!r} is neither deg nor rad")
    return float(np.pi / 180) if word.lower().startswith("deg") else 1.0


def _root_line(where: str, subject: _Subject, keyword: str, rest: list[str]) -> None:
    root = subject.bones["root"]
    if keyword == "order":
        root.dof = tuple(word.upper() for word in rest)
        if sorted(root.dof) != ["RX", "RY", "RZ", "TX", "TY", "TZ"]:
            raise ValueError(f"{where}: root order {' '.join(rest)!r} is not TX TY TZ RX RY RZ in some order")
    elif keyword == "axis":
        root.axis_order = _axis_order(where, rest)
    elif keyword == "position":
        subject.position = _floats(where, "position", rest, 3)
    elif keyword == "orientation":
        root.axis = _floats(where, "orientation", rest, 3)


def _axis_order(where: str, words: list[str]) -> str:
    order = " ".join(words).upper()
    if sorted(order) != ["X", "Y", "Z"]:
        raise ValueError(f"{where}: axis order {' '.join(words)!r} is not XYZ in some order")
    return order


def _bone_line(where: str, bone: _Bone, keyword: str, rest: list[str]) -> None:
    if keyword == "name":
        bone.name = " ".join(rest)
    elif keyword == "direction":
        bone.direction = _floats(where, "direction", rest, 3)
    elif keyword == "length":
        (bone.length,) = _floats(where, "length", rest, 1)
    elif keyword == "axis":
        bone.axis, bone.axis_order = _floats(where, "axis", rest[:3], 3), _axis_order(where, rest[3:])
    elif keyword == "dof":
        bone.dof = tuple(word.upper() for word in rest)
        unknown = set(bone.dof) - {"RX", "RY", "RZ"}
        if unknown or len(set(bone.dof)) != len(bone.dof):
            raise ValueError(f"{where}: dof {' '.join(rest)!r}; only rx, ry and rz, each once, are known")
    # id, limits and what else there may be do not move a joint


def _hierarchy_line(where: str, subject: _Subject, words: list[str]) -> None:
    for name in words:
        if name not in subject.bones:
            raise ValueError(f"{where}: bone {name!r} is not in :bonedata")
    for child in words[1:]:
        if subject.bones[child].parent or child == "root":
            raise ValueError(f"{where}: bone {child!r} gets the parent {words[0]!r}, it has one already")
        subject.bones[child].parent = words[0]


def _sorted_by_hierarchy(path: Path, subject: _Subject) -> _Subject:
    """The bones in an order with each parent before its children."""
    ordered, waiting = {"root": subject.bones["root"]}, dict(subject.bones)
    del waiting["root"]
    while waiting:
        ready = [name for name, bone in waiting.items() if bone.parent in ordered]
        if not ready:
            bone = next(iter(waiting.values()))
            raise ValueError(f"{path}, line {bone.line}: bone {bone.name!r} does not hang on the root")
        for name in ready:
            ordered[name] = waiting.pop(name)
    if not ordered["root"].dof:
        raise ValueError(f"{path}: section :root has no order")
    subject.bones = ordered
    return subject


def _read_frames(path: Path, subject: _Subject) -> tuple[dict[str, slice], np.ndarray]:
    """Columns of each bone, and the values (frames, columns)."""
    columns, total = {}, 0
    for bone in subject.bones.values():
        columns[bone.name] = slice(total, total + len(bone.dof))
        total += len(bone.dof)
    moving = {bone.name for bone in subject.bones.values() if bone.dof}
    frames: list[list[float]] = []
    missing: set[str] = set()
    number = 0
    for number, words in _lines(path):  # two million lines for CMU's 33 trials: nothing is spent on good ones
        name, numbers = words[0], words[1:]
        if name in missing:
            span = columns[name]
            try:
                values = list(map(float, numbers))
            except ValueError:
                values = []
            if len(values) != span.stop - span.start or not isfinite(sum(values)):
                _floats(f"{path}, line {number}", name, numbers, span.stop - span.start)
            frames[-1][span] = values
            missing.discard(name)
        elif name.startswith(":"):
            if name.upper() in (":DEGREES", ":RADIANS"):
                subject.angle_factor = _angle_factor(f"{path}, line {number}", name[1:])
        elif numbers:
            why = "given twice" if frames and name in moving else "not a moving bone of this subject"
            raise ValueError(f"{path}, line {number}: {name!r} is {why if frames else 'given before any frame number'}")
        else:
            _check_frame(path, number, name, frames, missing)
            frames.append([np.nan] * total)
            missing = set(moving)
    _check_frame(path, number, str(len(frames) + 1), frames, missing)
    if not frames:
        raise ValueError(f"{path}, line {number}: the file has no frames")
    return columns, np.array(frames)


def _check_frame(path: Path, line: int, word: str, frames: list[list[float]], missing: set[str]) -> None:
    """The frame before this line must be complete and the next one have the next number."""
    if missing:
        raise ValueError(f"{path}, line {line}: frame {len(frames)} ends without {', '.join(sorted(missing))}")
    if word != str(len(frames) + 1):
        raise ValueError(f"{path}, line {line}: {word!r} where frame number {len(frames) + 1} is due")
