"""New motion on sliders: how far each level of a model departs from its prior's mean, and what moves then."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets

from motionkit.data.bvh import write_bvh
from motionkit.data.clip import MotionClip
from motionkit.widgets.controls import WRAPPED, Reactions, button, control, muted, saved
from motionkit.widgets.imputation_study import ImputationStudy
from motionkit.widgets.player import PlayerWidget


class GenerationPanel(widgets.VBox):
    """Its controls are attributes: ``temperatures`` (a slider a level, z0 first), ``seed`` and the button ``redraw``,
    ``label`` (of models with classes), and ``save_motion``; ``player`` plays, ``message`` holds what went wrong."""

    def __init__(self, study: ImputationStudy, class_names: Sequence[str], folder: Path) -> None:
        self._study, self._folder = study, folder
        levels = range(len(study.model.config.levels))
        about = "how far a draw is from the prior's mean: 0 is the mean, 1 as drawn"
        self.temperatures = [
            control(widgets.FloatSlider, f"z{level}", about, value=1.0, min=0.0, max=1.0, step=0.05) for level in levels
        ]
        self.seed = control(widgets.BoundedIntText, "seed", "of all draws", value=study.seed, max=2**31 - 1)
        self.redraw = button("draw another", "random", "the next seed")
        self.label = control(widgets.Dropdown, "class", "what to draw",
                             options=[(name, number) for number, name in enumerate(class_names)])  # fmt: skip
        self.label.layout.display = None if class_names else "none"
        self.save_motion = button("save motion", "save", "what is played, as a BVH file")
        self.status, self.message = widgets.HTML(), widgets.HTML()
        self.motion = self._drawn()
        self.player = PlayerWidget(self.motion, autoplay=True)
        drawing = widgets.VBox(
            [self.seed, self.label, widgets.HBox([self.redraw, self.save_motion], layout={"margin": "0 0 0 96px"})]
        )
        controls = widgets.HBox([widgets.VBox(self.temperatures), drawing], layout=WRAPPED)
        super().__init__([controls, self.status, self.player, self.message])
        reacting = Reactions(self.message)
        for source in (*self.temperatures, self.seed, self.label):
            source.observe(reacting(self._show), "value")
        self.redraw.on_click(reacting(self._redraw))
        self.save_motion.on_click(reacting(self._save))

    def _drawn(self) -> MotionClip:
        started = time.perf_counter()
        temperatures = [slider.value for slider in self.temperatures]
        motion = self._study.generate(temperatures, self.seed.value, self.label.value)
        took_ms = 1000 * (time.perf_counter() - started)
        self.status.value = muted(
            f"each level is drawn given those above it · 1: as drawn, 0: the mean of its prior · took {took_ms:.0f} ms"
        )
        return motion

    def _show(self) -> None:
        self.motion = self._drawn()
        self.player.show(self.motion)

    def _redraw(self) -> None:
        self.seed.value += 1
        self._show()

    def _save(self) -> None:
        name = f"generated_seed{self.seed.value}.bvh"
        self.message.value = saved(self._folder, name, "text/plain", lambda path: write_bvh(self.motion, path))
