"""Line drawings that follow a slider: panels of lines and areas as SVG, in a millisecond, and the same for print."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from motionkit.plotting import colors
from motionkit.plotting.charts import quiet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTTED = (1.0, 4.0)  # pixels drawn and left out
_FONT_PX = 11
_DPI = 96


@dataclass(frozen=True)
class Shape:
    """A line through points, in the unit of its panel, or with ``width_px`` 0 the area that they enclose."""

    points: Float[np.ndarray, "points xy"]
    color: str
    width_px: float = 0.0
    alpha: float = 1.0
    dashes: tuple[float, float] | None = None


@dataclass(frozen=True)
class Panel:
    """Shapes in a box of a drawing, in order; what lies outside ``low`` to ``high`` is cut off.

    box: left, top, width and height in pixels. low, high: (x, y) at its lower left and upper right corner.
    labels: of the two axes, with units; without labels there are no axes.
    title: above the box. legend: (text, color) in its place.
    """

    box: tuple[float, float, float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    shapes: tuple[Shape, ...]
    labels: tuple[str, str] | None = None
    title: str = ""
    legend: tuple[tuple[str, str], ...] = ()


def ellipse(center: Float[np.ndarray, "xy"], radii: Float[np.ndarray, "xy"], color: str, alpha: float) -> Shape:
    """An ellipse whose axes are those of its panel."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    points = center + np.stack([np.cos(angle), np.sin(angle)], axis=1) * radii
    return Shape(points, color, alpha=alpha)


def to_svg(panels: Sequence[Panel], size_px: tuple[int, int]) -> bytes:
    """The drawing on white, width and height in pixels."""
    width, height = size_px
    parts = "".join(map(_svg_panel, panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="system-ui, Segoe UI, Roboto, sans-serif" font-size="{_FONT_PX}" stroke-linecap="round" '
        f'stroke-linejoin="round"><rect width="{width}" height="{height}" fill="#fff"/>{parts}</svg>'
    ).encode()


def to_figure(panels: Sequence[Panel], size_px: tuple[int, int]) -> Figure:
    """The same drawing for print."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon

    width, height = size_px
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=2 * _DPI)
    points = 72 / _DPI  # a pixel
    for panel in panels:
        left, top, across, down = panel.box
        axes = figure.add_axes((left / width, 1 - (top + down) / height, across / width, down / height))
        for order, shape in enumerate(panel.shapes, start=2):
            look = {"color": shape.color, "alpha": shape.alpha, "zorder": order}
            if not shape.width_px:
                axes.add_patch(Polygon(shape.points, linewidth=0, **look))
                continue
            dashes = (0, tuple(px / shape.width_px for px in shape.dashes)) if shape.dashes else "solid"
            axes.plot(*shape.points.T, linewidth=shape.width_px * points, linestyle=dashes, solid_capstyle="round",
                      dash_capstyle="round", solid_joinstyle="round", **look)  # fmt: skip
        axes.set(xlim=(panel.low[0], panel.high[0]), ylim=(panel.low[1], panel.high[1]))
        axes.set_title(panel.title, fontsize=_FONT_PX * points, color=colors.MUTED)
        if panel.labels is None:
            axes.set_axis_off()
            continue
        quiet(axes)
        axes.tick_params(length=0, labelsize=_FONT_PX * points)
        axes.set_xlabel(panel.labels[0], fontsize=_FONT_PX * points, color=colors.INK)
        axes.set_ylabel(panel.labels[1], fontsize=_FONT_PX * points, color=colors.INK)
        indent = 0.0
        for text, color in panel.legend:
            axes.annotate(text, (0, 1), (indent, 5), color=color, fontsize=_FONT_PX * points,
                          xycoords="axes fraction", textcoords="offset points")  # fmt: skip
            indent += (0.6 * len(text) + 1) * _FONT_PX * points
    return figure


def _svg_panel(panel: Panel) -> str:
    left, top, width, height = panel.box
    low, high = np.asarray(panel.low), np.asarray(panel.high)
    scale = np.array([width, -height]) / (high - low)

    def px(points: np.ndarray) -> np.ndarray:
        return (points - low) * scale + [0, height]

    shapes = "".join(_svg_shape(shape, px(shape.points)) for shape in panel.shapes)
    inside = f'<svg x="{left}" y="{top}" width="{width}" height="{height}">{shapes}</svg>'
    title = _text(panel.title, left + width / 2, top - 8, colors.MUTED, "middle")
    legend = "".join(f'<tspan fill="{color}" dx="{12 * (k > 0)}">{html.escape(text)}</tspan>'
                     for k, (text, color) in enumerate(panel.legend))  # fmt: skip
    legend = f'<text x="{left}" y="{top - 8}">{legend}</text>' if legend else ""
    return _svg_axes(panel, px) + inside + title + legend


def _svg_shape(shape: Shape, px: np.ndarray) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in px.tolist())
    alpha = f' opacity="{shape.alpha:g}"' if shape.alpha < 1 else ""
    if not shape.width_px:
        return f'<path d="{path}Z" fill="{shape.color}"{alpha}/>'
    dashes = f' stroke-dasharray="{shape.dashes[0]:g} {shape.dashes[1]:g}"' if shape.dashes else ""
    return f'<path d="{path}" fill="none" stroke="{shape.color}" stroke-width="{shape.width_px:g}"{dashes}{alpha}/>'


def _svg_axes(panel: Panel, px) -> str:
    if panel.labels is None:
        return ""
    left, top, width, height = panel.box
    parts = []
    for axis in range(2):
        for value, text in _ticks(panel.low[axis], panel.high[axis], num=6 if axis == 0 else 5):
            x, y = px(np.array([value if axis == 0 else panel.low[0], value if axis == 1 else panel.low[1]]))
            end = f"V{top}" if axis == 0 else f"H{left + width}"
            parts.append(f'<path d="M{left + x:.1f} {top + y:.1f}{end}" stroke="{colors.RULE}" stroke-width="0.7"/>')
            at = (left + x, top + height + 14, "middle") if axis == 0 else (left - 6, top + y + 4, "end")
            parts.append(_text(text, at[0], at[1], colors.MUTED, at[2]))
    parts.append(_text(panel.labels[0], left + width / 2, top + height + 30, colors.INK, "middle"))
    turn = f' transform="rotate(-90 {left - 46} {top + height / 2})"'
    parts.append(_text(panel.labels[1], left - 46, top + height / 2, colors.INK, "middle", turn))
    return "".join(parts)


def _ticks(low: float, high: float, num: int) -> list[tuple[float, str]]:
    """Round numbers within the limits, and how to write them."""
    from matplotlib.ticker import MaxNLocator

    values = MaxNLocator(num, steps=[1, 2, 5, 10]).tick_values(low, high)
    digits = max(0, -int(np.floor(np.log10(values[1] - values[0]) + 1e-9)))
    return [(value, f"{value:.{digits}f}") for value in values.tolist() if low <= value <= high]


def _text(text: str, x: float, y: float, color: str, anchor: str, more: str = "") -> str:
    if not text:
        return ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}" text-anchor="{anchor}"{more}>{html.escape(text)}</text>'
