"""Cameras: pinhole with Brown-Conrady distortion, the Panoptic dome's layout, and the errors of a keypoint detector.

The world is in metres, Y up, right-handed. A camera looks along its +z, with x to the right and y down in the image;
pixel centers lie at integer coordinates, so an image covers [-0.5, width - 0.5) x [-0.5, height - 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

NEAR_M = 1e-2  # closer to the camera's plane than this counts as behind it
WIDEST = 1e4  # squared tangent of 89.4 degrees: nothing farther off axis is imaged, and r^7 stays within float32


@dataclass(frozen=True, eq=False)
class Camera:
    """One calibrated camera.

    name: unique within its rig, e.g. ``"00_03"``.
    width, height: image size in pixels.
    K: (3, 3) intrinsics in pixels, last row (0, 0, 1).
    R, t: (3, 3) rotation and (3,) translation in metres; ``camera = R @ world + t``.
    distortion: (5,) Brown-Conrady k1, k2, p1, p2, k3, in OpenCV's order.

    Raises ``ValueError`` naming the camera, the field and the offending value.
    """

    name: str
    width: int
    height: int
    K: np.ndarray
    R: np.ndarray
    t: np.ndarray
    distortion: np.ndarray = field(default_factory=lambda: np.zeros(5))

    def __post_init__(self) -> None:
        where = f"camera {self.name!r}"
        for key, shape in (("K", (3, 3)), ("R", (3, 3)), ("t", (3,)), ("distortion", (5,))):
            value = np.array(getattr(self, key), dtype=np.float64)
            if value.shape != shape:
                raise ValueError(f"{where}: {key} has shape {value.shape}, expected {shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"{where}: {key} holds {value[~np.isfinite(value)][0]}: {value.tolist()}")
            value.flags.writeable = False
            object.__setattr__(self, key, value)
        if self.width < 1 or self.height < 1:
            raise ValueError(f"{where}: image is {self.width} x {self.height} pixels")
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0 or self.K[1, 0] != 0 or self.K[2].tolist() != [0, 0, 1]:
            raise ValueError(f"{where}: K is {self.K.tolist()}; expected [[fx, skew, cx], [0, fy, cy], [0, 0, 1]]")
        error = np.abs(self.R @ self.R.T - np.eye(3)).max()
        if error > 1e-3 or np.linalg.det(self.R) < 0:
            raise ValueError(
                f"{where}: R is no rotation (R R^T is off by {error:.2g}, det {np.linalg.det(self.R):.3g}): "
                f"{self.R.tolist()}"
            )

    @property
    def center_m(self) -> np.ndarray:
        """(3,) the camera's place in the world, metres."""
        return -self.R.T @ self.t

    @cached_property
    def max_radius_squared(self) -> float:
        """Largest squared distance from the axis, on the plane z = 1, at which the lens model is still one-to-one.

        Beyond the first extremum of r (1 + k1 r^2 + k2 r^4 + k3 r^6) the polynomial folds back, and points far outside
        the field of view would seem to lie in the image.
        """
        k1, k2, _, _, k3 = self.distortion
        roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])
        turns = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
        return float(min(turns.min(), WIDEST)) if len(turns) else WIDEST


def distort(normalized: Float[Tensor, "*batch xy"], distortion: Float[Tensor, "5"]) -> Float[Tensor, "*batch xy"]:
    """Move points of the plane z = 1 to where the lens images them; distortion is k1, k2, p1, p2, k3 (Brown-Conrady).

    Source: D. C. Brown, Close-range camera calibration, 1971; coefficient order of OpenCV.
    """
    k1, k2, p1, p2, k3 = distortion.unbind()
    x, y = normalized.unbind(-1)
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return torch.stack(
        (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ),
        dim=-1,
    )


def project(
    positions: Float[Tensor, "*batch xyz"], camera: Camera
) -> tuple[Float[Tensor, "*batch xy"], Float[Tensor, "*batch"], Bool[Tensor, "*batch"]]:
    """World positions to pixels.

    positions: (*, 3) metres, typically (*, frames, joints, 3).
    Returns keypoints (*, 2) in pixels, depth (*) along the optical axis in metres, and valid (*): in front of the
    camera, within the lens model's one-to-one range and inside the image. Points outside the first two are put at the
    principal point, so keypoints and gradients are finite everywhere. Occlusion by bodies is not considered.
    """
    K, R, t, distortion = (
        torch.tensor(array, dtype=positions.dtype, device=positions.device)
        for array in (camera.K, camera.R, camera.t, camera.distortion)
    )
    local = positions @ R.T + t
    depth = local[..., 2]
    is_ahead = depth > NEAR_M
    normalized = local[..., :2] / torch.where(is_ahead, depth, 1.0)[..., None]
    in_range = normalized.square().sum(-1) < camera.max_radius_squared
    seen = is_ahead & in_range
    # Points that are not seen are put on the axis before the polynomial: r^6 of a wild point would overflow.
    distorted = distort(torch.where(seen[..., None], normalized, 0.0), distortion)
    keypoints = distorted @ K[:2, :2].T + K[:2, 2]
    u, v = keypoints.unbind(-1)
    inside = (u >= -0.5) & (u < camera.width - 0.5) & (v >= -0.5) & (v < camera.height - 0.5)
    return keypoints, depth, seen & inside


def look_at(
    eye_m: Sequence[float],
    target_m: Sequence[float],
    *,
    width: int = 1920,
    height: int = 1080,
    focal_px: float = 1400.0,
    name: str = "",
) -> Camera:
    """An undistorted camera at ``eye_m`` whose axis passes through ``target_m``; world Y is up in the image."""
    eye, target = np.asarray(eye_m, dtype=np.float64), np.asarray(target_m, dtype=np.float64)
    forward = target - eye
    right = np.cross(forward, (0.0, 1.0, 0.0))
    if np.linalg.norm(right) <= 1e-9 * max(1.0, np.linalg.norm(forward)):
        raise ValueError(f"camera {name!r}: from {eye.tolist()} to {target.tolist()} gives no upright view")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    R = np.stack((right, np.cross(forward, right), forward))
    K = np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1]])
    return Camera(name=name, width=width, height=height, K=K, R=R, t=-R @ eye)


def dome(
    num_views: int = 10,
    radius_m: float = 2.75,
    height_m: float = 1.36,
    width: int = 1920,
    height: int = 1080,
    *,
    target_height_m: float = 1.3,
    focal_px: float = 1400.0,
) -> list[Camera]:
    """Cameras at equal angles on a circle about the world's Y axis, all looking inward.

    The defaults are the lower ring of HD cameras of the CMU Panoptic dome (cameras 0, 3, 5, 8, 9, 14, 15, 23, 24, 25:
    on average 2.75 m from the axis at 1.36 m, aimed at 1.33 m, focal lengths 1396 to 1650 px at 1920 x 1080); its upper
    ring is ``dome(radius_m=1.98, height_m=3.26)``. A body must be near the axis: move a clip there first.

    Differs: the dome's angles vary by some degrees and each lens has its own focal length and distortion; use
    ``motionkit.data.panoptic.read_calibration`` for the true ones.
    """
    if num_views < 1 or radius_m <= 0:
        raise ValueError(f"dome of {num_views} views at radius {radius_m} m: both must be positive")
    angles = 2 * np.pi * np.arange(num_views) / num_views
    return [
        look_at(
            (radius_m * np.sin(angle), height_m, radius_m * np.cos(angle)),
            (0.0, target_height_m, 0.0),
            width=width,
            height=height,
            focal_px=focal_px * width / 1920,
            name=f"dome_{view:02d}",
        )
        for view, angle in enumerate(angles)
    ]


def detector_noise(
    keypoints: Float[Tensor, "*batch joints axes"],
    generator: torch.Generator,
    *,
    sigma_px: float = 3.0,
    outlier_rate: float = 0.02,
    outlier_px: float = 40.0,
    miss_rate: float = 0.02,
    valid: Bool[Tensor, "*batch joints"] | None = None,
) -> tuple[Float[Tensor, "*batch joints axes"], Float[Tensor, "*batch joints"]]:
    """What a 2D detector would report for true ``keypoints``, and how sure it would be.

    Each keypoint draws a difficulty uniform in [0, 1]. Its error is Gaussian with variance growing linearly with the
    difficulty and averaging ``sigma_px`` squared; its confidence falls from 1 to 0.4, so confidence orders the errors
    as a detector's does. A share ``outlier_rate`` is displaced with deviation ``outlier_px`` and confidence in
    [0.1, 0.6]. A share ``miss_rate``, and everything not ``valid``, is missed: confidence 0, placed at the mean of the
    keypoints the detector did see in that frame (the origin if it saw none), so that nothing of the truth is kept.

    The result is a function of the generator's state; it must live on the device of ``keypoints``.
    """
    for name, rate in (("outlier_rate", outlier_rate), ("miss_rate", miss_rate)):
        if not 0 <= rate <= 1:
            raise ValueError(f"{name} is {rate}; expected 0 to 1")
    if sigma_px < 0 or outlier_px < 0:
        raise ValueError(f"sigma_px {sigma_px} and outlier_px {outlier_px} must not be negative")
    options = {"generator": generator, "device": keypoints.device, "dtype": keypoints.dtype}
    difficulty, outlier, missed, doubt = torch.rand((4, *keypoints.shape[:-1]), **options).unbind()
    is_outlier = outlier < outlier_rate
    spread_px = torch.where(is_outlier, outlier_px, sigma_px * (2 * difficulty).sqrt())
    noisy = keypoints + spread_px[..., None] * torch.randn(keypoints.shape, **options)
    confidence = torch.where(is_outlier, 0.1 + 0.5 * doubt, 1 - 0.6 * difficulty)
    is_seen = missed >= miss_rate
    if valid is not None:
        is_seen = is_seen & valid
    return miss(noisy, is_seen), torch.where(is_seen, confidence, 0.0)


def miss(
    keypoints: Float[Tensor, "*batch joints axes"], is_seen: Bool[Tensor, "*batch joints"]
) -> Float[Tensor, "*batch joints axes"]:
    """Place keypoints that are not seen at the mean of the seen ones of their frame (the origin if there is none), so
    that nothing of the truth is kept."""
    is_seen = is_seen[..., None]
    total = torch.where(is_seen, keypoints, 0.0).sum(-2, keepdim=True)
    return torch.where(is_seen, keypoints, total / is_seen.sum(-2, keepdim=True).clamp_min(1))
