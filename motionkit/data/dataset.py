"""What a data set is: where its files are, how they are fetched and checked, and how its clips are read.

A data set is looked for in ``$MOTIONKIT_DATA/<folder>`` and in what was fetched before. Where license and a lasting
address allow it is fetched; otherwise the error says which files to put where.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tqdm import tqdm

from motionkit.data.cache import cache_folder, cached_clips
from motionkit.data.clip import MotionClip


@dataclass(frozen=True)
class KnownFile:
    """One file of a data set as it was when the kit was tested.

    path: below the data set's folder.
    sha256: of the content; of a ``.gz`` file the unpacked content, because the same data is packed in several ways.
    size: bytes; 0 for ``.gz``.
    caption: what the trial shows, if the source says so.
    """

    path: str
    sha256: str
    size: int
    caption: str


@dataclass(frozen=True)
class Check:
    """A data set's state: its folder, number of clips, and its files beside those the kit was tested with.

    folder: ``None`` if it is embedded or not there.
    num_clips: -1 if it is not there or holds no clips.
    good: number of files as tested; missing, different: paths of the others.
    """

    folder: Path | None
    num_clips: int
    good: int = 0
    missing: tuple[str, ...] = ()
    different: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """One entry of the catalogue.

    name, description, license, citation: for people.
    source: where it comes from, an address or "embedded".
    howto: which files to put where, relative to the data set's folder.
    folder: below ``$MOTIONKIT_DATA``; empty for embedded data.
    patterns: the data set counts as present if a file in ``folder`` matches one of them.
    size_mb, num_clips: expected, of the files that the kit was tested with; 0 if it cannot be known.
    held_out: subjects or clips of the default test part; empty: ``motionkit.data.windows.default_split`` decides.
    held_out_folders: folders of clips, by the clips' names, that are the default test part where they are among others.
    read: the clips in the data set's folder (of nothing, if embedded); ``None`` if it holds no clips.
    address: the address of one of its files, by path; ``None`` if it may not or cannot be fetched.
    """

    name: str
    description: str
    source: str
    license: str
    citation: str
    read: Callable[[Path], list[MotionClip]] | None
    howto: str = ""
    folder: str = ""
    patterns: tuple[str, ...] = ()
    size_mb: float = 0.0
    num_clips: int = 0
    held_out: tuple[str, ...] = ()
    held_out_folders: tuple[str, ...] = ()
    address: Callable[[str], str] | None = None

    @property
    def is_embedded(self) -> bool:
        return not self.folder

    def files(self) -> tuple[KnownFile, ...]:
        """The files the kit was tested with."""
        return _known_files().get(self.name, ())

    def find(self) -> Path | None:
        """The folder that holds it, or ``None``; ``ValueError`` if it is embedded."""
        if self.is_embedded:
            raise ValueError(f"data set {self.name!r} is embedded in the package: it has no folder")
        folders = (root / self.folder for root in _roots())
        return next((f for f in folders if any(next(f.glob(p), None) for p in self.patterns)), None)

    def instructions(self) -> str:
        """What to do to have this data set."""
        place = Path(os.environ.get("MOTIONKIT_DATA") or "$MOTIONKIT_DATA", self.folder)
        fetch = f" Or run `motionkit data fetch {self.name}`." if self.address else ""
        return (
            f"data set {self.name!r} is not in {place}. Set MOTIONKIT_DATA to your data folder and put into its "
            f"{self.folder}/: {self.howto} Source: {self.source}. License: {self.license}.{fetch}"
        )

    def load(self) -> list[MotionClip]:
        """All its clips, as memory maps of the clip cache; fetched first where that is possible.

        Raises ``FileNotFoundError`` saying what to put where, ``ValueError`` naming a broken file.
        """
        if self.read is None:
            raise ValueError(f"data set {self.name!r} holds no motion clips: {self.howto}")
        if self.is_embedded:
            return self.read(Path())
        folder = self.find() or self.fetch()
        sources = [path for path in folder.rglob("*") if path.is_file()]
        sources += [path for path in [folder.parent / "index.csv"] if path.is_file()]
        return cached_clips(f"{self.name}-{short_hash(folder)}", sources, lambda: self.read(folder))

    def fetch(self) -> Path:
        """Download what is missing into ``$MOTIONKIT_DATA`` (if that is not set: into the cache folder); its folder.

        Every file is checked against its SHA-256 before it is kept, and all are moved into place when the last one is
        there, so that half a data set is never taken for a whole one; an interrupted run is continued by the next.

        Raises ``FileNotFoundError`` saying which files to put where if it cannot be fetched or the network does not
        answer, ``ValueError`` for a file with another content than expected.
        """
        if self.is_embedded:
            raise ValueError(f"data set {self.name!r} is embedded in the package: there is nothing to fetch")
        if self.address is None:
            if folder := self.find():
                return folder
            raise FileNotFoundError(self.instructions())
        folder = _roots()[0] / self.folder
        waiting = folder.with_name(f"{folder.name}.part")
        missing = [file for file in self.files() if not (folder / file.path).is_file()]
        for file in tqdm(missing, desc=self.name, unit="file", disable=None):
            if not (waiting / file.path).is_file():
                self._download(file, waiting)
        for file in missing:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(waiting / file.path, target)
        shutil.rmtree(waiting, ignore_errors=True)
        return folder

    def check(self) -> Check:
        """Compare its files with those the kit was tested with, and read all its clips."""
        if self.is_embedded:
            return Check(None, len(self.load()))
        folder = self.find()
        if folder is None:
            return Check(None, -1)
        there = [file for file in self.files() if (folder / file.path).is_file()]
        different = tuple(file.path for file in there if _sha256(folder / file.path) != file.sha256)
        missing = tuple(file.path for file in self.files() if file not in there)
        return Check(folder, len(self.load()) if self.read else -1, len(there) - len(different), missing, different)

    def _download(self, file: KnownFile, folder: Path) -> None:
        """One file, checked before it gets its name."""
        import pooch  # only those who fetch need it

        address = self.address(file.path)
        aside = folder / f"unchecked-{file.path}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            pooch.HTTPDownloader(timeout=60)(address, str(aside), None)
            found = _sha256(aside)
        except (OSError, EOFError, zlib.error) as error:  # the network errors of requests are OSErrors
            aside.unlink(missing_ok=True)
            raise FileNotFoundError(f"{address}: {error}. By hand: {self.instructions()}") from None
        if found != file.sha256:
            aside.unlink()
            raise ValueError(
                f"{address}: SHA-256 is {found}, expected {file.sha256}: not the file known as {file.path}"
            )
        os.replace(aside, folder / file.path)


def captions_of(name: str) -> dict[str, str]:
    """Descriptions of a data set's known trials, by file name without extension."""
    return {Path(file.path).stem: file.caption for file in _known_files().get(name, ()) if file.caption}


def short_hash(folder: Path) -> str:
    """Eight hexadecimal digits that tell folders apart."""
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _roots() -> list[Path]:
    """Where data sets are looked for; the first is where they are fetched to."""
    chosen = os.environ.get("MOTIONKIT_DATA")
    return [*([Path(chosen).expanduser()] if chosen else []), cache_folder() / "data"]


@cache
def _known_files() -> dict[str, tuple[KnownFile, ...]]:
    files: dict[str, list[KnownFile]] = {}
    with Path(__file__).with_name("files.csv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            known = KnownFile(row["path"], row["sha256"], int(row["bytes"] or 0), row["caption"])
            files.setdefault(row["dataset"], []).append(known)
    return {name: tuple(known) for name, known in files.items()}
