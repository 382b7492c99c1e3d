"""2D keypoints as pose detectors write them: OpenPose's file per frame, and COCO's list of results, written too."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motionkit.data.atomic import written_whole
from motionkit.data.gaps import fill_gaps
from motionkit.data.json_files import expect, get, numbers, read_json
from motionkit.data.skeleton import BODY_25, COCO_17, Skeleton

LAYOUTS = {25: BODY_25, 17: COCO_17}  # by number of joints


@dataclass(frozen=True, eq=False)
class Keypoints:
    """One person's keypoints in one view.

    keypoints: (frames, joints, 2) float32, pixels, x right, y down; unobserved entries are filled in.
    confidence: (frames, joints) float32 in [0, 1]; 0 where nothing was detected.
    skeleton: names and order of the joints.
    fps: frame rate in Hz, as the caller said: the files do not.
    first_frame: number of the first frame in the files.
    """

    keypoints: np.ndarray
    confidence: np.ndarray
    skeleton: Skeleton
    fps: float
    first_frame: int = 0


def read_keypoints(path: str | Path, *, fps: float, skeleton: Skeleton | None = None) -> Keypoints:
    """The keypoints of one person from a folder of OpenPose files or from a COCO result file.

    path: a folder with one ``*.json`` a frame, its number last in the name (``clip_000000000012_keypoints.json``,
    field ``people`` with ``pose_keypoints_2d``), or a file with a list of ``image_id``, ``keypoints`` and ``score``
    (COCO results; the last number in ``image_id`` is the frame).
    skeleton: needed only for layouts other than BODY_25 and COCO_17; its joint count must match.

    With several people in view the one detected most surely in the first frame with anybody is followed, from frame to
    frame to the detection nearest to the last one (mean distance over joints seen in both). Frames that are missing
    between the first and the last, and joints with confidence 0, are filled in by ``fill_gaps`` with confidence 0.

    Raises ``ValueError`` naming the file, the field and the value.
    """
    path = Path(path)
    if not (np.isfinite(fps) and 1 <= fps <= 1000):
        raise ValueError(f"{path}: fps is {fps}; expected 1 to 1000 Hz")
    frames = _read_openpose(path, skeleton) if path.is_dir() else _read_coco(path, skeleton)
    if not any(frames.values()):
        raise ValueError(f"{path}: nobody is detected in any of {len(frames)} frames")
    first, last = min(frames), max(frames)
    if last - first >= 100 * len(frames):
        raise ValueError(
            f"{path}: {len(frames)} frames are numbered {first} to {last}: these are not frames of one video"
        )

    people = [person for detected in frames.values() for person in detected]
    joints = len(people[0])
    followed = np.zeros((last - first + 1, joints, 3))
    for frame, person in _follow(frames).items():
        followed[frame - first] = person
    observed = followed[..., 2] > 0
    if not observed.any():
        raise ValueError(f"{path}: every keypoint has confidence 0")
    return Keypoints(
        keypoints=fill_gaps(followed[..., :2], observed).astype(np.float32),
        confidence=followed[..., 2].clip(0, 1).astype(np.float32),
        skeleton=skeleton or LAYOUTS[joints],
        fps=float(fps),
        first_frame=first,
    )


def write_keypoints(path: str | Path, keypoints: Keypoints) -> None:
    """Write one person's keypoints as a COCO result file, which ``read_keypoints`` reads again.

    Keypoints of confidence above 0 come back bit for bit. The file holds neither frame rate nor joint names: pass
    ``fps`` and ``skeleton`` when reading (17 joints are else taken for COCO_17). A frame's score is the mean confidence
    of its joints.

    Raises ``ValueError`` naming the frame and the joint of a keypoint that is no number.
    """
    values = np.concatenate([keypoints.keypoints, keypoints.confidence[..., None]], axis=-1).astype(np.float32)
    if len(bad := np.argwhere(~np.isfinite(values))):
        frame, joint, _ = bad[0]
        raise ValueError(f"{path}: frame {frame}, joint {keypoints.skeleton.joints[joint]!r} is {values[frame, joint]}")
    entries = [
        {
            "image_id": keypoints.first_frame + frame,
            "category_id": 1,
            "keypoints": [float(str(value)) for value in person.flatten()],  # as few digits as tell it apart
            "score": float(str(person[:, 2].mean())),
        }
        for frame, person in enumerate(values)
    ]
    path = Path(path)
    with written_whole(path) as aside:
        aside.write_text(json.dumps(entries), encoding="utf-8")


def _follow(frames: dict[int, list[np.ndarray]]) -> dict[int, np.ndarray]:
    """The detection of one person in each frame that has any."""
    chosen: dict[int, np.ndarray] = {}
    last = None
    for frame in sorted(frames):
        if not frames[frame]:
            continue
        if last is None:
            chosen[frame] = max(frames[frame], key=lambda person: person[:, 2].sum())
        else:
            chosen[frame] = min(frames[frame], key=lambda person: _distance(person, last))
        last = chosen[frame]
    return chosen


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    """Mean distance in pixels over the joints seen in both; infinite if there is none."""
    both = (first[:, 2] > 0) & (second[:, 2] > 0)
    return float(np.linalg.norm(first[both, :2] - second[both, :2], axis=-1).mean()) if both.any() else np.inf


def _read_openpose(folder: Path, skeleton: Skeleton | None) -> dict[int, list[np.ndarray]]:
    frames: dict[int, list[np.ndarray]] = {}
    for path in sorted(folder.glob("*.json")):
        frame = _frame_number(path.name, str(path))
        if frame in frames:
            raise ValueError(f"{path}: frame {frame} appears twice; read one video's folder at a time")
        people = get(expect(read_json(path), dict, str(path)), "people", list, str(path))
        frames[frame] = [
            _person(person, "pose_keypoints_2d", f"{path}: people[{index}]", skeleton)
            for index, person in enumerate(people)
        ]
    if not frames:
        raise ValueError(f"{folder}: no *.json files")
    _check_one_layout(frames, folder)
    return frames


def _read_coco(path: Path, skeleton: Skeleton | None) -> dict[int, list[np.ndarray]]:
    frames: dict[int, list[np.ndarray]] = {}
    entries = expect(read_json(path), list, str(path))
    for index, entry in enumerate(entries):
        where = f"{path}: [{index}]"
        person = _person(entry, "keypoints", where, skeleton)
        image = entry.get("image_id")
        if not isinstance(image, int | str) or isinstance(image, bool):
            raise ValueError(f"{where}: field 'image_id' is {image!r}, expected a number or a name")
        frames.setdefault(_frame_number(str(image), f"{where}: field 'image_id'"), []).append(person)
    if not frames:
        raise ValueError(f"{path}: the list of results is empty")
    _check_one_layout(frames, path)
    return frames


def _person(entry: Any, field: str, where: str, skeleton: Skeleton | None) -> np.ndarray:
    """(joints, 3): x, y in pixels and confidence."""
    values = get(entry, field, list, where)
    joints = skeleton.num_joints if skeleton else len(values) // 3
    if skeleton is None and (len(values) % 3 or joints not in LAYOUTS):
        known = " or ".join(f"{3 * count} ({layout.name})" for count, layout in LAYOUTS.items())
        raise ValueError(f"{where}: field {field!r} has {len(values)} numbers, expected {known}; else pass a skeleton")
    person = numbers(values, (3 * joints,), f"{where}: field {field!r}").reshape(joints, 3)
    if (person[:, 2] < 0).any():
        raise ValueError(f"{where}: field {field!r} holds the confidence {person[:, 2].min()}, expected 0 to 1")
    return person


def _frame_number(name: str, where: str) -> int:
    found = re.findall(r"\d+", Path(name).stem.removesuffix("_keypoints"))
    if not found:
        raise ValueError(f"{where}: {name!r} holds no frame number")
    return int(found[-1])


def _check_one_layout(frames: dict[int, list[np.ndarray]], path: Path) -> None:
    counts = {len(person) for detected in frames.values() for person in detected}
    if len(counts) > 1:
        raise ValueError(f"{path}: people with {' and '.join(map(str, sorted(counts)))} joints in one recording")
