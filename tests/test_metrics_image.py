"""Picture metrics against hand-computed values, limits, slow twins and other people's implementations."""

import math

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from motionkit.metrics.image import (
    l1,
    psnr,
    ssim,
    ssim_foreground,
    ssim_skill,
    tstd_code,
    tstd_paper,
    tstd_temporal,
)

C1, C2 = 1e-4, 9e-4


def textured(*shape: int, dtype=torch.float64) -> torch.Tensor:
    """Deterministic pictures in [0, 1] without symmetry: a wave whose phase and pitch change with frame and place."""
    *frames, height, width = shape
    index = torch.arange(math.prod(frames), dtype=torch.float64).reshape(*frames, 1, 1)
    y = torch.arange(height, dtype=torch.float64)[:, None]
    x = torch.arange(width, dtype=torch.float64)
    return (0.5 + 0.5 * torch.sin(0.3 * x + 0.011 * y * y + 0.7 * index)).to(dtype)


def stained(video: torch.Tensor) -> torch.Tensor:
    """The same pictures, worse from frame to frame."""
    frames = torch.arange(video.shape[-3], dtype=video.dtype)[:, None, None]
    x = torch.arange(video.shape[-1], dtype=video.dtype)
    return (video + 0.05 * (1 + frames) * torch.cos(1.7 * x)).clamp(0, 1)


def figure(frames: int = 6, size: int = 48) -> torch.Tensor:
    """A narrow bump that walks to the right over an empty background, as in a joint's heatmap."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    centers = 14 + 2 * torch.arange(frames)[:, None, None]
    return torch.exp(-((x - centers) ** 2 + (y - 20) ** 2) / (2 * 1.5**2)).double()


def slow_ssim(output: np.ndarray, target: np.ndarray, border: str) -> float:
    """SSIM of one picture pixel by pixel, straight from the definition."""
    offsets = range(-5, 6)
    weight = {(i, j): math.exp(-(i * i + j * j) / (2 * 1.5**2)) for i in offsets for j in offsets}
    total = sum(weight.values())
    height, width = output.shape

    def mirror(i: int, size: int) -> int:
        i = abs(i)
        return i if i < size else 2 * (size - 1) - i

    margin = 5 if border == "valid" else 0
    scores = []
    for row in range(margin, height - margin):
        for column in range(margin, width - margin):
            a, b, w = [], [], []
            for (i, j), value in weight.items():
                place = mirror(row + i, height), mirror(column + j, width)
                a.append(output[place]), b.append(target[place]), w.append(value / total)
            a, b, w = np.array(a), np.array(b), np.array(w)
            ma, mb = w @ a, w @ b
            va, vb, cov = w @ (a - ma) ** 2, w @ (b - mb) ** 2, w @ ((a - ma) * (b - mb))
            scores.append((2 * ma * mb + C1) * (2 * cov + C2) / ((ma**2 + mb**2 + C1) * (va + vb + C2)))
    return float(np.mean(scores))


class TestSSIM:
    @pytest.mark.parametrize("border", ["reflect", "valid"])
    @pytest.mark.parametrize("size", [(13, 17), (11, 36)])
    def test_equals_the_definition(self, border, size, tolerance):
        target = textured(2, *size)
        output = stained(target)
        expected = [slow_ssim(o, t, border) for o, t in zip(output.numpy(), target.numpy(), strict=True)]
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(ssim(output, target, border=border), expected, **tolerance(torch.float64))

    @pytest.mark.parametrize("size", [(11, 11), (31, 64), (64, 33), (128, 128)])
    def test_equals_torchmetrics(self, size, tolerance):
        target = textured(3, *size)
        output = stained(target)
        expected = [
            structural_similarity_index_measure(o[None, None], t[None, None], data_range=1.0)
            for o, t in zip(output, target, strict=True)
        ]
        torch.testing.assert_close(ssim(output, target), torch.stack(expected), **tolerance(torch.float64))

    def test_equals_torchmetrics_in_float32(self):
        target = textured(64, 128, 128, dtype=torch.float32)
        output = stained(target)
        expected = structural_similarity_index_measure(output[:, None], target[:, None], data_range=1.0)
        assert ssim(output, target).mean().item() == pytest.approx(expected.item(), abs=2e-6)

    def test_valid_border_equals_scikit_image(self):
        target = textured(1, 40, 52)
        output = stained(target)
        expected = structural_similarity(
            output[0].numpy(), target[0].numpy(), data_range=1.0, gaussian_weights=True, use_sample_covariance=False
        )
        assert ssim(output, target, border="valid").item() == pytest.approx(expected, abs=1e-10)

    def test_flat_pictures_by_hand(self):
        output, target = torch.full((1, 12, 12), 0.25), torch.full((1, 12, 12), 0.75)
        expected = (2 * 0.25 * 0.75 + C1) / (0.25**2 + 0.75**2 + C1)  # no variance: the other factor is C2 / C2
        assert ssim(output, target).item() == pytest.approx(expected, abs=1e-5)

    def test_an_equal_picture_scores_one(self):
        for dtype in (torch.float32, torch.float64):
            video = textured(2, 3, 40, 40, dtype=dtype)
            torch.testing.assert_close(ssim(video, video), torch.ones(2, 3, dtype=dtype))

    def test_bright_pictures_do_not_drown_in_rounding(self):
        """float32 variances of flat bright pictures are all rounding: C2 = 9e-4 must still be seen exactly."""
        white = torch.ones(1, 64, 64)
        assert ssim(white, white).item() == pytest.approx(1, abs=1e-6)
        target = 0.9 + 0.05 * textured(4, 64, 64)
        output = target + 0.02 * textured(4, 64, 64).flip(-1)
        exact = ssim(output, target)
        torch.testing.assert_close(ssim(output.float(), target.float()).double(), exact, atol=1e-5, rtol=0)

    def test_is_symmetric_and_falls_with_the_error(self, tolerance):
        target = textured(5, 32, 32)
        output = stained(target)
        score = ssim(output, target)
        torch.testing.assert_close(score, ssim(target, output), **tolerance(torch.float64))
        assert (score.diff() < 0).all()

    def test_flipping_and_turning_both_changes_nothing(self, tolerance):
        target = textured(2, 24, 40)
        output = stained(target)
        for turn in (lambda v: v.flip(-1), lambda v: v.flip(-2), lambda v: v.mT):
            expected = ssim(output, target)
            torch.testing.assert_close(ssim(turn(output), turn(target)), expected, **tolerance(torch.float64))

    @pytest.mark.parametrize("shape", [(20, 20), (7, 20, 20), (2, 3, 7, 20, 20), (0, 20, 20)])
    def test_keeps_leading_axes(self, shape, tolerance):
        target = textured(*shape)
        output = (target * 0.8).contiguous()
        score = ssim(output, target)
        assert score.shape == shape[:-2]
        one_by_one = [ssim(o, t) for o, t in zip(output.reshape(-1, 20, 20), target.reshape(-1, 20, 20), strict=True)]
        if one_by_one:
            torch.testing.assert_close(score.flatten(), torch.stack(one_by_one), **tolerance(torch.float64))

    def test_pictures_with_any_strides(self, tolerance):
        target = textured(4, 24, 32)
        output = stained(target)
        strided = [v.permute(2, 0, 1).contiguous().permute(1, 2, 0) for v in (output, target)]
        torch.testing.assert_close(ssim(*strided), ssim(output, target), **tolerance(torch.float64))

    def test_gradient(self):
        target = textured(2, 12, 13)
        output = stained(target).requires_grad_()
        assert torch.autograd.gradcheck(lambda o: ssim(o, target), (output,), atol=1e-6)

    def test_gradient_is_finite_where_nothing_is_seen(self):
        output = torch.zeros(1, 16, 16, requires_grad=True)
        ssim(output, torch.zeros(1, 16, 16)).sum().backward()
        assert torch.isfinite(output.grad).all()

    def test_a_gradient_after_inference_mode(self):
        target = textured(1, 21, 21)
        with torch.inference_mode():
            ssim(target, target)
        output = stained(target).requires_grad_()
        ssim(output, target).sum().backward()
        assert output.grad.abs().sum() > 0

    def test_half_precision_is_scored_in_float32(self):
        target = textured(2, 32, 32).bfloat16()
        output = stained(textured(2, 32, 32)).bfloat16()
        score = ssim(output, target)
        assert score.dtype == torch.float32
        torch.testing.assert_close(score, ssim(output.float(), target.float()))

    def test_automatic_mixed_precision_does_not_reach_it(self):
        target = textured(2, 32, 32, dtype=torch.float32)
        output = stained(target)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            inside = ssim(output, target)
        assert torch.equal(inside, ssim(output, target))

    def test_arguments_stay_as_they_are(self):
        target = textured(9, 128, 128)
        output = stained(target)
        before = output.clone(), target.clone()
        ssim(output, target)
        assert torch.equal(output, before[0])
        assert torch.equal(target, before[1])

    def test_too_small_or_unequal_frames_are_named(self, unchecked):
        with pytest.raises(ValueError, match="10 x 64"):
            ssim(torch.zeros(2, 10, 64), torch.zeros(2, 10, 64))
        with pytest.raises(ValueError, match=r"\(2, 16, 16\).*\(3, 16, 16\)"):
            ssim(torch.zeros(2, 16, 16), torch.zeros(3, 16, 16))


class TestForeground:
    def test_background_errors_do_not_count_and_foreground_errors_do(self):
        target = figure()
        far, near = target.clone(), target.clone()
        far[:, 40:, :] = 0.5
        near[:, 18:22, :] *= 0.5
        torch.testing.assert_close(ssim_foreground(far, target), torch.ones(6).double())
        assert (ssim_foreground(near, target) < ssim(near, target)).all()

    def test_equals_the_mean_over_the_dilated_support(self):
        target = figure(frames=1)
        output = 0.7 * target.roll(1, -1)
        support = target[0] > 0.01
        places = torch.nonzero(support)
        near = [
            (row, column)
            for row in range(48)
            for column in range(48)
            if ((places - torch.tensor([row, column])).abs().amax(1) <= 2).any()
        ]
        scores = []
        for row, column in near:  # a picture of one window has one valid SSIM value
            window = slice(row - 5, row + 6), slice(column - 5, column + 6)
            scores.append(ssim(output[0][window], target[0][window], border="valid"))
        expected = torch.stack(scores).mean()
        torch.testing.assert_close(ssim_foreground(output, target)[0], expected)

    def test_a_blank_output_earns_much_less_than_over_the_whole_picture(self):
        target = figure()
        blank = torch.zeros_like(target)
        assert (ssim(blank, target) > 0.75).all()
        assert (ssim_foreground(blank, target) < 0.2).all()

    def test_an_empty_frame_has_no_foreground(self):
        target = figure(frames=2)
        target[1] = 0
        score = ssim_foreground(target, target)
        assert score[0].item() == pytest.approx(1)
        assert math.isnan(score[1])


def test_skill_by_hand():
    assert ssim_skill(0.9, 0.8) == pytest.approx(0.5)
    assert ssim_skill(0.8, 0.8) == 0
    assert ssim_skill(1.0, 0.8) == pytest.approx(1)
    assert ssim_skill(0.6, 0.8) == pytest.approx(-1)
    assert math.isnan(ssim_skill(1.0, 1.0))
    torch.testing.assert_close(
        ssim_skill(torch.tensor([0.9, 1.0]), torch.tensor([0.8, 1.0])), torch.tensor([0.5, torch.nan]), equal_nan=True
    )


class TestPSNRAndL1:
    def test_by_hand(self):
        target = torch.zeros(2, 2, 2)
        output = torch.tensor([[[0.1, 0.1], [0.1, 0.1]], [[0.0, 0.0], [0.0, 0.2]]])
        # squared errors 0.01 and 0.04 / 4 = 0.01; absolute errors 0.1 and 0.05
        torch.testing.assert_close(psnr(output, target), torch.tensor([20.0, 20.0]))
        torch.testing.assert_close(l1(output, target), torch.tensor([0.1, 0.05]))

    def test_equals_torchmetrics(self):
        target = textured(3, 20, 24)
        output = stained(target)
        expected = [peak_signal_noise_ratio(o, t, data_range=1.0) for o, t in zip(output, target, strict=True)]
        torch.testing.assert_close(
            psnr(output, target), torch.stack(expected), rtol=1e-6, atol=0
        )  # theirs takes float32 logarithms

    def test_equal_frames_reach_the_cap_with_a_finite_gradient(self):
        video = textured(3, 8, 8).requires_grad_()
        score = psnr(video, video.detach())
        score.sum().backward()
        torch.testing.assert_close(score, torch.full((3,), 100.0).double())
        assert torch.isfinite(video.grad).all()
        assert (l1(video, video) == 0).all()

    def test_ten_times_the_error_costs_twenty_decibels(self):
        target = textured(2, 16, 16)
        small, large = psnr(target + 0.001, target), psnr(target + 0.01, target)
        torch.testing.assert_close(small - large, torch.full((2,), 20.0).double())

    def test_channels_side_by_side_pool_their_squared_errors(self):
        """How to follow the program that takes one error a frame over all channels."""
        target = textured(3, 4, 12, 12)  # (channels, frames, height, width)
        output = target * torch.tensor([0.9, 0.8, 0.5]).double()[:, None, None, None]
        pooled = psnr(torch.cat(list(output), -2), torch.cat(list(target), -2))
        error = (output - target).square().mean((0, 2, 3))
        torch.testing.assert_close(pooled, -10 * torch.log10(error))


class TestTemporalDeviation:
    def test_printed_formula_by_hand(self):
        frame = torch.tensor([[0.0, 1.0], [0.0, 1.0]])  # spatial deviation 1/2
        video = torch.stack([frame, torch.zeros(2, 2), 0.5 * frame])
        assert tstd_paper(video).item() == pytest.approx((0.5 + 0 + 0.25) / (3 * 2 * 2))

    def test_printed_formula_as_a_loop(self):
        video = textured(3, 5, 6, 7)
        expected = torch.zeros(3).double()
        for clip, frames in enumerate(video.numpy()):
            for frame in frames:
                expected[clip] += math.sqrt(sum((v - frame.mean()) ** 2 for v in frame.ravel()) / 42) / (5 * 42)
        torch.testing.assert_close(tstd_paper(video), expected)

    def test_printed_formula_is_blind_to_the_order_of_frames(self):
        video = textured(6, 16, 16)
        torch.testing.assert_close(tstd_paper(video), tstd_paper(video[[3, 0, 5, 1, 4, 2]]))

    def test_program_by_hand(self):
        """Two frames: every curve becomes 0, 1, whose unbiased deviation is sqrt(1/2)."""
        target = textured(2, 16, 16)
        output = target.clone()
        output[1] *= 0.5
        assert tstd_code(output, target).item() == pytest.approx(math.sqrt(0.5))

    def test_program_as_a_loop(self):
        target = textured(2, 5, 20, 20)
        output = stained(target)
        expected = []
        for o, t in zip(output.numpy(), target.numpy(), strict=True):
            curves = [
                [20 * math.log10(1 / math.sqrt(((a - b) ** 2).mean())) for a, b in zip(o, t, strict=True)],
                [slow_ssim(a, b, "valid") for a, b in zip(o, t, strict=True)],
                [np.abs(a - b).mean() for a, b in zip(o, t, strict=True)],
            ]
            scaled = [(np.array(c) - min(c)) / (max(c) - min(c)) for c in curves]
            expected.append(np.mean([c.std(ddof=1) for c in scaled]))
        torch.testing.assert_close(tstd_code(output, target), torch.tensor(np.array(expected)))

    def test_program_cannot_see_the_size_of_errors(self):
        target = torch.zeros(8, 16, 16).double()
        error = 1e-4 * textured(8, 16, 16)  # small enough for SSIM to be linear in the squared error
        assert tstd_code(10 * error, target).item() == pytest.approx(tstd_code(error, target).item(), rel=2e-3)

    def test_program_on_pure_noise_gives_what_the_table_prints(self):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(200, 64, generator=generator)
        low, high = noise.amin(1, keepdim=True), noise.amax(1, keepdim=True)
        assert ((noise - low) / (high - low)).std(1).mean().item() == pytest.approx(0.214, abs=0.01)

    def test_program_on_a_perfect_output(self):
        video = textured(4, 16, 16)
        assert tstd_code(video, video).item() == pytest.approx(0, abs=1e-12)

    def test_temporal_by_hand(self):
        target = torch.zeros(2, 1, 2)
        output = torch.tensor([[[0.0, 0.3]], [[0.4, 0.3]]])  # deviations over the frames 0.2 and 0
        assert tstd_temporal(output, target).item() == pytest.approx(0.1)

    def test_temporal_as_a_loop(self):
        target = textured(2, 5, 6, 7)
        output = stained(target)
        error = (target - output).numpy()
        pixels = [[error[b, :, i, j].std() for i in range(6) for j in range(7)] for b in range(2)]
        torch.testing.assert_close(tstd_temporal(output, target), torch.tensor(np.mean(pixels, axis=1)))

    def test_temporal_sees_flicker_not_a_still_error(self):
        target = textured(3, 8, 16, 16)
        still = 0.2 * textured(1, 16, 16)
        flicker = still * torch.tensor([1.0, -1.0]).double().repeat(4)[:, None, None]
        zero = torch.zeros(3).double()
        torch.testing.assert_close(tstd_temporal(target, target), zero)
        torch.testing.assert_close(tstd_temporal(target + still, target), zero, atol=1e-12, rtol=0)
        torch.testing.assert_close(tstd_temporal(target + flicker, target), still.mean().expand(3))
        torch.testing.assert_close(tstd_temporal(target + 3 * flicker, target), 3 * still.mean().expand(3))

    def test_temporal_on_noise_gives_its_deviation(self):
        generator = torch.Generator().manual_seed(0)
        target = textured(64, 32, 32)
        noise = 0.05 * torch.randn(64, 32, 32, generator=generator)
        assert tstd_temporal(target + noise, target).item() == pytest.approx(0.05, rel=0.02)

    @pytest.mark.parametrize("metric", [tstd_code, tstd_temporal])
    def test_one_frame_has_no_spread(self, metric):
        with pytest.raises(ValueError, match="2 frames or more, got 1"):
            metric(torch.zeros(1, 16, 16), torch.zeros(1, 16, 16))
