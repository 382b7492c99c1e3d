"""Reconstructions without a model."""

import pytest
import torch

from motionkit.models.baselines import BASELINES, blank, first_frame, temporal_mean

TARGET = torch.arange(2 * 3 * 4 * 2 * 2.0).reshape(2, 3, 4, 2, 2)


def test_values():
    assert (blank(TARGET) == 0).all()
    assert all(torch.equal(first_frame(TARGET)[:, :, t], TARGET[:, :, 0]) for t in range(4))
    assert all(torch.equal(temporal_mean(TARGET)[:, :, t], TARGET.mean(2)) for t in range(4))


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("axes", [0, 1, 2])
def test_shape_stays_and_the_target_is_untouched(name, axes):
    target = TARGET[(0,) * (2 - axes)]
    before = target.clone()
    assert BASELINES[name](target).shape == target.shape
    assert torch.equal(target, before)


def test_mean_is_the_best_still_picture():
    error = {name: (baseline(TARGET) - TARGET).square().mean() for name, baseline in BASELINES.items()}
    assert error["temporal mean"] < error["first frame"] < error["blank"]


def test_a_still_clip_is_reproduced_by_both():
    still = TARGET[:, :, :1].expand_as(TARGET)
    assert torch.equal(first_frame(still), still)
    assert torch.allclose(temporal_mean(still), still)
