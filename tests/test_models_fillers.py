"""Fillers: each is the function it is made of, and what was seen stays."""

import math

import pytest
import torch

from motionkit.data.gaps import interpolate_gaps
from motionkit.data.masks import lose_numbers
from motionkit.models import imputation
from motionkit.models.clip_gaussian import Bridge, ClipGaussian
from motionkit.models.clip_spectra import own_spectra
from motionkit.models.fillers import MeanMotion, ascent_of, bridged, filler_of, plain_fillers, remembered
from motionkit.models.hg_vae import HGVAE, HGVAEConfig
from motionkit.models.imputation import impute, impute_map, leftovers_of
from motionkit.models.linear_prior import LinearPrior

SHAPE = (8, 6, 2, 3)


@pytest.fixture(scope="module")
def clips():
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).cumsum(1) / 10


@pytest.fixture(scope="module")
def is_seen():
    return lose_numbers(SHAPE, 0.4, torch.Generator().manual_seed(1))


def test_plain_fillers_are_the_librarys_and_keep_what_was_seen(clips, is_seen):
    mean, linear = clips.mean(0), LinearPrior.fit(clips, 3)
    expected = {
        "mean": torch.where(is_seen, clips, mean),
        "interpolation": interpolate_gaps(clips, is_seen, mean),
        "linear": linear.given(clips, is_seen)[0],
    }
    found = plain_fillers(mean, {"linear": linear.given})
    assert list(found) == list(expected)
    for name, fill in found.items():
        filled = fill(torch.where(is_seen, clips, math.nan), is_seen)
        assert torch.equal(filled, expected[name])
        assert torch.equal(filled[is_seen], clips[is_seen])
    assert list(plain_fillers(mean)) == ["mean", "interpolation"]


def test_a_models_fillers_start_from_anothers(clips, is_seen):
    torch.manual_seed(0)
    model = HGVAE(HGVAEConfig(2, 6, levels=((6, 4), (1, 5)), trunk_features=8)).eval()
    linear, leftovers = LinearPrior.fit(clips, 3), torch.zeros(SHAPE[1:])
    start, variance = linear.given(clips, is_seen)
    expected = impute(model, clips, is_seen, start, leftovers, start_variance=variance, num_steps=2)
    assert torch.equal(filler_of(model, linear.given, leftovers, 2)(clips, is_seen), expected)
    fill = plain_fillers(clips.mean(0))["interpolation"]
    expected = impute_map(model, clips, is_seen, fill(clips, is_seen), num_steps=3).clips
    assert torch.equal(ascent_of(model, fill, 3)(clips, is_seen), expected)


def test_what_is_remembered_is_asked_once_a_mask(clips, is_seen):
    linear, asked = LinearPrior.fit(clips, 3), []
    given = remembered(lambda *case: asked.append(1) or linear.given(*case))
    first = given(clips, is_seen)
    expected = [part.clone() for part in first]
    for part in first:
        part.zero_()  # the answer is the caller's
    for shown in (clips, torch.where(is_seen, clips, math.nan)):
        assert all(map(torch.equal, given(shown, is_seen), expected))
    assert len(asked) == 1
    for case in ((clips + 1, is_seen), (clips, ~is_seen)):
        assert all(map(torch.equal, given(*case), linear.given(*case)))
    assert len(asked) == 3


def test_without_a_network_gaps_are_bridged_and_the_linear_model_is_heard(clips, is_seen, monkeypatch):
    linear, mean = LinearPrior.fit(clips, 3).calibrated(clips), clips.mean(0)
    known = bridged(linear.given, mean, clips)
    fillers = plain_fillers(mean, {"linear": linear.given, "no network": known})
    errors = {
        name: (filler(torch.where(is_seen, clips, math.nan), is_seen) - clips)[~is_seen].square().mean()
        for name, filler in fillers.items()
    }
    assert errors["no network"] < min(errors[name] for name in ("mean", "linear"))
    # it is what filling in with the mean clip ends at, whatever the number of passes
    still = MeanMotion(mean)
    monkeypatch.setattr(imputation, "UNSEEN", 1)  # the mean clip knows no more of clips that are seen
    monkeypatch.setattr(imputation, "SETTLED", 1)  # all that is left over of it is there from the start
    for num_steps in (1, 2):
        fill = filler_of(still, linear.given, leftovers_of(still, clips), num_steps)
        torch.testing.assert_close(fill(clips, is_seen), known(clips, is_seen)[0])


def test_what_is_known_without_a_network_is_surer_than_each_source_and_sure_of_what_is_seen(clips, is_seen):
    linear, mean = LinearPrior.fit(clips, 3).calibrated(clips), clips.mean(0)
    found, variance = bridged(linear.given, mean, clips)(torch.where(is_seen, clips, math.nan), is_seen)
    assert torch.equal(found[is_seen], clips[is_seen])
    assert not variance[is_seen].any()
    others = leftovers_of(MeanMotion(mean), clips)
    log_var = own_spectra(Bridge.over(is_seen, others[None]), clips - mean, others)
    around = ClipGaussian(mean.expand(SHAPE), log_var, is_spectral=True)
    for other in (linear.given(clips, is_seen)[1], around.given(clips, is_seen)[1]):
        assert (variance[~is_seen] <= other[~is_seen] * (1 + 1e-5)).all()
        assert (variance[~is_seen] < 0.999 * other[~is_seen]).any()


def test_many_clips_are_bridged_a_part_at_a_time(clips, is_seen, monkeypatch):
    linear = LinearPrior.fit(clips, 3).calibrated(clips)
    known = bridged(linear.given, clips.mean(0), clips)
    whole = known(clips, is_seen)
    monkeypatch.setattr(imputation, "CHUNK", 3)
    for part, expected in zip(known(clips, is_seen), whole, strict=True):
        torch.testing.assert_close(part, expected)
    assert known(clips[:0], is_seen[:0])[0].shape == (0, *SHAPE[1:])
    with pytest.raises(ValueError, match="no clips"):
        bridged(linear.given, clips.mean(0), clips[:0])
