"""What explorers let their readers click: tokens in their grids, rows of small pictures, and joints over time."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anywidget
import traitlets

_HERE = Path(__file__).parent
_STYLE = (_HERE / "pickers.css").read_text(encoding="utf-8")


class TokenGrid(anywidget.AnyWidget):
    """The tokens of a window, a grid for each latent step; ``cell`` follows the mouse and the arrow keys.

    tokens: [step][row][column]. shades: "#RRGGBB" for each code. step: the one that is marked as current.
    cell: [step, row, column] of the chosen token, or []. edited: cells to mark as replaced.
    """

    _esm = (_HERE / "token_grid.js").read_text(encoding="utf-8")
    _css = _STYLE
    tokens = traitlets.List().tag(sync=True)
    shades = traitlets.List(traitlets.Unicode()).tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    cell = traitlets.List(traitlets.Int()).tag(sync=True)
    edited = traitlets.List().tag(sync=True)


@dataclass(frozen=True)
class Tile:
    """A PNG with a short text below it (lines apart by a newline) and a longer one that shows under the mouse."""

    png: bytes
    label: str
    title: str


class Thumbnails(anywidget.AnyWidget):
    """A row of small pictures; ``picked`` is the index of the last one clicked and a count of clicks."""

    _esm = (_HERE / "thumbnails.js").read_text(encoding="utf-8")
    _css = _STYLE
    tiles = traitlets.List().tag(sync=True)
    picked = traitlets.List([0, 0]).tag(sync=True)

    def show(self, tiles: Sequence[Tile]) -> None:
        """Put other pictures into the row."""
        self.tiles = [
            {"png": base64.b64encode(tile.png).decode(), "label": tile.label, "title": tile.title} for tile in tiles
        ]


class OcclusionGrid(anywidget.AnyWidget):
    """The numbers of a clip that are missing, a row for each joint and a column for each frame, to be painted by mouse
    or keyboard. A name paints its row, a number above its column; what is missing altogether is given back instead.

    joints: names of the rows. sides: "left", "right" or "center" for each. missing: [joint][frame] how many of the
        ``most`` coordinates. frame, joint: those that are marked as shown.
    stroke: the last one painted, {"cells": [[joint, frame], ...], "is_missing": bool, "number": count of strokes}.
    """

    _esm = (_HERE / "occlusion_grid.js").read_text(encoding="utf-8")
    _css = _STYLE
    joints = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sides = traitlets.List(traitlets.Unicode()).tag(sync=True)
    missing = traitlets.List().tag(sync=True)
    most = traitlets.Int(3).tag(sync=True)
    frame = traitlets.Int(0).tag(sync=True)
    joint = traitlets.Int(0).tag(sync=True)
    stroke = traitlets.Dict().tag(sync=True)
