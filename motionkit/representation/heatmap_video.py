"""Windows of joint positions as heatmap video: the batch that the heatmap tokenizers train on.

Windows stay in memory as positions (a few kilobytes each); views, boxes and heatmaps are made here, on the device,
batch by batch.

Source: Adversarially-refined VQ-GAN, section III-A and IV-A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.data.cameras import NEAR_M, Camera, project
from motionkit.data.skeleton import Skeleton
from motionkit.data.windows import sample_segments
from motionkit.representation.heatmaps import fit_to_box, limbs_to_heatmaps, limbs_to_projections, random_peaks


@dataclass(frozen=True)
class HeatmapVideo:
    """How windows become heatmap video; call it as the ``transform`` of ``WindowBatches``.

    skeleton: the joints of the windows; its limbs are drawn.
    dimensions: ``"2d"``: one camera view per window, one input channel per limb and their maximum as target
        (the rows "2D" of Table III); ``"3d"``: the three projections YZ, XZ, XY as input and as target (the rows "3D").
    size: side of the square heatmaps, in pixels.
    sigma_px: standard deviation of the limb profile, in pixels.
    cameras: the views to draw from, for ``"2d"``; each window gets one at random.
    fill: part of the picture that the window's bounding box may take.
    sampled_frames: draw so many frames out of each window, a longer span, as the public code does (``sample_segments``
        with a part of at least a quarter as many frames); ``None`` takes the window's own.
    has_random_peaks: the brightness of each joint in each frame is random, as in the public code (``random_peaks``).

    Raises: ``ValueError`` for other ``dimensions``, and for ``"2d"`` without a camera.
    Differs: the paper's 3D windows come in the orientation of the studio; ours are turned by a random angle about the
    vertical axis, because recorded walks mostly run along one axis of the room.
    """

    skeleton: Skeleton
    dimensions: str
    size: int
    sigma_px: float
    cameras: tuple[Camera, ...] = ()
    fill: float = 0.9
    sampled_frames: int | None = None
    has_random_peaks: bool = False

    def __post_init__(self) -> None:
        if self.dimensions not in ("2d", "3d"):
            raise ValueError(f"dimensions is {self.dimensions!r}; expected '2d' or '3d'")
        if self.dimensions == "2d" and not self.cameras:
            raise ValueError("dimensions '2d' needs at least one camera, got none")

    @property
    def in_channels(self) -> int:
        return self.skeleton.num_limbs if self.dimensions == "2d" else 3

    @property
    def out_channels(self) -> int:
        return 1 if self.dimensions == "2d" else 3

    def place(
        self,
        positions: Float[Tensor, "B T J 3"],
        generator: torch.Generator,
        confidence: Float[Tensor, "B T J"] | None = None,
    ) -> tuple[Float[Tensor, "B T2 J C"], Float[Tensor, "B T2 J"]]:
        """What is drawn, and how bright: keypoints in pixels (C = 2) or joints in voxels (C = 3), each window fitted to
        the picture, and the peak of each joint. T2 is T, or ``sampled_frames``.

        positions: metres, Y up. generator: draws views and turns, and so decides them.
        confidence: the peaks, in [0, 1], 1 by default; joints behind the camera get 0. Joints of peak 0 do not count
            for the box.
        """
        peaks = torch.ones_like(positions[..., 0]) if confidence is None else confidence
        if self.sampled_frames is not None:
            both = torch.cat([positions, peaks[..., None]], dim=-1)
            shortest = max(1, self.sampled_frames // 4)
            both = sample_segments(both, generator, num_frames=self.sampled_frames, min_length=shortest)
            positions, peaks = both[..., :3], both[..., 3]
        if self.has_random_peaks:
            peaks = peaks * random_peaks(peaks.shape, generator).to(peaks)
        centered = center_on_ground(positions)
        if self.dimensions == "3d":
            return fit_to_box(turn(centered, generator), self.size, self.fill, confidence=peaks), peaks
        views = torch.randint(len(self.cameras), (len(positions),), generator=generator, device=generator.device)
        views, keypoints, depth = views.to(positions.device), torch.empty_like(positions[..., :2]), peaks.clone()
        for view, camera in enumerate(self.cameras):
            chosen = (views == view).nonzero().squeeze(-1)
            keypoints[chosen], depth[chosen], _ = project(centered[chosen], camera)
        peaks = peaks * (depth > NEAR_M)
        return fit_to_box(keypoints, self.size, self.fill, confidence=peaks), peaks

    def __call__(
        self,
        positions: Float[Tensor, "B T J 3"],
        generator: torch.Generator,
        confidence: Float[Tensor, "B T J"] | None = None,
    ) -> dict[str, Tensor]:
        """Draw a batch: ``{"input": (B, C_in, T, H, W), "target": (B, C_out, T, H, W)}``, values in [0, 1].

        The parameters are those of ``place``. For ``"3d"`` both entries are the same tensor.
        """
        return self.draw(*self.place(positions, generator, confidence))

    def scored(
        self,
        positions: Float[Tensor, "B T J 3"],
        generator: torch.Generator,
        confidence: Float[Tensor, "B T J"] | None = None,
    ) -> dict[str, Tensor]:
        """A batch for evaluation: also ``"keypoints"`` and ``"peaks"``, what ``place`` placed and ``draw`` drew."""
        keypoints, peaks = self.place(positions, generator, confidence)
        return self.draw(keypoints, peaks) | {"keypoints": keypoints, "peaks": peaks}

    def draw(self, keypoints: Float[Tensor, "B T J C"], peaks: Float[Tensor, "B T J"]) -> dict[str, Tensor]:
        """Draw keypoints or joints that ``place`` has placed, or what was made of them since: noise, gaps, filters."""
        limbs = self.skeleton.limbs
        if self.dimensions == "3d":
            target = limbs_to_projections(keypoints, limbs, self.size, self.sigma_px, peaks, video=True)
            return {"input": target, "target": target}
        layers = limbs_to_heatmaps(keypoints, limbs, self.size, self.sigma_px, peaks, video=True)
        return {"input": layers, "target": layers.amax(dim=1, keepdim=True)}


def center_on_ground(positions: Float[Tensor, "*batch T J 3"]) -> Float[Tensor, "*batch T J 3"]:
    """Move each window so that its mean position stands above the origin; heights stay as they are. Metres."""
    center = positions.mean(dim=(-3, -2), keepdim=True)
    return positions - center * positions.new_tensor([1.0, 0.0, 1.0])


def turn(positions: Float[Tensor, "B T J 3"], generator: torch.Generator) -> Float[Tensor, "B T J 3"]:
    """Turn each window by its own random angle about the vertical (Y) axis through the origin."""
    angle = torch.rand(len(positions), generator=generator, device=generator.device).to(positions) * (2 * math.pi)
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    rotation = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], dim=-1).view(-1, 1, 3, 3)
    return positions @ rotation.transpose(-1, -2)
