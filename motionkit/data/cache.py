"""Parsed clips kept on disk: one npy memory map of numbers and one json of labels for each set of source files.

No pickles. An entry is found by its label and by a key over the source files' names, sizes and times and over the code
of this stage, so neither changed files nor changed readers meet an old entry. Files are written aside and moved into
place; an entry that is incomplete or damaged counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np

from motionkit.data.atomic import written_whole
from motionkit.data.clip import MotionClip
from motionkit.data.skeleton import SKELETONS, Skeleton


def cache_folder() -> Path:
    """``$MOTIONKIT_CACHE``, or ``motionkit`` in the platform's folder for caches; it need not exist yet."""
    if chosen := os.environ.get("MOTIONKIT_CACHE"):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library/Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "motionkit"


def cached_clips(label: str, sources: Iterable[Path], parse: Callable[[], Sequence[MotionClip]]) -> list[MotionClip]:
    """What ``parse()`` gives, from the cache if an entry for exactly these source files and this code is there.

    label: starts the entry's file names; a new entry removes older ones of the same label.
    sources: all files that ``parse`` reads.
    The clips' arrays are memory maps, copied on writing: what is written to them stays in memory.
    A cache folder that cannot be written is a warning, not an error.
    """
    key = _key(sources)
    entry = cache_folder() / "clips" / f"{label}-{key}"
    try:
        return _load(entry)
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        clips = list(parse())  # absent or damaged
    if not clips:
        return clips
    try:
        _save(entry, clips)
        for stale in entry.parent.glob(f"{label}-{'[0-9a-f]' * len(key)}.*"):
            if stale.stem != entry.name:
                stale.unlink(missing_ok=True)
        return _load(entry)  # the first run gets what all later runs get
    except OSError as error:
        warnings.warn(f"clips are not cached: {error}", stacklevel=2)
    return clips


def fingerprint(clips: Sequence[MotionClip]) -> str:
    """12 hexadecimal digits over everything the clips hold and their order: equal content, equal fingerprint."""
    digest = hashlib.sha256()
    for clip in clips:
        labels = (clip.name, clip.subject, clip.action, clip.captions, clip.fps, asdict(clip.skeleton))
        digest.update(json.dumps([*labels, clip.positions.shape, clip.confidence is None]).encode())
        digest.update(np.ascontiguousarray(clip.positions))
        if clip.confidence is not None:
            digest.update(np.ascontiguousarray(clip.confidence))
    return digest.hexdigest()[:12]


def _key(sources: Iterable[Path]) -> str:
    digest = hashlib.sha256(_code_digest())
    for path in sorted(sources):
        status = path.stat()
        digest.update(f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


@cache
def _code_digest() -> bytes:
    """The readers' version: a hash of the source of the data stage, which no one can forget to raise."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def _save(entry: Path, clips: Sequence[MotionClip]) -> None:
    """Numbers first, labels last: an entry without its json does not exist."""
    arrays, records, place = [], [], 0
    skeletons: list[Skeleton] = []
    for clip in clips:
        if clip.skeleton not in skeletons:
            skeletons.append(clip.skeleton)
        record = {"skeleton": skeletons.index(clip.skeleton), "fps": clip.fps, "captions": clip.captions}
        record |= {key: getattr(clip, key) for key in ("name", "subject", "action", "source")}
        for key in ("positions", "confidence"):
            array = getattr(clip, key)
            if array is not None:
                arrays.append(array.reshape(-1))
                record[key] = [place, *array.shape]
                place += array.size
        records.append(record)
    numbers = np.concatenate(arrays)
    labels = {"skeletons": [asdict(skeleton) for skeleton in skeletons], "clips": records}
    entry.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(entry.with_suffix(".npy")) as aside, aside.open("wb") as file:
        np.save(file, numbers)
    with written_whole(entry.with_suffix(".json")) as aside:
        aside.write_text(json.dumps({"labels": labels, "checksum": _checksum(labels, numbers)}), encoding="utf-8")


def _load(entry: Path) -> list[MotionClip]:
    content = json.loads(entry.with_suffix(".json").read_bytes())
    numbers = np.load(entry.with_suffix(".npy"), mmap_mode="c", allow_pickle=False)
    labels = content["labels"]
    if content["checksum"] != _checksum(labels, numbers):
        raise ValueError(f"{entry}: damaged")
    skeletons = [_skeleton(values) for values in labels["skeletons"]]

    def view(place: list[int] | None) -> np.ndarray | None:
        return None if place is None else numbers[place[0] :][: int(np.prod(place[1:]))].reshape(place[1:])

    clips = []
    for record in labels["clips"]:
        record["skeleton"] = skeletons[record["skeleton"]]
        record["captions"] = tuple(record["captions"])
        record["positions"], record["confidence"] = view(record["positions"]), view(record.get("confidence"))
        clips.append(MotionClip(**record))
    return clips


def _checksum(labels: dict, numbers: np.ndarray) -> int:
    return zlib.crc32(numbers, zlib.crc32(json.dumps(labels, sort_keys=True).encode()))


def _skeleton(values: dict) -> Skeleton:
    pairs = {key: tuple(map(tuple, values[key])) for key in ("limbs", "swaps")}
    parents = None if values["parents"] is None else tuple(values["parents"])
    rest = {"joints": tuple(values["joints"]), "anatomy": tuple(values["anatomy"]), "parents": parents}
    skeleton = Skeleton(name=values["name"], **rest, **pairs)
    known = SKELETONS.get(skeleton.name)
    return known if known == skeleton else skeleton
