import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from motionkit.plotting.noise_curves import _apart, noise_curves


def curves() -> pd.DataFrame:
    rows = []
    for slope, method in ((1.0, "trust"), (0.5, "filter"), (0.5, "model")):
        for level in (2.0, 0.0, 1.0):
            for kind in ("jitter", "occlusion"):
                name = {"kind": kind, "level": level, "method": method, "metric": "Keypoints [px]"}
                rows.append(name | {"value": 0.2 + slope * level, "spread": 0.3})
    return pd.DataFrame(rows)


@pytest.fixture
def axes():
    figure, axes = plt.subplots(layout="constrained")
    yield axes
    plt.close(figure)


def test_a_line_a_method_over_rising_levels(axes):
    lines = noise_curves(axes, curves(), "jitter", xlabel="jitter [px]")
    assert [line.get_label() for line in lines] == ["trust", "filter", "model"]
    assert lines[0].get_xdata().tolist() == [0, 1, 2]
    np.testing.assert_allclose(lines[0].get_ydata(), [0.2, 1.2, 2.2])
    assert axes.get_xlabel() == "jitter [px]"
    assert axes.get_ylabel() == "Keypoints [px]"
    assert axes.get_ylim()[0] == 0


def test_the_band_is_the_spread(axes):
    noise_curves(axes, curves(), "jitter", band=2.0)
    corners = axes.collections[0].get_paths()[0].vertices
    assert corners[:, 1].max() == pytest.approx(2.2 + 0.6)
    assert corners[:, 1].min() == 0  # an error is never negative
    axes.clear()
    noise_curves(axes, curves(), "jitter", band=0)
    assert not axes.collections


def test_a_method_looks_the_same_in_every_panel():
    figure, (left, right) = plt.subplots(1, 2)
    table = curves()
    table = table[~((table["kind"] == "occlusion") & (table["method"] == "trust"))]
    first, second = noise_curves(left, table, "jitter"), noise_curves(right, table, "occlusion")
    for line in second:
        twin = next(other for other in first if other.get_label() == line.get_label())
        assert (line.get_color(), line.get_marker()) == (twin.get_color(), twin.get_marker())
    plt.close(figure)


def test_names_stand_in_the_order_of_the_lines_and_do_not_overlap(axes):
    noise_curves(axes, curves(), "jitter")
    axes.figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert boxes["trust"].y0 > max(boxes["filter"].y1, boxes["model"].y1)
    assert not boxes["filter"].overlaps(boxes["model"])


def test_logarithmic_bands_stay_positive(axes):
    table = curves()
    table["spread"] = 100.0
    noise_curves(axes, table, "jitter", log=True)
    assert axes.get_yscale() == "log"
    assert axes.collections[0].get_paths()[0].vertices[:, 1].min() == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "fog"}, "curves hold no kind 'fog'"),
        ({"metric": "IoU"}, "curves hold no metric 'IoU'"),
        ({"curves": curves().drop(columns="spread")}, r"curves lack the columns \['spread'\]"),
    ],
)
def test_refusals(axes, change, message):
    with pytest.raises(ValueError, match=message):
        noise_curves(axes, **{"curves": curves(), "kind": "jitter"} | change)


def test_places_are_moved_apart_as_little_as_possible():
    assert _apart([0.0, 5.0, 20.0], 10.0).tolist() == [-2.5, 7.5, 20.0]
    assert _apart([3.0, 3.0, 3.0], 10.0).tolist() == [-7.0, 3.0, 13.0]
    assert _apart([0.0, 30.0], 10.0).tolist() == [0.0, 30.0]
