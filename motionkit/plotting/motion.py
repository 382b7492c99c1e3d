"""Motion that plays: a skeleton player for notebooks and saved pages, and a strip of poses for print.

The player draws on an HTML 2D canvas: no OpenGL, no network and no kernel are needed once the HTML exists.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from motionkit.data.atomic import written_whole
from motionkit.data.clip import MotionClip
from motionkit.data.skeleton import Skeleton
from motionkit.plotting import colors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection

Motion = MotionClip | tuple[Any, Skeleton, float]  # the tuple: (positions (frames, joints, 3) in metres, skeleton, fps)

_FOLLOW_FROM_M = 2.0  # a figure that moves further than this over the ground is followed by the camera
_SIDE_INDEX = {"left": 0, "right": 1, "center": 2}


@dataclass(frozen=True)
class Player:
    """A playing skeleton as HTML. Shown by a notebook as the cell's result; ``save_html`` writes a page of its own."""

    payload: dict[str, Any]

    def _repr_html_(self) -> str:
        text = json.dumps(self.payload, separators=(",", ":")).replace("<", "\\u003c")
        key = hashlib.sha256(text.encode()).hexdigest()[:12]
        names = ", ".join(clip["name"] or "motion" for clip in self.payload["clips"])
        # Every element of this key that is not set up yet: the same output may be on a page twice.
        return (
            f'<div class="motionkit-player" data-player="{key}">'
            f"Skeleton player ({html.escape(names)}): run the cell, or trust the notebook, to see it move.</div>\n"
            f"<script>(function () {{\n{player_source()}\nconst payload = {text};\n"
            f"for (const root of document.querySelectorAll('[data-player=\"{key}\"]:not([data-ready])')) {{\n"
            f'  root.dataset.ready = "true";\n  motionkitPlayer(root, payload);\n}}\n}})();</script>'
        )

    def __repr__(self) -> str:
        clips = ", ".join(f"{c['name'] or 'motion'} ({c['frames'] / c['fps']:.2f} s)" for c in self.payload["clips"])
        return f"Player({clips})"

    def save_html(self, path: str | Path, *, title: str = "motion") -> Path:
        """Write a page that plays anywhere, without a network and without Python. Returns its path."""
        page = (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<link rel="icon" href="data:,"><title>{html.escape(title)}</title>'
            "<style>body{margin:24px;background:#fff}"
            "@media(prefers-color-scheme:dark){body{background:#111417}}</style></head>"
            f"<body>{self._repr_html_()}</body></html>\n"
        )
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as aside:
            aside.write_text(page, encoding="utf-8")
        return path


def player_source() -> str:
    """The player's JavaScript: one function, ``motionkitPlayer(root, payload)``."""
    return files("motionkit.plotting").joinpath("player.js").read_text(encoding="utf-8")


def play(
    motion: Motion | Sequence[Motion],
    *,
    names: Sequence[str] | None = None,
    layout: Literal["side by side", "overlay"] = "side by side",
    speed: float = 1.0,
    follow: bool | None = None,
    trail: bool = False,
    autoplay: bool = True,
    theme: Literal["auto", "light", "dark"] = "auto",
    azimuth_deg: float = 35.0,
    elevation_deg: float = 12.0,
    width_px: int = 900,
    height_px: int = 400,
    max_fps: float = 60.0,
) -> Player:
    """A skeleton player for one motion or several.

    motion: a clip, a tuple (positions (frames, joints, 3) in metres with Y up, skeleton, fps), or a list of them.
    names: one label a motion; a clip's own name by default.
    layout: ``"side by side"``, each in its own view; ``"overlay"``, all in one space (ground truth first: it is drawn
        broad and pale beneath the others).
    follow: the camera goes with the figure; by default only when it walks more than two metres.
    autoplay: starts by itself while it is on screen, unless the reader's system asks for reduced motion.
    azimuth_deg, elevation_deg: where the camera stands; 0 looks from +Z, 90 from +X.
    max_fps: faster motions are shown with every n-th frame; the time axis stays exact and frame numbers stay native.

    All motions share one clock in seconds, so different frame rates play in step. Keys: space, arrows (shift: ten
    frames), Home, End, plus and minus, f (follow), t (trail), r (reset view); dragging turns the view, the wheel zooms
    after a click. Positions are rounded to the millimetre (coarser only where a motion spans more than 65 m).

    Raises ``ValueError`` naming the motion and the value.
    """
    motions = [motion] if isinstance(motion, MotionClip) or _is_tuple_motion(motion) else list(motion)
    if not motions:
        raise ValueError("play: the list of motions is empty")
    if names is not None and len(names) != len(motions):
        raise ValueError(f"play: {len(names)} names for {len(motions)} motions")
    if layout not in ("side by side", "overlay"):
        raise ValueError(f"play: layout is {layout!r}; expected 'side by side' or 'overlay'")
    if theme not in ("auto", "light", "dark"):
        raise ValueError(f"play: theme is {theme!r}; expected 'auto', 'light' or 'dark'")
    if not (math.isfinite(speed) and speed > 0):
        raise ValueError(f"play: speed is {speed}; expected a positive number")
    clips = [_payload_of(_as_clip(item, index), max_fps) for index, item in enumerate(motions)]
    for clip, name in zip(clips, names or (), strict=False):
        clip["name"] = str(name)
    if follow is None:
        follow = any(clip["travel"] > _FOLLOW_FROM_M for clip in clips)
    options = {
        "overlay": layout == "overlay",
        "speed": speed,
        "follow": follow,
        "trail": trail,
        "autoplay": autoplay,
        "theme": theme,
        "azimuth": math.radians(azimuth_deg),
        "elevation": math.radians(elevation_deg),
        "width": width_px,
        "height": height_px,
    }
    return Player(
        {"clips": clips, "options": options, "themes": {"light": colors.PLAYER_LIGHT, "dark": colors.PLAYER_DARK}}
    )


def _is_tuple_motion(motion: Any) -> bool:
    return isinstance(motion, tuple) and len(motion) == 3 and isinstance(motion[1], Skeleton)


def _as_clip(motion: Any, index: int) -> MotionClip:
    if isinstance(motion, MotionClip):
        return motion
    if not _is_tuple_motion(motion):
        raise ValueError(
            f"play: motion {index} is {type(motion).__name__}; expected a MotionClip or (positions, skeleton, fps)"
        )
    positions, skeleton, fps = motion
    return MotionClip(np.asarray(positions), fps, skeleton, name=f"motion {index}" if index else "motion")


def _payload_of(clip: MotionClip, max_fps: float) -> dict[str, Any]:
    """What the player needs of one clip, small: 6 bytes a joint and frame before base64."""
    stride = max(1, math.ceil(clip.fps / max_fps - 1e-6))
    positions = clip.positions[::stride].astype(np.float64)
    low, high = positions.min((0, 1)), positions.max((0, 1))
    origin = (low + high) / 2
    unit = max(0.001, float(np.abs(positions - origin).max()) / 32767)
    quantized = np.rint((positions - origin) / unit).astype("<i2")
    skeleton = clip.skeleton
    root = skeleton.parents.index(-1) if skeleton.parents else -1
    ground = positions[:, root, ::2] if root >= 0 else positions[..., ::2].mean(1)
    pose = np.concatenate([positions[..., :1] - ground[:, None, :1], positions[..., 1:2] - origin[1],
                           positions[..., 2:] - ground[:, None, 1:]], axis=-1)  # fmt: skip
    sides = skeleton.sides()
    floor = float(np.percentile(positions[..., 1].min(1), 5))
    result = {
        "name": clip.name,
        "fps": clip.fps / stride,
        "stride": stride,
        "frames": len(positions),
        "unit": unit,
        "origin": origin.round(6).tolist(),
        "positions": base64.b64encode(quantized.tobytes()).decode(),
        "limbs": [list(limb) for limb in skeleton.limbs],
        "sides": [_SIDE_INDEX[_limb_side(sides, limb)] for limb in skeleton.limbs],
        "root": root,
        "floor": round(floor, 4),
        "center": origin.round(4).tolist(),
        "radius": round(max(0.2, float(np.linalg.norm(pose, axis=-1).max())), 4),
        "reach": round(max(0.2, float(np.linalg.norm(positions - origin, axis=-1).max())), 4),
        "travel": round(float(np.linalg.norm(np.ptp(ground, axis=0))), 3),
        "thickness": round(0.023 * max(0.05, float(np.median(np.ptp(positions[..., 1], axis=1)))), 5),
    }
    if clip.confidence is not None:
        shown = np.rint(clip.confidence[::stride] * 255).astype(np.uint8)
        result["confidence"] = base64.b64encode(shown.tobytes()).decode()
    return result


def _limb_side(sides: Sequence[str], limb: tuple[int, int]) -> str:
    """The side a limb is drawn as: that of the joint it ends in, else that of the joint it starts from."""
    start, end = sides[limb[0]], sides[limb[1]]
    return end if end != "center" else start


def limb_sides(skeleton: Skeleton) -> tuple[str, ...]:
    """``"left"``, ``"right"`` or ``"center"`` for each limb, as it is colored in every picture."""
    sides = skeleton.sides()
    return tuple(_limb_side(sides, limb) for limb in skeleton.limbs)


def pose_strip(
    axes: Axes,
    clip: MotionClip,
    *,
    frames: Sequence[int] | None = None,
    num_poses: int = 8,
    azimuth_deg: float = 35.0,
    line_width: float = 1.8,
) -> list[LineCollection]:
    """Poses of one clip side by side, for print, evenly spaced whatever the figure's path; the axis reads in seconds.

    frames: which frames to show; ``num_poses`` evenly spread ones by default.
    azimuth_deg: where the viewer stands, as in ``play``; the projection is orthographic.

    Returns one ``LineCollection`` a pose. Raises ``ValueError`` naming a frame that the clip does not have.
    """
    from matplotlib.collections import LineCollection

    if frames is None:
        frames = np.linspace(0, clip.num_frames - 1, min(num_poses, clip.num_frames)).round().astype(int).tolist()
    for frame in frames:
        if not 0 <= frame < clip.num_frames:
            raise ValueError(f"clip {clip.name!r} has no frame {frame}; it has 0 to {clip.num_frames - 1}")
    flat = side_view(clip.positions[list(frames)].astype(np.float64), math.radians(azimuth_deg))
    flat[..., 0] -= (flat[..., 0].min(1, keepdims=True) + flat[..., 0].max(1, keepdims=True)) / 2
    flat[..., 1] -= flat[..., 1].min()
    spacing = max(1.12 * float(np.ptp(flat[..., 0], axis=1).max()), 0.45 * float(flat[..., 1].max()))
    shades = [colors.SIDES[side] for side in limb_sides(clip.skeleton)]
    artists = []
    for index, pose in enumerate(flat):
        segments = pose[np.asarray(clip.skeleton.limbs)] + [index * spacing, 0.0]
        artist = LineCollection(segments, colors=shades, linewidths=line_width, capstyle="round", joinstyle="round")
        artists.append(axes.add_collection(artist))
    axes.axhline(0.0, color=colors.RULE, linewidth=1.0, zorder=0)
    axes.set_xticks(np.arange(len(flat)) * spacing, [f"{frame / clip.fps:.2f}" for frame in frames])
    axes.set_xlim(-0.6 * spacing, (len(flat) - 0.4) * spacing)
    axes.set_ylim(-0.04 * flat[..., 1].max(), 1.06 * flat[..., 1].max())
    axes.set_aspect("equal")
    axes.set_xlabel("time [s]")
    axes.set_ylabel("height [m]")
    axes.tick_params(length=0)
    for edge in ("top", "right", "bottom"):
        axes.spines[edge].set_visible(False)
    return artists


def side_view(
    positions: Float[np.ndarray, "frames joints xyz"], azimuth: float
) -> Float[np.ndarray, "frames joints xy"]:
    """Orthographic view: the coordinate to the viewer's right, and height. azimuth: in radians, from +Z to +X."""
    right = positions[..., 0] * math.cos(azimuth) - positions[..., 2] * math.sin(azimuth)
    return np.stack([right, positions[..., 1]], axis=-1)
