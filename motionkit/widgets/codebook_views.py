"""The pictures of the codebook explorer: a frame in panels, codes as small pictures, how often each code is used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from motionkit.metrics.tokens import perplexity
from motionkit.plotting import colors
from motionkit.plotting.charts import token_grid
from motionkit.widgets.codebook_study import Cell, ModelStudy, Seen, drawn
from motionkit.widgets.pictures import below_each_other, colored, encoded, enlarged, outlined, side_by_side

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PANEL_PX, TILE_PX = 180, 64  # least sides of a panel and of a small picture
Panels = dict[str, UInt8[np.ndarray, "channels h w rgb"]]


def panels(seen: Seen, edited: Float[np.ndarray, "c frames h w"] | None, frame: int) -> Panels:
    """One frame by name: ground truth, reconstruction and error; with an edited clip also this and the change it makes.

    The scales of errors and of changes end at the largest of the window: frames can be compared.
    """
    top = max(1e-6, float(np.abs(drawn(seen.target) - drawn(seen.output)).max()))
    truth, output = drawn(seen.target[:, frame]), drawn(seen.output[:, frame])
    found = {
        "ground truth": _colored(truth),
        "reconstruction": _colored(output),
        f"error, 0 to {top:.2f}": _colored(truth - output, top),
    }
    if edited is not None:
        most = max(1e-6, float(np.abs(drawn(edited) - drawn(seen.output)).max()))
        found["with your tokens"] = _colored(drawn(edited[:, frame]))
        found[f"change, 0 to {most:.2f}"] = _colored(drawn(edited[:, frame]) - output, most)
    return found


def panel_row(shown: Panels, cell: Cell | None, rate: int) -> UInt8[np.ndarray, "height width rgb"]:
    """The panels side by side, enlarged, each with the outline of a token's cell; ``None`` for no outline."""
    row = side_by_side([below_each_other(list(channels)) for channels in shown.values()])
    factor = max(1, -(-PANEL_PX // row.shape[0]))
    picture = enlarged(row, factor)
    if cell is None:
        return picture
    for panel, channels in enumerate(shown.values()):
        size = channels.shape[1] + 1  # and the gap
        for channel in range(len(channels)):
            top, left = (factor * (which * size + at * rate) for which, at in ((channel, cell[1]), (panel, cell[2])))
            picture = outlined(picture, top, left, factor * rate, colors.SKY)
    return picture


def tile(patch: Float[np.ndarray, "height width"] | None) -> bytes:
    """A small picture as PNG; ``None`` gives a blank one."""
    if patch is None:
        return encoded(np.full((2, 2, 3), 128, np.uint8))
    return encoded(enlarged(colored(patch), max(1, TILE_PX // max(patch.shape))))


def striking_cell(study: ModelStudy, window: int, frame: int) -> Cell:
    """The cell in which most is drawn at this time."""
    output, rate = drawn(study.see(window).output[:, frame]).max(0), study.rate
    amount = output.reshape(output.shape[0] // rate, rate, output.shape[1] // rate, rate).sum((1, 3))
    row, column = np.unravel_index(amount.argmax(), amount.shape)
    return frame // rate, int(row), int(column)


def shades(study: ModelStudy) -> list[str]:
    """A color "#rrggbb" for each code; similar codes have similar colors."""
    return ["#" + bytes(color).hex() for color in colored(study.order.numpy()[None], "viridis")[0]]


def usage_bars(counts: Int[Tensor, "codes"], chosen: int | None, width_px: int = 300, height_px: int = 96) -> str:
    """How often each code is used, most used first, as an SVG; dead codes hatched, the chosen one marked."""
    order = counts.argsort(descending=True, stable=True)
    size, used, most = len(counts), int((counts > 0).sum()), max(1, int(counts.max()))
    across, up = width_px / size, height_px / most
    points = "".join(
        f"H{i * across:.2f}V{height_px - count * up:.2f}" for i, count in enumerate(counts[order].tolist())
    )
    marker = ""
    if chosen is not None:
        at = (int((order == chosen).nonzero()) + 0.5) * across
        marker = f'<path d="M{at:.2f} 0V{height_px}" stroke="{colors.VERMILION}" stroke-width="2"/>'
    dead = (
        f'<rect x="{used * across:.2f}" width="{(size - used) * across:.2f}" height="{height_px}" fill="url(#dead)"/>'
    )
    hatch = (
        '<pattern id="dead" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        f'<path d="M0 0V6" stroke="{colors.DEAD}" stroke-width="2"/></pattern>'
    )
    words = f"{used} of {size} codes used, {size - used} unused; perplexity {perplexity(counts):.0f}"
    return (
        f'<div style="line-height:1.4"><svg width="{width_px}" height="{height_px}" role="img" aria-label="{words}" '
        f'style="border-bottom:1px solid {colors.GRAY};display:block"><defs>{hatch}</defs>{dead}'
        f'<path d="M0 {height_px}{points}H{width_px}V{height_px}Z" fill="{colors.BLUE}"/>{marker}</svg>'
        f'<span style="color:{colors.MUTED}">{words}<br>most used first, up to {most} times</span></div>'
    )


def view_figure(
    shown: Panels, picture: UInt8[np.ndarray, "height width rgb"], tokens: Tensor, order: Tensor, title: str
) -> Figure:
    """What the explorer shows, for a file: the panels with their names and, colored by ``order``, the tokens."""
    from matplotlib.figure import Figure

    width = max(6.0, 2.1 * len(shown))
    height = width * picture.shape[0] / picture.shape[1]
    figure = Figure(figsize=(width, height + 2.6), dpi=150, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(height + 0.8, 1.8))
    axes = above.subplots()
    axes.imshow(picture, interpolation="nearest")
    each = picture.shape[1] / len(shown)
    axes.set_xticks([each * (index + 0.5) for index in range(len(shown))], list(shown), fontsize=8.5)
    axes.set_yticks([])
    axes.tick_params(length=0, labelcolor=colors.MUTED)
    for edge in axes.spines.values():
        edge.set_visible(False)
    axes.set_title(title, fontsize=9.5)
    token_grid(below, tokens, order=order)
    return figure


def comparison_figure(rows: Mapping[str, Float[np.ndarray, "c frames h w"]], fps: float, num_frames: int = 8) -> Figure:
    """Clips by name below one another, some frames of each."""
    from matplotlib.figure import Figure

    length, channels = next(iter(rows.values())).shape[1], len(drawn(next(iter(rows.values()))))
    frames = np.linspace(0, length - 1, min(num_frames, length)).round().astype(int)
    figure = Figure(figsize=(1.05 * len(frames) + 1.4, 1.05 * len(rows) * channels + 0.3), dpi=110)
    grid = figure.subplots(
        len(rows),
        len(frames),
        squeeze=False,
        gridspec_kw={"left": 0.16, "right": 1, "bottom": 0, "top": 1 - 0.25 / figure.get_figheight(),
                     "wspace": 0.03, "hspace": 0.03},
    )  # fmt: skip
    for line, (name, clip) in zip(grid, rows.items(), strict=True):
        for axes, frame in zip(line, frames, strict=True):
            axes.imshow(below_each_other(list(_colored(drawn(clip[:, frame])))), interpolation="nearest")
            axes.set_axis_off()
            if line is grid[0]:
                axes.set_title(f"{frame / fps:.2f} s", fontsize=8.5, color=colors.MUTED)
        line[0].text(-0.06, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=8.5, wrap=True)
    return figure


def _colored(channels: Float[np.ndarray, "c h w"], top: float | None = None) -> UInt8[np.ndarray, "c h w rgb"]:
    """Values, or differences up to ``top``, as colors."""
    if top is None:
        return np.stack([colored(channel) for channel in channels])
    return np.stack([colored(np.abs(channel), colors.ERROR_MAP, top) for channel in channels])
