import pytest
import torch

from motionkit.data.corruption import CORRUPTIONS, jitter, occlusion, outliers, side_swaps
from motionkit.data.gaps import fill_missing
from motionkit.data.skeleton import H36M_17


def truth(windows=4, frames=200) -> torch.Tensor:
    return 30 + 10 * torch.randn(windows, frames, 17, 2, generator=torch.Generator().manual_seed(5))


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_level_zero_changes_nothing(kind):
    keypoints, confidence = CORRUPTIONS[kind].apply(truth(), 0.0, seeded(), H36M_17)
    assert torch.equal(keypoints, truth())
    assert (confidence > 0).all()


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_the_seed_decides_and_the_input_is_left_alone(kind):
    given = truth()
    first = CORRUPTIONS[kind].apply(given, 0.3, seeded(1), H36M_17)
    again = CORRUPTIONS[kind].apply(given, 0.3, seeded(1), H36M_17)
    other = CORRUPTIONS[kind].apply(given, 0.3, seeded(2), H36M_17)
    assert torch.equal(given, truth())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


@pytest.mark.parametrize("kind", ["occlusion", "outliers", "side swaps"])
@pytest.mark.parametrize("rate", [-0.1, 1.1])
def test_rates_outside_0_to_1_are_refused(kind, rate):
    with pytest.raises(ValueError, match=f"rate is {rate}"):
        CORRUPTIONS[kind].apply(truth(), rate, seeded(), H36M_17)


def test_jitter_has_the_asked_size_and_is_independent_in_time():
    keypoints, _ = jitter(truth(), 2.0, seeded())
    error = keypoints - truth()
    assert error.std() == pytest.approx(2.0, rel=0.02)
    assert (error[:, 1:] * error[:, :-1]).mean().abs() < 0.1


def test_outliers_displace_their_share_and_nothing_else():
    keypoints, confidence = outliers(truth(), 0.1, seeded(), outlier_px=10.0)
    moved = (keypoints != truth()).any(-1)
    assert moved.float().mean() == pytest.approx(0.1, abs=0.01)
    assert (keypoints - truth())[moved].std() == pytest.approx(10, rel=0.05)
    assert confidence[moved].max() <= 0.6


def test_occlusion_hides_its_share_in_spans():
    _, confidence = occlusion(truth(8, 400), 0.3, seeded(), span_frames=8)
    hidden = confidence == 0
    assert hidden.float().mean() == pytest.approx(0.3, abs=0.02)
    track = hidden[0, :, 3].int()
    edges = torch.diff(track, prepend=track.new_zeros(1), append=track.new_zeros(1))
    starts, ends = (edges == 1).nonzero(), (edges == -1).nonzero()
    inner = ((starts > 0) & (ends < len(track))).flatten()
    assert ((ends - starts).flatten()[inner] >= 8).all()
    assert hidden[:, 0].float().mean() == pytest.approx(0.3, abs=0.12)  # spans may start before the window


def test_nothing_of_an_occluded_keypoint_is_kept():
    first = truth()
    _, confidence = occlusion(first, 0.4, seeded())
    second = torch.where((confidence > 0)[..., None], first, -1000.0)
    assert torch.equal(occlusion(first, 0.4, seeded())[0], occlusion(second, 0.4, seeded())[0])


def test_everything_may_be_occluded():
    keypoints, confidence = occlusion(truth(), 1.0, seeded())
    assert not confidence.any()
    assert not keypoints.any()
    assert torch.equal(fill_missing(keypoints, confidence), keypoints)


def test_spans_need_a_frame():
    with pytest.raises(ValueError, match="span_frames is 0"):
        occlusion(truth(), 0.1, seeded(), span_frames=0)


def test_side_swaps_exchange_whole_bodies_in_their_share_of_frames():
    mirrored = list(H36M_17.mirrored_joints())
    keypoints, _ = side_swaps(truth(), 0.25, seeded(), mirrored=tuple(mirrored))
    is_swapped = (keypoints != truth()).flatten(2).any(-1)
    assert is_swapped.float().mean() == pytest.approx(0.25, abs=0.05)
    assert torch.equal(keypoints[is_swapped], truth()[is_swapped][:, mirrored])


def test_missing_keypoints_are_bridged_in_time():
    keypoints = torch.arange(5.0).view(1, 5, 1, 1).expand(1, 5, 2, 2).clone()
    confidence = torch.tensor([[[0.0, 1], [1, 1], [0, 1], [0.5, 1], [0, 1]]])
    keypoints[confidence == 0] = 99
    filled = fill_missing(keypoints, confidence)
    assert filled[0, :, 0, 0].tolist() == [1, 1, 2, 3, 3]
    assert torch.equal(filled[:, :, 1], keypoints[:, :, 1])
    assert keypoints[0, 0, 0, 0] == 99


def test_a_joint_never_seen_goes_to_the_mean_of_the_others():
    keypoints = torch.tensor([[[[1.0, 2.0], [3.0, 6.0], [99.0, 99.0]]]])
    filled = fill_missing(keypoints, torch.tensor([[[1.0, 1.0, 0.0]]]))
    assert filled[0, 0, 2].tolist() == [2, 4]
