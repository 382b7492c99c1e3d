"""Unusual windows: each is what its name says, leaves the usual ones alone and keeps their labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from motionkit.data.anomalies import ANOMALIES, backward, fast, jittered, shuffled, sides_swapped, slow
from motionkit.data.clip import MotionClip
from motionkit.data.skeleton import Skeleton
from motionkit.data.windows import Windows, cut_windows

SMALL = Skeleton("small", ("root", "left", "right"), (-1, 0, 0), ((0, 1), (0, 2)), ((1, 2),))


def windows(frames: tuple[int, ...] = (40, 30, 16), native_fps: float = 40.0, with_confidence: bool = True) -> Windows:
    """Windows of 8 frames at 20 fps; joint j of clip c is at (time [s], c, j) in every frame."""
    clips = []
    for number, count in enumerate(frames):
        positions = np.zeros((count, 3, 3), dtype=np.float32)
        positions[..., 0] = np.arange(count)[:, None] / native_fps
        positions[..., 1], positions[..., 2] = number, np.arange(3)
        confidence = np.tile(np.linspace(0, 1, count, dtype=np.float32)[:, None], (1, 3)) if with_confidence else None
        clips.append(MotionClip(positions, native_fps, SMALL, name=f"clip {number}", confidence=confidence))
    return cut_windows(clips, length=8, stride=4, fps=20.0)


def times(changed: Windows) -> torch.Tensor:
    return changed.positions[:, :, 0, 0]


@pytest.mark.parametrize("name", ANOMALIES)
def test_arguments_stay_labels_go_along_and_something_changes(name):
    usual, kept = windows(), windows()
    changed = ANOMALIES[name](usual, 0)
    assert torch.equal(usual.positions, kept.positions)
    assert torch.equal(usual.confidence, kept.confidence)
    assert changed.positions.shape[1:] == usual.positions.shape[1:]
    assert changed.confidence.shape == changed.positions.shape[:-1]
    torch.testing.assert_close(changed.positions[:, 0, 0, 1], changed.clip_index.float(), atol=0.2, rtol=0)
    if len(changed) == len(usual):
        assert not torch.allclose(changed.positions, usual.positions)
        assert torch.equal(changed.clip_index, usual.clip_index)
    assert torch.equal(ANOMALIES[name](usual, 0).positions, changed.positions)


@pytest.mark.parametrize("name", ANOMALIES)
def test_windows_without_confidence_stay_so(name):
    assert ANOMALIES[name](windows(with_confidence=False), 0).confidence is None


def test_backward_twice_is_forward():
    usual = windows()
    once = backward(usual, 0)
    assert torch.equal(times(once), times(usual).flip(1))
    assert torch.equal(once.confidence, usual.confidence.flip(1))
    assert torch.equal(backward(once, 0).positions, usual.positions)


def test_shuffled_windows_hold_the_same_frames_in_orders_of_their_own():
    usual = windows()
    mixed = shuffled(usual, 0)
    assert torch.equal(times(mixed).sort(1).values, times(usual))
    orders = (times(mixed) - times(usual)[:, :1]).mul(20).round()
    assert len({tuple(order) for order in orders.tolist()}) > 1
    assert not torch.equal(shuffled(usual, 1).positions, mixed.positions)


def test_fast_windows_go_twice_as_fast_and_only_where_the_clip_is_long_enough():
    usual = windows()  # 20, 15 and 8 frames at 20 fps; 15 are needed
    quick = fast(usual, 0)
    assert quick.clip_index.tolist() == [0, 0, 0, 0, 1, 1]
    torch.testing.assert_close(times(quick).diff(dim=1), torch.full((6, 7), 0.1))
    torch.testing.assert_close(times(quick)[:, 0], torch.tensor([0.0, 4, 5, 5, 0, 0]) / 20)
    assert quick.start.tolist() == [0, 4, 5, 5, 0, 0]
    torch.testing.assert_close(fast(usual, 0, factor=1).positions, usual.positions)
    with pytest.raises(ValueError, match="windows of 8 frames 2 times as fast"):
        fast(windows((16,)), 0)


def test_slow_windows_go_half_as_fast():
    usual = windows()
    calm = slow(usual, 0)
    torch.testing.assert_close(times(calm).diff(dim=1), torch.full((len(usual), 7), 0.025))
    assert torch.equal(times(calm)[:, 0], times(usual)[:, 0])


def test_swapped_twice_is_as_before_and_nothing_is_mirrored():
    usual = windows()
    swapped = sides_swapped(usual, 0)
    assert swapped.positions[0, 0, :, 2].tolist() == [0, 2, 1]
    assert torch.equal(swapped.positions[..., :2], usual.positions[..., :2])
    assert torch.equal(sides_swapped(swapped, 0).positions, usual.positions)


def test_jitter_has_the_size_it_says():
    usual = windows((400,))
    noise = jittered(usual, 0, sigma_m=0.05).positions - usual.positions
    assert noise.std().item() == pytest.approx(0.05, rel=0.05)
    assert abs(noise.mean().item()) < 0.005
    assert torch.equal(jittered(usual, 0, sigma_m=0.0).positions, usual.positions)


def test_a_still_window_is_the_same_in_any_order_and_at_any_speed():
    still = replace(windows(), positions=torch.ones(len(windows()), 8, 3, 3))
    for change in (backward, shuffled, slow):
        assert torch.equal(change(still, 0).positions, still.positions)
