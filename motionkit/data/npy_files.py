"""Numpy files from outside: never a pickle, and errors that name the file and the field."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np


def read_npy(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file; ``ValueError`` naming the file if it is empty, truncated, pickled or no array."""
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a readable array: {error}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path}: an archive of arrays, expected a single one")
    return array


def read_npz(path: Path, fields: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The named arrays of an ``.npz`` file; ``ValueError`` naming the file and the field that is missing or broken."""
    field = None
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("a single array, expected an archive of arrays")
        arrays = {}
        with archive:
            for field in fields:
                if field not in archive:
                    raise ValueError(f"missing; the file has {', '.join(archive) or 'no arrays'}")
                arrays[field] = archive[field]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        what = f"field {field!r}" if field else "not a readable archive"
        raise ValueError(f"{path}: {what}: {error}") from None
    return arrays


def read_npz_names(path: Path) -> tuple[str, ...]:
    """The fields of an ``.npz`` file, none of them read."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return tuple(archive)
    except (ValueError, EOFError, zipfile.BadZipFile, TypeError) as error:
        raise ValueError(f"{path}: not a readable archive: {error}") from None
