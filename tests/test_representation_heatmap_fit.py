import math

import pytest
import torch
from moving_body import LIMBS, POSE, SIGMA, SIZE, error, moving, noise

from motionkit.representation.heatmap_fit import fit_keypoints, place_pose, widen
from motionkit.representation.heatmaps import limbs_to_heatmaps


def draw(keypoints: torch.Tensor, sigma: float = SIGMA) -> torch.Tensor:
    return limbs_to_heatmaps(keypoints, LIMBS, SIZE, sigma, merge=True, video=True)


@pytest.mark.parametrize("wider", [3.0, 4.0, 8.0])
def test_widened_pictures_are_those_drawn_with_the_larger_sigma(wider):
    truth = moving(4)
    torch.testing.assert_close(widen(draw(truth, 3.0), 3.0, wider), draw(truth, wider), rtol=0, atol=0.05)


@pytest.mark.parametrize("wider", [0.75, 1.5, 3.0, 6.0])
def test_widened_thin_limbs_are_never_brighter_and_dimmer_by_no_more_than_the_grid_explains(wider):
    missing = draw(moving(), wider) - widen(draw(moving()), SIGMA, wider)
    assert missing.min() > -1e-5
    assert missing.max() < 1 - math.exp(-1 / (4 * SIGMA**2))  # a point amid four pixels


def test_widening_refuses_to_narrow():
    with pytest.raises(ValueError, match=r"wider_px is 0\.5, below sigma_px 0\.75"):
        widen(torch.zeros(4, 4), 0.75, 0.5)


def test_the_truth_stays():
    truth = moving()
    for smoothness in (0.1, 0.0):
        distance = (fit_keypoints(draw(truth), truth, LIMBS, SIGMA, smoothness=smoothness) - truth).norm(dim=-1)
        assert distance.mean() < 0.02
        assert distance.max() < 0.2  # the neck: the straight chain about it hides where it is


def test_keypoints_two_pixels_off_come_back():
    truth = moving()
    start = truth + noise(truth, 1.6)  # on average 2 px
    found = fit_keypoints(draw(truth), start, LIMBS, SIGMA)
    assert error(start, truth) > 1.8
    assert error(found, truth) < 0.3


def test_a_dim_or_blurred_picture_is_read_too():
    truth = moving()
    start = truth + noise(truth, 1.6)
    assert error(fit_keypoints(0.4 * draw(truth), start, LIMBS, SIGMA), truth) < 0.4
    assert error(fit_keypoints(0.7 * draw(truth, 1.2), start, LIMBS, SIGMA), truth) < 0.6


def test_a_blank_frame_keeps_its_start():
    truth = moving()
    start = truth + noise(truth, 1.0)
    pictures = draw(truth)
    torch.testing.assert_close(fit_keypoints(torch.zeros_like(pictures), start, LIMBS, SIGMA), start)
    pictures[:, :, 3:5] = 0
    found = fit_keypoints(pictures, start, LIMBS, SIGMA)
    torch.testing.assert_close(found[:, 3:5], start[:, 3:5])
    assert error(found[:, 5:], truth[:, 5:]) < 0.5


def test_windows_do_not_influence_each_other():
    truth = torch.cat([moving(), moving().flip(1) + 4.0])
    start = truth + noise(truth, 1.0)
    together = fit_keypoints(draw(truth), start, LIMBS, SIGMA)
    alone = torch.cat([fit_keypoints(draw(truth[i : i + 1]), start[i : i + 1], LIMBS, SIGMA) for i in (0, 1)])
    torch.testing.assert_close(together, alone, rtol=0, atol=0.01)


def test_the_order_and_direction_of_limbs_do_not_matter():
    truth = moving()
    start = truth + noise(truth, 1.0)
    found = fit_keypoints(draw(truth), start, LIMBS, SIGMA)
    turned = [(b, a) for a, b in reversed(LIMBS)]
    distance = (fit_keypoints(draw(truth), start, turned, SIGMA) - found).norm(dim=-1)
    assert distance.mean() < 0.01
    assert distance.max() < 0.2  # pixels as near to one limb as to another go to the first


def test_moving_the_picture_moves_the_keypoints():
    truth, shift = moving(), torch.tensor([6.0, -6.0])  # a multiple of every stride
    start = truth + noise(truth, 1.0)
    found = fit_keypoints(draw(truth), start, LIMBS, SIGMA)
    moved = fit_keypoints(draw(truth + shift), start + shift, LIMBS, SIGMA)
    torch.testing.assert_close(moved - shift, found, rtol=0, atol=0.02)


def test_pictures_need_not_be_square_nor_keypoints_float32():
    truth = moving(4).double()
    start = truth + noise(truth, 1.0)
    wide = limbs_to_heatmaps(truth, LIMBS, (SIZE, SIZE + 24), SIGMA, merge=True, video=True)
    found = fit_keypoints(wide, start, LIMBS, SIGMA)
    assert found.dtype == torch.float64
    assert error(found, truth) < 0.5 * error(start, truth)


def test_arguments_are_left_alone_and_no_gradient_is_recorded():
    truth = moving(3)
    pictures, start = draw(truth), (truth + 1).requires_grad_()
    copies = pictures.clone(), start.detach().clone()
    assert not fit_keypoints(pictures, start, LIMBS, SIGMA).requires_grad
    assert torch.equal(pictures, copies[0])
    assert torch.equal(start.detach(), copies[1])


def test_nothing_to_draw_or_nothing_in_view_keeps_the_start():
    truth = moving(3)
    assert torch.equal(fit_keypoints(draw(truth), truth, (), SIGMA), truth)
    assert torch.equal(fit_keypoints(draw(truth), truth + 1000, LIMBS, SIGMA), truth + 1000)


def test_a_pose_is_carried_to_the_brightness():
    walk = torch.arange(5.0)[None, :, None, None] * torch.tensor([2.0, -1.0])
    truth = POSE[None, None] + walk
    placed = place_pose(draw(truth), POSE[None] + 5, LIMBS, SIGMA)
    torch.testing.assert_close(placed, truth, rtol=0, atol=0.05)
    blank = place_pose(torch.zeros(1, 1, 5, SIZE, SIZE), POSE[None], LIMBS, SIGMA)
    torch.testing.assert_close(blank, POSE.expand(1, 5, -1, -1))


def test_placing_the_mean_pose_and_fitting_reads_a_walk():
    truth = moving() + torch.linspace(-8, 8, 12)[None, :, None, None] * torch.tensor([1.0, 0.0])
    mean = truth.mean(1)
    start = place_pose(draw(truth), mean, LIMBS, SIGMA)
    assert error(mean[:, None].expand_as(truth), truth) > 3 * error(start, truth)
    assert error(fit_keypoints(draw(truth), start, LIMBS, SIGMA), truth) < 0.3


def test_refusals(unchecked):
    pictures, start = torch.zeros(1, 1, 4, 8, 8), torch.zeros(1, 4, 17, 2)
    with pytest.raises(ValueError, match=r"pictures have shape \(1, 2, 4, 8, 8\)"):
        fit_keypoints(pictures.expand(-1, 2, -1, -1, -1), start, LIMBS, SIGMA)
    with pytest.raises(ValueError, match=r"keypoints have shape \(1, 3, 17, 2\)"):
        fit_keypoints(pictures, start[:, :3], LIMBS, SIGMA)
    with pytest.raises(ValueError, match="start holds nan"):
        fit_keypoints(pictures, start.fill_(torch.nan), LIMBS, SIGMA)
    with pytest.raises(ValueError, match=r"limb \(0, 17\)"):
        fit_keypoints(pictures, torch.zeros(1, 4, 17, 2), [(0, 17)], SIGMA)
