"""Charts of classifiers and detectors: what is drawn is what was given."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from motionkit.plotting.detection import confusion_table, roc_curves, score_histogram

CURVES = {"tokens": ([0, 0.1, 1], [0, 0.8, 1]), "speed": ([0, 0.5, 1], [0, 0.6, 1])}
SCORES = {"usual": np.linspace(1, 3, 90), "shuffled": np.linspace(2, 6, 30)}


@pytest.fixture
def axes():
    return Figure(figsize=(5, 4), layout="constrained").subplots()


def test_curves_and_points_lie_where_they_were_given(axes):
    lines = roc_curves(axes, CURVES, {"speed": (0.05, 0.3)})
    assert [line.get_label() for line in lines] == ["tokens", "speed"]
    for line, (x, y) in zip(lines, CURVES.values(), strict=True):
        assert line.get_xydata().tolist() == [[a, b] for a, b in zip(x, y, strict=True)]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [dot.get_xydata().tolist() for dot in dots] == [[[0.05, 0.3]]]
    assert dots[0].get_color() == lines[1].get_color() != lines[0].get_color()
    assert "share" in axes.get_xlabel()
    assert "share" in axes.get_ylabel()


def test_curves_that_are_none_are_refused(axes):
    with pytest.raises(ValueError, match=r"curve 'x': rates lie in 0\.0\.\.2\.0"):
        roc_curves(axes, {"x": ([0, 1], [0, 2])})
    with pytest.raises(ValueError, match="operating point 'z' has no curve; there are tokens, speed"):
        roc_curves(axes, CURVES, {"z": (0, 0)})
    with pytest.raises(ValueError, match="20 curves"):
        roc_curves(axes, {str(i): ([0, 1], [0, 1]) for i in range(20)})


def test_histograms_have_area_one_over_common_bins(axes):
    outlines = score_histogram(axes, SCORES, threshold=2.9, xlabel="bits a token")
    for outline in outlines:
        density, edges, _ = outline.get_data()
        assert (density * np.diff(edges)).sum() == pytest.approx(1)
        assert (edges[0], edges[-1]) == (1, 6)
    assert axes.lines[0].get_xdata()[0] == 2.9
    assert axes.get_xlabel() == "bits a token"


def test_a_threshold_that_flags_nothing_is_not_drawn(axes):
    score_histogram(axes, SCORES, threshold=np.inf)
    assert not axes.lines


def test_scores_that_cannot_be_drawn_are_named(axes):
    with pytest.raises(ValueError, match="scores 'bad': 2 values, 1 not finite"):
        score_histogram(axes, {"bad": [0, np.nan]})
    with pytest.raises(ValueError, match="0 sets of scores"):
        score_histogram(axes, {})


def test_the_table_shows_every_count_and_shades_by_row(axes):
    counts = np.array([[8, 2], [0, 100]])
    image = confusion_table(axes, counts, ["walk", "run"])
    assert image.get_array().tolist() == [[0.8, 0.2], [0, 1]]
    written = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert written == {((0, 0), "8"), ((1, 0), "2"), ((1, 1), "100")}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["walk", "run"]
    with pytest.raises(ValueError, match=r"shape \(2, 2\), but there are 3 names"):
        confusion_table(axes, counts, ["a", "b", "c"])
