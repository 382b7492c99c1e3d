"""Statistics of drawn motion: values by hand, and bodies that are moved as a whole."""

import math

import pytest
import torch

from motionkit.data.skeleton import AMASS_18, Skeleton
from motionkit.metrics import generation
from motionkit.metrics.generation import bone_variation, mean_speed, sample_statistics, spread_mm

# two bones, of which one limb is no bone
ARM = Skeleton("arm", ("shoulder", "elbow", "hand", "head"), (-1, 0, 1, -1), ((0, 1), (1, 2), (0, 3)))


def bodies(*lengths):
    """Frames of an arm whose upper and lower bone have these lengths, with the head wandering off."""
    places = [
        [[0, 0, 0], [upper, 0, 0], [upper, lower, 0], [9.0 * n, 0, 0]] for n, (upper, lower) in enumerate(lengths)
    ]
    return torch.tensor(places, dtype=torch.float64)


def test_bones_that_change_by_hand():
    assert bone_variation(bodies((1, 2), (1, 2), (1, 2)), ARM) == 0
    # 1 +- 0.5 and 3 +- 0: 0.5 of 4 m
    assert bone_variation(bodies((0.5, 3), (1.5, 3)), ARM).item() == pytest.approx(12.5)
    both = torch.stack([bodies((1, 2), (1, 2)), bodies((0.5, 3), (1.5, 3))])
    torch.testing.assert_close(bone_variation(both, ARM), torch.tensor([0, 12.5], dtype=torch.float64))
    torch.testing.assert_close(bone_variation(7 * both, ARM), bone_variation(both, ARM))


def test_moving_and_turning_a_body_leaves_its_bones_and_its_speed_is_that_of_its_joints():
    torch.manual_seed(0)
    body = torch.randn(18, 3, dtype=torch.float64)
    turns = torch.linalg.qr(torch.randn(5, 3, 3, dtype=torch.float64))[0]
    clip = body @ turns + torch.randn(5, 1, 3, dtype=torch.float64)
    assert bone_variation(clip, AMASS_18).item() < 1e-10
    steps = (clip[1:] - clip[:-1]).norm(dim=-1)
    assert mean_speed(clip, 25.0).item() == pytest.approx(25 * steps.mean().item())
    assert mean_speed(body.expand(5, 18, 3), 25.0) == 0


def test_spread_is_over_pairs_of_a_class_and_over_classes():
    torch.manual_seed(0)
    clips, labels = torch.randn(7, 4, 3, 3), torch.tensor([1, 0, 1, 2, 1, 0, 0])
    pairs = {label: [1000 * (clips[a] - clips[b]).norm(dim=-1).mean().item() for a in range(7) for b in range(a)
                     if labels[a] == labels[b] == label] for label in (0, 1)}  # fmt: skip
    assert len(pairs[0]) == len(pairs[1]) == 3
    assert spread_mm(clips, labels) == pytest.approx((sum(pairs[0]) / 3 + sum(pairs[1]) / 3) / 2)
    assert spread_mm(clips[:1].expand(5, -1, -1, -1), torch.zeros(5, dtype=torch.int64)) == 0
    assert math.isnan(spread_mm(clips[1:3], labels[1:3]))


def test_all_at_once_and_every_class_counts_alike():
    still, swelling = bodies((1, 2), (1, 2)), bodies((0.5, 3), (1.5, 3))
    clips, labels = torch.stack([still, still, still, swelling]), torch.tensor([0, 0, 0, 2])
    found = sample_statistics(clips, labels, torch.tensor([0, 1, 2, 2]), ARM, fps=10.0)
    assert list(found) == ["recognized", "spread [mm]", "speed [m/s]", "bones change [%]"]
    assert found["recognized"] == pytest.approx((1 / 3 + 1) / 2)
    assert found["spread [mm]"] == 0
    speeds = mean_speed(clips, 10.0)
    assert found["speed [m/s]"] == pytest.approx((speeds[0] + speeds[3]).item() / 2)
    assert found["bones change [%]"] == pytest.approx(12.5 / 2)
    nothing = sample_statistics(clips[:0], labels[:0], labels[:0], ARM, fps=10.0)
    assert all(math.isnan(value) for value in nothing.values())


def test_clips_without_steps_or_bones_are_refused():
    with pytest.raises(ValueError, match=r"a speed needs 2 frames or more, got 1 in \(1, 4, 3\)"):
        mean_speed(bodies((1, 2)), 10.0)
    keypoints = Skeleton("dots", ("a", "b"), None, ())
    for skeleton in (keypoints, AMASS_18):
        with pytest.raises(ValueError, match=f"skeleton '{skeleton.name}' has no bones for clips of shape"):
            bone_variation(bodies((1, 2)), skeleton)


def test_the_spread_of_a_large_class_is_that_of_some_of_its_clips(monkeypatch):
    clips = torch.arange(9.0).view(9, 1, 1, 1).expand(-1, 1, 2, 3) / 1000
    labels = torch.zeros(9, dtype=torch.int64)
    monkeypatch.setattr(generation, "MOST_CLIPS", 3)  # the first, the middle and the last: 4, 8 and 4 apart
    assert spread_mm(clips, labels) == pytest.approx(math.sqrt(3) * 16 / 3, rel=1e-4)
