"""Windows as tokens: drawn and encoded once, and kept in memory. A hundred times smaller, tokens are what later models
train on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.data.windows import Windows
from motionkit.models.autoencoder import Reconstruction
from motionkit.models.dvae import DVAE
from motionkit.models.pretrained import load_pretrained
from motionkit.models.vqgan import VQGAN
from motionkit.models.weights import load_weights
from motionkit.representation.heatmap_video import HeatmapVideo


@runtime_checkable
class Tokenizer(Protocol):
    """A model of heatmap video with tokens, such as ``VQGAN`` or ``DVAE``."""

    def encode(self, clips: Tensor) -> Tensor: ...

    def reconstruct(self, clips: Tensor) -> Reconstruction: ...


@dataclass(frozen=True)
class EncodedWindows:
    """Tokens of windows, and the keypoints that they stand for: both of the same views.

    tokens: (rows, t, h, w) int64.
    keypoints: (rows, frames, joints, 2 or 3) in pixels or voxels, as they were drawn, before any rounding.
    window: (rows,) the window of each row; all windows in one view, then all in the next.
    error: (rows,) mean absolute error of the window drawn again from its tokens, where that was asked for.
    """

    tokens: Int[Tensor, "rows *grid"]
    keypoints: Float[Tensor, "rows frames joints axes"]
    window: Int[Tensor, "rows"]
    error: Float[Tensor, "rows"] | None = None

    def poses(self, size: int, count: int | None = None) -> Float[Tensor, "rows count features"]:
        """The keypoints as one vector a frame, in [-1, 1] within a picture of ``size`` pixels; joints that nobody
        observed may lie outside.

        count: only so many frames, evenly spread from the first on, and in whole pixels; ``None``: all, as they are.
        """
        keypoints = self.keypoints
        if count is not None:
            frames = torch.arange(count) * keypoints.shape[1] // count
            keypoints = keypoints[:, frames].round()
        return (2 * keypoints / size - 1).flatten(2)


def load_tokenizer(name_or_folder: str | Path, device: str | torch.device = "cpu") -> VQGAN | DVAE:
    """A trained tokenizer that comes with the kit (see ``PRETRAINED``), or one of your own, saved by ``save_weights``.

    Raises as ``load_pretrained`` for an unknown name and as ``load_weights`` for a folder; ``ValueError`` for the name
    of a model that makes no tokens.
    """
    if Path(name_or_folder).is_dir():
        return load_weights((VQGAN, DVAE), name_or_folder, device)[0]
    model = load_pretrained(str(name_or_folder), device)
    if not isinstance(model, VQGAN | DVAE):
        raise ValueError(f"{str(name_or_folder)!r} is a {type(model).__name__}, and no tokenizer")
    return model


@torch.no_grad()
def encode_windows(
    tokenizer: Tokenizer,
    video: HeatmapVideo,
    windows: Windows,
    *,
    seed: int,
    num_views: int = 1,
    with_error: bool = False,
    batch_size: int = 16,
    device: str | torch.device = "cpu",
) -> EncodedWindows:
    """Draw each window ``num_views`` times, in views that ``seed`` decides, and encode it.

    Equally many windows get equal views from equal seeds: what differs between two sets is then motion alone.
    with_error: also decode, which takes about twice the time.
    device: where the tokenizer is. All results are on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(windows)).repeat(num_views)
    confidence = None if windows.confidence is None else windows.confidence[rows]
    keypoints, peaks = video.place(windows.positions[rows], generator, confidence)
    tokens, errors = [], []
    for part, peak in zip(keypoints.split(batch_size), peaks.split(batch_size), strict=True):
        drawn = video.draw(part.to(device), peak.to(device))
        if with_error:
            result = tokenizer.reconstruct(drawn["input"])
            tokens.append(result.tokens.cpu())
            errors.append((result.output.clamp(0, 1) - drawn["target"]).abs().flatten(1).mean(1).cpu())
        else:
            tokens.append(tokenizer.encode(drawn["input"]).cpu())
    return EncodedWindows(torch.cat(tokens), keypoints, rows, torch.cat(errors) if with_error else None)
