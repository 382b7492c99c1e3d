"""Cameras: projections by hand, an independent twin of the lens model, gradients, the dome, and detector errors."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from motionkit.data.cameras import WIDEST, Camera, detector_noise, distort, dome, look_at, project

PANOPTIC_LENS = (-0.222445, 0.199192, 8.73054e-05, 0.000982243, 0.0238445)
PINHOLE = Camera(
    name="pinhole",
    width=640,
    height=480,
    K=np.array([[500, 0, 320], [0, 400, 240], [0, 0, 1]]),
    R=np.diag([1.0, -1.0, -1.0]),  # at the origin, looking along world -Z
    t=np.zeros(3),
)


def test_project_by_hand():
    # depth 2: u = 500 * 0.5 / 2 + 320, v = 400 * (-0.25) / 2 + 240 (world up is image up, so v falls)
    keypoints, depth, valid = project(torch.tensor([[0.5, 0.25, -2.0], [0.0, 0.0, -4.0]]), PINHOLE)
    torch.testing.assert_close(keypoints, torch.tensor([[445.0, 190.0], [320.0, 240.0]]))
    torch.testing.assert_close(depth, torch.tensor([2.0, 4.0]))
    assert valid.all()


def test_project_with_rotation_and_translation_by_hand():
    # Camera at (3, 1, 0) looking along world -X: camera x is world -Z, camera y is world -Y.
    camera = dataclasses.replace(PINHOLE, R=np.array([[0, 0, -1], [0, -1, 0], [-1, 0, 0]]), t=np.array([0, 1, 3]))
    np.testing.assert_allclose(camera.center_m, [3, 1, 0])
    keypoints, depth, _ = project(torch.tensor([[1.0, 2.0, -0.4]]), camera)
    torch.testing.assert_close(depth, torch.tensor([2.0]))
    torch.testing.assert_close(keypoints, torch.tensor([[500 * 0.4 / 2 + 320, 400 * -1.0 / 2 + 240]]))


@pytest.mark.parametrize(
    ("position", "expected"),
    [
        ((0.0, 0.0, 1.0), False),  # behind
        ((0.0, 0.0, 0.0), False),  # in the camera's plane
        ((0.0, 0.0, -1.0), True),
        ((-0.6411, 0.0, -1.0), False),  # u = -0.5 is the left border
        ((-0.6409, 0.0, -1.0), True),
        ((0.6391, 0.0, -1.0), False),  # u = 639.5 is the right border
        ((0.6389, 0.0, -1.0), True),
        ((0.0, 0.6013, -1.0), False),  # above the top border
    ],
)
def test_valid_is_ahead_and_inside(position, expected):
    _, _, valid = project(torch.tensor([position], dtype=torch.float64), PINHOLE)
    assert valid.item() is expected


def test_leading_axes_and_dtype():
    positions = torch.arange(2 * 3 * 4 * 3, dtype=torch.float32).reshape(2, 3, 4, 3) / 100 - torch.tensor([0, 0, 3.0])
    keypoints, depth, valid = project(positions, PINHOLE)
    assert keypoints.shape == (2, 3, 4, 2)
    assert keypoints.dtype == torch.float32
    assert depth.shape == valid.shape == (2, 3, 4)
    torch.testing.assert_close(keypoints[1, 2, 3], project(positions[1, 2, 3], PINHOLE)[0])


def slow_distort(x: float, y: float, k1: float, k2: float, p1: float, p2: float, k3: float) -> tuple[float, float]:
    """Brown's model in polar form: a radial stretch, then the decentering of a lens tilted by (p1, p2)."""
    r, angle = math.hypot(x, y), math.atan2(y, x)
    stretched = r + k1 * r**3 + k2 * r**5 + k3 * r**7
    tangential = p1 * math.sin(angle) + p2 * math.cos(angle)
    dx = 2 * r**2 * math.cos(angle) * tangential + p2 * r**2
    dy = 2 * r**2 * math.sin(angle) * tangential + p1 * r**2
    return stretched * math.cos(angle) + dx, stretched * math.sin(angle) + dy


@pytest.mark.parametrize("lens", [PANOPTIC_LENS, (0.05, -0.05, 7e-2, -6e-2, 0.01), (0, 0, 0.1, 0, 0)])
def test_distort_equals_slow_twin(lens, tolerance):
    grid = torch.linspace(-0.8, 0.8, 9, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    expected = torch.tensor([slow_distort(x, y, *lens) for x, y in points.tolist()], dtype=torch.float64)
    torch.testing.assert_close(
        distort(points, torch.tensor(lens, dtype=torch.float64)), expected, **tolerance(torch.float64)
    )


def test_points_beyond_the_lens_model_are_invalid():
    """With k1 = -0.3 alone r (1 - 0.3 r^2) turns at r^2 = 1/0.9; at r = 1.6 it is back near 0.37, inside the image."""
    camera = dataclasses.replace(PINHOLE, distortion=np.array([-0.3, 0, 0, 0, 0]))
    assert camera.max_radius_squared == pytest.approx(1 / 0.9)
    folded = distort(torch.tensor([1.6, 0.0]), torch.tensor([-0.3, 0, 0, 0, 0]))
    assert 500 * folded[0] + 320 < camera.width  # the polynomial alone would call it visible
    _, _, valid = project(torch.tensor([[1.6, 0.0, -1.0], [0.3, 0.0, -1.0]]), camera)
    assert valid.tolist() == [False, True]
    assert PINHOLE.max_radius_squared == WIDEST


def test_gradcheck():
    camera = dataclasses.replace(PINHOLE, distortion=np.array(PANOPTIC_LENS))
    positions = torch.tensor([[0.3, 0.2, -2.0], [-0.5, 0.4, -1.5]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: project(p, camera)[:2], positions)


def test_finite_everywhere():
    camera = dataclasses.replace(PINHOLE, distortion=np.array(PANOPTIC_LENS))
    wild = [[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1e4, -1e4, -0.011], [1e3, 0, 1e3], [0.0, 0.0, -1.0]]
    positions = torch.tensor(wild, requires_grad=True)
    keypoints, depth, valid = project(positions, camera)
    (keypoints.sum() + depth.sum()).backward()
    assert keypoints.isfinite().all()
    assert positions.grad.isfinite().all()
    assert valid.tolist() == [False, False, False, False, True]


def test_look_at_centers_its_target():
    camera = look_at((2.0, 1.5, -3.0), (0.1, 0.9, 0.2), width=640, height=480, focal_px=500.0)
    target = torch.tensor([[0.1, 0.9, 0.2]], dtype=torch.float64)
    keypoints, depth, valid = project(target, camera)
    torch.testing.assert_close(keypoints, torch.tensor([[319.5, 239.5]], dtype=torch.float64))
    assert depth.item() == pytest.approx(math.dist((2.0, 1.5, -3.0), (0.1, 0.9, 0.2)))
    assert valid.all()
    np.testing.assert_allclose(camera.center_m, (2.0, 1.5, -3.0), atol=1e-12)
    above, _, _ = project(target + torch.tensor([0, 0.1, 0]), camera)
    assert above[0, 1] < keypoints[0, 1]
    assert above[0, 0].item() == pytest.approx(319.5)


def test_look_at_keeps_handedness():
    """Seen from +Z a person facing the camera has the left hand (+X) on the image's right side: no mirror."""
    camera = look_at((0.0, 1.0, 3.0), (0.0, 1.0, 0.0))
    left, right = project(torch.tensor([[0.5, 1.0, 0.0], [-0.5, 1.0, 0.0]]), camera)[0]
    assert left[0] > right[0]
    assert np.linalg.det(camera.R) == pytest.approx(1)


@pytest.mark.parametrize("target", [(0.0, 1.0, 0.0), (0.0, 5.0, 0.0)])
def test_look_at_refuses_a_view_without_up(target):
    with pytest.raises(ValueError, match="no upright view"):
        look_at((0.0, 1.0, 0.0), target)


def test_dome():
    cameras = dome(10)
    assert len(cameras) == len({camera.name for camera in cameras}) == 10
    body = torch.tensor([[0.0, 1.3, 0.0], [0.0, 0.4, 0.0], [0.0, 1.9, 0.0], [0.4, 1.0, 0.0]])
    for camera in cameras:
        keypoints, depth, valid = project(body, camera)
        assert (camera.width, camera.height) == (1920, 1080)
        assert valid.all()
        torch.testing.assert_close(keypoints[0], torch.tensor([959.5, 539.5]))
        assert math.hypot(camera.center_m[0], camera.center_m[2]) == pytest.approx(2.75)
        assert camera.center_m[1] == pytest.approx(1.36)
        assert depth[0].item() == pytest.approx(math.hypot(2.75, 0.06))
    # opposite cameras see left and right swapped
    first, opposite = (project(body, cameras[view])[0] for view in (0, 5))
    assert (first[3, 0] - 959.5) * (opposite[3, 0] - 959.5) < 0


def test_dome_scales_with_the_image():
    body = torch.tensor([[0.4, 1.0, 0.2]])
    large, small = dome(3)[1], dome(3, width=960, height=540)[1]
    torch.testing.assert_close((project(body, large)[0] + 0.5) / 2, project(body, small)[0] + 0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R": np.diag([1.0, 1.0, -1.0])}, r"'pinhole': R is no rotation .* det -1"),
        ({"R": np.eye(3) * 1.1}, "R is no rotation"),
        ({"R": np.eye(2)}, r"R has shape \(2, 2\), expected \(3, 3\)"),
        ({"t": np.array([0, np.nan, 0])}, "t holds nan"),
        ({"K": np.diag([-5.0, 5, 1])}, "K is"),
        ({"K": np.diag([5.0, 5, 0])}, "K is"),
        ({"distortion": np.array([0.1, 0.2])}, r"distortion has shape \(2,\)"),
        ({"width": 0}, "0 x 480"),
    ],
)
def test_camera_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PINHOLE, **change)


def noisy(**options):
    keypoints = torch.arange(200 * 17 * 2, dtype=torch.float32).reshape(200, 17, 2)
    return keypoints, *detector_noise(keypoints, torch.Generator().manual_seed(7), **options)


def test_detector_noise_is_deterministic_and_leaves_its_input():
    keypoints, first, confidence = noisy()
    _, second, again = noisy()
    assert torch.equal(first, second)
    assert torch.equal(confidence, again)
    assert torch.equal(keypoints, torch.arange(200 * 17 * 2, dtype=torch.float32).reshape(200, 17, 2))
    assert ((confidence >= 0) & (confidence <= 1)).all()


def test_detector_noise_has_the_asked_size():
    keypoints, detected, confidence = noisy(sigma_px=3.0, outlier_rate=0.0, miss_rate=0.0)
    error = detected - keypoints
    assert error.square().mean().sqrt().item() == pytest.approx(3.0, rel=0.03)
    assert abs(error.mean()) < 0.15
    sure = confidence > confidence.median()
    assert error[sure].square().mean() < 0.5 * error[~sure].square().mean()


def test_detector_noise_outliers_and_misses():
    keypoints, detected, confidence = noisy(sigma_px=0.0, outlier_rate=0.1, outlier_px=100.0, miss_rate=0.2)
    missed = confidence == 0
    moved = (detected != keypoints).any(-1) & ~missed
    assert missed.float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert moved.sum() / (~missed).sum() == pytest.approx(0.1, abs=0.02)
    assert confidence[moved].max() <= 0.6
    frame = missed.any(-1).nonzero()[0, 0]
    expected = detected[frame][~missed[frame]].mean(0)
    torch.testing.assert_close(detected[frame][missed[frame]], expected.expand(missed[frame].sum(), 2))


def test_detector_noise_misses_what_is_not_valid():
    keypoints = torch.ones(2, 3, 2)
    valid = torch.tensor([[True, False, True], [False, False, False]])
    detected, confidence = detector_noise(
        keypoints, torch.Generator().manual_seed(0), miss_rate=0.0, outlier_rate=0.0, valid=valid
    )
    assert torch.equal(confidence > 0, valid)
    assert detected[1].abs().max() == 0  # nothing seen, nothing told


@pytest.mark.parametrize("options", [{"miss_rate": 1.5}, {"outlier_rate": -0.1}, {"sigma_px": -1.0}])
def test_detector_noise_refuses(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        detector_noise(torch.zeros(1, 2, 2), torch.Generator(), **options)
