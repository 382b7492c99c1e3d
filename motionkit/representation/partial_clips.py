"""Clips and what is left of them after a part is lost: the batch that a generative model of motion trains on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.data.gaps import interpolate_gaps
from motionkit.data.masks import lose_any
from motionkit.data.skeleton import Skeleton
from motionkit.representation.mirror_images import half_mirrored


@dataclass(frozen=True)
class PartialClips:
    """The ``transform`` of ``WindowBatches``: clips, half of them mirrored, and the same with gaps filled in.

    skeleton: of the clips, see ``mirrored``.
    mean: (frames, joints, 3), which takes the place of coordinates of which no frame is left.
    most: a clip loses a share between 0 and this, in one of the patterns of ``lose_any``; every fourth one is left
        whole. With 0 all are, and the input is the clip.

    Raises: ``ValueError`` for a share outside 0 to 1.
    """

    skeleton: Skeleton
    mean: Float[Tensor, "frames joints 3"]
    most: float

    def __post_init__(self) -> None:
        if not 0 <= self.most <= 1:
            raise ValueError(f"most is {self.most}; expected a share from 0 to 1")

    def __call__(
        self,
        positions: Float[Tensor, "batch frames joints 3"],
        generator: torch.Generator,
        confidence: Float[Tensor, "batch frames joints"] | None = None,
    ) -> dict[str, Tensor]:
        """``{"clips": ..., "input": ...}``, both (batch, frames, joints, 3) in metres. Confidence plays no part: joints
        that a skeleton lacks stand between others in every clip, and are learned as these are."""
        clips = half_mirrored(positions, self.skeleton, generator)
        if self.most == 0:
            return {"clips": clips, "input": clips}
        is_seen = lose_any(clips.shape, self.most, generator)
        is_seen[::4] = True
        return {"clips": clips, "input": interpolate_gaps(clips, is_seen, self.mean.to(clips))}
