"""Pictures of several models and of grids of results: what is drawn is what was given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from motionkit.plotting.grids import trade_off, value_map
from motionkit.plotting.heatmaps import grid_size, picture_grid, reconstruction_rows


def ramp(channels, frames=8, size=5):
    return np.linspace(0, 1, channels * frames * size**2, dtype=np.float32).reshape(channels, frames, size, size)


def test_rows_of_one_picture_show_truth_and_every_output():
    target, outputs = ramp(1), {"F8": ramp(1) ** 2, "F16": ramp(1) ** 3}
    images = reconstruction_rows(Figure(figsize=grid_size(3, 2)), target, outputs, frames=[0, 7], fps=10.0)
    assert np.shape(images)[:2] == (3, 2)
    for line, video in zip(images, (target, *outputs.values()), strict=True):
        for image, frame in zip(line, (0, 7), strict=True):
            np.testing.assert_array_equal(image.get_array(), video[0, frame])
            assert image.get_clim() == (0, 1)
    assert [line[0].axes.get_ylabel() for line in images] == ["ground truth", "F8", "F16"]
    assert [image.axes.get_title() for image in images[0]] == ["0.00 s", "0.70 s"]


def test_rows_of_projections_stand_in_three_blocks():
    target, output = ramp(3), ramp(3)[:, ::-1]
    images = reconstruction_rows(Figure(), target, {"F8/1024": output}, frames=[2])
    labels = [line[0].axes.get_ylabel() for line in images]
    assert labels == [f"{view}  {what}" for view in ("YZ", "XZ", "XY") for what in ("ground truth", "F8/1024")]
    for channel in range(3):
        np.testing.assert_array_equal(images[2 * channel][0].get_array(), target[channel, 2])
        np.testing.assert_array_equal(images[2 * channel + 1][0].get_array(), output[channel, 2])


def test_grids_and_rows_refuse_what_does_not_match():
    picture = np.zeros((4, 4))
    with pytest.raises(ValueError, match="2 rows of \\[1, 2\\] pictures for 2 x 2 names"):
        picture_grid(Figure(), [[picture], [picture, picture]], ["a", "b"], ["c", "d"])
    with pytest.raises(ValueError, match="frame 8 is outside the 8 frames"):
        reconstruction_rows(Figure(), ramp(1), {"F8": ramp(1)}, frames=[8])
    with pytest.raises(ValueError, match="no outputs"):
        reconstruction_rows(Figure(), ramp(1), {})


def test_empty_cells_of_a_grid_stay_empty():
    figure = Figure()
    images = picture_grid(figure, [[np.ones((4, 4)), None]], ["row"], ["left", "right"])
    assert [len(line) for line in images] == [1]
    assert len(figure.axes) == 2
    assert [ax.get_title() for ax in figure.axes] == ["left", "right"]


def test_a_value_map_writes_its_numbers_and_says_what_has_not_run():
    table = pd.DataFrame([[0.25, np.nan], [0.5, 1.0]], index=["F8", "F16"], columns=[128, 512])
    axes = Figure().subplots()
    image = value_map(axes, table, decimals=2)
    np.testing.assert_array_equal(image.get_array().filled(-1), [[0.25, -1], [0.5, 1]])
    assert [text.get_text() for text in axes.texts] == ["0.25", "not run", "0.50", "1.00"]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["128", "512"]
    assert image.get_clim() == (0.25, 1)
    empty = value_map(Figure().subplots(), table * np.nan)
    assert empty.get_clim() == (0, 1)


def test_a_trade_off_draws_its_series_over_a_logarithmic_cost():
    axes = Figure().subplots()
    series = {"2D F8": [(10, 0.2, "128"), (100, 0.4, "512")], "3D F8": [(20, 0.1, "256")]}
    lines = trade_off(axes, series, xlabel="bits", ylabel="skill", zero="blank")
    assert [line.get_label() for line in lines] == ["2D F8", "3D F8"]
    np.testing.assert_array_equal(lines[0].get_xydata(), [[10, 0.2], [100, 0.4]])
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 2
    assert axes.get_xscale() == "log"
    assert [text.get_text() for text in axes.texts] == ["128", "512", "256", "blank"]
    assert trade_off(Figure().subplots(), {}, xlabel="bits", ylabel="skill") == []
