"""The embedded sample is the real motion it says it is, and ships with its provenance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import motionkit.data.sample.cmu as sample
from motionkit.data.sample.cmu import load_sample, pack_sample
from motionkit.data.skeleton import CMU_31
from motionkit.data.windows import cut_windows

FOLDER = Path(sample.__file__).parent


@pytest.fixture(scope="module")
def clips():
    return load_sample()


def test_two_trials_of_one_person_at_their_native_rate(clips):
    assert [(c.name, c.num_frames, c.fps) for c in clips] == [("cmu/01_01", 2751, 120.0), ("cmu/01_03", 4510, 120.0)]
    assert {c.subject for c in clips} == {"cmu/01"}
    assert [c.action for c in clips] == ["jump", "climb"]
    assert all(c.skeleton == CMU_31 and c.captions and "NSF EIA-0196217" in c.source for c in clips)


def test_every_bone_keeps_its_length(clips):
    for clip in clips:
        for parent, joint in CMU_31.limbs:
            length = np.linalg.norm(clip.positions[:, parent] - clip.positions[:, joint], axis=-1)
            assert np.ptp(length) < 4e-4, (clip.name, CMU_31.joints[joint])  # twice the rounding, along a diagonal
            assert length.mean() > 0.02


def test_scale_axes_and_absence_of_the_t_pose(clips):
    for clip in clips:
        hips, feet = clip.positions[0, CMU_31.index("Hips")], clip.positions[..., CMU_31.index("LeftToeBase"), 1]
        assert 0.9 < hips[1] < 1.1  # metres, Y up, standing
        assert 0 < feet.min() < 0.1
        assert np.abs(np.diff(clip.positions[:3], axis=0)).max() < 0.05  # from a T-pose it would jump by 0.5 m
        shoulder, hand = (clip.positions[0, CMU_31.index(name)] for name in ("RightArm", "RightHand"))
        assert hand[1] < shoulder[1] - 0.2  # arms hang


def test_first_pose_by_value(clips):
    """Hips of the first frames as the BVH file writes them, in units of 2.54/45 m."""
    np.testing.assert_allclose(
        [clip.positions[0, 0] for clip in clips],
        np.array([[9.3722, 17.8693, -17.3198], [-0.8085, 17.8049, 18.3516]]) * 0.0254 / 0.45,
        atol=6e-5,
    )


def test_jumps_fall_with_gravity(clips):
    """In the air of the first trial the body's middle accelerates downwards by about 9.8 m/s²."""
    clip = clips[0]
    height = clip.positions[:, [CMU_31.index(j) for j in ("Hips", "Spine1", "Neck1", "LeftLeg", "RightLeg")], 1].mean(1)
    toes = clip.positions[:, [CMU_31.index("LeftToeBase"), CMU_31.index("RightToeBase")], 1].min(axis=1)
    in_air = np.flatnonzero(toes > toes.min() + 0.18)
    runs = [run for run in np.split(in_air, np.flatnonzero(np.diff(in_air) > 1) + 1) if len(run) > 15]
    assert len(runs) >= 5
    fitted = [2 * np.polyfit(run / clip.fps, height[run], 2)[0] for run in runs]
    assert -13 < np.median(fitted) < -7


def test_packing_is_exact_to_a_twentieth_of_a_millimeter(tmp_path, monkeypatch):
    steps = np.random.default_rng(0).normal(size=(50, 31, 3)) * 0.01
    positions = steps.cumsum(axis=0)
    positions[:, 5] = positions[:, 4]
    pack_sample({"01_01": positions, "01_03": positions[:20] + 1}, tmp_path / "cmu.npz")
    monkeypatch.setattr(sample, "_FILE", tmp_path / "cmu.npz")
    back = load_sample()
    np.testing.assert_allclose(back[0].positions, positions, atol=5.1e-5)
    np.testing.assert_allclose(back[1].positions, positions[:20] + 1, atol=5.1e-5)
    assert [file.name for file in tmp_path.iterdir()] == ["cmu.npz"]


def test_packing_refuses_what_would_overflow(tmp_path):
    positions = np.zeros((5, 31, 3))
    positions[3] = 4.0
    with pytest.raises(ValueError, match=r"'01_01'.*too far between frames"):
        pack_sample({"01_01": positions}, tmp_path / "cmu.npz")
    assert not list(tmp_path.iterdir())


def test_sample_and_notice_ship_together():
    text = (FOLDER / "PROVENANCE.md").read_text()
    assert "NSF EIA-0196217" in text
    assert "no restrictions" in (FOLDER / "01_nn.bvh.source.txt").read_text()
    assert (FOLDER / "cmu.npz").stat().st_size < 500_000


def test_it_can_be_windowed(clips):
    windows = cut_windows(clips, length=64, stride=32, fps=30.0)
    assert len(windows) > 40
    assert windows.too_short == ()
