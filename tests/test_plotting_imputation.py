"""Figures of imputation: what is drawn is what was given, and names can be read."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from motionkit.data.skeleton import Skeleton
from motionkit.plotting import colors
from motionkit.plotting.imputation import (
    band_panels,
    change_curves,
    change_panels,
    error_panels,
    imputed_strip,
    level_bars,
    posterior_curves,
)
from motionkit.plotting.level_diagram import level_diagram

SMALL = Skeleton("small", ("root", "left", "right", "head"), (-1, 0, 0, 0), ((0, 1), (0, 2), (0, 3)), ((1, 2),))
TRUTH = np.linspace(0, 1, 9 * 4 * 3).reshape(9, 4, 3) + np.eye(4, 3)
SEEN = np.ones(TRUTH.shape, dtype=bool)


@pytest.fixture
def figure():
    return Figure(figsize=(6, 4), layout="constrained")


@pytest.fixture
def axes(figure):
    return figure.subplots()


# ---- strip -----------------------------------------------------------------------------------------------------------


def test_rows_of_poses_in_the_colors_of_the_sides(figure):
    bodies = imputed_strip(figure, TRUTH, {"mean": TRUTH, "filled": TRUTH}, SEEN, SMALL, num_poses=5, fps=25)
    assert [(title, len(row)) for title, row in bodies.items()] == [("mean", 5), ("filled", 5)]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["mean", "filled"]
    shown = [to_hex(color).upper() for color in bodies["mean"][0].get_colors()]
    assert shown == [colors.SIDES["left"], colors.SIDES["right"], colors.SIDES["center"]]
    assert figure.axes[-1].get_xlabel() == "time [s]"
    figure.draw_without_rendering()
    named = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert named == ["0.00", "0.08", "0.16", "0.24", "0.32"]
    imputed_strip(other := Figure(), TRUTH, {"x": TRUTH}, SEEN, SMALL, num_poses=20)
    assert [label.get_text() for label in other.axes[0].get_xticklabels()] == [str(frame) for frame in range(9)]
    assert other.axes[0].get_xlabel() == "frame"


def test_the_truth_is_dotted_where_it_differs_and_there_alone(figure):
    off = TRUTH.copy()
    off[4, 1] += 0.1  # the left joint of one frame
    off[6, 2] += 0.005  # not to be told from the truth
    bodies = imputed_strip(figure, TRUTH, {"off": off}, SEEN, SMALL, num_poses=9, azimuth_deg=0)["off"]
    lines = [artist for artist in figure.axes[0].collections if hasattr(artist, "get_segments")]
    dotted = [artist for artist in lines if artist not in bodies]
    assert [len(artist.get_segments()) for artist in dotted] == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    (start, end), body = dotted[4].get_segments()[0], bodies[4].get_segments()
    np.testing.assert_allclose(body[0][0], start)  # the root is where the truth's is
    np.testing.assert_allclose(body[0][1] - end, [0.1, 0.1])
    np.testing.assert_allclose(end - start, (TRUTH[4, 1] - TRUTH[4, 0])[:2])


def test_rings_are_on_joints_that_lack_a_number(figure):
    seen = SEEN.copy()
    seen[0, 3, 1] = seen[0, 1, 0] = False
    bodies = imputed_strip(figure, TRUTH, {"x": TRUTH}, seen, SMALL, num_poses=3)["x"]
    rings = [artist for artist in figure.axes[0].collections if not hasattr(artist, "get_segments")]
    assert [len(artist.get_offsets()) for artist in rings] == [2, 0, 0]
    ends = [segment[1] for segment in bodies[0].get_segments()]
    np.testing.assert_allclose(rings[0].get_offsets(), [ends[0], ends[2]])


def test_poses_do_not_overlap_however_far_one_is_off(figure):
    far = TRUTH.copy()
    far[3, 1, 0] += 2.0
    bodies = imputed_strip(figure, torch.from_numpy(TRUTH), {"far": torch.from_numpy(far)}, SEEN, SMALL)["far"]
    spans = [(np.array(body.get_segments())[..., 0].min(), np.array(body.get_segments())[..., 0].max())
             for body in bodies]  # fmt: skip
    assert all(left[1] < right[0] for left, right in pairwise(spans))
    low, high = figure.axes[0].get_xlim()
    assert low < spans[0][0] < spans[-1][1] < high


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"filled": {}}, "nothing is filled"),
        ({"filled": {"x": TRUTH[1:]}}, r"'x' has shape \(8, 4, 3\), truth \(9, 4, 3\)"),
        ({"is_seen": SEEN[..., 0]}, r"'is_seen' has shape \(9, 4\)"),
        ({"truth": TRUTH[:, 1:]}, r"truth has shape \(9, 3, 3\); expected \(frames, 4, 3\) of 'small'"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(figure, change, message):
    given = {"truth": TRUTH, "filled": {"x": TRUTH}, "is_seen": SEEN} | change
    with pytest.raises(ValueError, match=message):
        imputed_strip(figure, skeleton=SMALL, **given)


# ---- curves ----------------------------------------------------------------------------------------------------------


def curves() -> pd.DataFrame:
    rows = [
        {"pattern": pattern, "share": share, "seed": seed, "method": method, "metric": metric,
         "value": sign * slope * share + (0.1 * seed if pattern == "joints" else 0)}
        for pattern in ("numbers", "joints") for share in (0.5, 0.1, 0.3) for seed in (-1, 1)
        for method, slope in (("mean", 0.0), ("line", 5.0), ("model", 9.0))
        for metric, sign in (("RMSE", 1), ("change", -1))
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_line_a_method_over_rising_shares(axes):
    lines = change_curves(axes, curves(), "joints")
    assert [line.get_label() for line in lines] == ["mean", "line", "model"]
    np.testing.assert_allclose(lines[1].get_xdata(), [10, 30, 50])
    np.testing.assert_allclose(lines[1].get_ydata(), [-0.5, -1.5, -2.5])
    assert axes.get_xlabel() == "joints missing [%]"
    assert axes.get_ylabel() == "change of MSE [%]"
    assert [text.get_text() for text in axes.texts] == ["model", "line", "mean"]  # from the lowest up


def test_the_band_is_the_spread_over_seeds_on_both_sides(axes):
    change_curves(axes, curves(), "joints")
    corners = axes.collections[1].get_paths()[0].vertices[:, 1]
    spread = np.std([-0.1, 0.1], ddof=1)
    assert (corners.min(), corners.max()) == pytest.approx((-2.5 - spread, -0.5 + spread))
    axes.clear()
    change_curves(axes, curves(), "numbers")
    change_curves(axes, curves().query("seed == 1"), "joints")
    assert not axes.collections  # nothing varies, or one seed says nothing


def test_errors_begin_at_zero_and_logarithms_have_plain_numbers(axes):
    change_curves(axes, curves(), "numbers", "RMSE")
    assert axes.get_ylim()[0] == 0
    axes.clear()
    change_curves(axes, curves().query("value != 0"), "numbers", "RMSE", is_from_zero=False)
    assert 0 < axes.get_ylim()[0] < 0.5
    axes.clear()
    change_curves(axes, curves(), "numbers", "RMSE", log_shares=True, log=True, ylabel="error")
    assert (axes.get_xscale(), axes.get_yscale(), axes.get_ylabel()) == ("log", "log", "error")
    axes.figure.draw_without_rendering()
    low, high = axes.get_xlim()
    ticks = [tick.label1.get_text() for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert ticks == ["10", "20", "50"]
    assert not any(label.get_text() for label in axes.xaxis.get_ticklabels(minor=True))


def test_names_stand_at_the_last_point_that_can_be_seen(axes):
    table = curves()
    table.loc[(table["method"] == "model") & (table["share"] == 0.5), "value"] = np.nan
    change_curves(axes, table, "numbers", "RMSE", log=True)  # the mean is 0 throughout
    axes.figure.draw_without_rendering()
    assert {text.get_text(): tuple(text.xy) for text in axes.texts} == {"line": (50, 2.5), "model": (30, 9 * 0.3)}
    box = axes.get_window_extent()
    assert all(box.y0 < text.get_window_extent().y1 < box.y1 + 10 for text in axes.texts)
    axes.clear()
    change_curves(axes, curves().assign(value=np.nan), "numbers")  # nothing was missing
    assert not axes.texts


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pattern": "fog"}, "curves hold no pattern 'fog'; they hold 'numbers', 'joints'"),
        ({"metric": "IoU"}, "curves hold no metric 'IoU'; they hold 'RMSE', 'change'"),
        ({"curves": curves().drop(columns="seed")}, r"curves lack the columns \['seed'\]"),
        ({"curves": curves().assign(share=0.0), "log_shares": True}, "log_shares needs shares above 0"),
    ],
)
def test_curves_that_are_not_there_are_refused(axes, change, message):
    with pytest.raises(ValueError, match=message):
        change_curves(axes, **{"curves": curves(), "pattern": "joints"} | change)


def test_a_panel_a_pattern_and_a_predictor(figure):
    table = pd.concat([curves().assign(predictor=name, value=lambda t, n=n: t["value"] * n)
                       for n, name in ((1, "still"), (2, "LTD"))])  # fmt: skip
    lines = change_panels(figure, table, "predictor", "RMSE", ylabel="error")
    assert list(lines) == [(pattern, name) for pattern in ("numbers", "joints") for name in ("still", "LTD")]
    assert [axes.get_title() for axes in figure.axes] == ["still", "LTD"] * 2
    assert [axes.get_xlabel() for axes in figure.axes] == ["numbers missing [%]"] * 2 + ["joints missing [%]"] * 2
    assert {axes.get_ylabel() for axes in figure.axes} == {"error"}
    for axes in figure.axes:
        assert {text.get_text() for text in axes.texts} == {"mean", "line", "model"}
        boxes = sorted((text.get_window_extent() for text in axes.texts), key=lambda box: box.y0)
        assert all(low.y0 < high.y0 - 5 for low, high in pairwise(boxes))
    first, second = (lines["numbers", name][2].get_ydata() for name in ("still", "LTD"))
    np.testing.assert_allclose(second, 2 * first)
    with pytest.raises(ValueError, match=r"curves lack the columns \['predictor'\]"):
        change_panels(figure, curves(), "predictor")


def test_changes_above_errors_a_column_a_pattern(figure):
    lines = error_panels(figure, curves())
    patterns = list(dict.fromkeys(curves()["pattern"]))
    rows = figure.axes[: len(patterns)], figure.axes[len(patterns) :]
    assert {axes.get_ylabel() for axes in rows[0]} == {"change of MSE [%]"}
    assert {axes.get_ylabel() for axes in rows[1]} == {"RMSE [mm]"}
    for row, scale in zip(rows, ("linear", "log"), strict=True):
        assert [axes.get_xlabel() for axes in row] == [f"{pattern} missing [%]" for pattern in patterns]
        assert {axes.get_yscale() for axes in row} == {scale}
    assert len(lines) == 2 * len(patterns) * curves()["method"].nunique()
    (again,) = Figure().subplots(1, squeeze=False)[0]
    for line, expected in zip(lines, change_curves(again, curves(), patterns[0]), strict=False):
        np.testing.assert_array_equal(line.get_ydata(), expected.get_ydata())


# ---- scores ----------------------------------------------------------------------------------------------------------

SHARES = (0.1, 0.5)
SCORES = {"start": [[-5.0, -7.0], [-50.0, -90.0]], "truth": [-1.0, -3.0]}


def test_means_and_deviations_over_clips(axes):
    start, truth = posterior_curves(axes, SHARES, SCORES)
    np.testing.assert_allclose(start.get_xydata(), [[10, -6], [50, -70]])
    np.testing.assert_allclose(truth.get_xydata(), [[10, -2], [50, -2]])
    corners = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == (-90, -5)
    assert axes.get_ylabel() == "log p(z|x) [nats]"
    assert {text.get_text() for text in axes.texts} == {"start", "truth"}


def test_quantiles_leave_outliers_alone(axes):
    clips = np.append(np.arange(100.0), -1e9)
    (line,) = posterior_curves(axes, SHARES, {"start": [clips, clips]}, use_quantiles=True)
    assert line.get_ydata().tolist() == [49, 49]
    corners = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == pytest.approx((15, 83))


def test_logarithms_of_negative_scores(axes):
    scores = {"start": [[-1e3], [-1e8]], "truth": [-200.0]}
    posterior_curves(axes, SHARES, scores, log=True, log_shares=True)
    assert axes.get_yscale() == "symlog"
    axes.figure.draw_without_rendering()
    low, high = axes.get_ylim()
    assert -1e9 < low < -1e8
    assert -200 < high < 0


def test_scores_of_one_power_of_ten_have_numbers_beside_them(axes):
    posterior_curves(axes, SHARES, {"start": [[-2600.0], [-4100.0]], "truth": [-2500.0]}, log=True)
    axes.figure.draw_without_rendering()
    shown = {label.get_text(): y for y, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    assert shown["\N{MINUS SIGN}5,000"] == -5000
    assert shown["\N{MINUS SIGN}2,000"] == -2000


def test_scores_of_another_shape_are_refused(axes):
    with pytest.raises(ValueError, match=r"scores 'x' have shape \(3, 4\); expected \(2, clips\) or \(clips,\)"):
        posterior_curves(axes, SHARES, {"x": np.zeros((3, 4))})


def test_a_group_of_bars_a_level(axes):
    first, second = level_bars(axes, {"start": [[-5.0, -7.0], [-1.0, -1.0]], "kl": [3.0, 4.0]})
    assert [bar.get_height() for bar in first] == [-6, -1]
    assert [bar.get_height() for bar in second] == [3, 4]
    whiskers = first.errorbar.lines[2][0].get_segments()
    assert [segment[:, 1].tolist() for segment in whiskers] == [[-7, -5], [-1, -1]]
    assert second.errorbar is None
    assert [label.get_text() for label in axes.get_xticklabels()] == ["z0", "z1"]
    centers = [bar.get_x() + bar.get_width() / 2 for group in (first, second) for bar in group]
    np.testing.assert_allclose(centers, [-0.2, 0.8, 0.2, 1.2])
    assert not first[0].get_bbox().overlaps(second[0].get_bbox())


def test_bars_that_cannot_be_drawn_are_refused(axes):
    with pytest.raises(ValueError, match=r"scores 'b' have shape \(3,\); expected \(2, clips\) or \(2,\)"):
        level_bars(axes, {"a": [1.0, 2.0], "b": [1.0, 2.0, 3.0]})
    for count in (0, 9):
        with pytest.raises(ValueError, match=f"{count} sets of scores; expected 1 to 8"):
            level_bars(axes, {str(number): [1.0] for number in range(count)})


# ---- bands -----------------------------------------------------------------------------------------------------------


def test_bands_are_of_the_coordinate_with_most_at_stake_and_hold_so_many_draws(figure):
    is_seen = np.stack([SEEN, SEEN])
    is_seen[0, 2:5, 1, 0] = is_seen[0, 3:5, 2, 2] = is_seen[0, :2, 0, 0] = False
    jumped = TRUTH.copy()
    jumped[1, 0, 0] = TRUTH[0, 0, 0] + 2.5 * (TRUTH[1, 0, 0] - TRUTH[0, 0, 0])  # moves most, for less long
    is_seen[1, :4, 3] = False  # of all three: the one that moves most in the gap
    moved = TRUTH.copy()
    moved[:4, 3, 1] *= 5
    draws = np.linspace(-1, 1, 101)[:, None, None, None, None] * np.ones((1, 2, *TRUTH.shape))
    chosen = band_panels(figure, {"a": jumped, "b": moved}, draws, is_seen, SMALL, level=0.8, fps=10)
    assert chosen == {"a": (1, 0), "b": (3, 1)}
    first = figure.axes[0]
    assert [axes.get_ylabel() for axes in figure.axes] == ["left, x [m]", "head, y [m]"]
    mean = next(line for line in first.lines if line.get_label() == "their mean")
    np.testing.assert_allclose(mean.get_ydata(), 0, atol=1e-12)
    corners = first.collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx((-0.8, 0.8))
    truth, seen = (next(line for line in first.lines if line.get_label() == name) for name in ("truth", "seen"))
    np.testing.assert_allclose(truth.get_ydata(), TRUTH[:, 1, 0])
    np.testing.assert_allclose(seen.get_xdata(), [0.0, 0.1, 0.5, 0.6, 0.7, 0.8])
    with pytest.raises(ValueError, match="1 titles, 2 clips drawn and 2 masks"):
        band_panels(figure, {"a": TRUTH}, draws, is_seen, SMALL, level=0.8, fps=10)


# ---- the model itself ------------------------------------------------------------------------------------------------


def test_a_model_is_drawn_with_its_sizes_and_the_levels_that_are_off_are_gray(axes):
    latents = level_diagram(axes, (54, 50), ((54, 48), (24, 64), (1, 128)), 32, off_levels=(0,))
    assert list(latents) == ["z2", "z1", "z0"]
    gray = {name for name, latent in latents.items() if latent.get_markeredgecolor() == colors.DEAD}
    assert gray == {"z0"}
    texts = [text.get_text() for text in axes.texts]
    assert [texts.count(size) for size in ("54 × 48", "24 × 64", "1 × 128", "54 × 32")] == [2, 2, 2, 3]
    assert "clip, 54 × 50" in texts
    graphs = [len(line.get_xdata()) for line in axes.lines if line not in latents.values() and len(line.get_xdata())]
    assert sorted(graphs) == [1, 24, 54, 54, 54, 54, 54, 54]  # a dot a node
    heights = [latents[name].get_ydata()[0] for name in ("z2", "z1", "z0")]
    assert heights == sorted(heights)  # z0 is the highest
    with pytest.raises(ValueError, match="no levels"):
        level_diagram(axes, (54, 50), (), 32)
