"""Figures of the depth study: what is drawn is what was given, and what has not run is said so."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from motionkit.plotting import colors
from motionkit.plotting.depth_study import depth_curves, depth_panels, filling_panels, level_panels

CURVE = pd.DataFrame({"depth": [1, 2, 16], "value": [3.0, 4.0, 9.0], "low": [2.5, 3.0, 8.0], "high": [3.5, 5.0, 10.0]})
EMPTY = CURVE.iloc[:0]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_a_line_for_each_reading_within_its_band():
    axes = Figure().subplots()
    lines = depth_curves(axes, {"one": CURVE, "two": CURVE.assign(value=1.0, low=np.nan, high=np.nan)})
    assert [line.get_label() for line in lines] == ["one", "two"]
    assert lines[0].get_xydata().tolist() == [[1, 3], [2, 4], [16, 9]]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 2
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "16"]
    corners = axes.collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (2.5, 10)


def test_ours_stand_above_what_is_printed():
    figure = Figure(layout="constrained")
    units = {"log(X)": "nats", "evidence": "nats"}
    ours = {"log(X)": {"one": CURVE}, "evidence": {}}
    rules = {score: {"linear": 7.0} for score in units}
    printed = {"log(X)": CURVE.assign(low=np.nan, high=np.nan), "evidence": EMPTY}
    drawn = depth_panels(figure, ours, printed, units, rules)
    assert [len(lines) for lines in drawn] == [1, 0, 1, 0]
    assert drawn[2][0].get_color() == colors.MUTED
    above, beside, _, below = figure.axes
    assert [axes.get_title() for axes in (above, beside)] == ["log(X) [nats]", "evidence [nats]"]
    assert texts(above) == ["linear"]
    assert texts(beside) == ["not run"]
    assert texts(below) == ["not printed"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "paper"]
    figure.draw_without_rendering()


def test_maps_of_levels_share_their_colors_and_say_what_is_off():
    table = pd.DataFrame([[4.0, np.nan], [1.0, 3.0]], index=[1, 2], columns=["z0", "z1"])
    figure = Figure()
    first, second = level_panels(figure, {"a": table, "none": table.iloc[:0], "b": 2 * table})
    assert first.get_clim() == second.get_clim() == (0, 8)
    assert texts(figure.axes[0]) == ["4.0", "off", "1.0", "3.0"]
    assert texts(figure.axes[1]) == ["not run"]
    assert [axes.get_title() for axes in figure.axes] == ["a", "none", "b"]
    assert level_panels(Figure(), {"none": table.iloc[:0]}) == []


def test_a_line_of_panels_for_each_data_set():
    curves = pd.DataFrame(
        [(pattern, share, seed, "HG-VAE", "RMSE", 2 * share + seed + 1)
         for pattern in ("numbers", "frames") for share in (0.05, 0.5) for seed in "01" for seed in [int(seed)]],
        columns=["pattern", "share", "seed", "method", "metric", "value"],
    )  # fmt: skip
    figure = Figure(figsize=(12, 6))
    panels = filling_panels(figure, {"default": curves, "cmu": curves.iloc[:0]})
    assert [axes.get_title() for axes in panels] == ["default"] * 3 + ["cmu"] * 3
    assert panels[0].get_lines()[0].get_ydata() == pytest.approx([1.6, 2.5])
    assert texts(panels[0]) == texts(panels[2]) == ["HG-VAE"]
    assert all(texts(axes) == ["not run"] for axes in (panels[1], *panels[3:]))
