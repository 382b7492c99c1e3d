"""The CMU Graphics Lab motion capture database: trials ``<subject>_<trial>`` as BVH or ASF/AMC, and their labels."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from motionkit.data.amc import read_amc
from motionkit.data.bvh import CMU_UNIT_M, read_bvh
from motionkit.data.clip import MotionClip
from motionkit.data.skeleton import CMU_31

_COLUMNS = ("Subject", "Trial #", "Motion Description", "framerate")


def read_cmu(folder: str | Path, captions: Mapping[str, str] | None = None) -> list[MotionClip]:
    """All ``*.bvh`` trials of a folder without the T-pose they begin with; labels from ``index.csv`` above or in it.

    captions: descriptions by trial, for trials that no index describes.
    """
    return [
        _labeled(read_bvh(path, unit_m=CMU_UNIT_M, skeleton=CMU_31, skip_frames=1), "cmu", path, index, captions or {})
        for path, index in _trials(Path(folder), "bvh")
    ]


def read_cmu_amc(folder: str | Path, captions: Mapping[str, str] | None = None) -> list[MotionClip]:
    """All ``*.amc`` trials of a folder with their subjects' ``<subject>.asf``; rates from the index, else 120 Hz."""
    clips = []
    for path, index in _trials(Path(folder), "amc"):
        asf = path.with_name(f"{path.stem.split('_')[0]}.asf")
        if not asf.is_file():
            raise ValueError(f"{path}: its skeleton {asf.name} is not beside it")
        _, fps = index.get(path.stem, ("", 120.0))
        clips.append(_labeled(read_amc(path, asf, fps=fps), "cmu_amc", path, index, captions or {}))
    return clips


def read_cmu_index(path: str | Path) -> dict[str, tuple[str, float]]:
    """Description and frame rate of each trial, by its name (``"07_01"``).

    Raises ``ValueError`` naming the file, the line, the column and the value.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8") from None
    rows = csv.DictReader(lines)
    missing = set(_COLUMNS) - set(rows.fieldnames or ())
    if missing:
        raise ValueError(f"{path}: line 1: no column {sorted(missing)[0]!r}; it has {rows.fieldnames}")
    trials = {}
    for row in rows:
        subject, trial, description, rate = (row[column] for column in _COLUMNS)
        try:
            name, fps = f"{int(subject):02d}_{int(trial):02d}", float(rate)
        except (TypeError, ValueError):
            raise ValueError(
                f"{path}: line {rows.line_num}: subject {subject!r}, trial {trial!r}, framerate {rate!r}: not numbers"
            ) from None
        if not 1 <= fps <= 1000:
            raise ValueError(f"{path}: line {rows.line_num}: framerate is {rate}; expected 1 to 1000 Hz")
        trials[name] = (description.strip(), fps)
    return trials


def _trials(folder: Path, extension: str) -> list[tuple[Path, dict[str, tuple[str, float]]]]:
    index = next((place / "index.csv" for place in (folder, folder.parent) if (place / "index.csv").is_file()), None)
    labels = read_cmu_index(index) if index else {}
    return [(path, labels) for path in sorted(folder.rglob(f"*.{extension}"))]


def _labeled(
    clip: MotionClip,
    dataset: str,
    path: Path,
    index: Mapping[str, tuple[str, float]],
    captions: Mapping[str, str],
) -> MotionClip:
    caption = index.get(path.stem, ("", 0.0))[0] or captions.get(path.stem, "")
    return replace(
        clip,
        name=f"{dataset}/{path.stem}",
        subject=path.stem.split("_")[0],
        action=re.split(r" - |[,/]", caption)[0].strip(),  # "dance - sideways steps, pirouette" -> "dance"
        captions=(caption,) if caption else (),
        source=f"CMU Graphics Lab motion capture database, {path.name}",
    )
