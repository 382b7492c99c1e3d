"""Clips played at many speeds: the batch that predictors of motion train on. Few people are recorded, each with a pace
of their own; slowed down, recordings stand in for slower people."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.data.skeleton import Skeleton
from motionkit.representation.mirror_images import half_mirrored


@dataclass(frozen=True)
class PacedClips:
    """The ``transform`` of ``WindowBatches``: clips, half of them mirrored. Every other clip is played as recorded, the
    others each at a speed of its own.

    skeleton: of the clips, see ``mirrored``.
    slowest: speeds are drawn evenly between this and 1. None is greater: what came after a window is not in it.

    Raises: ``ValueError`` for a speed outside 0 to 1, or of 0.
    """

    skeleton: Skeleton
    slowest: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.slowest <= 1:
            raise ValueError(f"slowest is {self.slowest}; expected a speed above 0 and up to 1")

    def __call__(
        self,
        positions: Float[Tensor, "batch frames joints 3"],
        generator: torch.Generator,
        confidence: Float[Tensor, "batch frames joints"] | None = None,
    ) -> dict[str, Tensor]:
        """``{"clips": ...}``, (batch, frames, joints, 3) in metres. As in ``PartialClips`` confidence plays no part."""
        clips = half_mirrored(positions, self.skeleton, generator)
        speeds = self.slowest + (1 - self.slowest) * torch.rand(len(clips), generator=generator, device=clips.device)
        speeds[::2] = 1.0
        return {"clips": played(clips, speeds)}


def played(
    clips: Float[Tensor, "batch frames joints 3"], speeds: Float[Tensor, "batch"]
) -> Float[Tensor, "batch frames joints 3"]:
    """Each clip from its first frame at its speed (0 to 1); so many frames as it has.

    Positions between two frames are on the line between them, which takes no spline for each batch; quick movements
    are off by up to 3 mm (2 Hz and 10 cm at 25 fps), which ``resample_clip`` avoids.
    """
    last = clips.shape[1] - 1
    times = speeds[:, None] * torch.arange(last + 1, device=clips.device)
    before = times.long()
    after = (before + 1).clamp(max=last)
    clip = torch.arange(len(clips), device=clips.device)[:, None]
    return torch.lerp(clips[clip, before], clips[clip, after], (times - before).to(clips)[..., None, None])
