"""CMU Panoptic Studio: 3D bodies (``body3DScene_*.json``, 19 joints) and the calibration of its cameras.

The studio's world is in centimetres with Y down. Both readers turn it half a turn about X and scale it to metres: Y up,
right-handed, floor near y = 0; so what ``read_panoptic`` gives projects with what ``read_calibration`` gives.

Source: H. Joo et al., Panoptic Studio, ICCV 2015; layout of its ``hdPose3d_stage1_coco19`` folders.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np

from motionkit.data.cameras import Camera
from motionkit.data.clip import MotionClip
from motionkit.data.gaps import fill_gaps
from motionkit.data.json_files import expect, get, numbers, read_json
from motionkit.data.skeleton import PANOPTIC_19

CM = 0.01
TO_WORLD = np.diag([1.0, -1.0, -1.0])  # half a turn about X; its own inverse
POSE_FOLDER = "hdPose3d_stage1_coco19"


def read_panoptic(folder: str | Path) -> list[MotionClip]:
    """All tracked bodies of one sequence, one clip for each unbroken run of frames of one body.

    folder: the sequence's folder, or the folder inside it that holds the ``body3DScene_*.json`` files.
    A clip's subject is the sequence: a body's number is a track, not a person, so only whole sequences can be held out.
    Joints that the studio did not observe (confidence -1) get confidence 0 and a place by ``fill_gaps``; confidences
    above 1 become 1. Bodies with a negative number, which were not tracked, are left out.

    Raises ``ValueError`` naming the file, the field and the value.
    """
    folder = Path(folder)
    poses = folder / POSE_FOLDER if (folder / POSE_FOLDER).is_dir() else folder
    sequence = poses.parent.name if poses.name == POSE_FOLDER else poses.name
    numbered = {}
    for path in poses.glob("body3DScene_*.json"):
        if found := re.fullmatch(r"body3DScene_(\d+)\.json", path.name):
            numbered[int(found[1])] = path
    if not numbered:
        raise ValueError(f"{poses}: no body3DScene_*.json files")

    tracks: dict[int, dict[int, np.ndarray]] = {}  # body -> frame -> (19, 4)
    rates = {}
    for frame, path in sorted(numbered.items()):
        fps, bodies = _read_scene(path)
        rates.setdefault(fps, path)
        if len(rates) > 1:
            (first, where), (second, _) = rates.items()
            raise ValueError(f"{path}: field 'fpsType' says {second} fps, but {where} says {first} fps")
        for body, joints in bodies.items():
            tracks.setdefault(body, {})[frame] = joints
    return [
        _clip(sequence, body, run[0], np.stack([track[frame] for frame in run]), fps)
        for body, track in sorted(tracks.items())
        for run in _unbroken_runs(list(track))
    ]


def read_calibration(path: str | Path, *, kind: str | None = "hd") -> dict[str, Camera]:
    """Cameras of a ``calibration_*.json`` by name; ``kind`` is "hd" (31), "vga" (480), "kinect-color" or ``None``: all.

    Raises ``ValueError`` naming the file, the camera, the field and the value.
    """
    cameras = {}
    for index, entry in enumerate(get(read_json(Path(path)), "cameras", list, str(path))):
        where = f"{path}: cameras[{index}]"
        name, kind_here = get(entry, "name", str, where), get(entry, "type", str, where)
        if kind not in (None, kind_here):
            continue
        where = f"{path}: camera {name!r}"
        if name in cameras:
            raise ValueError(f"{where} is listed twice")
        width, height = numbers(get(entry, "resolution", list, where), (2,), f"{where}: field 'resolution'")
        values = {
            key: numbers(get(entry, key, list, where), shape, f"{where}: field {key!r}")
            for key, shape in (("K", (3, 3)), ("R", (3, 3)), ("t", (3,)), ("distCoef", (5,)))
        }
        try:
            cameras[name] = Camera(
                name=name,
                width=int(width),
                height=int(height),
                K=values["K"],
                R=values["R"] @ TO_WORLD,
                t=values["t"] * CM,
                distortion=values["distCoef"],
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    if not cameras:
        raise ValueError(f"{path}: field 'cameras' holds no camera of type {kind!r}")
    return cameras


def _read_scene(path: Path) -> tuple[float, dict[int, np.ndarray]]:
    """Frame rate, and (19, 4) x, y, z in cm and confidence of each tracked body."""
    scene = expect(read_json(path), dict, str(path))
    rate = get(scene, "fpsType", str, str(path))
    found = re.fullmatch(r"[a-z]+_(\d+(?:_\d+)?)", rate)
    fps = float(found[1].replace("_", ".")) if found else 0.0
    if not 1 <= fps <= 1000:
        raise ValueError(f"{path}: field 'fpsType' is {rate!r}; expected a rate of 1 to 1000 Hz such as 'hd_29_97'")
    bodies = {}
    for index, entry in enumerate(get(scene, "bodies", list, str(path))):
        body = get(entry, "id", int, f"{path}: bodies[{index}]")
        where = f"{path}: body {body}"
        if body in bodies:
            raise ValueError(f"{where} appears twice")
        if body >= 0:
            values = get(entry, "joints19", list, where)
            bodies[body] = numbers(values, (4 * 19,), f"{where}: field 'joints19'").reshape(19, 4)
    return fps, bodies


def _unbroken_runs(frames: list[int]) -> list[list[int]]:
    """Split increasing frame numbers wherever one is missing."""
    cuts = [index for index, (a, b) in enumerate(pairwise(frames), start=1) if b != a + 1]
    return [frames[start:end] for start, end in pairwise([0, *cuts, len(frames)])]


def _clip(sequence: str, body: int, first: int, joints: np.ndarray, fps: float) -> MotionClip:
    confidence = joints[..., 3].clip(0, 1)
    name = f"{sequence}/body{body}_{first:08d}"
    try:
        positions = fill_gaps(joints[..., :3] @ TO_WORLD * CM, joints[..., 3] >= 0)
    except ValueError as error:
        raise ValueError(f"{name}: field 'joints19': {error}") from None
    return MotionClip(
        positions=positions,
        fps=fps,
        skeleton=PANOPTIC_19,
        name=name,
        subject=sequence,
        action=re.sub(r"^\d+_|\d+$", "", sequence),
        source=f"CMU Panoptic {sequence}, body {body}, from frame {first}",
        confidence=confidence,
    )
