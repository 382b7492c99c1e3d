"""Explore how a model fills gaps: paint them on a clip, watch what it puts there, and draw new motion."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets as widgets
import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.data.bvh import write_bvh
from motionkit.data.clip import MotionClip
from motionkit.data.masks import PATTERNS
from motionkit.data.windows import Windows
from motionkit.metrics.usual_levels import UsualLevels
from motionkit.models.hg_vae import HGVAE
from motionkit.models.imputation import MotionPrior
from motionkit.models.linear_prior import LinearPrior
from motionkit.plotting.motion import play
from motionkit.widgets.controls import WRAPPED, Reactions, button, control, heading, muted, saved
from motionkit.widgets.drawings import Panel, to_figure, to_svg
from motionkit.widgets.generation_panel import GenerationPanel
from motionkit.widgets.imputation_study import METHODS, ImputationStudy, Occlusion, Setting
from motionkit.widgets.imputation_views import AXES, SIZE_PX, filling_panels, scores_table
from motionkit.widgets.pickers import OcclusionGrid
from motionkit.widgets.pictures import Still, is_batch

MOST_STEPS = 20
SPREAD_AFTER_S = 0.25  # that the reader's hand rests


def explore_imputation(
    windows: Windows,
    model: MotionPrior,
    leftovers: Float[Tensor, "..."],
    mean: Float[Tensor, "..."],
    *,
    linear: LinearPrior | None = None,
    usual: UsualLevels | None = None,
    classes: Int[Tensor, "..."] | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    folder: str | Path = ".",
) -> ImputationExplorer | Still:
    """A grid of joints over time to paint gaps on, and what a model fills in there; for ``HGVAE`` new motion too. With
    ``MOTIONKIT_BATCH=1`` a still picture and the player instead.

    windows: what to look at, a few dozen; they were not trained on.
    model: in evaluation mode. leftovers: of ``leftovers_of``. mean: (frames, joints, 3) of the clips of training.
    linear: adds a start, and where it was calibrated, another.
    usual: of ``posterior_of_means`` of calibration clips: by it a clip is called usual or not.
    classes: (windows,) of a model that has classes; class_names: for the menu, by default their numbers.
    seed: of the patterns and of all draws. folder: where pictures and motions are saved.

    Raises ``ValueError`` without windows, and for leftovers, a mean, classes or names that do not fit.
    """
    study = ImputationStudy(windows, model, leftovers, mean, linear, classes, seed)
    count = model.config.num_classes if isinstance(model, HGVAE) else 0
    names = [str(number) for number in range(count)] if class_names is None else list(class_names)
    if isinstance(model, HGVAE) and len(names) != count:
        raise ValueError(f"{len(names)} class names for a model of {count} classes")
    explorer = ImputationExplorer(study, usual, names, Path(folder))
    return explorer.still() if is_batch() else explorer


class ImputationExplorer(widgets.VBox):
    """The live explorer. Its controls are attributes: ``window``, ``frame``, ``start``, ``method`` and ``steps``; the
    ``grid`` with its buttons ``patterns`` (by name), ``undo`` and ``clear`` and the slider ``share``; ``joint``,
    ``axis`` and ``azimuth`` of the picture; ``save_view`` and ``save_motion``. ``picture`` holds the SVG, ``numbers``
    the scores, ``message`` what went wrong. ``generation`` is the second tab, or ``None``."""

    def __init__(
        self, study: ImputationStudy, usual: UsualLevels | None, class_names: Sequence[str], folder: Path
    ) -> None:
        self._study, self._usual, self._folder = study, usual, folder
        windows = study.windows
        self.occlusion = Occlusion(windows.num_frames, windows.skeleton.num_joints)
        self._generator = torch.Generator().manual_seed(study.seed)
        self._spread: Tensor | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._make_controls()
        is_generative = isinstance(study.model, HGVAE)
        self.generation = GenerationPanel(study, class_names, folder) if is_generative else None
        tabs = {"fill in": widgets.VBox(self._arranged())} | ({"generate": self.generation} if is_generative else {})
        super().__init__([widgets.Tab(list(tabs.values()), titles=list(tabs))])
        self._listen()
        self.draw_pattern("joints")

    # ---- what there is -----------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        windows = self._study.windows
        middle, last, skeleton = windows.num_frames // 2, windows.num_frames - 1, windows.skeleton
        self.window = control(widgets.IntSlider, "window", "which motion", max=max(1, len(windows) - 1))
        self.window.layout.display = None if len(windows) > 1 else "none"
        self.frame = control(widgets.IntSlider, "frame", "which frame of the window", value=middle, max=last)
        self.play = widgets.Play(value=middle, max=last, interval=100)
        self.start = control(
            widgets.Dropdown, "start", "the first guess", options=self._study.starts, value=self._study.starts[-1]
        )
        self.method = control(widgets.Dropdown, "method", "fill by what the model makes of a clip, or by ascent of "
                              "log p(z|x)", options=METHODS)  # fmt: skip
        self.steps = control(widgets.IntSlider, "steps", "passes through the model; 0 is the start", value=10,
                             max=MOST_STEPS)  # fmt: skip
        self.grid = OcclusionGrid(joints=list(skeleton.joints), sides=list(skeleton.sides()))
        self.patterns = {name: button(name, "random", f"lose {name} at random instead") for name in PATTERNS}
        self.share = control(widgets.FloatSlider, "share", "of the numbers that a pattern takes away", value=0.3,
                             max=1.0, step=0.05, readout_format=".0%")  # fmt: skip
        self.undo = button("undo", "undo", "take back the last change of what is missing")
        self.clear = button("clear", "refresh", "give everything back")
        self.joint = control(widgets.Dropdown, "joint", "of the curve",
                             options=[(name, number) for number, name in enumerate(skeleton.joints)])  # fmt: skip
        self.axis = control(widgets.Dropdown, "axis", "of the curve",
                            options=[(name, number) for number, name in enumerate(AXES)], value=1)  # fmt: skip
        self.azimuth = control(widgets.IntSlider, "view [°]", "where the viewer stands", value=35, min=-180, max=180,
                               step=5)  # fmt: skip
        self.picture = widgets.Image(format="svg+xml", layout={"width": f"{SIZE_PX[0]}px", "max_width": "100%"})
        self.save_view = button("save view", "image", "what is shown, as a PNG file")
        self.save_motion = button("save motion", "save", "the clip as filled in, as a BVH file")
        self.numbers, self.status, self.message = widgets.HTML(), widgets.HTML(), widgets.HTML()

    def _arranged(self) -> list[widgets.Widget]:
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.play.layout.margin = "2px 0 0 96px"
        motion = widgets.VBox([self.window, self.frame, self.play])
        buttons = [*self.patterns.values(), self.clear, self.undo]
        return [
            widgets.HBox([motion, widgets.VBox([self.method, self.start, self.steps])], layout=WRAPPED),
            heading("What is missing", "click or drag; a name is a joint throughout, a number above a frame"),
            self.grid,
            widgets.HBox([self.share, *buttons], layout=row),
            self.status,
            self.message,
            self.picture,
            widgets.HBox([widgets.VBox([self.joint, self.axis]), self.azimuth], layout=WRAPPED),
            self.numbers,
            widgets.HBox([self.save_view, self.save_motion], layout=row),
        ]

    def _listen(self) -> None:
        widgets.jslink((self.play, "value"), (self.frame, "value"))
        self._reacting = Reactions(self.message)
        for source, reaction in (
            (self.window, self._show_filling),
            (self.start, self._show_filling),
            (self.method, self._show_filling),
            (self.steps, self._show_filling),
            (self.frame, self._show_frame),
            (self.joint, self._show_frame),
            (self.axis, self._show_frame),
            (self.azimuth, self._show_frame),
        ):
            source.observe(self._reacting(reaction), "value")
        self.grid.observe(self._reacting(self._take_stroke), "stroke")
        for name, source in self.patterns.items():
            source.on_click(self._reacting(lambda name=name: self.draw_pattern(name)))
        for source, reaction in (
            (self.clear, lambda: self._change(self.occlusion.clear)),
            (self.undo, lambda: self._change(self.occlusion.undo)),
            (self.save_view, self._save_view),
            (self.save_motion, self._save_motion),
        ):
            source.on_click(self._reacting(reaction))

    # ---- what is missing ---------------------------------------------------------------------------------------------

    def draw_pattern(self, name: str) -> None:
        """Lose a share by one of ``PATTERNS``; each time another one."""
        self._change(lambda: self.occlusion.draw(name, self.share.value, self._generator))

    def paint(self, cells: Sequence[Sequence[int]], is_missing: bool) -> None:
        """Take joints (joint, frame) away or give them back, and go where that was."""
        joints, frames = ({cell[place] for cell in cells} for place in (0, 1))
        if self.joint.value not in joints:
            self.joint.value = cells[-1][0]
        if self.frame.value not in frames:
            self.frame.value = cells[-1][1]
        self._change(lambda: self.occlusion.paint([tuple(cell) for cell in cells], is_missing))

    def _take_stroke(self) -> None:
        self.paint(self.grid.stroke["cells"], self.grid.stroke["is_missing"])

    def _change(self, action: Callable[[], None]) -> None:
        action()
        self.grid.missing = self.occlusion.missing
        self.undo.disabled, self.clear.disabled = not self.occlusion.can_undo, bool(self.occlusion.is_seen.all())
        self._show_filling()

    # ---- what is shown -----------------------------------------------------------------------------------------------

    @property
    def setting(self) -> Setting:
        return Setting(self.window.value, self.start.value, self.method.value, self.steps.value)

    @property
    def panels(self) -> list[Panel]:
        """What the picture shows."""
        windows = self._study.windows
        at = {name: getattr(self, name).value for name in ("frame", "joint", "axis")}
        return filling_panels(
            self.filling, self._spread, windows.skeleton, windows.fps, azimuth_deg=self.azimuth.value, **at
        )

    def _show_filling(self) -> None:
        """The picture first: it is what a reader waits for. The spread takes longest: it comes when the hand rests."""
        started = time.perf_counter()
        if self._timer is not None:
            self._timer.cancel()
        self._say("is filled in …")
        try:
            self.filling, self._spread = self._study.fill(self.setting, self.occlusion.is_seen), None
        except Exception:
            self._say("could not be filled in")
            raise
        self._show_frame()
        filling = self.filling
        scores = self._study.scores(self.window.value, [filling.start, filling.filled, filling.truth])
        self.numbers.value = scores_table(filling, scores, self._usual)
        best = "" if filling.kept_step is None else f", best step {filling.kept_step}"
        self._say(f"filled in {1000 * (time.perf_counter() - started):.0f} ms{best}")
        self._show_spread_soon()

    def _show_frame(self) -> None:
        self.picture.value = to_svg(self.panels, SIZE_PX)
        with self.grid.hold_sync():
            self.grid.frame, self.grid.joint = self.frame.value, self.joint.value

    def _show_spread_soon(self) -> None:
        show = self._reacting(self._show_spread, is_asked_for=False)
        try:
            self._timer = asyncio.get_running_loop().call_later(SPREAD_AFTER_S, show, None)
        except RuntimeError:  # no kernel, nobody to wait for
            self._show_spread()

    def _show_spread(self) -> None:
        started = time.perf_counter()
        self._spread = self._study.spread(self.setting, self.occlusion.is_seen)
        if self._spread is not None:
            self._show_frame()
            self._say(f"spread drawn in {1000 * (time.perf_counter() - started):.0f} ms")

    def _say(self, how: str) -> None:
        share = 1 - self.occlusion.is_seen.float().mean().item()
        self.status.value = muted(f"{self._study.label(self.window.value)} · {share:.0%} missing · {how}")

    # ---- what can be kept --------------------------------------------------------------------------------------------

    def motion(self) -> MotionClip:
        """The window as filled in."""
        return self._study.clip_of(self.filling.filled, f"{self._study.label(self.window.value)}, filled in")

    def _save_view(self) -> None:
        figure = to_figure(self.panels, SIZE_PX)
        self._save(f"frame{self.frame.value:02d}.png", "image/png", lambda path: figure.savefig(path, format="png"))

    def _save_motion(self) -> None:
        motion = self.motion()
        self._save("filled.bvh", "text/plain", lambda path: write_bvh(motion, path))

    def _save(self, what: str, kind: str, write: Callable[[Path], None]) -> None:
        name = f"imputation_window{self.window.value:02d}_{what}"
        self.message.value = saved(self._folder, name, kind, write)

    def still(self) -> Still:
        """This window, its numbers, and truth and filled clip as they move."""
        if self._timer is not None:
            self._timer.cancel()
            self._show_spread()
        buffer = io.BytesIO()
        to_figure(self.panels, SIZE_PX).savefig(buffer, format="png")
        truth = self._study.clip_of(self.filling.truth, "truth")
        player = play([truth, self.motion()], names=["truth", "filled in"], layout="overlay")._repr_html_()
        share = 1 - self.occlusion.is_seen.float().mean().item()
        caption = (f"{self._study.label(self.window.value)}, frame {self.frame.value}, {share:.0%} missing; "
                   f"start: {self.start.value}, {self.steps.value} steps")  # fmt: skip
        return Still((buffer.getvalue(),), caption, self.numbers.value + player, height_px=SIZE_PX[1])
