"""Batches of clips and what is left of them: inputs that differ from clips only where they may."""

import pytest
import torch

from motionkit.data.skeleton import AMASS_18
from motionkit.representation.mirror_images import mirrored
from motionkit.representation.partial_clips import PartialClips

SHAPE = (16, 50, 18, 3)


def make(most):
    torch.manual_seed(0)
    clips = torch.randn(SHAPE)
    return clips, PartialClips(AMASS_18, clips.mean(0), most)


def test_without_a_share_to_lose_inputs_are_the_clips_of_which_half_are_mirrored():
    clips, transform = make(0)
    batch = transform(clips, torch.Generator().manual_seed(0))
    assert torch.equal(batch["input"], batch["clips"])
    is_same, is_image = ((batch["clips"] == other).all((1, 2, 3)) for other in (clips, mirrored(clips, AMASS_18)))
    assert (is_same ^ is_image).all()
    assert 3 < is_same.sum() < 13


def test_inputs_lose_a_part_of_most_clips():
    clips, transform = make(0.8)
    batch, again, other = (transform(clips, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(batch[name], again[name]) for name in batch)
    assert not torch.equal(batch["input"], other["input"])
    changed = (batch["input"] != batch["clips"]).float().mean((1, 2, 3))
    assert not changed[::4].any()
    assert changed.max() <= 0.83
    assert (changed > 0).float().mean() > 0.6


def test_an_impossible_share_is_refused():
    with pytest.raises(ValueError, match=r"most is 1\.5; expected a share from 0 to 1"):
        make(1.5)
