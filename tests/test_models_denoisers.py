import pytest
import torch
from moving_body import LIMBS, SIGMA, SIZE, Draws, error, moving, noise

from motionkit.data.skeleton import H36M_17
from motionkit.models.denoisers import FILTERS, TokenizerDenoiser, fill_missing, savitzky_golay, temporal_median
from motionkit.representation.heatmaps import limbs_to_heatmaps


def ones(keypoints: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(keypoints[..., 0])


def polynomial(order: int, frames: int = 16) -> torch.Tensor:
    t = torch.linspace(-1, 1, frames, dtype=torch.float64)
    track = torch.stack([1 + 2 * t - 3 * t**order, 0.5 * t**order], -1)
    return track[None, :, None].expand(2, frames, 3, 2)


@pytest.mark.parametrize("denoiser", FILTERS.values(), ids=FILTERS)
def test_filters_leave_a_constant_sequence_alone(denoiser, tolerance):
    still = torch.tensor([[3.0, 4.0], [5.0, 6.0]]).expand(2, 12, 2, 2)
    torch.testing.assert_close(denoiser(still, ones(still)), still, **tolerance())
    # A gap in it does not matter either, wherever the missed keypoints were put.
    confidence = ones(still)
    confidence[0, 3:7, 1] = 0
    spoiled = torch.where((confidence > 0)[..., None], still, -50.0)
    torch.testing.assert_close(denoiser(spoiled, confidence), still, **tolerance())


@pytest.mark.parametrize("denoiser", FILTERS.values(), ids=FILTERS)
def test_filters_commute_with_moving_scaling_and_reversing_time(denoiser, tolerance):
    keypoints = noise(torch.empty(2, 12, 3, 2), 3.0)
    filtered = denoiser(keypoints, ones(keypoints))
    torch.testing.assert_close(denoiser(2 * keypoints + 7, ones(keypoints)), 2 * filtered + 7, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(denoiser(keypoints.flip(1), ones(keypoints)), filtered.flip(1), rtol=1e-4, atol=1e-4)


def test_detected_keypoints_are_trusted():
    keypoints = noise(torch.empty(2, 12, 3, 2), 3.0)
    assert torch.equal(fill_missing(keypoints, ones(keypoints)), keypoints)


def test_savitzky_golay_reproduces_polynomials_of_its_order_and_no_higher(tolerance):
    for order in (1, 2):
        track = polynomial(order)
        torch.testing.assert_close(savitzky_golay(track, ones(track)), track, **tolerance(torch.float64))
    cubic = polynomial(3)
    assert (savitzky_golay(cubic, ones(cubic)) - cubic).abs().max() > 1e-3
    torch.testing.assert_close(savitzky_golay(cubic, ones(cubic), order=3), cubic, **tolerance(torch.float64))


def test_savitzky_golay_has_the_published_weights():
    impulse = torch.zeros(1, 15, 1, 2)
    impulse[:, 7] = 21.0
    # Savitzky and Golay 1964, table I: quadratic, 7 points, norm 21.
    expected = [-2, 3, 6, 7, 6, 3, -2]
    torch.testing.assert_close(
        savitzky_golay(impulse, ones(impulse), frames=7)[0, 4:11, 0, 0], torch.tensor(expected).float()
    )


def test_the_median_removes_what_lasts_less_than_half_its_frames():
    ramp = torch.arange(12.0).view(1, 12, 1, 1).expand(1, 12, 1, 2)
    spiked = ramp.clone()
    spiked[:, 5:7] = 100.0
    filtered = temporal_median(spiked, ones(spiked))
    assert filtered.max() <= 11
    assert (filtered - ramp).abs().max() <= 2
    spiked[:, 5:8] = 100.0
    assert temporal_median(spiked, ones(spiked)).max() == 100
    assert temporal_median(torch.tensor([1.0, 9, 2, 7, 3]).view(1, 5, 1, 1).expand(1, 5, 1, 2), torch.ones(1, 5, 1),
                           frames=3)[0, :, 0, 0].tolist() == [1, 2, 7, 3, 3]  # fmt: skip


@pytest.mark.parametrize("filtered", [temporal_median, savitzky_golay])
def test_an_even_number_of_frames_is_refused(filtered):
    with pytest.raises(ValueError, match="frames is 4"):
        filtered(moving(), ones(moving()), frames=4)


def test_savitzky_golay_refuses_windows_and_orders_that_do_not_fit():
    with pytest.raises(ValueError, match="frames is 13 and order 2, of windows with 12 frames"):
        savitzky_golay(moving(12), ones(moving(12)), frames=13)
    with pytest.raises(ValueError, match="frames is 5 and order 5"):
        savitzky_golay(moving(12), ones(moving(12)), frames=5, order=5)


def test_a_tokenizer_that_knows_the_clean_picture_cleans_the_keypoints():
    truth = moving()
    clean = limbs_to_heatmaps(truth, LIMBS, SIZE, SIGMA, merge=True, video=True)
    noisy = truth + noise(truth, 1.6)
    denoiser = TokenizerDenoiser(Draws(clean), LIMBS, SIZE, SIGMA)
    found, pictures = denoiser.denoise(noisy, ones(noisy))
    assert error(found, truth) < 0.3 < error(noisy, truth)
    torch.testing.assert_close(pictures, clean)
    torch.testing.assert_close(denoiser(noisy, ones(noisy)), found)


def test_a_tokenizer_that_repeats_its_input_cleans_little():
    truth = moving()
    noisy = truth + noise(truth, 1.6)
    found = TokenizerDenoiser(Draws(), LIMBS, SIZE, SIGMA)(noisy, ones(noisy))
    assert error(found, noisy) < 0.5
    assert error(found, truth) > 0.8 * error(noisy, truth)


def test_bridged_keypoints_are_drawn_or_left_out_as_asked():
    truth = moving()
    confidence = ones(truth)
    confidence[:, 2:5, 16] = 0
    limb = [16 in pair for pair in H36M_17.limbs].index(True)
    drawing, leaving = (Draws(), Draws())
    TokenizerDenoiser(drawing, LIMBS, SIZE, SIGMA)(truth, confidence)
    TokenizerDenoiser(leaving, LIMBS, SIZE, SIGMA, draws_missing=False)(truth, confidence)
    assert drawing.inputs[0].shape == (1, 16, 12, SIZE, SIZE)
    assert (drawing.inputs[0][0, limb].amax((-2, -1)) > 0.3).all()
    assert (leaving.inputs[0][0, limb].amax((-2, -1)) > 0.3).tolist() == [True] * 2 + [False] * 3 + [True] * 7
