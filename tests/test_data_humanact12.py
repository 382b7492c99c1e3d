"""HumanAct12 arrays: labels from the name, orientation, and broken files."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from motionkit.data.humanact12 import ACTIONS, read_humanact12
from motionkit.data.skeleton import SMPL_24

NAME = "P03G02R01F0011T0014A1103"


def standing(frames: int = 4) -> np.ndarray:
    """A ramp in which the head (15) lies above the feet (10, 11)."""
    positions = np.arange(frames * 24 * 3, dtype=np.float64).reshape(frames, 24, 3) / 1000
    positions[:, 15, 1] += 1.7
    return positions


def write(folder, array, name=NAME):
    path = folder / f"{name}.npy"
    np.save(path, array)
    return path


def test_clip_and_labels(tmp_path):
    clip = read_humanact12(write(tmp_path, standing()))
    np.testing.assert_allclose(clip.positions, standing(), rtol=1e-6)
    assert clip.skeleton is SMPL_24
    assert (clip.name, clip.subject, clip.action) == (f"humanact12/{NAME}", "P03", "boxing")
    assert clip.fps == 20
    assert read_humanact12(write(tmp_path, standing(), "P01G01R01F0001T0004A0905")).captions == ("turn steering wheel",)


def test_twelve_labels(tmp_path):
    names = [f"P01G01R01F0001T0004A{label:02d}01" for label in range(1, 13)]
    assert tuple(read_humanact12(write(tmp_path, standing(), name)).action for name in names) == ACTIONS
    assert len(set(ACTIONS)) == 12


def test_upside_down_recording_is_turned(tmp_path):
    clip = read_humanact12(write(tmp_path, standing() * [1, -1, -1]))
    np.testing.assert_allclose(clip.positions, standing(), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("walk", "the name is not of the form"),
        ("P03G02R01F0011T0014", "the name is not of the form"),
        ("P03G02R01F0011T0014A1303", "action 1303 is unknown"),
        ("P03G02R01F0011T0014A0003", "action 0003 is unknown"),
        ("P03G02R01F0014T0011A0103", "frames run backwards, F0014 to T0011"),
        ("P03G02R01F0011T0099A0103", "4 frames, but the name says 89"),
    ],
)
def test_broken_names(tmp_path, name, message):
    path = write(tmp_path, standing(), name)
    with pytest.raises(ValueError, match=message) as error:
        read_humanact12(path)
    assert str(path) in str(error.value)


def with_nan() -> np.ndarray:
    positions = standing()
    positions[2, 5, 1] = np.nan
    return positions


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (standing()[:, :22], r"an array \(4, 22, 3\) of float64, expected \(frames, 24, 3\)"),
        (standing().reshape(4, 72), r"an array \(4, 72\)"),
        (np.float64(3), r"an array \(\)"),
        (np.full((4, 24, 3), "x"), "of <U1"),
        (standing()[:0], "0 frames, but the name says 4"),
        (with_nan(), r"positions\[frame 2, joint 'right_knee', y\] is nan"),
    ],
)
def test_broken_arrays(tmp_path, array, message):
    path = write(tmp_path, array)
    with pytest.raises(ValueError, match=message) as error:
        read_humanact12(path)
    assert str(path) in str(error.value)


def bytes_of(array, **options) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def zip_with(name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, bytes_of(standing()))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable array"),
        (bytes_of(standing())[:200], "not a readable array"),
        (bytes_of(standing())[:20], "not a readable array"),
        (b"0.1, 0.2, 0.3\n", "not a readable array"),
        (bytes_of(np.array([{"a": 1}], dtype=object), allow_pickle=True), "not a readable array.*allow_pickle=False"),
        (zip_with("../../evil.npy"), "an archive of arrays"),
        (zip_with("a.npy")[:100], "not a readable array"),
    ],
)
def test_broken_files(tmp_path, content, message):
    path = tmp_path / f"{NAME}.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        read_humanact12(path)
    assert str(path) in str(error.value)
    assert list(tmp_path.parent.parent.glob("evil*")) == []
