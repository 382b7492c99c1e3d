"""Spectra of clips: loud and quiet octaves are found, from what is seen alone, and what nothing is known of stays."""

import math

import pytest
import torch

from motionkit.data.masks import PATTERNS
from motionkit.models.clip_gaussian import Bridge, ClipGaussian
from motionkit.models.clip_spectra import own_spectra
from motionkit.representation.dct import dct

FRAMES, JOINTS = 32, 18
LOG_VAR = torch.linspace(-4, -12, FRAMES).view(-1, 1, 1).expand(-1, JOINTS, 3)
OCTAVES = ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 32))


def spectra(is_seen, away, log_var=LOG_VAR, num_steps=1):
    current = log_var[None]
    for _ in range(num_steps):
        current = own_spectra(Bridge.over(is_seen, current), away, log_var)
    return current


@pytest.fixture(scope="module")
def louder():
    """A factor's logarithm for each coefficient of each of 40 clips: between a tenth and ten times."""
    factors = 4.6 * torch.rand(40, len(OCTAVES), generator=torch.Generator().manual_seed(0)) - 2.3
    return torch.cat([factors[:, [n]].expand(-1, end - start) for n, (start, end) in enumerate(OCTAVES)], 1)


@pytest.fixture(scope="module")
def away(louder):
    torch.manual_seed(1)
    log_var = LOG_VAR + louder[:, :, None, None]
    return ClipGaussian(torch.zeros_like(log_var), log_var, is_spectral=True).sample()


def masks(away, pattern, share):
    return PATTERNS[pattern](away.shape, share, torch.Generator().manual_seed(2))


def test_of_whole_clips_the_factors_are_their_octaves_loudness(away):
    found = spectra(torch.ones(away.shape, dtype=torch.bool), away, LOG_VAR) - LOG_VAR
    squares = dct(away.movedim(1, -1)).square().movedim(-1, 1) / LOG_VAR.exp()
    for start, end in OCTAVES:
        coordinates = 3 * JOINTS
        expected = (squares[:, start:end].sum((1, 2, 3)) / (end - start) + 1) / (coordinates + 1)  # 1: other clips
        expected = expected.log()[:, None, None, None].expand(-1, end - start, JOINTS, 3)
        torch.testing.assert_close(found[:, start:end], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("pattern", "share", "first", "fourth"),
    [("numbers", 0.05, 0.2, 0.12), ("numbers", 0.5, 0.7, 0.3), ("joints", 0.5, 0.5, 0.2), ("frames", 0.5, 0.6, 0.3)],
)
def test_of_what_is_seen_the_factors_are_near_the_true_ones_and_nearer_with_each_step(
    away, louder, pattern, share, first, fourth
):
    """first, fourth: root mean square of the error of logarithms, a tenth more than found; theirs is 1.3."""
    is_seen = masks(away, pattern, share)
    for num_steps, most in ((1, first), (4, fourth)):
        found = spectra(is_seen, torch.where(is_seen, away, math.nan), num_steps=num_steps) - LOG_VAR
        torch.testing.assert_close(found, found[:, :, :1, :1].expand_as(found), rtol=0, atol=1e-5)
        assert (found[:, :, 0, 0] - louder).square().mean().sqrt() < most


def test_a_clips_spectrum_does_not_depend_on_the_others(away):
    is_seen = masks(away, "joints", 0.3)
    is_seen[0], is_seen[1] = True, False
    together = spectra(is_seen, away)
    for at in range(3):
        torch.testing.assert_close(spectra(is_seen[at : at + 1], away[at : at + 1])[0], together[at])


@pytest.mark.parametrize(("pattern", "share"), [("numbers", 0.05), ("joints", 0.3), ("frames", 0.1)])
def test_gaps_are_bridged_better_and_their_variance_is_nearer_the_truth(away, pattern, share):
    is_seen, nothing = masks(away, pattern, share), torch.zeros_like(away)

    def errors(log_var):
        bridge = Bridge.over(is_seen, log_var)
        off, variance = (bridge(away, nothing) - away)[~is_seen], bridge.variance[~is_seen]
        return off.square().mean(), (off.square() / variance + variance.log()).mean()

    (own, own_score), (others, others_score) = errors(spectra(is_seen, away, LOG_VAR)), errors(LOG_VAR[None])
    assert own < others
    assert own_score < others_score - 0.1  # twice the log-likelihood of a number


def test_where_nothing_is_seen_the_spectrum_is_that_of_others(away):
    unseen = torch.zeros(away.shape, dtype=torch.bool)
    found = spectra(unseen, away, LOG_VAR)
    torch.testing.assert_close(found, LOG_VAR.expand_as(found))
    # and a coordinate that is never seen tells nothing
    is_seen = masks(away, "numbers", 0.2)
    is_seen[:, :, 0] = False
    others = spectra(is_seen[:, :, 1:], away[:, :, 1:], LOG_VAR[:, 1:])
    torch.testing.assert_close(spectra(is_seen, away, LOG_VAR)[:, :, 1:], others)


def test_no_clips_have_no_spectra(away):
    nothing = torch.ones(0, *away.shape[1:], dtype=torch.bool)
    assert spectra(nothing, away[:0], LOG_VAR).shape == (0, FRAMES, JOINTS, 3)
