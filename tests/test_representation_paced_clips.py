"""Clips played at other speeds: what is where when, and that nothing is made up."""

import pytest
import torch

from motionkit.data.skeleton import AMASS_18
from motionkit.representation.mirror_images import mirrored
from motionkit.representation.paced_clips import PacedClips, played


def make():
    return torch.randn(16, 21, 18, 3, generator=torch.Generator().manual_seed(0))


def test_at_half_speed_every_other_frame_is_a_recorded_one():
    clips = make()
    slow = played(clips, torch.full((16,), 0.5))
    assert torch.equal(slow[:, ::2], clips[:, :11])
    torch.testing.assert_close(slow[:, 1::2], (clips[:, :10] + clips[:, 1:11]) / 2)


def test_each_clip_has_its_own_speed():
    line = torch.arange(5.0).view(1, 5, 1, 1).expand(3, 5, 2, 3)  # it shows the time that is played
    speeds = torch.tensor([1.0, 0.3, 0.75])
    assert torch.equal(played(line, speeds)[:, :, 0, 0], speeds[:, None] * torch.arange(5))


def test_a_clip_of_one_frame_stays():
    clips = make()[:, :1]
    assert torch.equal(played(clips, torch.full((16,), 0.7)), clips)


def test_at_full_speed_clips_or_their_mirror_images_are_left_as_they_are():
    clips = make()
    batch = PacedClips(AMASS_18, slowest=1.0)(clips, torch.Generator().manual_seed(0))["clips"]
    is_same, is_image = ((batch == other).all((1, 2, 3)) for other in (clips, mirrored(clips, AMASS_18)))
    assert (is_same ^ is_image).all()
    assert is_same.any()
    assert is_image.any()


def test_every_other_clip_is_played_as_recorded_and_the_others_at_speeds_from_the_slowest_to_that():
    line = torch.arange(9.0).view(1, 9, 1, 1).expand(400, 9, 18, 3)
    transform = PacedClips(AMASS_18, slowest=0.4)
    batch, again, other = (transform(line, torch.Generator().manual_seed(seed))["clips"] for seed in (0, 0, 1))
    assert torch.equal(batch, again)
    assert not torch.equal(batch, other)
    assert torch.equal(batch[::2, :, 0, 1], line[::2, :, 0, 1])  # y is the same in mirror images
    speeds = batch[1::2, -1, 0, 1] / 8
    assert 0.4 <= speeds.min() < 0.43
    assert 0.97 < speeds.max() <= 1
    assert (speeds.mean() - 0.7).abs() < 0.04


@pytest.mark.parametrize("slowest", [0.0, -0.5, 1.5])
def test_an_impossible_speed_is_refused(slowest):
    with pytest.raises(ValueError, match=rf"slowest is {slowest}; expected a speed above 0 and up to 1"):
        PacedClips(AMASS_18, slowest)
