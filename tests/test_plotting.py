"""The player, the strips and the charts: what is drawn is what was given, and nothing reaches for the network."""

import base64
import json
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from skimage.color import rgb2lab

from motionkit.data.catalogue import load_dataset
from motionkit.data.clip import MotionClip
from motionkit.data.skeleton import Skeleton
from motionkit.plotting import colors
from motionkit.plotting.charts import loss_curves, token_grid, token_usage
from motionkit.plotting.heatmaps import composite, heatmap_layers, reconstruction_strip, strip_size
from motionkit.plotting.motion import limb_sides, play, pose_strip
from motionkit.plotting.run_curves import run_curves

SMALL = Skeleton("small", ("root", "left", "right", "head"), (-1, 0, 0, 0), ((0, 1), (0, 2), (0, 3)), ((1, 2),))


def small_clip(fps=30.0, frames=40, span_m=1.0, **fields):
    """A ramp in every coordinate, different for each joint: nothing is symmetric, nothing repeats."""
    ramp = np.arange(frames * 12, dtype=np.float32).reshape(frames, 4, 3)
    return MotionClip(ramp / ramp.max() * span_m, fps, SMALL, name="ramp", **fields)


def decoded(clip):
    raw = np.frombuffer(base64.b64decode(clip["positions"]), "<i2").reshape(clip["frames"], -1, 3)
    return raw * clip["unit"] + np.asarray(clip["origin"])


# ---- player ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fps", "stride"), [(20, 1), (60, 1), (61, 2), (100, 2), (119.88, 2), (120, 2), (250, 5)])
def test_every_nth_frame_is_kept_on_an_exact_time_axis(fps, stride):
    clip = small_clip(fps, frames=101)
    data = play(clip).payload["clips"][0]
    assert data["stride"] == stride
    assert data["fps"] * stride == pytest.approx(fps, rel=1e-12)
    assert data["fps"] <= 60.0001
    assert np.abs(decoded(data) - clip.positions[::stride]).max() < 0.00051


def test_positions_are_rounded_to_the_millimeter_and_no_coarser():
    clip = load_dataset("sample")[0]
    data = play(clip).payload["clips"][0]
    assert data["unit"] == 0.001
    error = np.abs(decoded(data) - clip.positions[::2])
    assert 0.0003 < error.max() < 0.00051


def test_a_motion_too_wide_for_millimeters_gets_a_coarser_unit_instead_of_wrapping_around():
    clip = small_clip(span_m=400.0)
    data = play(clip).payload["clips"][0]
    assert np.abs(decoded(data) - clip.positions).max() < 0.51 * data["unit"] < 0.004


def test_confidence_travels_and_is_absent_when_all_is_observed():
    confidence = np.linspace(0, 1, 160, dtype=np.float32).reshape(40, 4)
    data = play(small_clip(confidence=confidence)).payload["clips"][0]
    shown = np.frombuffer(base64.b64decode(data["confidence"]), np.uint8).reshape(40, 4)
    assert np.abs(shown / 255 - confidence).max() <= 0.5 / 255 + 1e-7
    assert "confidence" not in play(small_clip()).payload["clips"][0]


def test_a_figure_is_followed_only_when_it_walks():
    assert play(small_clip(span_m=4.0)).payload["options"]["follow"]
    assert not play(small_clip(span_m=0.5)).payload["options"]["follow"]
    assert play(small_clip(span_m=0.5), follow=True).payload["options"]["follow"]


def test_arrays_tensors_and_lists_play_like_clips():
    clip = small_clip()
    for motion in ((clip.positions, SMALL, 30), (torch.from_numpy(clip.positions), SMALL, 30.0)):
        assert play(motion).payload["clips"][0]["positions"] == play(clip).payload["clips"][0]["positions"]
    both = play([clip, (clip.positions, SMALL, 10)], names=["truth", "guess"], layout="overlay").payload
    assert [c["name"] for c in both["clips"]] == ["truth", "guess"]
    assert both["options"]["overlay"]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ([], {}, "empty"),
        (["walk"], {}, "motion 0 is str"),
        (small_clip(), {"layout": "stacked"}, "'stacked'"),
        (small_clip(), {"theme": "pink"}, "'pink'"),
        (small_clip(), {"speed": 0.0}, "speed is 0.0"),
        (small_clip(), {"names": ["a", "b"]}, "2 names for 1"),
    ],
)
def test_play_names_what_is_wrong(arguments, options, message, unchecked):
    with pytest.raises(ValueError, match=re.escape(message)):
        play(arguments, **options)


def test_the_html_is_self_contained_and_a_name_cannot_break_out_of_it():
    name = "</script><script>alert(1)</script><!--"
    text = play(small_clip(), names=[name])._repr_html_()
    assert text.count("<script>") == text.count("</script>") == 1
    assert "<!--" not in text
    assert not re.search(r"https?://|\bimport\b|\brequire\(|fetch\(|XMLHttp", text)
    payload = json.loads(re.search(r"const payload = (\{.*\});\nfor", text, re.DOTALL)[1])
    assert payload["clips"][0]["name"] == name


def test_the_html_is_the_same_each_time_and_differs_between_motions():
    assert play(small_clip())._repr_html_() == play(small_clip())._repr_html_()
    keys = [re.search(r'data-player="(\w+)"', play(small_clip(fps=f))._repr_html_())[1] for f in (20, 30)]
    assert keys[0] != keys[1]


def test_a_saved_page_is_whole_and_leaves_nothing_else(tmp_path):
    path = play(small_clip()).save_html(tmp_path / "new" / "page.html", title="a < b")
    assert [p.name for p in path.parent.iterdir()] == ["page.html"]
    text = path.read_text()
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    assert "<title>a &lt; b</title>" in text


def test_limbs_are_colored_by_the_side_they_reach():
    assert limb_sides(SMALL) == ("left", "right", "center")
    assert play(small_clip()).payload["clips"][0]["sides"] == [0, 1, 2]


# ---- strips ----------------------------------------------------------------------------------------------------------


def test_pose_strip_draws_the_poses_and_their_times():
    clip = small_clip(fps=20.0)
    axes = Figure().subplots()
    artists = pose_strip(axes, clip, frames=[0, 10, 39], azimuth_deg=0.0)
    assert len(artists) == 3
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.00", "0.50", "1.95"]
    assert [to_hex(c) for c in artists[0].get_colors()] == [
        c.lower() for c in (colors.SIDES["left"], colors.SIDES["right"], colors.SIDES["center"])
    ]
    # seen from +Z, limbs keep their extent in x and y
    for artist, frame in zip(artists, (0, 10, 39), strict=True):
        drawn = np.stack(artist.get_segments())
        limbs = clip.positions[frame][np.asarray(SMALL.limbs)]
        np.testing.assert_allclose(drawn[:, 1] - drawn[:, 0], (limbs[:, 1] - limbs[:, 0])[:, :2], atol=1e-6)
    with pytest.raises(ValueError, match="no frame 40; it has 0 to 39"):
        pose_strip(axes, clip, frames=[40])


def ramp_maps(channels, frames=8, size=5):
    target = np.linspace(0, 1, channels * frames * size * size, dtype=np.float32).reshape(channels, frames, size, size)
    return target, target[:, ::-1].copy()


def test_strip_of_three_projections_shows_truth_output_and_error():
    target, output = ramp_maps(3)
    figure = Figure(figsize=strip_size(3, 4))
    images = reconstruction_strip(figure, torch.from_numpy(target), output, frames=[0, 2, 5, 7], fps=4.0)
    assert np.shape(images)[:2] == (9, 4)
    for channel in range(3):
        for column, frame in enumerate((0, 2, 5, 7)):
            rows = [images[3 * channel + k][column].get_array() for k in range(3)]
            np.testing.assert_array_equal(rows[0], target[channel, frame])
            np.testing.assert_array_equal(rows[1], output[channel, frame])
            np.testing.assert_array_equal(rows[2], np.abs(target - output)[channel, frame])
    texts = " ".join(ax.get_ylabel() for ax in figure.axes)
    assert all(name in texts for name in ("YZ", "XZ", "XY", "ground truth", "reconstruction", "absolute error"))
    assert images[0][0].axes.get_title() == "0.00 s"
    assert images[0][0].get_clim() == (0.0, 1.0)
    assert images[2][0].get_clim()[1] == pytest.approx(np.abs(target - output)[:, [0, 2, 5, 7]].max())


@pytest.mark.parametrize("channels", [1, 2, 17])
def test_strip_merges_other_channels_by_their_maximum(channels):
    target, output = ramp_maps(channels)
    images = reconstruction_strip(Figure(), target, output, frames=[3])
    assert np.shape(images)[:2] == (3, 1)
    np.testing.assert_array_equal(images[0][0].get_array(), target[:, 3].max(0))


def test_strip_refuses_what_does_not_match():
    target, output = ramp_maps(3)
    with pytest.raises(ValueError, match=r"\(3, 8, 5, 5\) but output has \(2, 8, 5, 5\)"):
        reconstruction_strip(Figure(), target, output[:2])
    with pytest.raises(ValueError, match="frame 8 is outside the 8 frames"):
        reconstruction_strip(Figure(), target, output, frames=[8])
    with pytest.raises(ValueError, match=r"shape \(5, 5\)"):
        reconstruction_strip(Figure(), target[0, 0], output[0, 0])


def test_composite_has_the_color_of_the_side_and_averages_where_sides_meet():
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0, 0, 0], maps[1, 0, 1], maps[:2, 1, 0] = 0.5, 1.0, 1.0
    picture = composite(maps, ("left", "right", "left"))
    left, right = (np.array(colors.rgb(colors.SIDES_ON_DARK[s])) for s in ("left", "right"))
    np.testing.assert_allclose(picture[0, 0], 0.5 * left, atol=1e-6)
    np.testing.assert_allclose(picture[0, 1], right, atol=1e-6)
    np.testing.assert_allclose(picture[1, 0], (left + right) / 2, atol=1e-6)
    assert not picture[1, 1].any()
    light = composite(maps, ("left", "right", "left"), dark=False)
    np.testing.assert_allclose(light[0, 1], colors.rgb(colors.SIDES["right"]), atol=1e-6)
    assert (light[1, 1] == 1).all()
    with pytest.raises(ValueError, match="one layer for each side"):
        composite(maps, ("left",))
    axes = Figure().subplots()
    assert heatmap_layers(axes, maps, ("left", "right", "left")).get_array().shape == (2, 2, 3)
    assert axes.get_xlabel() == "x [px]"


# ---- charts ----------------------------------------------------------------------------------------------------------


def history():
    rows = [(s, "train", n, s * k) for s in range(5) for n, k in (("loss/generator", 1.0), ("l1", 2.0))]
    rows += [(s, "validation", "loss/generator", 10.0 + s) for s in (0, 4)]
    return pd.DataFrame(rows[::-1], columns=["step", "split", "name", "value"])


def test_loss_curves_draw_the_numbers_in_the_order_of_steps():
    axes = Figure().subplots()
    lines = {line.get_label(): line for line in loss_curves(axes, history())}
    assert set(lines) == {"loss/generator (train)", "loss/generator (validation)"}
    np.testing.assert_array_equal(lines["loss/generator (train)"].get_xydata(), [[s, s] for s in range(5)])
    np.testing.assert_array_equal(lines["loss/generator (validation)"].get_xydata(), [[0, 10], [4, 14]])
    assert lines["loss/generator (validation)"].get_linestyle() == "--"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss")
    with pytest.raises(ValueError, match="no 'l2'; it holds"):
        loss_curves(axes, history(), ["l2"])
    with pytest.raises(ValueError, match=r"lacks the columns \['split'\]"):
        loss_curves(axes, history().drop(columns="split"))


def test_run_curves_set_runs_side_by_side_and_show_where_one_returned():
    rising = [(s, "train", "l1", float(s)) for s in (4, 0, 2)]
    returned = [(s, "train", "l1", 2.0 * s) for s in range(5)] + [
        (3, "guard", "harm", 1.4),
        (3, "guard", "returned_to", 1),
    ]
    frames = {
        label: pd.DataFrame(rows, columns=["step", "split", "name", "value"])
        for label, rows in (("never", rising), ("guarded", returned))
    }
    axes = Figure().subplots()
    lines = run_curves(axes, frames, "l1", marks={"starts": 2}, ylabel="L1")
    np.testing.assert_array_equal(lines[0].get_xydata(), [[0, 0], [2, 2], [4, 4]])
    assert lines[0].get_color() != lines[1].get_color()
    shown = {line.get_label(): line for line in axes.lines}
    np.testing.assert_array_equal(shown["returned to step 1"].get_xydata(), [[3, 6]])
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [2]
    assert [text.get_text().strip() for text in axes.texts] == ["starts"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "L1")
    (harm,) = run_curves(Figure().subplots(), {"guarded": frames["guarded"]}, "harm", split="guard")
    np.testing.assert_array_equal(harm.get_xydata(), [[3, 1.4]])
    empty = Figure().subplots()
    assert run_curves(empty, {}, "l1", log=True) == []
    assert [text.get_text() for text in empty.texts] == ["not run"]
    spiky = pd.DataFrame(
        [(s, "train", "l1", 100.0 if s == 5 else 1.0) for s in range(11)], columns=frames["never"].columns
    )
    (smooth,) = run_curves(Figure().subplots(), {"a": spiky}, "l1", smooth=3)
    assert smooth.get_ydata().max() == 1.0  # a median forgets a lone spike
    with pytest.raises(ValueError, match="never: its history holds no 'harm' of split 'guard'"):
        run_curves(Figure().subplots(), frames, "harm", split="guard")


def test_token_usage_sorts_shares_and_marks_dead_codes():
    axes = Figure().subplots()
    line = token_usage(axes, torch.tensor([1, 0, 5, 0, 2, 0, 0, 0]), log=False)
    np.testing.assert_allclose(line.get_ydata()[:8], [62.5, 25, 12.5, 0, 0, 0, 0, 0])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["3 of 8 codes used", "even use (12 %)", "5 unused"]
    assert axes.get_ylabel() == "share of tokens [%]"
    with pytest.raises(ValueError, match="none negative"):
        token_usage(axes, [1, -1])
    token_usage(Figure().subplots(), np.zeros(4))  # nothing was used: still a picture


def test_token_grid_gives_equal_codes_equal_colors_and_writes_small_grids_out():
    tokens = np.array([[[7, 7], [7, 3]], [[3, 7], [9, 9]]])
    figure = Figure()
    images = token_grid(figure, tokens, num_codes=16)
    shades = np.stack([image.get_array() for image in images])
    for code in (3, 7, 9):
        assert len(np.unique(shades[tokens == code])) == 1
    assert len(np.unique(shades)) == 3
    assert shades[tokens == 7][0] == 0  # the commonest is darkest
    assert [t.get_text() for t in figure.axes[0].texts] == ["7", "7", "7", "3"]
    with pytest.raises(ValueError, match="outside a codebook of 9"):
        token_grid(Figure(), tokens, num_codes=9)


def test_plotting_leaves_pyplot_alone():
    import matplotlib.pyplot as plt

    before = plt.get_fignums(), dict(matplotlib.rcParams)
    target, output = ramp_maps(3)
    reconstruction_strip(Figure(), target, output)
    pose_strip(Figure().subplots(), small_clip())
    assert (plt.get_fignums(), dict(matplotlib.rcParams)) == before


# ---- colors ----------------------------------------------------------------------------------------------------------

# Machado, Oliveira & Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009),
# severity 1, on linear RGB.
VISION = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(color, vision):
    srgb = np.array(colors.rgb(color))
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.array(VISION[vision]) @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("palette", [colors.SIDES, colors.SIDES_ON_DARK])
def test_sides_of_a_body_differ_for_every_kind_of_color_vision(vision, palette):
    left, right, center = (seen(palette[side], vision) for side in ("left", "right", "center"))
    assert np.linalg.norm(left - right) > 20
    assert min(np.linalg.norm(left - center), np.linalg.norm(right - center)) > 12
