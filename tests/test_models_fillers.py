"""Fillers: each is the function it is made of, and what was seen stays."""

import math

import pytest
import torch

from motionkit.data.gaps import interpolate_gaps
from motionkit.data.masks import lose_numbers
from motionkit.models.fillers import ascent_of, filler_of, plain_fillers
from motionkit.models.hg_vae import HGVAE, HGVAEConfig
from motionkit.models.imputation import impute, impute_map
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
    expected["halfway"] = (expected["interpolation"] + expected["linear"]) / 2
    found = plain_fillers(mean, linear)
    assert list(found) == list(expected)
    for name, fill in found.items():
        filled = fill(torch.where(is_seen, clips, math.nan), is_seen)
        assert torch.equal(filled, expected[name])
        assert torch.equal(filled[is_seen], clips[is_seen])
    assert list(plain_fillers(mean)) == ["mean", "interpolation"]


def test_a_models_fillers_start_from_anothers(clips, is_seen):
    torch.manual_seed(0)
    model = HGVAE(HGVAEConfig(2, 6, levels=((6, 4), (1, 5)), trunk_features=8)).eval()
    start, leftovers = plain_fillers(clips.mean(0))["interpolation"], torch.zeros(SHAPE[1:])
    begun = start(clips, is_seen)
    expected = impute(model, clips, is_seen, begun, leftovers, num_steps=2)
    assert torch.equal(filler_of(model, start, leftovers, 2)(clips, is_seen), expected)
    expected = impute_map(model, clips, is_seen, begun, num_steps=3).clips
    assert torch.equal(ascent_of(model, start, 3)(clips, is_seen), expected)


def test_the_linear_model_is_asked_once_for_all_who_start_from_it(clips, is_seen, monkeypatch):
    asked, exact = [], LinearPrior.mean_given
    monkeypatch.setattr(LinearPrior, "mean_given", lambda self, *given: asked.append(1) or exact(self, *given))
    linear = LinearPrior.fit(clips, 3)
    found = plain_fillers(clips.mean(0), linear)
    first = found["linear"](clips, is_seen)
    expected = first.clone()
    first.zero_()  # the answer is the caller's
    found["halfway"](torch.where(is_seen, clips, math.nan), is_seen)
    assert torch.equal(found["linear"](clips, is_seen), expected)
    assert len(asked) == 1
    for other in ((clips + 1, is_seen), (clips, ~is_seen)):
        assert torch.equal(found["linear"](*other), exact(linear, *other))
    assert len(asked) == 3
