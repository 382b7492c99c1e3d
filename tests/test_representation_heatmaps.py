"""Heatmaps: values by hand, both ways of drawing against an independent slow twin, projections against volumes, the way
back."""

from __future__ import annotations

import math
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch

from motionkit.representation import heatmaps as module
from motionkit.representation.heatmaps import (
    fit_to_box,
    heatmaps_to_keypoints,
    joints_to_projections,
    keypoints_to_heatmaps,
    keypoints_to_volumes,
    limbs_to_heatmaps,
    limbs_to_projections,
    limbs_to_volumes,
    random_peaks,
)

LIMBS = [(0, 1), (1, 2), (2, 3), (0, 4), (4, 4)]
DEPTHS = ("grid", "continuous")
WAYS = ("compiled", "torch")


@contextmanager
def drawn_by(way: str):
    """Force one of the two ways of drawing."""
    with pytest.MonkeyPatch.context() as patch:
        if way == "torch":
            patch.setattr(module, "_kernels", lambda: None)
        elif module._kernels() is None:
            pytest.skip("numba is not installed")
        yield


def scattered(*shape: int, low: float, high: float, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator) * (high - low) + low


def awkward(num_axes: int, size: int) -> torch.Tensor:
    """(6, 5, axes): inside, on and outside the grid, limbs of no length, level, upright and along one axis, at
    integers."""
    points = scattered(6, 5, num_axes, low=-0.2 * size, high=1.2 * size)
    points[0, 1] = points[0, 0]
    points[1, 1, 1:] = points[1, 0, 1:]
    points[2, 1, 0] = points[2, 0, 0]
    points[3, 1, :2] = points[3, 0, :2]
    points[4] = points[4].round()
    return points


def distance_to_segment(pixel, start, end) -> float:
    """One pixel, one segment, plain arithmetic in float64."""
    direction = end - start
    length = np.linalg.norm(direction)
    if length == 0:
        return float(np.linalg.norm(pixel - start))
    along = (pixel - start) @ direction / length
    if along <= 0:
        return float(np.linalg.norm(pixel - start))
    if along >= length:
        return float(np.linalg.norm(pixel - end))
    return math.sqrt(max(0.0, float((pixel - start) @ (pixel - start) - along**2)))


def slow_twin(points, peaks, shape, sigma, limbs) -> np.ndarray:
    """Pixel by pixel: (N, J, axes) to (N, L, *shape)."""
    points, peaks = points.double().numpy(), peaks.double().numpy()
    out = np.zeros((len(points), len(limbs), *shape))
    for n, limb in np.ndindex(*out.shape[:2]):
        a, b = limbs[limb]
        for index in np.ndindex(*shape):
            pixel = np.array(index[::-1], dtype=float)
            d = distance_to_segment(pixel, points[n, a], points[n, b])
            out[n, limb][index] = min(peaks[n, a], peaks[n, b]) * math.exp(-(d**2) / (2 * sigma**2))
    return out


@pytest.mark.parametrize("way", WAYS)
def test_values_by_hand(way):
    with drawn_by(way):
        point = keypoints_to_heatmaps(torch.tensor([[2.0, 1.0]]), (3, 20), sigma_px=1.0, peaks=torch.tensor([0.5]))
        limb = limbs_to_heatmaps(torch.tensor([[1.0, 1.0], [3.0, 1.0]]), [(0, 1)], (3, 20), sigma_px=1.0)
    e = math.exp(-0.5)
    expected = 0.5 * torch.tensor([[e**5, e**2, e, e**2, e**5], [e**4, e, 1, e, e**4], [e**5, e**2, e, e**2, e**5]])
    torch.testing.assert_close(point[0, :, :5], expected)
    torch.testing.assert_close(limb[0, 1, :6], torch.tensor([e, 1, 1, 1, e, e**4]))
    torch.testing.assert_close(limb[0, 0, :5], torch.tensor([e**2, e, e, e, e**2]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sigma", [0.5, 0.75, 2.0])
@pytest.mark.parametrize("shape", [(12, 9), (7, 19)])
def test_equals_the_slow_twin(way, sigma, shape):
    points = awkward(2, max(shape))
    peaks = scattered(6, 5, low=0.0, high=1.0, seed=1)
    as_limbs = [(j, j) for j in range(5)]
    with drawn_by(way):
        joints = keypoints_to_heatmaps(points, shape, sigma, peaks)
        limbs = limbs_to_heatmaps(points, LIMBS, shape, sigma, peaks)
        merged_joints = keypoints_to_heatmaps(points, shape, sigma, peaks, merge=True)
        merged_limbs = limbs_to_heatmaps(points, LIMBS, shape, sigma, peaks, merge=True)
    expected_joints = slow_twin(points, peaks, shape, sigma, as_limbs)
    expected_limbs = slow_twin(points, peaks, shape, sigma, LIMBS)
    for drawn, expected in (
        (joints, expected_joints),
        (limbs, expected_limbs),
        (merged_joints, expected_joints.max(1, keepdims=True)),
        (merged_limbs, expected_limbs.max(1, keepdims=True)),
    ):
        np.testing.assert_allclose(drawn.numpy(), expected, rtol=0, atol=3e-6)
        assert drawn.max() <= peaks.max() * (1 + 1e-6)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("size", [13, 33, 64])
def test_both_ways_agree(depth, size):
    flat, solid = awkward(2, size), awkward(3, size)
    peaks = scattered(6, 5, low=0.0, high=1.0, seed=1)
    drawn = {}
    for way in WAYS:
        with drawn_by(way):
            drawn[way] = (
                keypoints_to_heatmaps(flat, size, 1.5, peaks),
                limbs_to_heatmaps(flat, LIMBS, size, 1.5, peaks, merge=True),
                joints_to_projections(solid, size, 0.75, peaks, depth=depth),
                limbs_to_projections(solid, LIMBS, size, 0.75, peaks, depth=depth),
            )
    for compiled, reference in zip(drawn["compiled"], drawn["torch"], strict=True):
        torch.testing.assert_close(compiled, reference, rtol=0, atol=1e-5)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("sigma", [0.5, 0.75, 1.5])
def test_projections_equal_the_maximum_of_the_volume(way, sigma):
    size = 18
    points, peaks = awkward(3, size), scattered(6, 5, low=0.0, high=1.0, seed=1)
    with drawn_by(way):
        joints = joints_to_projections(points, size, sigma, peaks)
        limbs = limbs_to_projections(points, LIMBS, size, sigma, peaks)
    for drawn, volume in (
        (joints, keypoints_to_volumes(points.double(), size, sigma, peaks)),
        (limbs, limbs_to_volumes(points.double(), LIMBS, size, sigma, peaks)),
    ):
        volume = volume.amax(dim=1)
        expected = torch.stack([volume.amax(-1).mT, volume.amax(-2), volume.amax(-3)], dim=1)
        torch.testing.assert_close(drawn.double(), expected, rtol=0, atol=3e-6)


def test_volumes_equal_the_slow_twin():
    points, peaks, shape = awkward(3, 7)[:4].double(), scattered(4, 5, low=0.0, high=1.0).double(), (6, 5, 7)
    limbs = limbs_to_volumes(points, LIMBS, shape, 0.75, peaks)
    np.testing.assert_allclose(limbs.numpy(), slow_twin(points, peaks, shape, 0.75, LIMBS), atol=1e-12)
    joints = keypoints_to_volumes(points, shape, 0.75, peaks)
    np.testing.assert_allclose(
        joints.numpy(), slow_twin(points, peaks, shape, 0.75, [(j, j) for j in range(5)]), atol=1e-12
    )


def test_continuous_projection_is_the_limit_of_finer_layers_and_bounds_the_grid():
    size, sigma = 15, 0.75
    points = scattered(4, 5, 3, low=2, high=12).double()
    grid = limbs_to_projections(points, LIMBS, size, sigma)
    continuous = limbs_to_projections(points, LIMBS, size, sigma, depth="continuous")
    assert (grid <= continuous + 1e-12).all()
    assert (continuous <= grid * math.exp(1 / (8 * sigma**2)) + 1e-12).all()
    finest = torch.zeros(4, size, size, dtype=torch.float64)
    for shift in torch.linspace(0, 1, 65):  # layers at every 64th of a voxel, seen along z
        moved = points + torch.tensor([0.0, 0.0, shift])
        finest = torch.maximum(finest, limbs_to_volumes(moved, LIMBS, size, sigma).amax(dim=(1, 2)))
    torch.testing.assert_close(continuous[:, 2], finest, rtol=0, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_moves_with_the_keypoints_and_mirrors(way):
    points = torch.tensor([[8.0, 9.0], [13.0, 14.0], [6.0, 12.0], [10.0, 5.0], [9.0, 9.0]]) + 0.25
    with drawn_by(way):
        picture = limbs_to_heatmaps(points, LIMBS, (24, 32), 0.75, merge=True)[0]
        moved = limbs_to_heatmaps(points + torch.tensor([5.0, 3.0]), LIMBS, (24, 32), 0.75, merge=True)[0]
        mirror = torch.tensor([31.0, 0.0]) + points * torch.tensor([-1.0, 1.0])
        mirrored = limbs_to_heatmaps(mirror, LIMBS, (24, 32), 0.75, merge=True)[0]
        turned = limbs_to_heatmaps(points, [(b, a) for a, b in LIMBS], (24, 32), 0.75, merge=True)[0]
    torch.testing.assert_close(moved[3:, 5:], picture[:-3, :-5], rtol=0, atol=2e-6)
    torch.testing.assert_close(mirrored, picture.flip(-1), rtol=0, atol=2e-6)
    torch.testing.assert_close(turned, picture, rtol=0, atol=2e-6)
    assert picture.max() > 0.9


@pytest.mark.parametrize("way", WAYS)
def test_leading_axes_and_video_layout(way):
    points, solid = scattered(2, 3, 4, 5, 2, low=0, high=16), scattered(2, 3, 5, 3, low=0, high=16)
    with drawn_by(way):
        drawn = limbs_to_heatmaps(points, LIMBS, 16, 1.0)
        assert drawn.shape == (2, 3, 4, 5, 16, 16)
        torch.testing.assert_close(drawn[1, 2, 3], limbs_to_heatmaps(points[1, 2, 3], LIMBS, 16, 1.0), rtol=0, atol=0)
        video = limbs_to_heatmaps(points, LIMBS, 16, 1.0, video=True)
        assert video.is_contiguous()
        torch.testing.assert_close(video, drawn.transpose(-4, -3), rtol=0, atol=0)
        torch.testing.assert_close(
            limbs_to_projections(solid, LIMBS, 16, 1.0, video=True),
            limbs_to_projections(solid, LIMBS, 16, 1.0).transpose(-4, -3),
            rtol=0,
            atol=0,
        )
        assert joints_to_projections(solid, 16, 1.0, video=True).shape == (2, 3, 3, 16, 16)
        assert keypoints_to_heatmaps(points[:0], 16, 1.0).shape == (0, 3, 4, 5, 16, 16)
        assert limbs_to_heatmaps(points, [], 16, 1.0).shape == (2, 3, 4, 0, 16, 16)
        empty = limbs_to_heatmaps(points, [], 16, 1.0, merge=True, out=torch.ones(2, 3, 4, 1, 16, 16))
    assert empty.shape == (2, 3, 4, 1, 16, 16)
    assert not empty.any()


@pytest.mark.parametrize("way", WAYS)
def test_out_holds_nothing_of_what_was_there(way):
    points, solid = scattered(3, 5, 2, low=-4, high=24), scattered(3, 5, 3, low=-4, high=24)
    calls = (
        lambda **k: keypoints_to_heatmaps(points, 20, 1.0, **k),
        lambda **k: keypoints_to_heatmaps(points, 20, 1.0, merge=True, **k),
        lambda **k: limbs_to_heatmaps(points, LIMBS, 20, 1.0, **k),
        lambda **k: limbs_to_heatmaps(points, LIMBS, 20, 1.0, merge=True, **k),
        lambda **k: joints_to_projections(solid, 20, 1.0, **k),
        lambda **k: limbs_to_projections(solid, LIMBS, 20, 1.0, **k),
    )
    with drawn_by(way):
        for call in calls:
            fresh = call()
            used = torch.full_like(fresh, 7.0)
            assert call(out=used) is used
            torch.testing.assert_close(used, fresh, rtol=0, atol=0)
            around = torch.full((*fresh.shape[:-1], 40), 7.0)  # rows with a gap between them
            call(out=around[..., :20])
            torch.testing.assert_close(around[..., :20], fresh, rtol=0, atol=1e-5)
            assert (around[..., 20:] == 7.0).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("merge", [False, True])
def test_erasing_what_is_shown_equals_drawing_anew(way, merge):
    batches = [awkward(2, 30) + shift for shift in (0.0, 3.3, -7.1)]
    batches[1][2, 3] = math.nan
    with drawn_by(way):
        out = keypoints_to_heatmaps(batches[0], (30, 33), 1.2, merge=merge)
        for last, batch in pairwise(batches):
            keypoints_to_heatmaps(batch, (30, 33), 1.2, merge=merge, out=out, shown=last)
            assert torch.equal(out, keypoints_to_heatmaps(batch, (30, 33), 1.2, merge=merge))
        with pytest.raises(ValueError, match=r"\(6, 5, 2\), with no out"):
            keypoints_to_heatmaps(batches[0], (30, 33), 1.2, shown=batches[0])


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_finite_is_not_drawn(way):
    points = scattered(2, 5, 2, low=4, high=12)
    points[0, 1, 0], points[1, 2, 1] = math.nan, math.inf
    peaks = torch.ones(2, 5)
    peaks[0, 3], peaks[0, 4] = math.nan, -1.0
    with drawn_by(way):
        joints = keypoints_to_heatmaps(points, 16, 1.0, peaks)
        limbs = limbs_to_heatmaps(points, LIMBS, 16, 1.0, peaks)
        far = limbs_to_heatmaps(torch.tensor([[8.0, 8.0], [1e30, 8.0]]), [(0, 1)], 16, 1.0)
    assert joints.isfinite().all()
    assert limbs.isfinite().all()
    assert joints.amax((-2, -1)).gt(0.5).int().tolist() == [[1, 0, 1, 0, 0], [1, 1, 0, 1, 1]]
    assert limbs.amax((-2, -1)).gt(0.5).int().tolist() == [[0, 0, 0, 0, 0], [1, 0, 0, 1, 1]]
    torch.testing.assert_close(far[0, 8, 8:], torch.ones(8), rtol=0, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_types(dtype, tolerance):
    points = awkward(2, 16)
    drawn = limbs_to_heatmaps(points.to(dtype), LIMBS, 16, 1.0)
    assert drawn.dtype == dtype
    expected = limbs_to_heatmaps(points.to(dtype).double(), LIMBS, 16, 1.0)
    torch.testing.assert_close(drawn.double(), expected, **tolerance(dtype))


def test_gradients():
    flat = scattered(1, 5, 2, low=-1, high=5).double().requires_grad_()
    solid = scattered(1, 5, 3, low=0, high=4).double().requires_grad_()
    peaks = scattered(1, 5, low=0.2, high=1.0, seed=3).double().requires_grad_()
    limbs = LIMBS[:4]
    for function, inputs in (
        (lambda p, k: keypoints_to_heatmaps(p, 5, 1.0, k), (flat, peaks)),
        (lambda p, k: limbs_to_heatmaps(p, limbs, 5, 1.0, k), (flat, peaks)),
        (lambda p, k: limbs_to_heatmaps(p, limbs, 5, 1.0, k, merge=True), (flat, peaks)),
        (lambda p, k: limbs_to_projections(p, limbs, 5, 1.0, k), (solid, peaks)),
        (lambda p, k: limbs_to_projections(p, limbs, 5, 1.0, k, depth="continuous"), (solid, peaks)),
        (lambda p, k: joints_to_projections(p, 5, 1.0, k), (solid, peaks)),
    ):
        assert torch.autograd.gradcheck(function, inputs)


def test_gradients_after_drawing_in_inference_mode():
    """As when a notebook scores a model and then goes on with something that learns."""
    keypoints = torch.rand(3, 7, 2) * 10
    with torch.inference_mode():
        keypoints_to_heatmaps(keypoints, 11, 1.0)
    keypoints.requires_grad_()
    keypoints_to_heatmaps(keypoints, 11, 1.0).square().sum().backward()
    assert keypoints.grad.abs().sum() > 0


def test_gradients_are_finite_at_the_edges():
    points = torch.tensor([[4.0, 4.0], [4.0, 4.0], [1e30, 5.0], [math.nan, 2.0], [4.0 + 1e-9, 4.0], [-500.0, 3.0]])
    limbs = [(0, 1), (0, 2), (1, 3), (1, 4), (4, 5)]
    for points_given in (points, points.double()):
        leaf = points_given.clone().requires_grad_()
        solid = torch.cat([points_given, points_given[:, :1]], dim=1).requires_grad_()
        drawn = keypoints_to_heatmaps(leaf, 8, 0.5).sum() + limbs_to_heatmaps(leaf, limbs, 8, 0.5).sum()
        drawn = drawn + limbs_to_projections(solid, limbs, 8, 0.5).sum() + joints_to_projections(solid, 8, 0.5).sum()
        drawn.backward()
        assert leaf.grad.isfinite().all()
        assert solid.grad.isfinite().all()
        assert leaf.grad[0].abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sigma", [0.5, 0.75, 1.0, 2.0, 4.0])
def test_decoding_gives_the_keypoints_back(sigma, dtype):
    points = scattered(200, 5, 2, low=-0.5, high=1.0).to(dtype)
    points = points * torch.tensor([47.5, 31.5], dtype=dtype)  # up to half a pixel outside on all sides
    points[points < 0] = points[points < 0].clamp(min=-0.5)
    peaks = scattered(200, 5, low=0.1, high=1.0).to(dtype)
    decoded, confidence = heatmaps_to_keypoints(keypoints_to_heatmaps(points, (32, 48), sigma, peaks))
    bound = 1e-3 if dtype == torch.float32 else 1e-9
    assert (decoded - points).abs().max() < bound
    assert ((confidence - peaks) / peaks).abs().max() < bound


def test_decoding_of_other_maps():
    maps = torch.zeros(4, 6, 7)
    maps[1, 2, 3] = 0.7  # one pixel
    maps[2] = 0.4  # all equal
    maps[3, 5, 6] = 1.0  # a corner
    decoded, confidence = heatmaps_to_keypoints(maps)
    assert decoded[0].isnan().all()
    assert decoded[1].tolist() == [3.0, 2.0]
    assert (decoded[3] - torch.tensor([6.0, 5.0])).abs().max() <= 0.5
    torch.testing.assert_close(confidence[:3], torch.tensor([0.0, 0.7, 0.4]))
    noisy = keypoints_to_heatmaps(torch.tensor([[3.2, 2.7]]), (6, 7), 1.0) + scattered(1, 6, 7, low=0, high=0.01)
    assert (heatmaps_to_keypoints(noisy)[0] - torch.tensor([3.2, 2.7])).abs().max() < 0.05
    outside, _ = heatmaps_to_keypoints(keypoints_to_heatmaps(torch.tensor([[-1.5, 3.0]]), (6, 7), 1.0))
    torch.testing.assert_close(outside, torch.tensor([[-0.5, 3.0]]), rtol=0, atol=1e-3)
    small, _ = heatmaps_to_keypoints(torch.tensor([[[0.1, 0.9]]]))
    assert small.tolist() == [[1.0, 0.0]]
    with pytest.raises(ValueError, match=r"\(3, 0, 4\)"):
        heatmaps_to_keypoints(torch.zeros(3, 0, 4))


def test_fit_to_box():
    clips = scattered(3, 8, 5, 2, low=0, high=1) * torch.tensor([400.0, 900.0]) + 77
    fitted = fit_to_box(clips, 64)
    low, high = fitted.amin((1, 2)), fitted.amax((1, 2))
    torch.testing.assert_close((high - low).amax(-1), torch.full((3,), 0.9 * 64))
    torch.testing.assert_close((high + low) / 2, torch.full((3, 2), 31.5))
    original = clips.amax((1, 2)) - clips.amin((1, 2))
    torch.testing.assert_close((high - low)[:, 0] / (high - low)[:, 1], original[:, 0] / original[:, 1])
    torch.testing.assert_close(fit_to_box(clips * 5 - 300, 64), fitted, rtol=0, atol=1e-3)  # place and scale go

    standing = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 1.8, 0.0]]])  # feet, head; Y up
    assert fit_to_box(standing, 10)[0, :, 1].tolist() == [9.0, 0.0]
    assert fit_to_box(standing, 10, y_up=False)[0, :, 1].tolist() == [0.0, 9.0]

    missing = clips.clone()
    missing[:, 0, 0] = math.nan
    confidence = torch.ones(3, 8, 5)
    confidence[:, 0, 1], missing[:, 0, 1] = 0.0, 0.0
    fitted = fit_to_box(missing, 64, confidence=confidence)
    counted = fitted[:, 1:]
    assert fitted[:, 0, 0].isnan().all()
    assert counted.isfinite().all()
    assert counted.min() >= 0
    assert (fit_to_box(torch.full((2, 3, 2), 5.0), 64) == 31.5).all()
    assert fit_to_box(torch.full((2, 3, 2), math.nan), 64).isnan().all()


def test_random_peaks_repeat_and_stay_in_range():
    peaks = random_peaks((40, 50), torch.Generator().manual_seed(5))
    assert torch.equal(peaks, random_peaks((40, 50), torch.Generator().manual_seed(5)))
    assert peaks.min() >= 0
    assert peaks.max() <= 1
    assert abs(peaks.mean() - 0.65) < 0.02
    assert abs(peaks.std() - 0.16) < 0.02


def test_arguments_are_left_alone():
    points, peaks = awkward(2, 16), torch.full((6, 5), -1.0)
    before = points.clone()
    keypoints_to_heatmaps(points, 16, 1.0, peaks)
    limbs_to_heatmaps(points, LIMBS, 16, 1.0, peaks)
    fit_to_box(points, 16)
    assert torch.equal(points, before)
    assert (peaks == -1).all()


def test_errors_name_the_offending_values():
    points = torch.zeros(3, 5, 2)
    for message, call in (
        (r"sigma_px is 0\.0", lambda: keypoints_to_heatmaps(points, 8, 0.0)),
        (r"sigma_px is nan", lambda: limbs_to_heatmaps(points, LIMBS, 8, math.nan)),
        (r"\(3, 5, 2\); expected \(\.\.\., joints, 3\)", lambda: joints_to_projections(points, 8, 1.0)),
        (r"size is \(0, 8\)", lambda: keypoints_to_heatmaps(points, (0, 8), 1.0)),
        (r"\(3, 4\), keypoints \(3, 5, 2\)", lambda: keypoints_to_heatmaps(points, 8, 1.0, torch.ones(3, 4))),
        (r"limb \(1, 5\) is not a pair of joints 0\.\.4", lambda: limbs_to_heatmaps(points, [(0, 1), (1, 5)], 8, 1.0)),
        (r"limbs have shape \(1, 3\)", lambda: limbs_to_heatmaps(points, [(0, 1, 2)], 8, 1.0)),
        (r"'nearest'", lambda: module._check_depth("nearest")),
        (r"\(3, 5, 8, 9\).*\(3, 5, 8, 8\)", lambda: keypoints_to_heatmaps(points, 8, 1.0, out=torch.ones(3, 5, 8, 9))),
        (r"float64.*float32", lambda: keypoints_to_heatmaps(points, 8, 1.0, out=torch.ones(3, 5, 8, 8).double())),
        (r"frame axis", lambda: keypoints_to_heatmaps(points[0], 8, 1.0, video=True)),
        (r"no_grad", lambda: keypoints_to_heatmaps(points.requires_grad_(), 8, 1.0, out=torch.ones(3, 5, 8, 8))),
        (r"size is 0 and fill 0\.9", lambda: fit_to_box(points, 0)),
        (r"confidence has shape \(3,\)", lambda: fit_to_box(points, 8, confidence=torch.ones(3))),
    ):
        with pytest.raises(ValueError, match=message):
            call()
