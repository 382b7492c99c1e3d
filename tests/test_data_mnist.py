"""MNIST's idx files: the format by hand, broken files, and the real digits."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest

from motionkit.data.mnist import read_idx, read_mnist


def idx(array: np.ndarray) -> bytes:
    return (
        bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype(np.uint8).tobytes()
    )


IMAGES = (np.arange(3 * 28 * 28) % 251).reshape(3, 28, 28)
LABELS = np.array([7, 0, 9])


def write_digits(folder, images=IMAGES, labels=LABELS, prefix="train"):
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))  # one packed, one plain
    return folder


def test_read_mnist(tmp_path):
    images, labels = read_mnist(write_digits(tmp_path))
    assert images.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(images, IMAGES)
    np.testing.assert_array_equal(labels, LABELS)
    with pytest.raises(FileNotFoundError, match=r"neither t10k-images-idx3-ubyte\.gz nor t10k-images-idx3-ubyte"):
        read_mnist(tmp_path, "test")
    with pytest.raises(ValueError, match="split is 'valid'"):
        read_mnist(tmp_path, "valid")


def test_counts_are_big_endian(tmp_path):
    path = tmp_path / "digits"
    path.write_bytes(b"\0\0\x08\x02\0\0\0\x02\0\0\0\x03" + bytes(range(6)))
    np.testing.assert_array_equal(read_idx(path), [[0, 1, 2], [3, 4, 5]])


GOOD = idx(IMAGES)
BROKEN = {
    "empty": (b"", "0 bytes, too few for an idx header"),
    "text": (b"digits\n", "magic number is 64696769"),
    "float": (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "magic number is 00000d01"),
    "no axes": (b"\0\0\x08\0", "magic number is 00000800"),
    "many axes": (b"\0\0\x08\xff" + bytes(2000), "magic number is 000008ff"),
    "header only": (GOOD[:10], "10 bytes, too few for the counts of 3 axes"),
    "truncated": (GOOD[:-1], r"counts \(3, 28, 28\) need 2368 bytes, the file holds 2367"),
    "too long": (GOOD + b"\0", "the file holds 2369"),
    "absurd counts": (b"\0\0\x08\x03" + b"\xff" * 12, r"counts \(4294967295, 4294967295, 4294967295\) need"),
    "truncated gzip": (gzip.compress(GOOD, mtime=0)[:-20], "broken gzip data"),
    "damaged gzip": (gzip.compress(GOOD, mtime=0)[:30] + bytes(40) + gzip.compress(GOOD)[70:], "broken gzip data"),
    "gzip header": (b"\x1f\x8b", "broken gzip data"),
    "gzip of nothing": (gzip.compress(b"", mtime=0), "0 bytes, too few"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_file_is_named(tmp_path, case):
    content, message = BROKEN[case]
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_idx(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("digits", "message"),
    [
        ({"images": IMAGES[:, :20]}, r"counts are \(3, 20, 28\)"),
        ({"images": LABELS}, r"counts are \(3,\), expected \(digits, 28, 28\)"),
        ({"labels": LABELS[:2]}, r"counts are \(2,\) labels for 3 images"),
        ({"labels": np.array([1, 12, 3])}, "label 12 at 1, expected 0 to 9"),
    ],
)
def test_files_that_do_not_fit_together(tmp_path, digits, message):
    with pytest.raises(ValueError, match=message):
        read_mnist(write_digits(tmp_path, **digits))


def test_real_digits(data_folder):
    folder = data_folder / "mnist"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing")
    for split, count in (("train", 60_000), ("test", 10_000)):
        images, labels = read_mnist(folder, split)
        assert images.shape == (count, 28, 28)
        assert set(labels.tolist()) == set(range(10))
        assert 32 < images.mean() < 35
