"""Masks: the share they promise, the form that gives each pattern its name, and every clip its own."""

import math

import numpy as np
import pytest
import torch

from motionkit.data.gaps import bridge_gaps, interpolate_gaps
from motionkit.data.masks import PATTERNS, SPAN_FRAMES, lose_any, lose_frames, lose_joints, lose_numbers

SHAPE = (6, 50, 18, 3)


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", PATTERNS)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_so_much_is_lost_of_each_clip(name, share):
    is_seen = PATTERNS[name](SHAPE, share, generator())
    assert is_seen.shape == SHAPE
    lost = (~is_seen).float().mean((1, 2, 3))
    assert (lost - share).abs().max() <= 0.5 * SPAN_FRAMES / 50 / 18 + 1e-6  # one joint's span is the coarsest step
    if 0 < share < 1:
        assert len({row.numpy().tobytes() for row in is_seen}) > 1  # every clip its own


def test_a_share_of_numbers_is_exact():
    assert set((~lose_numbers(SHAPE, 0.01, generator())).sum((1, 2, 3)).tolist()) == {27}


def test_lost_joints_are_whole_and_gone_for_a_span():
    is_seen = lose_joints(SHAPE, 0.2, generator())
    assert torch.equal(is_seen, is_seen[..., :1].expand(SHAPE))
    lost = (~is_seen[..., 0]).float()
    assert set(lost.sum(1).flatten().tolist()) == {0.0, float(SPAN_FRAMES)}
    edges = lost.diff(dim=1).abs().sum(1) + lost[:, 0] + lost[:, -1]  # one stretch has two ends
    assert set(edges.flatten().tolist()) == {0.0, 2.0}


def test_lost_frames_are_one_stretch_of_whole_frames():
    is_seen = lose_frames(SHAPE, 0.3, generator())
    frames = is_seen[:, :, 0, 0]
    assert torch.equal(is_seen, frames[:, :, None, None].expand(SHAPE))
    lost = (~frames).float()
    assert lost.sum(1).tolist() == [15.0] * 6
    assert (lost.diff(dim=1).abs().sum(1) + lost[:, 0] + lost[:, -1]).tolist() == [2.0] * 6


def test_training_meets_every_pattern_and_no_more_than_the_most():
    is_seen = lose_any((60, *SHAPE[1:]), 0.6, generator())
    lost = (~is_seen).float().mean((1, 2, 3))
    assert lost.max() < 0.63
    assert lost.std() > 0.1
    whole_frames = (is_seen == is_seen[:, :, :1, :1]).all((1, 2, 3))
    whole_joints = (is_seen == is_seen[..., :1]).all((1, 2, 3)) & ~whole_frames
    assert min(whole_frames.sum(), whole_joints.sum(), (~whole_frames & ~whole_joints).sum()) > 5


@pytest.mark.parametrize(("shape", "share", "message"), [
    ((5, 3), 0.1, r"shape is \(5, 3\)"), (SHAPE, 1.2, "share is 1.2; expected a number from 0 to 1"),
])  # fmt: skip
def test_impossible_masks_are_refused(shape, share, message):
    for pattern in (*PATTERNS.values(), lose_any):
        with pytest.raises(ValueError, match=message):
            pattern(shape, share, generator())


# ---- gaps ------------------------------------------------------------------------------------------------------------


def test_interpolation_is_numpys_and_leaves_what_is_seen():
    torch.manual_seed(0)
    clips, mean = torch.randn(4, 12, 3, 3), torch.randn(12, 3, 3)
    is_seen = torch.rand(clips.shape) < 0.5
    is_seen[0, :, 0, 0], is_seen[1, :, 1, 1] = False, True
    filled = interpolate_gaps(torch.where(is_seen, clips, math.nan), is_seen, mean)
    assert torch.equal(filled[is_seen], clips[is_seen])
    frames = np.arange(12)
    for clip in range(4):
        for joint in range(3):
            for axis in range(3):
                seen = is_seen[clip, :, joint, axis].numpy()
                expected = mean[:, joint, axis].numpy()
                if seen.any():
                    expected = np.interp(frames, frames[seen], clips[clip, seen, joint, axis].numpy())
                np.testing.assert_allclose(filled[clip, :, joint, axis].numpy(), expected, rtol=1e-5, atol=1e-6)


def test_interpolation_agrees_with_that_of_recordings():
    torch.manual_seed(1)
    clip = torch.randn(10, 4, 3)
    observed = torch.rand(10, 4) < 0.6
    expected = bridge_gaps(clip.numpy(), observed.numpy())
    is_seen = observed[..., None].expand(clip.shape)
    found = interpolate_gaps(clip, is_seen, torch.zeros(clip.shape))
    ever = observed.any(0)
    np.testing.assert_allclose(found.numpy()[:, ever], expected[:, ever], rtol=1e-5, atol=1e-6)
