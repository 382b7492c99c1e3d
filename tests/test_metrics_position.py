"""Joint position errors: hand-computed values, limits, invariances, slow twins."""

import math

import pytest
import torch
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.transform import Rotation

from motionkit.metrics.position import (
    keypoint_error_px,
    mpjpe_mm,
    mpjve_mm_per_s,
    pa_mpjpe_mm,
    pck,
    procrustes,
)


def pose(*shape: int) -> torch.Tensor:
    """Deterministic joints of about a metre's spread, in no special position."""
    index = torch.arange(math.prod(shape) * 3, dtype=torch.float64).reshape(*shape, 3)
    return torch.sin(1.3 * index) + 0.3 * torch.cos(0.7 * index**1.5)


def rotation(angles=(0.4, -1.1, 2.0)) -> torch.Tensor:
    return torch.tensor(Rotation.from_euler("xyz", angles).as_matrix())


def moved(points: torch.Tensor, scale: float = 1.7) -> torch.Tensor:
    return scale * points @ rotation().T + torch.tensor([0.5, -2.0, 3.0])


class TestMPJPE:
    def test_by_hand(self):
        predicted = torch.zeros(2, 3)
        target = torch.tensor([[0.003, 0.004, 0.0], [0.0, 0.0, -0.012]])
        assert mpjpe_mm(predicted, target).item() == pytest.approx((5 + 12) / 2)

    def test_norms_are_not_squared(self, tolerance):
        predicted, target = pose(4, 5), pose(4, 5) + 0.1
        torch.testing.assert_close(
            mpjpe_mm(target + 2 * (predicted - target), target),
            2 * mpjpe_mm(predicted, target),
            **tolerance(torch.float64),
        )

    @pytest.mark.parametrize("leading", [(), (3,), (2, 3, 4)])
    def test_as_a_loop(self, leading):
        predicted, target = pose(*leading, 6), 0.9 * pose(*leading, 6).flip(-2)
        error = mpjpe_mm(predicted, target)
        assert error.shape == leading
        expected = [
            1000 * sum(math.dist(p, t) for p, t in zip(ps, ts, strict=True)) / 6
            for ps, ts in zip(predicted.reshape(-1, 6, 3).tolist(), target.reshape(-1, 6, 3).tolist(), strict=True)
        ]
        torch.testing.assert_close(error.flatten(), torch.tensor(expected).double())

    def test_limits_and_invariances(self):
        predicted, target = pose(3, 7), 1.2 * pose(3, 7)
        assert (mpjpe_mm(target, target) == 0).all()
        torch.testing.assert_close(mpjpe_mm(target, predicted), mpjpe_mm(predicted, target))
        torch.testing.assert_close(mpjpe_mm(moved(predicted, 1), moved(target, 1)), mpjpe_mm(predicted, target))

    def test_gradient_is_finite_for_a_perfect_prediction(self):
        predicted = pose(2, 4).requires_grad_()
        mpjpe_mm(predicted, predicted.detach()).sum().backward()
        assert torch.isfinite(predicted.grad).all()

    def test_unequal_shapes_are_named(self, unchecked):
        with pytest.raises(ValueError, match=r"\(1, 17, 3\).*\(17, 3\)"):
            mpjpe_mm(torch.zeros(1, 17, 3), torch.zeros(17, 3))


class TestAligned:
    def test_moving_turning_and_scaling_costs_nothing(self):
        target = pose(5, 8)
        error = pa_mpjpe_mm(moved(target), target)
        torch.testing.assert_close(error, torch.zeros_like(error), atol=1e-9, rtol=0)

    def test_is_invariant_to_moving_the_prediction(self):
        predicted, target = pose(5, 8).flip(-2), pose(5, 8)
        torch.testing.assert_close(pa_mpjpe_mm(moved(predicted), target), pa_mpjpe_mm(predicted, target))

    def test_scales_with_the_target(self):
        predicted, target = pose(5, 8).flip(-2), pose(5, 8)
        torch.testing.assert_close(pa_mpjpe_mm(predicted, 3 * target), 3 * pa_mpjpe_mm(predicted, target))

    def test_equals_scipy(self):
        """scipy scales both shapes to unit size and may mirror; mirroring does not help these shapes."""
        target = pose(8)
        predicted = moved(target + 0.1 * pose(16)[8:])
        a, b, _ = scipy_procrustes(target.numpy(), predicted.numpy())
        size = (target - target.mean(0)).square().sum().sqrt()
        expected = 1000 * size * torch.tensor(a - b).norm(dim=-1).mean()
        torch.testing.assert_close(pa_mpjpe_mm(predicted, target), expected)

    def test_a_mirrored_pose_keeps_an_error(self):
        target = pose(8)
        mirrored = target * torch.tensor([-1.0, 1.0, 1.0])
        assert pa_mpjpe_mm(mirrored, target) > 100
        fitted = procrustes(mirrored, target)
        chirality = [torch.linalg.det(p[1:4] - p[:1]).sign() for p in (mirrored, fitted, target)]
        assert chirality[0] == chirality[1] != chirality[2]

    def test_no_small_change_of_the_fit_is_better(self):
        predicted, target = pose(9).flip(-2), pose(9)
        for pair in ((predicted, target), (target * torch.tensor([1.0, 1.0, -1.0]), target)):
            fitted = procrustes(*pair)
            best = (fitted - target).square().sum()
            center = fitted.mean(-2, keepdim=True)
            for axis in range(3):
                for step in (-0.01, 0.01):
                    turn = rotation([step * (axis == i) for i in range(3)])
                    shift = torch.eye(3).double()[axis] * step
                    for change in ((fitted - center) @ turn.T + center, fitted + shift):
                        assert (change - target).square().sum() > best
            for scale in (0.99, 1.01):
                assert (scale * (fitted - center) + center - target).square().sum() > best

    def test_each_pose_is_fitted_by_itself(self):
        predicted, target = pose(2, 3, 6).flip(-2), pose(2, 3, 6)
        error = pa_mpjpe_mm(predicted, target)
        assert error.shape == (2, 3)
        for i in range(2):
            for j in range(3):
                torch.testing.assert_close(error[i, j], pa_mpjpe_mm(predicted[i, j], target[i, j]))

    def test_flat_straight_and_collapsed_poses(self):
        flat = pose(8) * torch.tensor([1.0, 1.0, 0.0])
        straight = torch.linspace(0, 1, 8).double()[:, None] * torch.tensor([1.0, 2.0, 3.0]).double()
        for target in (flat, straight):
            assert pa_mpjpe_mm(moved(target), target).item() == pytest.approx(0, abs=1e-9)
        point = torch.ones(8, 3).double()
        expected = 1000 * (flat - flat.mean(0)).norm(dim=-1).mean()
        torch.testing.assert_close(pa_mpjpe_mm(point, flat), expected)
        assert pa_mpjpe_mm(flat, point).item() == pytest.approx(0, abs=1e-9)

    def test_float32_is_good_to_a_micrometer(self):
        target = pose(50, 17)
        error = pa_mpjpe_mm(moved(target).float(), target.float())
        assert error.max() < 2e-3  # mm, of poses a metre in size and metres away


class TestVelocity:
    def test_by_hand(self):
        """One joint moves 2 mm a frame too fast along x at 50 Hz: 100 mm/s."""
        target = pose(5, 1)
        drift = torch.arange(5).double()[:, None, None] * torch.tensor([0.002, 0.0, 0.0])
        assert mpjve_mm_per_s(target + drift, target, fps=50).item() == pytest.approx(100)

    def test_as_a_loop(self):
        predicted, target = pose(2, 4, 3), 0.8 * pose(2, 4, 3).flip(-3)
        expected = torch.zeros(2).double()
        for clip in range(2):
            for frame in range(3):
                for joint in range(3):
                    a = predicted[clip, frame + 1, joint] - predicted[clip, frame, joint]
                    b = target[clip, frame + 1, joint] - target[clip, frame, joint]
                    expected[clip] += 30 * 1000 * math.dist(a, b) / 9
        torch.testing.assert_close(mpjve_mm_per_s(predicted, target, fps=30), expected)

    def test_a_constant_offset_has_no_velocity(self):
        target = pose(6, 4)
        assert mpjve_mm_per_s(target, target, fps=30) == 0
        assert mpjve_mm_per_s(target + 1.0, target, fps=30).item() == pytest.approx(0, abs=1e-9)

    def test_one_frame_has_no_velocity(self):
        with pytest.raises(ValueError, match="2 frames or more, got 1"):
            mpjve_mm_per_s(pose(1, 4), pose(1, 4), fps=30)


class TestKeypoints:
    def test_error_by_hand(self):
        predicted = torch.tensor([[[3.0, 4.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 2.0]]])
        target = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [0.0, 0.0]]])
        torch.testing.assert_close(keypoint_error_px(predicted, target), torch.tensor([2.5, 1.0]))

    def test_share_within_a_threshold(self):
        target = torch.zeros(4, 2)
        predicted = torch.tensor([[0.0, 0.0], [0.0, 1.0], [3.0, 4.0], [9.0, 0.0]])
        assert [pck(predicted, target, t).item() for t in (0.0, 1.0, 4.9, 5.0, 100.0)] == [0.25, 0.5, 0.5, 0.75, 1.0]

    def test_share_grows_with_the_threshold_in_space_too(self):
        predicted, target = pose(3, 10), pose(3, 10).flip(-2)
        shares = torch.stack([pck(predicted, target, 0.2 * t) for t in range(20)])
        assert shares.shape == (20, 3)
        assert (shares.diff(dim=0) >= 0).all()
