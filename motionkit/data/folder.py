"""A folder of the user's own motion files, whatever their format."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from motionkit.data.amass import read_amass
from motionkit.data.amc import read_amc
from motionkit.data.bandai_namco import read_bandai_namco
from motionkit.data.bvh import CMU_UNIT_M, read_bvh
from motionkit.data.clip import MotionClip
from motionkit.data.h36m import is_h36m, read_h36m
from motionkit.data.humanact12 import read_humanact12
from motionkit.data.npy_files import read_npz_names
from motionkit.data.panoptic import read_panoptic

SKELETON_FILE = "smpl_skeleton.npz"  # bones for AMASS files, which hold rotations alone
BVH_UNITS_M = (1.0, 0.01, 0.001, 0.0254, CMU_UNIT_M)
_FORMATS = {
    ".bvh": "BVH",
    ".amc": "ASF/AMC, the skeleton .asf beside it",
    ".npz": f"AMASS with {SKELETON_FILE} in the same folder or above it, or Bandai-Namco positions",
    ".npy": "HumanAct12, named P01G01R01F0001T0064A0101.npy",
    ".json": "CMU Panoptic body3DScene_*.json",
    ".txt": "Human3.6M exponential maps, named S1/walking_1.txt",
}


def motion_files(folder: str | Path) -> list[Path]:
    """All files below ``folder`` that ``read_folder`` would read, and the skeletons they need."""
    wanted = (*_FORMATS, ".asf")
    return sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in wanted and _is_motion(p))


def read_folder(folder: str | Path, *, unit_m: float | None = None) -> list[MotionClip]:
    """The clips of all motion files below a folder, readers chosen by extension; other files are passed over.

    unit_m: metres in one unit of the BVH files, which do not say it; by default the unit out of metre, centimetre,
    millimetre, inch and CMU's that makes each body's extent closest to 1.7 m.

    All frames are kept: the T-pose that CMU's BVH files begin with is left out only in the data set ``"cmu"``.

    A clip is named after its file's path below the folder. Its subject is what a trial's name starts with
    (``07_01.bvh`` -> ``07``), else the subfolder the file is in, else empty.

    Raises ``ValueError`` naming the file that cannot be read (take it out of the folder), or the folder if nothing in
    it is a motion file.
    """
    folder = Path(folder)
    clips: list[MotionClip] = []
    scenes = set()
    for path in motion_files(folder):
        match path.suffix.lower():
            case ".bvh":
                found = [_read_bvh(path, unit_m)]
            case ".amc":
                found = [read_amc(path, _skeleton_of(path))]
            case ".npz" if path.name != SKELETON_FILE:
                found = _read_npz(path, folder)
            case ".npy":
                found = [read_humanact12(path)]
            case ".txt":
                found = [read_h36m(path)]
            case ".json" if path.parent not in scenes:
                scenes.add(path.parent)
                clips += read_panoptic(path.parent)
                continue
            case _:
                continue
        place = path.relative_to(folder)
        for clip in found:
            name = place.with_suffix("").as_posix() if len(found) == 1 else clip.name
            clips.append(replace(clip, name=name, subject=clip.subject or _subject(place)))
    if not clips:
        known = "; ".join(f"{extension} ({what})" for extension, what in _FORMATS.items())
        raise ValueError(f"{folder}: no motion files. Known formats: {known}")
    return clips


def likely_unit_m(extent: float) -> float:
    """The unit of ``BVH_UNITS_M`` in which a body of that extent (in file units) is closest to 1.7 m.

    >>> likely_unit_m(1.75), likely_unit_m(168.0), likely_unit_m(67.0)
    (1.0, 0.01, 0.0254)
    """
    return min(BVH_UNITS_M, key=lambda unit: abs(np.log(max(extent, 1e-9) * unit / 1.7)))


def _read_bvh(path: Path, unit_m: float | None) -> MotionClip:
    clip = read_bvh(path, unit_m=unit_m or 1.0)
    if unit_m is not None:
        return clip
    extents = np.linalg.norm(np.ptp(clip.positions, axis=1), axis=-1)  # of each frame's bounding box
    return replace(clip, positions=clip.positions * np.float32(likely_unit_m(float(np.median(extents)))))


def _read_npz(path: Path, folder: Path) -> list[MotionClip]:
    if "joints_rel_hips_cm_x100" in read_npz_names(path):
        return read_bandai_namco(path)
    for place in path.parents:
        if (place / SKELETON_FILE).is_file():
            return [read_amass(path, place / SKELETON_FILE)]
        if place == folder:
            break
    raise ValueError(f"{path}: AMASS files need {SKELETON_FILE} (p3d0, parents) in {folder}")


def _skeleton_of(path: Path) -> Path:
    named = path.with_name(f"{path.stem.split('_')[0]}.asf")
    skeletons = [named] if named.is_file() else sorted(path.parent.glob("*.asf"))
    if len(skeletons) != 1:
        raise ValueError(f"{path}: {len(skeletons)} skeletons beside it, expected {named.name} or a single .asf")
    return skeletons[0]


def _subject(place: Path) -> str:
    found = re.fullmatch(r"(\d+)_\d+", place.stem)
    return found[1] if found else place.parent.as_posix().removeprefix(".")


def _is_motion(path: Path) -> bool:
    if path.suffix.lower() == ".json":
        return re.fullmatch(r"body3DScene_\d+", path.stem) is not None
    if path.suffix.lower() == ".txt":
        return is_h36m(path)
    # AMASS keeps body shapes and first fitting stages beside its motions
    return not path.name.startswith(".") and not re.fullmatch(r"shape|.*stagei", path.stem)
