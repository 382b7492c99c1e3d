"""Mirror images: what is exchanged, and how often."""

import pytest
import torch

from motionkit.data.skeleton import AMASS_18
from motionkit.representation.mirror_images import half_mirrored, mirrored


def make():
    return torch.randn(16, 50, 18, 3, generator=torch.Generator().manual_seed(0))


def test_a_mirror_image_twice_is_the_clip():
    clips = make()
    left, right = AMASS_18.index("left_knee"), AMASS_18.index("right_knee")
    image = mirrored(clips, AMASS_18)
    assert torch.equal(image[..., left, 0], -clips[..., right, 0])
    assert torch.equal(image[..., left, 1:], clips[..., right, 1:])
    assert torch.equal(mirrored(image, AMASS_18), clips)


def test_another_skeleton_is_refused():
    with pytest.raises(ValueError, match=rf"positions have 17 joints, and skeleton '{AMASS_18.name}' has 18"):
        mirrored(make()[:, :, :17], AMASS_18)


def test_half_of_the_clips_are_mirrored():
    clips = make()
    mixed, again = (half_mirrored(clips, AMASS_18, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(mixed, again)
    is_same = (mixed == clips).all((1, 2, 3))
    is_image = (mixed == mirrored(clips, AMASS_18)).all((1, 2, 3))
    assert (is_same ^ is_image).all()
    assert 3 < is_same.sum() < 13
