"""Heatmap video of corrupted keypoints with the clean video as target: the batch that a denoising tokenizer trains on.

Source: own. The paper trains on clean video only and yet claims denoising (Table I).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.data.corruption import CORRUPTIONS
from motionkit.data.gaps import fill_missing
from motionkit.representation.heatmap_video import HeatmapVideo


@dataclass(frozen=True)
class CorruptedVideo:
    """As the ``HeatmapVideo`` it holds, but the input shows detected keypoints; the ``transform`` of ``WindowBatches``.

    video: how clean windows are drawn; ``dimensions`` "2d".
    levels: the kinds of ``CORRUPTIONS`` and the largest level of each. A batch takes one of the kinds at random, at a
        level between 0 and the largest; missed keypoints are bridged in time before they are drawn.

    Raises: ``ValueError`` for an unknown kind, none at all, or a video of other dimensions.
    """

    video: HeatmapVideo
    levels: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.video.dimensions != "2d":
            raise ValueError(f"video has dimensions {self.video.dimensions!r}; expected '2d'")
        if not self.levels or set(self.levels) - set(CORRUPTIONS):
            raise ValueError(f"levels are for {list(self.levels)}; expected one or more of {', '.join(CORRUPTIONS)}")

    def __call__(
        self,
        positions: Float[Tensor, "B T J 3"],
        generator: torch.Generator,
        confidence: Float[Tensor, "B T J"] | None = None,
    ) -> dict[str, Tensor]:
        """``{"input": (B, L, T, H, W), "target": (B, 1, T, H, W)}``, values in [0, 1]."""
        video = self.video
        keypoints, peaks = video.place(positions, generator, confidence)
        choice, share = torch.rand(2, generator=generator, device=generator.device).tolist()
        kind = list(self.levels)[int(choice * len(self.levels))]
        detected, seen = CORRUPTIONS[kind].apply(keypoints, share * self.levels[kind], generator, video.skeleton)
        filled = fill_missing(detected, seen)
        return {"input": video.draw(filled, peaks)["input"], "target": video.draw(keypoints, peaks)["target"]}
