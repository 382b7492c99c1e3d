"""What every explorer needs: heatmaps as PNG, fast, and a still picture where no widget can live."""

from __future__ import annotations

import base64
import functools
import html
import io
import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from motionkit.plotting import colors

GAP = 255  # the gray of the gap between two pictures


def is_batch() -> bool:
    """Whether notebooks run without a reader (``MOTIONKIT_BATCH=1``): widgets then leave a still picture."""
    return os.environ.get("MOTIONKIT_BATCH", "") not in ("", "0")


@functools.lru_cache
def _table(name: str) -> UInt8[np.ndarray, "256 rgb"]:
    from matplotlib import colormaps

    return np.rint(colormaps[name](np.arange(256))[:, :3] * 255).astype(np.uint8)


def colored(
    values: Float[np.ndarray, "height width"], color_map: str = colors.HEATMAP_MAP, top: float = 1.0
) -> UInt8[np.ndarray, "height width rgb"]:
    """Values from 0 to ``top`` as colors; what lies outside takes the end color."""
    return _table(color_map)[np.clip(values * (255 / top) + 0.5, 0, 255).astype(np.uint8)]


def side_by_side(
    pictures: list[UInt8[np.ndarray, "height width rgb"]], gap_px: int = 1
) -> UInt8[np.ndarray, "height total rgb"]:
    """Pictures of equal height in a row."""
    gap = np.full((pictures[0].shape[0], gap_px, 3), GAP, np.uint8)
    row = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(row[:-1], axis=1)


def below_each_other(pictures: list[UInt8[np.ndarray, "_ width rgb"]]) -> UInt8[np.ndarray, "total width rgb"]:
    """Pictures of equal width in a column."""
    return side_by_side([picture.swapaxes(0, 1) for picture in pictures]).swapaxes(0, 1)


def enlarged(picture: UInt8[np.ndarray, "height width rgb"], factor: int) -> UInt8[np.ndarray, "height2 width2 rgb"]:
    """Every pixel as a square of ``factor`` pixels a side."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def outlined(
    picture: UInt8[np.ndarray, "height width rgb"], top: int, left: int, size: int, color: str
) -> UInt8[np.ndarray, "height width rgb"]:
    """The picture with a thin square drawn along the inside of an area's edge."""
    picture, shade = picture.copy(), np.rint(255 * np.asarray(colors.rgb(color))).astype(np.uint8)
    area = picture[top : top + size, left : left + size]
    area[:2], area[-2:], area[:, :2], area[:, -2:] = shade, shade, shade, shade
    return picture


def encoded(picture: UInt8[np.ndarray, "height width rgb"]) -> bytes:
    """The picture as PNG, packed for speed."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def to_png(picture: UInt8[np.ndarray, "height width rgb"], height_px: int) -> bytes:
    """A PNG of at least ``height_px``, enlarged by a whole factor, so that every heatmap pixel stays a sharp square."""
    return encoded(enlarged(picture, max(1, -(-height_px // picture.shape[0]))))


@dataclass(frozen=True)
class Still:
    """What an explorer shows when nobody can move its sliders: pictures, a line of text, and further HTML."""

    pictures: tuple[bytes, ...]
    caption: str = ""
    extra_html: str = ""
    height_px: int = 300

    def _repr_html_(self) -> str:
        images = "".join(
            f'<img src="data:image/png;base64,{base64.b64encode(png).decode()}" alt="{html.escape(self.caption)}" '
            f'style="max-height:{self.height_px}px;max-width:100%;image-rendering:pixelated;margin:0 8px 8px 0">'
            for png in self.pictures
        )
        caption = f'<div style="color:{colors.MUTED};font-size:13px">{html.escape(self.caption)}</div>'
        return f"<div>{images}{caption}{self.extra_html}</div>"

    def __repr__(self) -> str:
        return f"Still({self.caption})"
