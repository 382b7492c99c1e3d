"""What a codebook explorer looks up and changes, without its controls: windows, what a model makes of them, edits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.data.windows import Windows
from motionkit.metrics.tokens import occurrences, similarity_order, usage
from motionkit.models.autoencoder import Reconstruction
from motionkit.plotting.heatmaps import PROJECTIONS
from motionkit.representation.heatmap_video import HeatmapVideo

Cell = tuple[int, int, int]  # latent step, row, column


@runtime_checkable
class Tokenizer(Protocol):
    """A model of heatmap video with tokens, such as ``VQGAN`` and ``DVAE``."""

    def reconstruct(self, clips: Tensor) -> Reconstruction: ...

    def decode(self, tokens: Tensor) -> Tensor: ...


class SeenWindows:
    """Windows as one camera sees them: keypoints stay in memory, heatmaps are drawn when asked for.

    seed: draws the views. Raises ``ValueError`` without windows.
    """

    def __init__(self, windows: Windows, video: HeatmapVideo, seed: int = 0) -> None:
        if len(windows) == 0:
            raise ValueError("there are no windows to explore")
        self.windows, self.video = windows, video
        generator = torch.Generator().manual_seed(seed)
        self.keypoints, self.peaks = video.place(windows.positions, generator, windows.confidence)

    def __len__(self) -> int:
        return len(self.windows)

    def draw(self, window: int) -> dict[str, Tensor]:
        """``{"input": (1, C_in, T, H, W), "target": (1, C_out, T, H, W)}``."""
        return self.video.draw(self.keypoints[window : window + 1], self.peaks[window : window + 1])

    def label(self, window: int) -> str:
        """The window's clip and the second at which it starts there."""
        start_s = float(self.windows.start[window]) / self.windows.fps
        return f"{self.windows.clip(window).name or 'clip'} from {start_s:.1f} s"


@dataclass(frozen=True)
class Seen:
    """One window before and after a model: (C, T, H, W) arrays, and tokens (t, h, w). Of a residual quantizer these are
    the coarsest ones; ``finer`` (t, h, w, depth - 1) are the others."""

    target: Float[np.ndarray, "c frames h w"]
    output: Float[np.ndarray, "c frames h w"]
    tokens: Int[Tensor, "steps rows columns"]
    finer: Int[Tensor, "steps rows columns more"] | None = None


class ModelStudy:
    """What one model makes of the windows; everything is computed once, when it is first asked for."""

    def __init__(self, model: Tokenizer, windows: SeenWindows) -> None:
        self.model, self.windows = model, windows
        self.num_codes: int = model.config.num_codes
        self.rate: int = 2**model.config.num_downsamples
        self._device = next(model.parameters()).device
        self._seen: dict[int, Seen] = {}
        self._means: dict[int, np.ndarray | None] = {}

    @torch.no_grad()
    def see(self, window: int) -> Seen:
        """Encode and decode one window."""
        if window not in self._seen:
            drawn = self.windows.draw(window)
            result = self.model.reconstruct(drawn["input"].to(self._device))
            target, output = drawn["target"][0].numpy(), result.output[0].float().cpu().numpy()
            tokens, finer = result.tokens[0].cpu(), None
            if tokens.ndim == 4:
                tokens, finer = tokens[..., 0], tokens[..., 1:]
            self._seen[window] = Seen(target, output, tokens, finer)
        return self._seen[window]

    @torch.no_grad()
    def decode(
        self, tokens: Int[Tensor, "steps rows columns"], finer: Int[Tensor, "steps rows columns more"] | None = None
    ) -> Float[np.ndarray, "c frames h w"]:
        """The clip that tokens stand for, with the finer ones of a residual quantizer."""
        if finer is not None:
            tokens = torch.cat([tokens[..., None], finer], dim=-1)
        return self.model.decode(tokens[None].to(self._device))[0].float().cpu().numpy()

    @cached_property
    def tokens(self) -> Int[Tensor, "windows steps rows columns"]:
        """Those of all windows."""
        return torch.stack([self.see(window).tokens for window in range(len(self.windows))])

    @cached_property
    def counts(self) -> Int[Tensor, "codes"]:
        """How often each code is used in all windows."""
        return usage(self.tokens, self.num_codes)

    @cached_property
    @torch.no_grad()
    def vectors(self) -> Float[Tensor, "codes dim"]:
        """The codes themselves; of a residual quantizer the coarsest ones."""
        numbers = torch.arange(self.num_codes, device=self._device)
        if not hasattr(self.model, "quantizer"):
            return self.model.codebook(numbers).float().cpu()  # the dVAE's embedding
        if self.see(0).finer is not None:
            numbers = numbers[:, None]
        return self.model.quantizer.codes(numbers).float().cpu()

    @cached_property
    def order(self) -> Float[Tensor, "codes"]:
        """Similar codes have similar numbers, see ``similarity_order``."""
        return similarity_order(self.vectors)

    def places(self, code: int) -> list[tuple[int, Cell]]:
        """The windows and cells where a code occurs."""
        return [(window, (step, row, column)) for window, step, row, column in occurrences(self.tokens, code).tolist()]

    def patch(self, window: int, cell: Cell) -> Float[np.ndarray, "height width"]:
        """What the decoder drew in a cell, in the middle frame of its step, with half a cell of its surroundings; black
        beyond the edge of the picture. Three projections are below one another."""
        frame = cell[0] * self.rate + self.rate // 2
        picture, margin = drawn(self.see(window).output[:, frame]), self.rate // 2
        rows, columns = (slice(index * self.rate, (index + 1) * self.rate + 2 * margin) for index in cell[1:])
        patch = np.pad(picture, ((0, 0), (margin, margin), (margin, margin)))[:, rows, columns]
        return patch.reshape(-1, patch.shape[-1])

    def mean_patch(self, code: int) -> Float[np.ndarray, "height width"] | None:
        """The mean of what the decoder drew wherever a code occurs; ``None`` for a dead code."""
        if code not in self._means:
            patches = [self.patch(window, cell) for window, cell in self.places(code)]
            self._means[code] = np.mean(patches, axis=0) if patches else None
        return self._means[code]


class EditedTokens:
    """The tokens of one window with some of them replaced; every replacement can be taken back.

    tokens: as they are now. Replacements of the same cell one after the other count as one.
    """

    def __init__(self, tokens: Int[Tensor, "steps rows columns"]) -> None:
        self.original, self.tokens = tokens.clone(), tokens.clone()
        self._before: list[tuple[Cell, int]] = []

    @property
    def cells(self) -> list[Cell]:
        """Those that hold another token than at first."""
        return [tuple(cell) for cell in torch.nonzero(self.tokens != self.original).tolist()]

    @property
    def can_undo(self) -> bool:
        return bool(self._before)

    def replace(self, cell: Cell, code: int) -> None:
        """Put a code into a cell."""
        if self.tokens[cell] == code:
            return
        if not self._before or self._before[-1][0] != cell:
            self._before.append((cell, int(self.tokens[cell])))
        self.tokens = self.tokens.clone()
        self.tokens[cell] = code

    def undo(self) -> None:
        """Take back the last replacement, if there is one."""
        if self._before:
            cell, code = self._before.pop()
            self.tokens = self.tokens.clone()
            self.tokens[cell] = code

    def reset(self) -> None:
        """Take back all of them."""
        self.tokens, self._before = self.original.clone(), []


def drawn(channels: Float[np.ndarray, "c *frame"]) -> Float[np.ndarray, "shown *frame"]:
    """The channels that are shown, of a frame or a clip: three projections as they are, else the maximum of all."""
    return channels if len(channels) == len(PROJECTIONS) else channels.max(0, keepdims=True)
