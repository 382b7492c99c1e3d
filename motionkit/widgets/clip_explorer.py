"""See a clip as heatmaps: every setting of the representation on a slider, beside the moving skeleton."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import torch

from motionkit.data.cameras import NEAR_M, look_at, project
from motionkit.data.clip import MotionClip
from motionkit.plotting.colors import MUTED, VERMILION
from motionkit.plotting.heatmaps import PROJECTIONS, composite
from motionkit.plotting.motion import limb_sides, play
from motionkit.representation.heatmap_video import center_on_ground
from motionkit.representation.heatmaps import (
    fit_to_box,
    keypoints_to_heatmaps,
    limbs_to_heatmaps,
    limbs_to_projections,
)
from motionkit.widgets.pictures import Still, colored, is_batch, side_by_side, to_png
from motionkit.widgets.player import PlayerWidget

BY_SIDE, MERGED, JOINTS, VOLUME = "limbs, by side", "limbs, merged", "joints, by side", "3D: YZ, XZ, XY"
RESOLUTIONS = (16, 32, 48, 64, 96, 128, 192, 256)
CAMERA_DISTANCE_M, CAMERA_HEIGHT_M, TARGET_HEIGHT_M = 5.0, 1.36, 1.0


def explore_clip(
    clips: MotionClip | Sequence[MotionClip],
    *,
    sigma_px: float = 1.5,
    resolution: int = 64,
    azimuth_deg: float = 30.0,
    layer: str = BY_SIDE,
    window: int = 64,
    height_px: int = 360,
) -> ClipExplorer | Still:
    """Sliders over one clip or several; with ``MOTIONKIT_BATCH=1`` a still picture and the player instead.

    sigma_px, resolution, azimuth_deg, layer: where the controls start; they are described at ``frame_picture``.
    window: frames that share one box, as in a training window.
    """
    clips = [clips] if isinstance(clips, MotionClip) else list(clips)
    if not clips:
        raise ValueError("explore_clip: the list of clips is empty")
    settings = {"sigma_px": sigma_px, "resolution": resolution, "azimuth_deg": azimuth_deg, "layer": layer}
    if not is_batch():
        return ClipExplorer(clips, window=window, height_px=height_px, **settings)
    clip = clips[0]
    frame = clip.num_frames // 2
    layers = list(dict.fromkeys([layer, VOLUME]))
    pictures = [frame_picture(clip, frame, window=window, **settings | {"layer": name}) for name in layers]
    caption = f"{clip.name}, frame {frame}: {', then '.join(layers)}; {resolution} px, sigma {sigma_px} px"
    pngs = tuple(to_png(picture, height_px) for picture in pictures)
    return Still(pngs, caption, play(clip, azimuth_deg=azimuth_deg)._repr_html_(), height_px=220)


def layer_names(clip: MotionClip) -> list[str]:
    """What can be shown of a clip: whole layers, then each limb by its ends."""
    joints = clip.skeleton.joints
    return [BY_SIDE, MERGED, JOINTS, VOLUME, *(f"{joints[a]} – {joints[b]}" for a, b in clip.skeleton.limbs)]


def frame_picture(
    clip: MotionClip,
    frame: int,
    *,
    sigma_px: float,
    resolution: int,
    azimuth_deg: float,
    layer: str,
    window: int = 64,
) -> np.ndarray:
    """One frame's heatmaps as colors, (resolution, width, 3) uint8.

    sigma_px: standard deviation of the profile; resolution: side of the picture in pixels.
    azimuth_deg: where the camera stands, 0 on +Z, 90 on +X, five metres from the clip. The 3D projections need none.
    layer: one of ``layer_names(clip)``.
    window: the frames around this one that share its box.

    Raises ``ValueError`` naming the layers there are.
    """
    names = layer_names(clip)
    if layer not in names:
        raise ValueError(f"clip {clip.name!r} has no layer {layer!r}; it has {', '.join(names)}")
    start = min(frame // window * window, max(0, clip.num_frames - window))
    cut = slice(start, start + window)
    positions = center_on_ground(torch.from_numpy(clip.positions[cut]))
    peaks = torch.ones(positions.shape[:2]) if clip.confidence is None else torch.from_numpy(clip.confidence[cut])
    now, skeleton = frame - start, clip.skeleton
    if layer == VOLUME:
        voxels = fit_to_box(positions, resolution, confidence=peaks)[now]
        maps = limbs_to_projections(voxels, skeleton.limbs, resolution, sigma_px, peaks[now])
        return side_by_side([colored(projection) for projection in maps.numpy()])
    angle = math.radians(azimuth_deg)
    eye = (CAMERA_DISTANCE_M * math.sin(angle), CAMERA_HEIGHT_M, CAMERA_DISTANCE_M * math.cos(angle))
    keypoints, depth, _ = project(positions, look_at(eye, (0.0, TARGET_HEIGHT_M, 0.0)))
    peaks = peaks * (depth > NEAR_M)
    keypoints = fit_to_box(keypoints, resolution, confidence=peaks)[now]
    if layer == JOINTS:
        maps = keypoints_to_heatmaps(keypoints, resolution, sigma_px, peaks[now]).numpy()
        return np.rint(composite(maps, skeleton.sides()) * 255).astype(np.uint8)
    limbs = skeleton.limbs if layer in (BY_SIDE, MERGED) else [skeleton.limbs[names.index(layer) - 4]]
    maps = limbs_to_heatmaps(keypoints, limbs, resolution, sigma_px, peaks[now], merge=layer != BY_SIDE).numpy()
    if layer == BY_SIDE:
        return np.rint(composite(maps, limb_sides(skeleton)) * 255).astype(np.uint8)
    return colored(maps[0])


class ClipExplorer(widgets.VBox):
    """The live explorer; its controls are attributes: ``clip``, ``frame``, ``sigma``, ``resolution``, ``azimuth``,
    ``layer``; ``picture`` holds the PNG, ``message`` what went wrong, ``status`` where one is."""

    def __init__(
        self,
        clips: list[MotionClip],
        *,
        sigma_px: float,
        resolution: int,
        azimuth_deg: float,
        layer: str,
        window: int,
        height_px: int,
    ) -> None:
        self._clips, self._window, self._height_px = clips, window, height_px
        self._is_following = False
        names = [clip.name or f"clip {index}" for index, clip in enumerate(clips)]
        look = {"style": {"description_width": "76px"}, "layout": {"width": "340px"}}
        choices = sorted({*RESOLUTIONS, resolution})

        def named(name: str, tooltip: str) -> dict:
            return {"description": name, "tooltip": tooltip, **look}

        self.clip = widgets.Dropdown(
            options=list(zip(names, range(len(clips)), strict=True)), **named("clip", "which motion")
        )
        self.frame = widgets.IntSlider(0, 0, clips[0].num_frames - 1, **named("frame", "which frame of the clip"))
        self.sigma = widgets.FloatSlider(
            sigma_px, min=0.3, max=8.0, step=0.1, **named("sigma [px]", "how wide a limb or joint is drawn")
        )
        self.resolution = widgets.SelectionSlider(
            options=choices, value=resolution, **named("size [px]", "side of a heatmap")
        )
        self.azimuth = widgets.IntSlider(azimuth_deg, -180, 180, 5, **named("view [°]", "where the camera stands"))
        self.layer = widgets.Dropdown(
            options=layer_names(clips[0]), value=layer, **named("layer", "all limbs, all joints, or a single limb")
        )
        self.picture = widgets.Image(format="png", layout={"max_width": "100%", "height": f"{height_px}px"})
        self.picture.layout.object_fit = "contain"
        self.message, self.status = widgets.HTML(), widgets.HTML()
        self.player = PlayerWidget(clips[0], azimuth_deg=azimuth_deg, height_px=height_px - 20)
        controls = widgets.VBox(
            [self.clip, self.frame, self.sigma, self.resolution, self.azimuth, self.layer, self.status, self.message]
        )
        shown = widgets.HBox([controls, self.picture], layout={"flex_flow": "row wrap", "grid_gap": "16px"})
        super().__init__([shown, self.player])
        self.clip.observe(self._change_clip, "value")
        self.frame.observe(self._change_frame, "value")
        for control in (self.sigma, self.resolution, self.azimuth, self.layer):
            control.observe(lambda _: self.redraw(), "value")
        self.player.observe(self._follow_player, "shown_s")
        self.redraw()
        self.redraw()  # the first drawing of a process compiles; the second tells how long one takes

    @property
    def _shown(self) -> MotionClip:
        return self._clips[self.clip.value]

    def _change_clip(self, _: object) -> None:
        clip = self._shown
        self._is_following = True  # the settings below belong together: one picture at the end, not one for each
        try:
            self.frame.value = 0
            self.frame.max = clip.num_frames - 1
            self.layer.options = layer_names(clip)
        finally:
            self._is_following = False
        self.player.show(clip)
        self.redraw()

    def _change_frame(self, _: object) -> None:
        if not self._is_following:
            self.player.seek((self.frame.value + 0.5) / self._shown.fps)
            self.redraw()

    def _follow_player(self, _: object) -> None:
        frame = min(self._shown.num_frames - 1, math.floor(self.player.shown_s * self._shown.fps + 1e-6))
        if frame == self.frame.value:
            return
        self._is_following = True
        try:
            self.frame.value = frame
        finally:
            self._is_following = False
        self.redraw()

    def redraw(self) -> None:
        """Draw the current settings; what goes wrong is said in ``message``, and the last picture stays."""
        started, clip, frame = time.perf_counter(), self._shown, self.frame.value
        try:
            picture = frame_picture(
                clip,
                frame,
                sigma_px=self.sigma.value,
                resolution=self.resolution.value,
                azimuth_deg=self.azimuth.value,
                layer=self.layer.value,
                window=self._window,
            )
            self.picture.value = to_png(picture, self._height_px)
        except Exception as error:  # whatever it is, the reader must see it: a kernel's log is out of sight
            self.message.value = f'<span style="color:{VERMILION}">{html.escape(f"{error}")}</span>'
            return
        self.message.value = ""
        planes = f" · {', '.join(PROJECTIONS)}" if self.layer.value == VOLUME else ""
        took = 1000 * (time.perf_counter() - started)
        self.status.value = (
            f'<span style="color:{MUTED}">{frame / clip.fps:.2f} s of {clip.duration_s:.2f} s · '
            f"{clip.fps:g} Hz · drawn in {took:.0f} ms{planes}</span>"
        )
