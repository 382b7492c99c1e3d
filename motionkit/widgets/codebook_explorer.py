"""Explore a codebook: what a tokenizer keeps of a motion, what each of its tokens draws, what replacing one does."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor

from motionkit.data.keypoints import Keypoints, write_keypoints
from motionkit.data.windows import Windows
from motionkit.metrics.tokens import similar_codes
from motionkit.models.dvae import DVAE
from motionkit.models.pretrained import PRETRAINED, load_pretrained
from motionkit.models.vqgan import VQGAN
from motionkit.plotting import colors
from motionkit.plotting.charts import token_grid, token_usage
from motionkit.plotting.heatmaps import PROJECTIONS
from motionkit.representation.heatmap_fit import fit_keypoints
from motionkit.representation.heatmap_video import HeatmapVideo
from motionkit.widgets.codebook_study import Cell, EditedTokens, ModelStudy, SeenWindows, Tokenizer
from motionkit.widgets.codebook_views import (
    comparison_figure,
    panel_row,
    panels,
    shades,
    striking_cell,
    tile,
    usage_bars,
    view_figure,
)
from motionkit.widgets.controls import WRAPPED, Reactions, button, control, heading, muted, saved
from motionkit.widgets.pickers import Thumbnails, Tile, TokenGrid
from motionkit.widgets.pictures import Still, encoded, is_batch

NUM_SIMILAR = NUM_PLACES = 10


def explore_codebook(
    windows: Windows,
    video: HeatmapVideo,
    models: Mapping[str, Tokenizer] | None = None,
    *,
    seed: int = 0,
    folder: str | Path = ".",
) -> CodebookExplorer | Still:
    """Compression and codebook on sliders over trained models; tokens to look into and to replace. With
    ``MOTIONKIT_BATCH=1`` a still picture instead.

    windows: what to look at, a dozen for a start (``thin``): each model encodes all of them once.
    video: how windows are drawn for the models; its cameras are drawn with ``seed``.
    models: ``VQGAN`` or ``DVAE`` by name, in evaluation mode; the pretrained ones by default. Of a residual quantizer
        the coarsest tokens are shown and replaced, the finer ones stay.
    folder: where pictures and motions are saved.

    Raises ``ValueError`` without windows or models.
    """
    if models is None:
        loaded = {name: load_pretrained(name) for name in PRETRAINED}
        models = {name: model for name, model in loaded.items() if isinstance(model, VQGAN | DVAE)}
    if not models:
        raise ValueError("explore_codebook: there are no models to explore")
    explorer = CodebookExplorer(SeenWindows(windows, video, seed), models, Path(folder))
    return explorer.still() if is_batch() else explorer


class CodebookExplorer(widgets.VBox):
    """The live explorer. Its controls are attributes: ``compression``, ``codes`` and ``variant`` (of several models
    alike in both), ``window``, ``frame``, ``tokens`` (the grid; its ``cell`` is the chosen token), ``code`` (what is in
    that cell), ``similar`` and ``places`` (rows of pictures), and the buttons ``undo``, ``reset``, ``save_view`` and
    ``save_motion``. ``picture`` holds the PNG, ``message`` what went wrong."""

    def __init__(self, windows: SeenWindows, models: Mapping[str, Tokenizer], folder: Path) -> None:
        self._windows, self._folder = windows, folder
        self._studies = {name: ModelStudy(model, windows) for name, model in models.items()}
        self._edits: dict[tuple[str, int], EditedTokens] = {}
        self._decoded: tuple[Tensor, np.ndarray] | None = None  # the last edited tokens, and what they decode to
        self._places: list[tuple[int, Cell]] = []  # behind the pictures of ``places``
        self._similar: list[int] = []  # behind those of ``similar``
        self._make_controls()
        super().__init__(self._arranged())
        self._listen()
        self._show_model()

    # ---- what there is -----------------------------------------------------------------------------------------------

    def _make_controls(self) -> None:
        frames, rates = self._windows.windows.num_frames, sorted({study.rate for study in self._studies.values()})

        self.compression = control(
            widgets.SelectionSlider,
            "compression",
            "a token stands for so many frames and pixels a side",
            options=[(f"F{rate}", rate) for rate in rates],
            value=rates[len(rates) // 2],
        )
        self.codes = control(widgets.SelectionSlider, "codes", "size of the codebook", options=[0])
        self.variant = control(widgets.Dropdown, "model", "of several with this compression and codebook")
        self.window = control(widgets.IntSlider, "window", "which motion", max=max(1, len(self._windows) - 1))
        self.window.layout.display = None if len(self._windows) > 1 else "none"
        self.frame = control(widgets.IntSlider, "frame", "which frame of the window", value=frames // 2, max=frames - 1)
        self.play = widgets.Play(value=frames // 2, max=frames - 1, interval=100)
        self.labels, self.picture = widgets.HTML(), widgets.Image(format="png", layout={"width": "100%", "margin": "0"})
        self.tokens, self.usage, self.about = TokenGrid(), widgets.HTML(), widgets.HTML()
        self.mean = widgets.Image(format="png", layout={"width": "64px", "height": "64px", "margin": "0 3px"})
        self.places, self.similar = Thumbnails(), Thumbnails()
        self.code = control(widgets.IntSlider, "code", "any code for the chosen cell", max=1)
        self.undo = button("undo", "undo", "take back the last replacement")
        self.reset = button("reset", "refresh", "take back all replacements in this window")
        self.save_view = button("save view", "image", "what is shown, as a PNG file")
        self.save_motion = button("save motion", "save", "what the tokens stand for, as 2D keypoints (COCO json)")
        self.status, self.message = widgets.HTML(), widgets.HTML()

    def _arranged(self) -> list[widgets.Widget]:
        models = widgets.VBox([self.compression, self.codes, self.variant])
        motion = widgets.VBox([self.window, widgets.HBox([self.frame, self.play], layout={"flex_flow": "row wrap"})])
        self._pictures = widgets.VBox([self.labels, self.picture], layout={"max_width": "100%"})
        buttons = widgets.HBox([self.undo, self.reset, self.save_view, self.save_motion], layout={"flex_flow": "wrap"})
        return [
            widgets.HBox([models, motion], layout=WRAPPED),
            self.status,
            self._pictures,
            self.message,
            widgets.HBox([self.tokens, self.usage], layout=WRAPPED),
            widgets.HBox(
                [self.mean, self.about], layout={"grid_gap": "8px", "align_items": "center", "margin": "8px 0 0"}
            ),
            heading("Where it occurs", "what was drawn there; click to go"),
            self.places,
            heading("The nearest codes", "what is drawn where they occur, on average; click to put one here"),
            self.similar,
            widgets.HBox([self.code, buttons], layout=WRAPPED),
        ]

    def _listen(self) -> None:
        widgets.jslink((self.play, "value"), (self.frame, "value"))
        reacting = Reactions(self.message)
        for source, trait, reaction in (
            (self.compression, "value", self._show_model),
            (self.codes, "value", self._show_model),
            (self.variant, "value", self._show_model),
            (self.window, "value", self._show_window),
            (self.frame, "value", self._show_frame),
            (self.tokens, "cell", self._show_cell),
            (self.code, "value", lambda: self.replace(self.code.value)),
            (self.similar, "picked", lambda: self.replace(self._similar[self.similar.picked[0]])),
            (self.places, "picked", lambda: self.go_to(*self._places[self.places.picked[0]])),
        ):
            source.observe(reacting(reaction), trait)
        for source, reaction in (
            (self.undo, lambda: self._change(self.edits.undo)),
            (self.reset, lambda: self._change(self.edits.reset)),
            (self.save_view, self._save_view),
            (self.save_motion, self._save_motion),
        ):
            source.on_click(reacting(reaction))

    # ---- what is chosen ----------------------------------------------------------------------------------------------

    @property
    def study(self) -> ModelStudy:
        """The model that is shown."""
        return self._studies[self.variant.value]

    @property
    def cell(self) -> Cell:
        """The chosen token's place."""
        return tuple(self.tokens.cell)

    @property
    def edits(self) -> EditedTokens:
        """The tokens of this window, as edited for this model: they stay when another one is shown meanwhile."""
        key = self.variant.value, self.window.value
        if key not in self._edits:
            self._edits[key] = EditedTokens(self.study.see(self.window.value).tokens)
        return self._edits[key]

    @property
    def edited(self) -> np.ndarray | None:
        """The clip that the edited tokens decode to, (C, T, H, W); ``None`` where none is replaced."""
        if not self.edits.cells:
            return None
        if self._decoded is None or self._decoded[0] is not self.edits.tokens:
            finer = self.study.see(self.window.value).finer
            self._decoded = self.edits.tokens, self.study.decode(self.edits.tokens, finer)
        return self._decoded[1]

    def replace(self, code: int) -> None:
        """Put a code into the chosen cell."""
        self._change(lambda: self.edits.replace(self.cell, code))

    def go_to(self, window: int, cell: Cell) -> None:
        """Show a window and choose a token of it."""
        self.window.value = window
        self.tokens.tokens = self.edits.tokens.tolist()
        self.tokens.cell = list(cell)
        self._show_cell()

    def _change(self, action: Callable[[], None]) -> None:
        action()
        self._show_frame()
        self._show_code()

    # ---- what is shown -----------------------------------------------------------------------------------------------

    def _show_model(self) -> None:
        """Of the wanted compression the codebook nearest to the wanted size, and a model that has both."""
        sizes = sorted({study.num_codes for study in self._studies.values() if study.rate == self.compression.value})
        size = min(sizes, key=lambda size: abs(size - self.codes.value))
        self.codes.options, self.codes.value = sizes, size
        alike = [
            name
            for name, study in self._studies.items()
            if (study.rate, study.num_codes) == (self.compression.value, size)
        ]
        name = self.variant.value if self.variant.value in alike else alike[0]
        self.variant.options, self.variant.value = alike, name
        self.variant.layout.display = None if len(alike) > 1 else "none"
        self.status.value = muted(f"{name} encodes {len(self._windows)} windows …")
        with self.tokens.hold_sync():
            self.tokens.cell, self.tokens.shades = [], shades(self.study)
            self._show_window()

    def _show_window(self) -> None:
        if not self.tokens.cell:
            self.tokens.cell = list(striking_cell(self.study, self.window.value, self.frame.value))
        self._show_frame()
        self._show_code()

    def _show_cell(self) -> None:
        step, rate = self.cell[0], self.study.rate
        if self.frame.value // rate != step:  # go to the frames that the token stands for
            self.frame.value = step * rate + rate // 2
        self._show_frame()
        self._show_code()

    def _show_frame(self) -> None:
        """The picture first: it is what a reader waits for."""
        started, study, frame = time.perf_counter(), self.study, self.frame.value
        shown = panels(study.see(self.window.value), self.edited, frame)
        step = frame // study.rate
        row = panel_row(shown, self.cell if step == self.cell[0] else None, study.rate)
        self.picture.value = encoded(row)
        self._pictures.layout.width = f"{row.shape[1]}px"
        names = "".join(f"<span>{name}</span>" for name in shown)
        grid = f"display:grid;grid-template-columns:repeat({len(shown)},1fr);gap:4px;line-height:1.4"
        self.labels.value = f'<div style="{grid};color:{colors.MUTED}">{names}</div>'
        with self.tokens.hold_sync():
            self.tokens.tokens, self.tokens.step = self.edits.tokens.tolist(), step
            self.tokens.edited = [list(cell) for cell in self.edits.cells]
        self.undo.disabled, self.reset.disabled = not self.edits.can_undo, not self.edits.cells
        planes = f" · from the top: {', '.join(PROJECTIONS)}" if len(next(iter(shown.values()))) > 1 else ""
        took_ms = 1000 * (time.perf_counter() - started)
        self.status.value = muted(
            f"{self.variant.value} · {self._windows.label(self.window.value)}, frame {frame} "
            f"({frame / self._windows.windows.fps:.2f} s){planes} · drawn in {took_ms:.0f} ms"
        )

    def _show_code(self) -> None:
        """What is known of the chosen token."""
        study, (step, row, column) = self.study, self.cell
        code = int(self.edits.tokens[self.cell])
        places = study.places(code)
        kept = np.unique(np.linspace(0, len(places) - 1, min(NUM_PLACES, len(places))).round().astype(int))
        self._places = [places[index] for index in kept]
        nearest, distances = similar_codes(study.vectors, code, NUM_SIMILAR)
        self._similar = nearest.tolist()
        self.code.max = study.num_codes - 1
        self.code.value = code
        before = int(self.edits.original[self.cell])
        replaced = f", in place of {before}" if before != code else ""
        share, windows = 100 * len(places) / study.tokens.numel(), len({window for window, _ in places})
        self.about.value = (
            f'<div style="line-height:1.4"><b>Code {code}</b>{replaced} {muted(f"in step {step + 1} of")} '
            f"{muted(f'{len(study.tokens[0])}, row {row + 1}, column {column + 1}')}<br>"
            + muted(
                f"used {len(places)}× ({share:.2g} % of all tokens), in {windows} of {len(self._windows)} windows; "
                "the picture is the mean of what was drawn there"
                if places
                else "used nowhere in these windows"
            )
            + "</div>"
        )
        self.mean.value = tile(study.mean_patch(code))
        self.usage.value = usage_bars(study.counts, code)
        self.places.show([self._place_tile(window, cell) for window, cell in self._places])
        self.similar.show(
            [
                self._code_tile(other, distance)
                for other, distance in zip(self._similar, distances.tolist(), strict=True)
            ]
        )

    def _place_tile(self, window: int, cell: Cell) -> Tile:
        seconds = (cell[0] * self.study.rate + self.study.rate // 2) / self._windows.windows.fps
        label = f"window {window}\n{seconds:.2f} s"
        return Tile(tile(self.study.patch(window, cell)), label, f"{self._windows.label(window)}, step {cell[0] + 1}")

    def _code_tile(self, code: int, distance: float) -> Tile:
        count = int(self.study.counts[code])
        times = f"{count}×" if count else "unused"
        return Tile(tile(self.study.mean_patch(code)), f"{code}\n{times}", f"code {code}, {times}, {distance:.3g} away")

    # ---- what can be kept --------------------------------------------------------------------------------------------

    def motion(self) -> Keypoints:
        """The keypoints of the clip that the tokens stand for, in pixels of the heatmaps: found by fitting, from where
        they truly were. Joints that are not drawn stay there. ``ValueError`` for three projections."""
        video, window = self._windows.video, self.window.value
        if video.dimensions != "2d":
            raise ValueError("only 2D heatmaps can be read back as keypoints, not three projections")
        start, peaks = self._windows.keypoints[window], self._windows.peaks[window]
        is_drawn = (peaks > 0).any(0)
        limbs = [limb for limb in video.skeleton.limbs if is_drawn[list(limb)].all()]
        output = self.edited if self.edited is not None else self.study.see(window).output
        found = fit_keypoints(torch.from_numpy(output)[None], start[None], limbs, video.sigma_px)[0]
        found = torch.where(is_drawn[:, None], found, start)
        return Keypoints(found.numpy(), peaks.numpy(), video.skeleton, self._windows.windows.fps)

    def _save_view(self) -> None:
        study, window, frame = self.study, self.window.value, self.frame.value
        shown = panels(study.see(window), self.edited, frame)
        title = f"{self.variant.value}: {self._windows.label(window)}, frame {frame}"
        figure = view_figure(shown, panel_row(shown, None, study.rate), self.edits.tokens, study.order, title)
        self._save(f"frame{frame:02d}.png", "image/png", lambda path: figure.savefig(path, format="png"))

    def _save_motion(self) -> None:
        motion = self.motion()
        self._save("keypoints.json", "application/json", lambda path: write_keypoints(path, motion))

    def _save(self, what: str, kind: str, write: Callable[[Path], None]) -> None:
        name = f"{self.variant.value}_window{self.window.value:02d}_{what}"
        self.message.value = saved(self._folder, name, kind, write)

    def still(self) -> Still:
        """This window as every model draws it; and of the chosen one the tokens and the use of its codes."""
        from matplotlib.figure import Figure

        window = self.window.value
        outputs = {name: study.see(window).output for name, study in self._studies.items()}
        rows = {"ground truth": self.study.see(window).target} | outputs
        pictures = comparison_figure(rows, self._windows.windows.fps)
        grid = Figure(figsize=(7.8, 1.8), dpi=110, layout="constrained")
        token_grid(grid, self.study.see(window).tokens, order=self.study.order)
        use = Figure(figsize=(7.8, 2.6), dpi=110, layout="constrained")
        token_usage(use.subplots(), self.study.counts)
        pngs = []
        for figure in (pictures, grid, use):
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png")
            pngs.append(buffer.getvalue())
        caption = f"{self._windows.label(window)}: ground truth and {', '.join(outputs)}; "
        return Still(tuple(pngs), f"{caption}tokens and use of the codes by {self.variant.value}", height_px=900)
