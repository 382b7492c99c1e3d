"""See what a tokenizer keeps: ground truth, reconstruction and error of any window and frame, and its tokens."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor

from motionkit.plotting import colors
from motionkit.plotting.charts import token_grid
from motionkit.plotting.heatmaps import reconstruction_strip, strip_size
from motionkit.widgets.pictures import Still, colored, is_batch, side_by_side, to_png


@runtime_checkable
class Tokenizer(Protocol):
    """A model with ``reconstruct(x (B, C, T, H, W))``: an object with ``output`` (B, C', T, H, W) and ``tokens``
    (B, t, h, w)."""

    def reconstruct(self, x: Tensor) -> Any: ...


def explore_reconstruction(
    model: Tokenizer, batch: Tensor | Mapping[str, Tensor], *, fps: float | None = None, height_px: int = 240
) -> ReconstructionExplorer | Still:
    """Sliders over the windows and frames of a batch; with ``MOTIONKIT_BATCH=1`` a still picture instead.

    model: anything with ``reconstruct``; it is used as it stands (call ``model.eval()`` first), without gradients.
    batch: heatmap video (N, C, T, H, W) with values in [0, 1], or ``{"input": ..., "target": ...}``.
    fps: with it frames are also named in seconds.

    Raises ``ValueError`` on a batch of another shape.
    """
    explorer = ReconstructionExplorer(model, batch, fps=fps, height_px=height_px)
    return explorer.still() if is_batch() else explorer


class ReconstructionExplorer(widgets.VBox):
    """The live explorer: ``window`` and ``frame`` are its sliders, ``picture`` and ``tokens`` what it shows."""

    def __init__(
        self, model: Tokenizer, batch: Tensor | Mapping[str, Tensor], *, fps: float | None, height_px: int
    ) -> None:
        self._input = batch["input"] if isinstance(batch, Mapping) else batch
        self._target = batch["target"] if isinstance(batch, Mapping) else batch
        for name, video in (("input", self._input), ("target", self._target)):
            if video.ndim != 5 or len(video) == 0:
                raise ValueError(
                    f"explore_reconstruction: {name} has shape {tuple(video.shape)}, expected (N, C, T, H, W)"
                )
        self._model, self._fps, self._height_px = model, fps, height_px
        self._known: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
        look = {"style": {"description_width": "60px"}, "layout": {"width": "420px"}}
        num_windows, num_frames = len(self._target), self._target.shape[2]
        self.window = widgets.IntSlider(0, 0, num_windows - 1, description="window", **look)
        self.frame = widgets.IntSlider(num_frames // 2, 0, num_frames - 1, description="frame", **look)
        self.picture = widgets.Image(format="png", layout={"max_width": "100%"})
        self.tokens = widgets.Image(format="png", layout={"height": "120px"})
        self.message, self.status = widgets.HTML(), widgets.HTML()
        super().__init__([self.window, self.frame, self.picture, self.tokens, self.status, self.message])
        self.window.observe(lambda _: self.redraw(), "value")
        self.frame.observe(lambda _: self.redraw(), "value")
        self.redraw()

    def reconstruction(self, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(target (C, T, H, W), output (C, T, H, W), tokens (t, h, w)) of one window; computed once."""
        if window not in self._known:
            with torch.no_grad():
                result = self._model.reconstruct(self._input[window : window + 1])
            parts = (self._target[window], result.output[0].float(), result.tokens[0])
            self._known[window] = tuple(part.detach().cpu().numpy() for part in parts)
        return self._known[window]

    def redraw(self) -> None:
        """Draw the current window and frame; what goes wrong is said in ``message``."""
        try:
            target, output, tokens = self.reconstruction(self.window.value)
            frame = self.frame.value
            self.picture.value = to_png(_truth_output_error(target[:, frame], output[:, frame]), self._height_px)
            step = frame * len(tokens) // target.shape[1]
            self.tokens.value = to_png(_token_picture(tokens, step), 120)
        except Exception as error:  # whatever it is, the reader must see it: a kernel's log is out of sight
            self.message.value = f'<span style="color:{colors.VERMILION}">{html.escape(f"{error}")}</span>'
            return
        self.message.value = ""
        seconds = f" · {frame / self._fps:.2f} s" if self._fps else ""
        error = float(np.abs(target[:, frame] - output[:, frame]).mean())
        self.status.value = (
            f'<span style="color:{colors.MUTED}">ground truth, reconstruction, absolute error · mean error of this '
            f"frame {error:.4f}{seconds} · tokens of latent step {step}: {len(np.unique(tokens[step]))} different of "
            f"{tokens[step].size}</span>"
        )

    def still(self) -> Still:
        """The current window as a strip over its frames, with its tokens."""
        from matplotlib.figure import Figure

        target, output, tokens = self.reconstruction(self.window.value)
        strip = Figure(figsize=strip_size(len(target), 6), dpi=110)
        reconstruction_strip(strip, target, output, fps=self._fps)
        grid = Figure(figsize=(7.8, 1.5), dpi=110)
        token_grid(grid, tokens)
        pngs = []
        for figure in (strip, grid):
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png")
            pngs.append(buffer.getvalue())
        return Still(
            tuple(pngs), f"window {self.window.value}: ground truth, reconstruction, error, tokens", height_px=900
        )


def _truth_output_error(target: np.ndarray, output: np.ndarray) -> np.ndarray:
    """For each of three projections, or for the maximum over other channels: truth, output, error, in a row."""
    if len(target) != 3:
        target, output = target.max(0, keepdims=True), output.max(0, keepdims=True)
    error = np.abs(target - output)
    top = max(1e-6, float(error.max()))
    row = [colored(target[c]) for c in range(len(target))] + [colored(output[c]) for c in range(len(target))]
    return side_by_side(row + [colored(error[c], colors.ERROR_MAP, top) for c in range(len(target))])


def _token_picture(tokens: np.ndarray, step: int) -> np.ndarray:
    """One latent step; a color says only which cells share a code, the window's commonest code is darkest."""
    codes, counts = np.unique(tokens, return_counts=True)
    shade = np.empty(len(codes))
    shade[np.argsort(-counts, kind="stable")] = np.linspace(0, 1, len(codes))
    return colored(shade[np.searchsorted(codes, tokens[step])], "viridis")
