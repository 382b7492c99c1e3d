"""The Bandai-Namco positions file: units, cutting into clips, labels, broken files, and the real file."""

from __future__ import annotations

import numpy as np
import pytest

from motionkit.data.bandai_namco import read_bandai_namco
from motionkit.data.skeleton import BANDAI_NAMCO_21


def arrays() -> dict[str, np.ndarray]:
    """Two clips of 3 and 2 frames; joint j is j cm right of the hips, which rise 1 cm a frame from 90 cm."""
    relative = np.zeros((5, 21, 3), dtype=np.int16)
    relative[..., 0] = 100 * np.arange(21)
    return {
        "joints_rel_hips_cm_x100": relative,
        "hips_cm": np.stack([np.zeros(5), 90 + np.arange(5), np.full(5, -20)], axis=1).astype(np.float32),
        "length": np.array([3, 2], dtype=np.int32),
        "name": np.array(["dataset-2_walk-turn-left_elderly_001", "dataset-2_run_normal_002"]),
        "content": np.array(["walk-turn-left", "run"]),
        "style": np.array(["elderly", "normal"]),
        "joint_names": np.array(BANDAI_NAMCO_21.joints),
        "parents": np.array(BANDAI_NAMCO_21.parents, dtype=np.int32),
        "fps": np.array(30, dtype=np.float32),
    }


def write(folder, **changes):
    path = folder / "positions.npz"
    np.savez_compressed(path, **{key: value for key, value in (arrays() | changes).items() if value is not ...})
    return path


def test_clips(tmp_path):
    first, second = read_bandai_namco(write(tmp_path))
    assert (first.num_frames, second.num_frames) == (3, 2)
    np.testing.assert_allclose(second.positions[1, 7], [0.07, 0.94, -0.20], rtol=1e-6)
    assert first.name == "bandai_namco/dataset-2_walk-turn-left_elderly_001"
    assert (first.action, first.captions) == ("walk-turn-left", ("walk turn left, elderly",))
    assert first.fps == 30
    assert first.skeleton is BANDAI_NAMCO_21
    assert [clip.name for clip in read_bandai_namco(write(tmp_path), limit=1)] == [first.name]


def hips_with_nan() -> np.ndarray:
    hips = arrays()["hips_cm"]
    hips[4, 1] = np.nan
    return hips


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"style": ...}, "field 'style': missing; the file has joints_rel_hips_cm_x100, hips_cm"),
        ({"name": np.array([{}, {}], dtype=object)}, "field 'name': .*allow_pickle=False"),
        ({"joint_names": np.array(BANDAI_NAMCO_21.joints[::-1])}, "field 'joint_names' is"),
        ({"parents": np.zeros(21, dtype=np.int32)}, "field 'parents' is"),
        ({"joints_rel_hips_cm_x100": np.zeros((5, 20, 3))}, r"'joints_rel_hips_cm_x100' is \(5, 20, 3\)"),
        ({"joints_rel_hips_cm_x100": np.zeros(())}, r"'joints_rel_hips_cm_x100' is \(\)"),
        ({"hips_cm": np.full((5, 3), "x")}, r"'hips_cm' is \(5, 3\) <U1"),
        ({"hips_cm": np.zeros((4, 3))}, "'hips_cm' has 4 frames, 'length' adds up to 5"),
        ({"hips_cm": hips_with_nan()}, r"run_normal_002.*positions\[frame 1, joint 'Hips', y\] is nan"),
        ({"length": np.array([3, 3])}, "has 5 frames, 'length' adds up to 6"),
        ({"length": np.array([6, -1])}, "field 'length' is array"),
        ({"length": np.array([2.5, 2.5])}, "field 'length' is array"),
        ({"content": np.array(["walk"])}, r"field 'content' has shape \(1,\), 'length' \(2,\)"),
        ({"fps": np.array(1e6)}, "fps is 1000000.0"),
        ({"fps": np.array("fast")}, "field 'fps' is"),
        ({"fps": np.array(np.nan)}, "fps is nan"),
    ],
)
def test_broken_fields(tmp_path, changes, message):
    path = write(tmp_path, **changes)
    with pytest.raises(ValueError, match=message) as error:
        read_bandai_namco(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("cut", [0, 10, 500, -100])
def test_truncated(tmp_path, cut):
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not a readable archive") as error:
        read_bandai_namco(path)
    assert str(path) in str(error.value)


def test_damaged_inside(tmp_path):
    path = write(tmp_path)
    data = bytearray(path.read_bytes())
    data[150:250] = bytes(100)  # inside the first array's compressed data
    path.write_bytes(data)
    with pytest.raises(ValueError, match="field 'joints_rel_hips_cm_x100'"):
        read_bandai_namco(path)


def test_single_array(tmp_path):
    path = tmp_path / "positions.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(ValueError, match="a single array, expected an archive"):
        read_bandai_namco(path)


def test_real_file(data_folder):
    path = data_folder / "bandai_namco" / "bandai_namco_2_positions.npz"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    clips = read_bandai_namco(path)
    assert len(clips) == 2902
    assert sum(clip.num_frames for clip in clips) == 384_931
    assert len({clip.action for clip in clips}) == 10
    assert len({clip.name for clip in clips}) == 2902
    heads = np.array([clip.positions[:, BANDAI_NAMCO_21.index("Head"), 1].mean() for clip in clips])
    feet = np.array([clip.positions[:, BANDAI_NAMCO_21.index("Toes_L"), 1].mean() for clip in clips])
    assert ((heads > 0.9) & (heads < 1.7)).all()
    assert ((feet > -0.05) & (feet < 0.35)).all()
    # one common skeleton: bones keep their length throughout
    shin = [np.linalg.norm(clip.positions[:, 15] - clip.positions[:, 14], axis=-1) for clip in clips[::100]]
    assert np.concatenate(shin).std() < 1e-3
