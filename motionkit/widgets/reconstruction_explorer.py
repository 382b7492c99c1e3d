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
from motionkit.plotting.heatmaps import PROJECTIONS, reconstruction_strip, strip_size
from motionkit.widgets.pictures import GAP, Still, colored, is_batch, side_by_side, to_png

TOKENS_PX = 120  # height of the picture of tokens


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
    """The live explorer: ``window`` and ``frame`` are its sliders, ``picture`` and ``tokens`` what it shows, with words
    in ``labels`` and ``status``, and ``message`` for what went wrong."""

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
        self._known: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray, float]] = {}
        look = {"style": {"description_width": "60px"}, "layout": {"width": "420px"}}
        num_windows, num_frames = len(self._target), self._target.shape[2]
        self.window = widgets.IntSlider(
            0, 0, num_windows - 1, description="window", tooltip="which clip of the batch", **look
        )
        self.window.layout.display = None if num_windows > 1 else "none"
        self.frame = widgets.IntSlider(
            num_frames // 2, 0, num_frames - 1, description="frame", tooltip="which frame of the window", **look
        )
        self.labels = widgets.HTML(layout={"width": "100%", "margin": "0"})
        self.status, self.message = widgets.HTML(), widgets.HTML()
        self.picture = widgets.Image(format="png", layout={"width": "100%", "margin": "0"})
        pictures = widgets.VBox([self.labels, self.picture], layout={"max_width": "100%"})
        self.tokens = widgets.Image(format="png", layout={"height": f"{TOKENS_PX}px", "flex": "0 0 auto"})
        tokens = widgets.HBox([self.tokens, self.status], layout={"grid_gap": "12px", "align_items": "center"})
        super().__init__(
            [self.window, self.frame, pictures, tokens, self.message], layout={"align_items": "flex-start"}
        )
        self._pictures = pictures.layout
        self.window.observe(lambda _: self.redraw(), "value")
        self.frame.observe(lambda _: self.redraw(), "value")
        self.redraw()

    def reconstruction(self, window: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
        """(target (C, T, H, W), output (C, T, H, W), tokens (t, h, w), largest error) of one window; computed once."""
        if window not in self._known:
            with torch.no_grad():
                result = self._model.reconstruct(self._input[window : window + 1])
            parts = (self._target[window], result.output[0].float(), result.tokens[0])
            target, output, tokens = (part.detach().cpu().numpy() for part in parts)
            largest = max(1e-6, float(np.abs(_drawn(target) - _drawn(output)).max()))
            self._known[window] = target, output, tokens, largest
        return self._known[window]

    def redraw(self) -> None:
        """Draw the current window and frame; what goes wrong is said in ``message``, and the last pictures stay."""
        try:
            target, output, tokens, largest = self.reconstruction(self.window.value)
            frame = self.frame.value
            row = _truth_output_error(_drawn(target[:, frame]), _drawn(output[:, frame]), largest)
            self.picture.value = to_png(row, self._height_px)
            self._pictures.width = f"{row.shape[1] * -(-self._height_px // row.shape[0])}px"  # a whole factor: sharp
            step = frame * len(tokens) // target.shape[1]
            self.tokens.value = to_png(_token_picture(tokens, step), TOKENS_PX)
        except Exception as error:  # whatever it is, the reader must see it: a kernel's log is out of sight
            self.message.value = f'<span style="color:{colors.VERMILION}">{html.escape(f"{error}")}</span>'
            return
        self.message.value = ""
        names = ("ground truth", "reconstruction", f"error, 0 to {largest:.2f}")
        style = f"display:grid;grid-template-columns:repeat(3,1fr);gap:4px;line-height:1.4;color:{colors.MUTED}"
        self.labels.value = f'<div style="{style}">{"".join(f"<span>{name}</span>" for name in names)}</div>'
        seconds = f" at {frame / self._fps:.2f} s" if self._fps else ""
        error = float(np.abs(target[:, frame] - output[:, frame]).mean())
        lines = [
            f"mean error of this frame{seconds}: {error:.4f}",
            f"tokens of latent step {step} ({step + 1} of {len(tokens)}): {len(np.unique(tokens[step]))} different of "
            f"{tokens[step].size}",
            "equal color, equal token; the commonest is darkest",
        ]
        if len(target) == len(PROJECTIONS):
            lines.insert(0, f"projections from the top: {', '.join(PROJECTIONS)}")
        self.status.value = f'<div style="line-height:1.4;color:{colors.MUTED}">{"<br>".join(lines)}</div>'

    def still(self) -> Still:
        """The current window as a strip over its frames, with its tokens."""
        from matplotlib.figure import Figure

        target, output, tokens, _ = self.reconstruction(self.window.value)
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


def _drawn(video: np.ndarray) -> np.ndarray:
    """The channels that are drawn: three projections as they are, else the maximum over all channels."""
    return video if len(video) == len(PROJECTIONS) else video.max(0, keepdims=True)


def _truth_output_error(target: np.ndarray, output: np.ndarray, top: float) -> np.ndarray:
    """Three columns, truth, output and error, of one frame's drawn channels from top to bottom. ``top``, the error that
    is drawn brightest, is the window's largest, so that frames can be compared."""
    error = [colored(channel, colors.ERROR_MAP, top) for channel in np.abs(target - output)]
    columns = [[colored(channel) for channel in target], [colored(channel) for channel in output], error]
    return side_by_side([_below_each_other(column) for column in columns])


def _below_each_other(pictures: list[np.ndarray]) -> np.ndarray:
    return side_by_side([picture.swapaxes(0, 1) for picture in pictures]).swapaxes(0, 1)


def _token_picture(tokens: np.ndarray, step: int, cell_px: int = 12) -> np.ndarray:
    """One latent step, a cell a token; colors say only which cells share a code, the window's commonest is darkest."""
    codes, counts = np.unique(tokens, return_counts=True)
    shade = np.empty(len(codes))
    shade[np.argsort(-counts, kind="stable")] = np.linspace(0, 1, len(codes))
    cells = colored(shade[np.searchsorted(codes, tokens[step])], "viridis").repeat(cell_px, 0).repeat(cell_px, 1)
    cells[::cell_px] = cells[:, ::cell_px] = GAP  # a thin line between neighbors of one color
    return cells[1:, 1:]
