"""MNIST's idx files, plain or gzipped: the digits that video prediction moves about.

Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits; its idx format: two zero bytes, the
element type, the number of axes, each axis as a big-endian 32-bit count, then the elements.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

_UNSIGNED_BYTE = 0x08
_PREFIX = {"train": "train", "test": "t10k"}


def read_idx(path: str | Path) -> UInt8[np.ndarray, "..."]:
    """The array of bytes in an idx file; ``ValueError`` naming the file, the field and the value."""
    path = Path(path)
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path}: broken gzip data: {error}") from None
    if len(data) < 4:
        raise ValueError(f"{path}: {len(data)} bytes, too few for an idx header")
    if data[:2] != b"\0\0" or data[2] != _UNSIGNED_BYTE or not 1 <= data[3] <= 4:
        raise ValueError(f"{path}: magic number is {data[:4].hex()}, expected 0000080n (bytes along 1 to 4 axes)")
    start = 4 + 4 * data[3]
    if len(data) < start:
        raise ValueError(f"{path}: {len(data)} bytes, too few for the counts of {data[3]} axes")
    shape = tuple(map(int, np.frombuffer(data, dtype=">u4", count=data[3], offset=4)))
    expected = start + int(np.prod(shape, dtype=object))
    if len(data) != expected:
        raise ValueError(f"{path}: counts {shape} need {expected} bytes, the file holds {len(data)}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def read_mnist(
    folder: str | Path, split: str = "train"
) -> tuple[UInt8[np.ndarray, "digits height width"], UInt8[np.ndarray, "digits"]]:
    """Images (digits, 28, 28) with values 0 to 255 and labels 0 to 9 of ``"train"`` (60,000) or ``"test"`` (10,000).

    Raises ``ValueError`` naming the file, the field and the value, ``FileNotFoundError`` naming the missing file.
    """
    if split not in _PREFIX:
        raise ValueError(f"split is {split!r}; expected 'train' or 'test'")
    images_path = _find(Path(folder), f"{_PREFIX[split]}-images-idx3-ubyte")
    labels_path = _find(Path(folder), f"{_PREFIX[split]}-labels-idx1-ubyte")
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.shape[1:] != (28, 28):
        raise ValueError(f"{images_path}: counts are {images.shape}, expected (digits, 28, 28)")
    if labels.shape != images.shape[:1]:
        raise ValueError(
            f"{labels_path}: counts are {labels.shape} labels for {len(images)} images of {images_path.name}"
        )
    if len(labels) and labels.max() > 9:
        raise ValueError(f"{labels_path}: label {labels.max()} at {labels.argmax()}, expected 0 to 9")
    return images, labels


def _find(folder: Path, name: str) -> Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{folder}: neither {name}.gz nor {name} is there")
