"""Distributions of clips: densities and conditionals against dense normal distributions, coordinate by coordinate."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from motionkit.models.clip_gaussian import Bridge, ClipGaussian
from motionkit.representation.dct import dct_matrix

SHAPE = (2, 6, 3, 3)  # batch, frames, joints, axes


@pytest.fixture(params=[False, True], ids=["frames", "frequencies"])
def around(request):
    torch.manual_seed(0)
    return ClipGaussian(torch.randn(SHAPE, dtype=torch.float64), torch.randn(SHAPE, dtype=torch.float64), request.param)


def dense(around, clip, joint, axis):
    """Mean (frames,) and covariance (frames, frames) of one coordinate, written out."""
    cov = torch.diag(around.log_var[clip, :, joint, axis].exp())
    if around.is_spectral:
        basis = dct_matrix(SHAPE[1])
        cov = basis.t() @ cov @ basis
    return around.mean[clip, :, joint, axis], cov


def coordinates():
    return [(clip, joint, axis) for clip in range(2) for joint in range(3) for axis in range(3)]


def test_density_and_variance_are_those_of_the_dense_distribution(around):
    clips = torch.randn(SHAPE, dtype=torch.float64)
    expected = torch.zeros(2, dtype=torch.float64)
    for clip, joint, axis in coordinates():
        mean, cov = dense(around, clip, joint, axis)
        expected[clip] += MultivariateNormal(mean, cov).log_prob(clips[clip, :, joint, axis])
        torch.testing.assert_close(around.variance()[clip, :, joint, axis], cov.diagonal())
    torch.testing.assert_close(around.log_prob(clips), expected)


def test_what_is_not_seen_follows_from_what_is(around):
    clips = torch.randn(SHAPE, dtype=torch.float64)
    is_seen = torch.rand(SHAPE) < 0.6
    is_seen[0, :, 0, 0], is_seen[0, :, 0, 1] = True, False
    found, variance = around.given(torch.where(is_seen, clips, math.nan), is_seen)
    assert torch.equal(found[is_seen], clips[is_seen])
    assert not variance[is_seen].any()
    for clip, joint, axis in coordinates():
        mean, cov = dense(around, clip, joint, axis)
        seen = is_seen[clip, :, joint, axis]
        gain = cov[~seen][:, seen] @ torch.linalg.inv(cov[seen][:, seen])
        at = (clip, ~seen, joint, axis)
        torch.testing.assert_close(found[at], mean[~seen] + gain @ (clips[clip, :, joint, axis] - mean)[seen])
        torch.testing.assert_close(variance[at], (cov[~seen][:, ~seen] - gain @ cov[seen][:, ~seen]).diagonal())


@pytest.mark.parametrize("draws", [(), (1,), (4,), (2, 3)])
def test_several_means_of_each_clip_are_bridged_as_one_by_one(draws):
    torch.manual_seed(0)
    clips, means = torch.randn(SHAPE), torch.randn(*draws, *SHAPE)
    is_seen = torch.rand(SHAPE) < 0.6
    is_seen[0] = True
    bridge = Bridge.over(is_seen, torch.randn(SHAPE))
    found = bridge(torch.where(is_seen, clips, math.nan), means)
    assert found.shape == means.shape
    for one, mean in zip(found.view(-1, *SHAPE), means.view(-1, *SHAPE), strict=True):
        torch.testing.assert_close(one, bridge(clips, mean))
        assert torch.equal(one[is_seen], clips[is_seen])


def test_coefficients_are_as_unsure_as_the_gaps_that_they_are_made_of():
    """Of each coordinate the variance of the transform of what is not seen, written out; none where all is seen."""
    log_var, is_seen = torch.randn(SHAPE, dtype=torch.float64), torch.rand(SHAPE) < 0.6
    is_seen[0, :, 0, 0], is_seen[0, :, 0, 1] = True, False
    found, basis = Bridge.over(is_seen, log_var).coefficient_variance(), dct_matrix(SHAPE[1])
    for clip, joint, axis in coordinates():
        seen, cov = is_seen[clip, :, joint, axis], basis.t() @ torch.diag(log_var[clip, :, joint, axis].exp()) @ basis
        open_cov = torch.zeros_like(cov)
        gain = cov[~seen][:, seen] @ torch.linalg.inv(cov[seen][:, seen])
        open_cov[(~seen)[:, None] & ~seen] = (cov[~seen][:, ~seen] - gain @ cov[seen][:, ~seen]).flatten()
        torch.testing.assert_close(found[clip, :, joint, axis], (basis @ open_cov @ basis.t()).diagonal())


def test_draws_have_the_mean_and_the_variance(around):
    many = 20_000
    stretched = [x[:1].expand(many, -1, -1, -1) for x in (around.mean, around.log_var)]
    draws = ClipGaussian(*stretched, around.is_spectral).sample()
    spread = around.variance()[0]
    assert ((draws.mean(0) - around.mean[0]).abs() < 5 * (spread / many).sqrt()).all()
    assert (draws.var(0) / spread).log().abs().max() < 0.1


def test_smooth_leftovers_bridge_a_gap_where_frames_alone_cannot():
    """A drift that the mean does not know: with slow coefficients alone variable, the gap follows its neighbors."""
    frames = 16
    log_var = torch.linspace(0, -16, frames).view(1, -1, 1, 1).expand(-1, -1, 1, 3)
    clips = (0.3 + 0.1 * torch.linspace(0, 3, frames).sin()).view(1, -1, 1, 1).expand(-1, -1, 1, 3)
    is_seen = torch.ones(clips.shape, dtype=torch.bool)
    is_seen[:, 6:9] = False
    errors = []
    for is_spectral in (False, True):
        around = ClipGaussian(torch.zeros(clips.shape), log_var, is_spectral)
        errors.append((around.given(clips, is_seen)[0] - clips).abs().max().item())
    assert errors[1] < 0.01 * errors[0]


def test_a_gap_is_crossed_in_float32_as_in_float64():
    """Variances from 4 m^2 of the slowest coefficient down to those of a recording's noise, half of the frames lost."""
    coefficients = torch.arange(50, dtype=torch.float64)
    log_var = 2 * torch.log(torch.where(coefficients == 0, 2.0, 0.2 / coefficients.clamp_min(1) ** 2).clamp_min(1e-4))
    log_var = log_var.view(1, 50, 1, 1).expand(1, 50, 1, 3)
    exact = ClipGaussian(torch.zeros_like(log_var), log_var, True)
    torch.manual_seed(0)
    clips = exact.sample()
    is_seen = torch.ones(clips.shape, dtype=torch.bool)
    is_seen[:, 15:40] = False
    (mean, variance), (coarse, coarse_variance) = (
        ClipGaussian(exact.mean.to(dtype), exact.log_var.to(dtype), True).given(clips.to(dtype), is_seen)
        for dtype in (torch.float64, torch.float32)
    )
    torch.testing.assert_close(coarse.double(), mean, rtol=0, atol=1e-3)  # a millimetre
    torch.testing.assert_close(coarse_variance.double(), variance, rtol=1e-3, atol=1e-8)
