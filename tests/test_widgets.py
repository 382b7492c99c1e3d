"""The explorers: a slider changes the picture, the picture is the library's, and what is wrong is said."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from motionkit.data.catalogue import load_dataset
from motionkit.data.clip import MotionClip
from motionkit.plotting.heatmaps import composite
from motionkit.plotting.motion import limb_sides
from motionkit.representation.heatmaps import fit_to_box, limbs_to_projections
from motionkit.widgets import clip_explorer
from motionkit.widgets.clip_explorer import (
    BY_SIDE,
    JOINTS,
    MERGED,
    VOLUME,
    ClipExplorer,
    explore_clip,
    frame_picture,
    layer_names,
)
from motionkit.widgets.pictures import Still, colored, side_by_side, to_png

START = {"sigma_px": 1.5, "resolution": 32, "azimuth_deg": 30, "layer": BY_SIDE}


@pytest.fixture(scope="module")
def clips():
    return load_dataset("sample")


@pytest.fixture
def live(monkeypatch):
    monkeypatch.setenv("MOTIONKIT_BATCH", "0")


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_a_png_keeps_every_heatmap_pixel_as_a_square():
    picture = np.arange(4 * 3 * 3, dtype=np.uint8).reshape(4, 3, 3)
    large = pixels(to_png(picture, 10))
    assert large.shape == (12, 9, 3)
    np.testing.assert_array_equal(large, picture.repeat(3, 0).repeat(3, 1))


def test_values_get_the_colors_of_their_map_and_the_ends_beyond_it():
    from matplotlib import colormaps

    picture = colored(np.array([[0.0, 0.5, 1.0, -3.0, 7.0]]))
    expected = np.rint(colormaps["magma"]([0.0, 128 / 255, 1.0, 0.0, 1.0])[:, :3] * 255)
    np.testing.assert_array_equal(picture[0], expected)
    np.testing.assert_array_equal(colored(np.array([[1.0]]), top=4.0), colored(np.array([[0.25]])))
    assert side_by_side([picture, picture, picture]).shape == (1, 17, 3)


# ---- clip explorer ---------------------------------------------------------------------------------------------------


def test_the_picture_is_what_the_library_draws(clips):
    clip = clips[0]
    picture = frame_picture(clip, 70, **START | {"layer": VOLUME})
    window = torch.from_numpy(clip.positions[64:128])
    window = window - window.mean((0, 1)) * torch.tensor([1.0, 0.0, 1.0])
    maps = limbs_to_projections(fit_to_box(window, 32)[6], clip.skeleton.limbs, 32, 1.5).numpy()
    difference = side_by_side([colored(m) for m in maps]).astype(int) - picture
    assert np.abs(difference).max() <= 4  # a color step or two, from rounding
    assert picture.shape == (32, 3 * 32 + 2, 3)


def test_whole_layers_and_single_limbs_belong_together(clips):
    clip = clips[0]
    names = layer_names(clip)
    assert len(names) == 4 + clip.skeleton.num_limbs
    merged = frame_picture(clip, 9, **START | {"layer": MERGED}).astype(int).sum(-1)
    single = np.stack([frame_picture(clip, 9, **START | {"layer": n}).astype(int).sum(-1) for n in names[4:]])
    np.testing.assert_array_equal(merged, single.max(0))  # brightness grows with the value, so the maximum passes on
    assert not np.array_equal(frame_picture(clip, 9, **START), frame_picture(clip, 9, **START | {"layer": JOINTS}))
    assert set(limb_sides(clip.skeleton)) == {"left", "right", "center"}
    assert composite(np.zeros((1, 4, 4)), ("left",)).max() == 0
    with pytest.raises(ValueError, match="has no layer 'nose'; it has limbs, by side"):
        frame_picture(clip, 0, **START | {"layer": "nose"})


def test_the_last_frames_of_a_clip_and_clips_shorter_than_a_window_are_drawn(clips):
    clip = clips[0]
    assert frame_picture(clip, clip.num_frames - 1, **START).any()
    short = MotionClip(clip.positions[:5], clip.fps, clip.skeleton)
    assert frame_picture(short, 4, **START).any()


def test_every_slider_changes_the_picture(clips, live):
    explorer = explore_clip(clips, resolution=32)
    assert isinstance(explorer, ClipExplorer)
    seen = [explorer.picture.value]
    for control, value in [("frame", 100), ("sigma", 3.0), ("resolution", 64), ("azimuth", -90), ("layer", VOLUME),
                           ("clip", 1)]:  # fmt: skip
        getattr(explorer, control).value = value
        assert explorer.message.value == ""
        assert explorer.picture.value not in seen, control
        seen.append(explorer.picture.value)
    assert explorer.frame.max == clips[1].num_frames - 1
    assert explorer.frame.value == 0
    assert explorer.player.payload["clips"][0]["name"] == clips[1].name


def test_frame_slider_and_player_move_each_other_without_an_echo(clips, live):
    explorer = explore_clip(clips, resolution=32)
    explorer.frame.value = 240
    assert explorer.player.wanted == [pytest.approx(240.5 / 120), 1]
    explorer.player.shown_s = 3.0
    assert explorer.frame.value == 360
    assert explorer.player.wanted[1] == 1  # the player is not sent back to where it says it is
    before = explorer.picture.value
    explorer.player.shown_s = 1e9
    assert explorer.frame.value == clips[0].num_frames - 1
    assert explorer.picture.value != before


def test_what_goes_wrong_is_said_in_the_widget_and_the_last_picture_stays(clips, live, monkeypatch):
    explorer = explore_clip(clips, resolution=32)
    before = explorer.picture.value

    def broken(*_, **__):
        raise ValueError("sigma <of> this kind")

    with monkeypatch.context() as patch:
        patch.setattr(clip_explorer, "limbs_to_heatmaps", broken)
        explorer.sigma.value = 2.0
    assert "sigma &lt;of&gt; this kind" in explorer.message.value
    assert explorer.picture.value == before
    explorer.sigma.value = 2.5
    assert explorer.message.value == ""
    assert explorer.picture.value != before


@pytest.mark.parametrize("layer", [BY_SIDE, JOINTS, VOLUME])
def test_a_slider_move_draws_one_frame_once(clips, live, layer, monkeypatch):
    explorer = explore_clip(clips, resolution=32, layer=layer)
    drawn = []

    def counted(function):
        def draw(keypoints, *arguments, **options):
            drawn.append(keypoints[..., 0, 0].numel())
            return function(keypoints, *arguments, **options)

        return draw

    for name in ("limbs_to_heatmaps", "keypoints_to_heatmaps", "limbs_to_projections"):
        monkeypatch.setattr(clip_explorer, name, counted(getattr(clip_explorer, name)))
    for frame in (100, 300):
        explorer.frame.value = frame
    assert drawn == [1, 1]


def test_a_batch_run_gets_a_still_picture_and_the_player(clips):
    still = explore_clip(clips, resolution=32)
    assert isinstance(still, Still)
    html = still._repr_html_()
    assert html.count("<img ") == 2
    assert "motionkitPlayer" in html
    assert "frame 1375" in html
    with pytest.raises(ValueError, match="list of clips is empty"):
        explore_clip([])
