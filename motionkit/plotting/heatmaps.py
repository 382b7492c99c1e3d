"""Pictures of heatmaps: reconstruction strips for print, and limb channels merged into one colored image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from motionkit.plotting import colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

PROJECTIONS = ("YZ", "XZ", "XY")  # the channel order of the 3D max-projections: over x, over y, over z
_TOP_INCH = 0.6  # room for the frames' titles and a title of the whole figure
_GRID_TOP_INCH = 0.3  # room for the names of columns
_LABEL_INCH = 1.75  # room for the names of rows
_ROWS = ("ground truth", "reconstruction", "absolute error")


def strip_size(num_channels: int, num_frames: int, *, cell_inch: float = 1.05) -> tuple[float, float]:
    """A figure size in inches that suits ``reconstruction_strip`` (three rows for each shown channel)."""
    shown = num_channels if num_channels == len(PROJECTIONS) else 1
    return num_frames * cell_inch + 1.55, shown * 3 * cell_inch + _TOP_INCH + 0.1


def reconstruction_strip(
    figure: Figure | SubFigure,
    target: Any,
    output: Any,
    *,
    frames: Sequence[int] | None = None,
    num_frames: int = 6,
    fps: float | None = None,
    channel_names: Sequence[str] | None = None,
    error_max: float | None = None,
    title: str = "",
) -> list[list[AxesImage]]:
    """Ground truth, reconstruction and absolute error, one column a frame.

    target, output: (T, H, W) or (C, T, H, W), values in [0, 1]; array or tensor. Three channels are the projections
    YZ, XZ, XY and get three rows each; one or any other number of channels (limbs, joints) is merged by its maximum.
    frames: which frames; ``num_frames`` evenly spread ones by default.
    fps: with it the columns are titled in seconds, else by frame number.
    error_max: upper end of the error's color scale; the largest error shown by default.
    title: of the whole figure.

    Returns the images, row by row. Raises ``ValueError`` on shapes that differ or a frame outside the clip.
    """
    target, output, names = _channels(target, output, channel_names)
    num_channels, length = target.shape[:2]
    index, titles = _columns(length, frames, num_frames, fps)
    error = np.abs(target - output)[:, index]
    error_max = max(1e-6, float(error.max())) if error_max is None else error_max
    rows = [(values, row) for c in range(num_channels) for values, row in
            ((target[c, index], 0), (output[c, index], 1), (error[c], 2))]  # fmt: skip
    axes = _strip_axes(figure, num_channels, len(index))
    images = []
    for line, (values, row) in zip(axes, rows, strict=True):
        look = {"cmap": colors.ERROR_MAP, "vmax": error_max} if row == 2 else {"cmap": colors.HEATMAP_MAP, "vmax": 1.0}
        look |= {"vmin": 0.0, "interpolation": "nearest"}
        images.append([_bare(ax).imshow(value, **look) for ax, value in zip(line, values, strict=True)])
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title, fontsize=9, color=colors.MUTED)
    for line, (_, row) in enumerate(rows):
        name = f"{names[line // 3]}\n" if names and row == 1 else ("\n" if names else "")
        axes[line, 0].set_ylabel(f"{name}{_ROWS[row]}", fontsize=8.5, color=colors.INK)
    _strip_scales(figure, axes, images)
    if title:
        figure.suptitle(title)
    return images


def grid_size(num_rows: int, num_columns: int, *, cell_inch: float = 1.05) -> tuple[float, float]:
    """A figure size in inches that suits ``picture_grid`` and ``reconstruction_rows`` (a row for the truth and each
    output, three times as many for projections)."""
    return num_columns * cell_inch + _LABEL_INCH + 0.1, num_rows * cell_inch + _GRID_TOP_INCH + 0.1


def picture_grid(
    figure: Figure | SubFigure, pictures: Sequence[Sequence[Any]], rows: Sequence[str], columns: Sequence[str]
) -> list[list[AxesImage]]:
    """Heatmaps side by side, named by row and column: a picture (H, W) with values in [0, 1] a cell, or ``None`` for an
    empty one. All share one color scale, from 0 to 1.

    Returns the images row by row, without the empty cells. Raises ``ValueError`` where names and cells do not match.
    """
    if len(pictures) != len(rows) or any(len(line) != len(columns) for line in pictures):
        shape = f"{len(pictures)} rows of {sorted({len(line) for line in pictures})} pictures"
        raise ValueError(f"{shape} for {len(rows)} x {len(columns)} names")
    if hasattr(figure, "set_layout_engine"):
        figure.set_layout_engine("none")
    width, height = grid_size(len(rows), len(columns))
    edges = {"left": _LABEL_INCH / width, "right": 1 - 0.1 / width}
    edges |= {"bottom": 0.1 / height, "top": 1 - _GRID_TOP_INCH / height}
    axes = figure.add_gridspec(len(rows), len(columns), wspace=0.04, hspace=0.04, **edges).subplots(squeeze=False)
    look = {"cmap": colors.HEATMAP_MAP, "vmin": 0.0, "vmax": 1.0, "interpolation": "nearest"}
    images = []
    for line, cells, name in zip(axes, pictures, rows, strict=True):
        shown = [(_bare(ax), cell) for ax, cell in zip(line, cells, strict=True)]
        images.append([ax.imshow(_array(cell), **look) for ax, cell in shown if cell is not None])
        line[0].set_ylabel(name, fontsize=8.5, color=colors.INK, rotation=0, ha="right", va="center")
    for ax, name in zip(axes[0], columns, strict=True):
        ax.set_title(name, fontsize=9, color=colors.MUTED)
    return images


def reconstruction_rows(
    figure: Figure | SubFigure,
    target: Any,
    outputs: Mapping[str, Any],
    *,
    frames: Sequence[int] | None = None,
    num_frames: int = 8,
    fps: float | None = None,
) -> list[list[AxesImage]]:
    """The truth and below it what several models made of it, one row a model and one column a frame.

    target, outputs: (T, H, W) or (C, T, H, W), as for ``reconstruction_strip``; the rows of three projections stand in
    three blocks. The other parameters are those of ``reconstruction_strip``, and so are the errors raised.
    """
    stacks, names = {"ground truth": None}, ()
    for label, output in outputs.items():
        stacks["ground truth"], stacks[label], names = _channels(target, output, None)
    if not outputs:
        raise ValueError("no outputs to show")
    truth = stacks["ground truth"]
    index, titles = _columns(len(truth[0]), frames, num_frames, fps)
    lines = [(channel, label) for channel in range(len(truth)) for label in stacks]
    labels = [f"{names[channel]}  {label}" if names else label for channel, label in lines]
    return picture_grid(figure, [list(stacks[label][channel, index]) for channel, label in lines], labels, titles)


def _columns(
    length: int, frames: Sequence[int] | None, num_frames: int, fps: float | None
) -> tuple[list[int], list[str]]:
    """The frames to show and their titles."""
    if frames is None:
        frames = np.linspace(0, length - 1, min(num_frames, length)).round().astype(int).tolist()
    for frame in frames:
        if not 0 <= frame < length:
            raise ValueError(f"frame {frame} is outside the {length} frames of the heatmaps")
    return list(frames), [f"frame {frame}" if fps is None else f"{frame / fps:.2f} s" for frame in frames]


def _channels(target: Any, output: Any, names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    arrays = []
    for label, values in (("target", target), ("output", output)):
        values = _array(values)
        if values.ndim not in (3, 4):
            raise ValueError(f"{label} has shape {values.shape}; expected (T, H, W) or (C, T, H, W)")
        arrays.append(values[None] if values.ndim == 3 else values)
    if arrays[0].shape != arrays[1].shape:
        raise ValueError(f"target has shape {arrays[0].shape} but output has {arrays[1].shape}")
    count = len(arrays[0])
    if names is None:
        names = PROJECTIONS if count == len(PROJECTIONS) else ()
    if names and len(names) != count:
        raise ValueError(f"{len(names)} channel names for {count} channels")
    if not names and count > 1:
        arrays = [values.max(0, keepdims=True) for values in arrays]
    return arrays[0], arrays[1], tuple(names)


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


def _strip_axes(figure: Figure | SubFigure, num_channels: int, num_columns: int) -> np.ndarray:
    """Three rows of cells a channel, with a little air between the channels."""
    if hasattr(figure, "set_layout_engine"):
        figure.set_layout_engine("none")  # cells and color bars are placed here, to the point
    width, height = strip_size(num_channels, num_columns)
    edges = {"left": 0.62 / width, "right": 1 - 0.85 / width, "bottom": 0.08 / height, "top": 1 - _TOP_INCH / height}
    outer = figure.add_gridspec(num_channels, 1, hspace=0.06, **edges)
    cells = [outer[channel].subgridspec(3, num_columns, wspace=0.04, hspace=0.04) for channel in range(num_channels)]
    return np.concatenate([grid.subplots(squeeze=False) for grid in cells])


def _bare(axes: Axes) -> Axes:
    axes.set_xticks([])
    axes.set_yticks([])
    for edge in axes.spines.values():
        edge.set_visible(False)
    return axes


def _strip_scales(figure: Figure | SubFigure, axes: np.ndarray, images: list[list[AxesImage]]) -> None:
    """Two color scales at the right edge: heatmap value beside the first row, absolute error beside the third."""
    for row, label in ((0, "heatmap value"), (2, "absolute error")):
        box = axes[row, -1].get_position()
        place = figure.add_axes((box.x1 + 0.012, box.y0, 0.012, box.height))
        bar = figure.colorbar(images[row][0], cax=place)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7.5, length=2)
        bar.set_label(label, fontsize=8, color=colors.MUTED)


def composite(
    maps: Float[np.ndarray, "layers height width"] | Any, sides: Sequence[str], *, dark: bool = True
) -> Float[np.ndarray, "height width rgb"]:
    """Limb or joint maps merged into one picture, colored by the side of the body.

    maps: (L, H, W) with values in [0, 1]; sides: ``"left"``, ``"right"`` or ``"center"`` for each layer.
    dark: light colors on black; otherwise dark ones on white.

    The strength of a side in a pixel is the largest of its maps. Values are in [0, 1].
    """
    maps = _array(maps)
    if maps.ndim != 3 or len(maps) != len(sides):
        raise ValueError(f"maps have shape {maps.shape}, expected ({len(sides)}, H, W): one layer for each side label")
    palette = colors.SIDES_ON_DARK if dark else colors.SIDES
    picture = np.zeros((*maps.shape[1:], 3), np.float32)
    total = np.zeros((*maps.shape[1:], 1), np.float32)
    for side, color in palette.items():
        members = [layer for layer, label in enumerate(sides) if label == side]
        if not members:
            continue
        strength = maps[members].max(0)[..., None]
        shade = np.asarray(colors.rgb(color), np.float32)
        picture += strength * (shade if dark else 1 - shade)
        total += strength
    picture = picture / np.maximum(total, 1)  # where sides overlap, their colors are averaged
    return picture if dark else 1 - picture


def heatmap_layers(axes: Axes, maps: Any, sides: Sequence[str], *, dark: bool = True, legend: bool = True) -> AxesImage:
    """Draw ``composite(maps, sides)`` with pixel coordinates on the axes and a legend of the sides present."""
    from matplotlib.lines import Line2D

    picture = composite(maps, sides, dark=dark)
    image = axes.imshow(picture, interpolation="nearest")
    axes.set_xlabel("x [px]")
    axes.set_ylabel("y [px]")
    palette = colors.SIDES_ON_DARK if dark else colors.SIDES
    shown = [side for side in palette if side in sides]
    if legend and shown != ["center"]:
        handles = [Line2D([], [], color=palette[side], linewidth=3) for side in shown]
        axes.legend(handles, shown, loc="upper right", fontsize=7.5, framealpha=0.0, handlelength=1.2,
                    labelcolor="#FFFFFF" if dark else colors.INK)  # fmt: skip
    return image
