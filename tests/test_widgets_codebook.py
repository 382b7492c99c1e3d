"""The codebook explorer: its pictures are the library's, a replacement changes what it should and is taken back whole,
what is told about codes is right, and what is saved is read again."""

import base64
import io
import re

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from PIL import Image

from motionkit.data.cameras import dome
from motionkit.data.catalogue import load_dataset
from motionkit.data.keypoints import read_keypoints
from motionkit.data.skeleton import H36M_17
from motionkit.data.windows import cut_windows, thin
from motionkit.metrics.tokens import similar_codes, usage
from motionkit.models.dvae import DVAE, DVAEConfig
from motionkit.models.vqgan import VQGAN, VQGANConfig
from motionkit.representation.heatmap_video import HeatmapVideo
from motionkit.representation.heatmaps import limbs_to_heatmaps
from motionkit.widgets.codebook_explorer import CodebookExplorer, explore_codebook
from motionkit.widgets.codebook_study import EditedTokens, ModelStudy, SeenWindows
from motionkit.widgets.codebook_views import panel_row, panels, usage_bars
from motionkit.widgets.pictures import Still, colored, outlined

SIZES = {"widths": (8, 8), "encoder_blocks": 1, "decoder_blocks": 1, "code_dim": 8, "halving_stem": True}
VIDEO = HeatmapVideo(H36M_17, "2d", 32, 0.75, tuple(dome()))


def vqgan(num_downsamples=3, num_codes=16, channels=(16, 1), seed=0):
    torch.manual_seed(seed)
    config = VQGANConfig(*channels, num_downsamples=num_downsamples, num_codes=num_codes, perceptual="none",
                         adversarial_start=None, **SIZES)  # fmt: skip
    model = VQGAN(config).eval()
    with torch.no_grad():  # codes from among latents, so that many of them are used
        latents = model.before_quantizer(model.encoder(torch.rand(2, channels[0], 16, 32, 32) ** 8))
        rows = latents.movedim(1, -1).flatten(0, -2)
        model.quantizer.codebook.copy_(rows[torch.randperm(len(rows))[:num_codes]])
    return model


@pytest.fixture(scope="module")
def windows():
    clips = load_dataset("sample", H36M_17)
    return thin(cut_windows(clips, length=16, stride=16, fps=20.0), 3)


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(3)
    dvae = DVAE(DVAEConfig(16, 1, num_downsamples=3, num_codes=16, **SIZES)).eval()
    return {"f4": vqgan(2), "f8-16": vqgan(), "f8-32": vqgan(num_codes=32), "dvae": dvae}


@pytest.fixture
def explorer(windows, models, monkeypatch, tmp_path):
    monkeypatch.setenv("MOTIONKIT_BATCH", "0")
    explorer = explore_codebook(windows, VIDEO, models, folder=tmp_path / "saved")
    assert isinstance(explorer, CodebookExplorer)
    assert explorer.message.value == ""
    return explorer


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


# ---- edited tokens ---------------------------------------------------------------------------------------------------


def test_replacing_changes_one_cell_and_undo_and_reset_restore_all_of_it():
    before = torch.arange(2 * 3 * 3).reshape(2, 3, 3)
    edits = EditedTokens(before)
    assert (edits.cells, edits.can_undo) == ([], False)
    edits.replace((1, 2, 0), 5)
    assert (edits.tokens != before).nonzero().tolist() == [[1, 2, 0]]
    assert edits.tokens[1, 2, 0] == 5
    edits.replace((1, 2, 0), 6)  # the same cell again: one step
    edits.replace((0, 0, 0), 9)
    assert edits.cells == [(0, 0, 0), (1, 2, 0)]
    edits.undo()
    assert edits.cells == [(1, 2, 0)]
    edits.undo()
    assert torch.equal(edits.tokens, before)
    edits.undo()  # nothing is left to take back
    edits.replace((0, 1, 1), int(before[0, 1, 1]))  # what is there already
    assert not edits.can_undo
    edits.replace((0, 1, 1), 17)
    edits.reset()
    assert torch.equal(edits.tokens, before)
    assert not edits.can_undo
    assert torch.equal(before, torch.arange(18).reshape(2, 3, 3))  # the argument is left alone


# ---- what is known of codes ------------------------------------------------------------------------------------------


def test_a_study_agrees_with_the_model(windows, models):
    seen = SeenWindows(windows, VIDEO)
    study, model = ModelStudy(models["f8-16"], seen), models["f8-16"]
    drawn = VIDEO(windows.positions, torch.Generator().manual_seed(0), windows.confidence)
    tokens = torch.cat([model.encode(clip) for clip in drawn["input"].split(1)])
    assert torch.equal(study.tokens, tokens)
    assert torch.equal(study.counts, usage(tokens, 16))
    np.testing.assert_allclose(study.see(1).target, drawn["target"][1].numpy(), atol=1e-5)
    np.testing.assert_allclose(study.decode(tokens[2]), model.decode(tokens)[2].numpy(), atol=1e-5)
    assert torch.equal(study.vectors, model.quantizer.codebook.detach())
    for code in range(16):
        places = study.places(code)
        assert len(places) == study.counts[code]
        assert all(tokens[window][cell] == code for window, cell in places)


@pytest.mark.parametrize("quantizer", ["ema", "gumbel", "residual", "fsq", "lfq"])
def test_every_kind_of_quantizer_can_be_studied(windows, quantizer):
    torch.manual_seed(0)
    model = VQGAN(VQGANConfig(16, 1, num_downsamples=3, num_codes=16, quantizer=quantizer, perceptual="none",
                              adversarial_start=None, **SIZES)).eval()  # fmt: skip
    study = ModelStudy(model, SeenWindows(windows, VIDEO))
    seen = study.see(0)
    assert seen.tokens.shape == (2, 4, 4)
    assert study.counts.sum() == 3 * 2 * 4 * 4
    assert study.vectors.shape == (16, 8)
    np.testing.assert_allclose(study.decode(seen.tokens, seen.finer), seen.output, atol=1e-4)
    assert (seen.finer is not None) == (quantizer == "residual")


def test_a_patch_is_the_cell_with_its_surroundings_and_a_mean_patch_their_mean(windows, models):
    study = ModelStudy(models["f8-16"], SeenWindows(windows, VIDEO))
    output = study.see(0).output[0]
    patch = study.patch(0, (1, 0, 2))
    assert patch.shape == (16, 16)
    np.testing.assert_array_equal(patch[:4], 0)  # above the picture
    np.testing.assert_array_equal(patch[4:], output[12, :12, 12:28])
    code = int(study.tokens[0, 1, 0, 2])
    expected = sum(study.patch(*place) for place in study.places(code)) / len(study.places(code))
    np.testing.assert_allclose(study.mean_patch(code), expected, atol=1e-6)
    dead = int((study.counts == 0).nonzero()[0])
    assert study.mean_patch(dead) is None


@pytest.mark.parametrize("name", ["f8-16", "dvae"])
def test_codes_are_what_the_decoder_gets(windows, models, name):
    """A clip decoded from the study's vectors is the clip decoded from tokens."""
    model, study = models[name], ModelStudy(models[name], SeenWindows(windows, VIDEO))
    tokens = torch.arange(2 * 4 * 4).reshape(1, 2, 4, 4) % 16
    vectors = study.vectors[tokens].movedim(-1, 1)
    with torch.no_grad():
        decoded = model._decode(vectors) if name == "f8-16" else model.decoder(vectors)
    torch.testing.assert_close(decoded, model.decode(tokens))


def test_the_bars_count_codes_and_mark_the_chosen_one():
    bars = usage_bars(torch.tensor([0, 6, 2, 0]), chosen=2, width_px=400, height_px=60)
    assert "2 of 4 codes used, 2 unused" in bars
    assert "most used first, up to 6 times" in bars
    assert 'd="M0 60H0.00V0.00H100.00V40.00H200.00V60.00H300.00V60.00H400V60Z"' in bars
    assert '<rect x="200.00" width="200.00"' in bars
    assert 'd="M150.00 0V60"' in bars  # the second most used


# ---- panels ----------------------------------------------------------------------------------------------------------


def test_panels_are_truth_reconstruction_error_and_the_edit_with_its_change(windows, models):
    study = ModelStudy(models["f8-16"], SeenWindows(windows, VIDEO))
    seen = study.see(0)
    edited = seen.output.copy()
    edited[0, 5, :8, :8] += 0.25
    shown = panels(seen, edited, 5)
    truth, output, error, mine, change = (channels[0] for channels in shown.values())
    np.testing.assert_array_equal(truth, colored(seen.target[0, 5]))
    np.testing.assert_array_equal(output, colored(seen.output[0, 5]))
    top = float(np.abs(seen.target - seen.output).max())
    np.testing.assert_array_equal(error, colored(np.abs(seen.target - seen.output)[0, 5], "viridis", top))
    np.testing.assert_array_equal(mine, colored(edited[0, 5]))
    assert (change[:8, :8] == change[0, 0]).all()
    assert (change[8:] == change[31, 31]).all()
    assert list(shown)[-1] == "change, 0 to 0.25"
    assert list(panels(seen, None, 5)) == list(shown)[:3]


def test_the_outline_surrounds_the_cell_in_every_panel():
    shown = {name: np.zeros((1, 60, 60, 3), np.uint8) for name in "abc"}
    plain, marked = panel_row(shown, None, 20), panel_row(shown, (0, 1, 2), 20)
    assert plain.shape == (180, 3 * (180 + 3) - 3, 3)
    different = (plain != marked).any(-1)
    for panel in range(3):
        left = panel * 183 + 2 * 60
        assert different[60:120, left : left + 60].sum() == 4 * 2 * (60 - 2)
    assert different.sum() == 3 * 4 * 2 * 58
    picture = np.zeros((9, 9, 3), np.uint8)
    assert outlined(picture, 1, 1, 7, "#FFFFFF")[3:6, 3:6].max() == 0
    assert picture.max() == 0  # the argument is left alone


def test_three_projections_are_explored_as_well(windows, monkeypatch, tmp_path):
    monkeypatch.setenv("MOTIONKIT_BATCH", "0")
    video = HeatmapVideo(H36M_17, "3d", 32, 0.75)
    explorer = explore_codebook(windows, video, {"3D": vqgan(channels=(3, 3))}, folder=tmp_path)
    assert "from the top: YZ, XZ, XY" in explorer.status.value
    picture = pixels(explorer.picture.value)
    assert picture.shape == (2 * (3 * 33 - 1), 2 * (3 * 33 - 1), 3)
    explorer.replace(3)
    explorer.save_motion.click()
    assert "only 2D heatmaps can be read back" in explorer.message.value
    assert list(tmp_path.iterdir()) == []


# ---- the widget ------------------------------------------------------------------------------------------------------


def test_sliders_reach_every_model_and_no_other(explorer, models):
    seen = set()
    for rate in (4, 8):
        explorer.compression.value = rate
        for size in list(explorer.codes.options):
            explorer.codes.value = size
            for name in list(explorer.variant.options):
                explorer.variant.value = name
                seen.add(name)
                assert explorer.message.value == ""
                assert models[name].config.num_codes == size
                assert models[name].config.num_downsamples == {4: 2, 8: 3}[rate]
                assert len(explorer.tokens.tokens) == 16 // rate
                assert len(explorer.tokens.shades) == size
                assert name in explorer.status.value
    assert seen == set(models)
    explorer.codes.value, explorer.compression.value = 32, 4  # no model has both: the nearest codebook is taken
    assert explorer.codes.value == 16
    assert explorer.variant.layout.display == "none"
    explorer.compression.value = 8
    assert explorer.variant.options == ("f8-16", "dvae")
    assert explorer.variant.layout.display is None


def test_window_frame_and_cell_change_the_picture_and_a_window_is_encoded_once(explorer, monkeypatch):
    explorer.compression.value = 8
    explorer.tokens.cell = [1, 2, 2]
    calls = []
    monkeypatch.setattr(explorer.study.model, "reconstruct", lambda clips: calls.append(clips))
    pictures = [explorer.picture.value]
    for control, trait, value in [(explorer.frame, "value", 12), (explorer.window, "value", 2),
                                  (explorer.tokens, "cell", [1, 3, 3])]:  # fmt: skip
        setattr(control, trait, value)
        assert explorer.message.value == ""
        assert explorer.picture.value not in pictures
        pictures.append(explorer.picture.value)
    assert explorer.tokens.step == 1
    explorer.tokens.cell = [0, 3, 3]  # a token of another time: its time is shown
    assert explorer.frame.value == 4
    assert explorer.tokens.step == 0
    assert calls == []


def test_a_code_is_described_by_its_uses_and_neighbors(explorer):
    explorer.compression.value = 8
    code = int(explorer.edits.tokens[explorer.cell])
    places = explorer.study.places(code)
    assert f"Code {code}" in explorer.about.value
    assert f"used {len(places)}× " in explorer.about.value
    assert explorer.code.value == code
    nearest, _ = similar_codes(explorer.study.vectors, code, 10)
    labels = [tile["label"].split("\n")[0] for tile in explorer.similar.tiles]
    assert labels == [str(other) for other in nearest.tolist()]
    away = [float(re.search(r"([\d.]+) away", tile["title"])[1]) for tile in explorer.similar.tiles]
    assert away == sorted(away)
    png = base64.b64decode(explorer.places.tiles[0]["png"])
    factor = len(pixels(png)) // 16
    np.testing.assert_array_equal(pixels(png)[::factor, ::factor], colored(explorer.study.patch(*places[0])))
    window, cell = explorer._places[-1]
    explorer.places.picked = [len(explorer._places) - 1, 1]
    assert (explorer.window.value, explorer.cell) == (window, cell)
    assert int(explorer.edits.tokens[cell]) == code


def test_a_replacement_shows_the_decoded_clip_and_undo_brings_the_picture_back(explorer):
    explorer.compression.value = 8
    cell, before, picture = explorer.cell, explorer.edits.tokens.clone(), explorer.picture.value
    wanted = explorer._similar[2]
    explorer.similar.picked = [2, 1]
    assert explorer.message.value == ""
    expected = before.clone()
    expected[cell] = wanted
    assert torch.equal(explorer.edits.tokens, expected)
    assert explorer.tokens.tokens == expected.tolist()
    assert explorer.tokens.edited == [list(cell)]
    np.testing.assert_allclose(explorer.edited, explorer.study.model.decode(expected[None])[0].numpy(), atol=1e-5)
    assert explorer.picture.value != picture
    assert f"<b>Code {wanted}</b>, in place of {int(before[cell])}" in explorer.about.value
    explorer.code.value = (wanted + 1) % 16
    assert int(explorer.edits.tokens[cell]) == (wanted + 1) % 16
    explorer.undo.click()
    assert torch.equal(explorer.edits.tokens, before)
    assert explorer.picture.value == picture  # bit for bit
    assert explorer.undo.disabled
    assert explorer.edited is None


def test_edits_belong_to_a_model_and_a_window(explorer):
    explorer.compression.value = 8
    explorer.replace((explorer.code.value + 1) % 16)
    mine = explorer.edits.tokens
    explorer.window.value = 1
    assert explorer.edits.cells == []
    explorer.compression.value = 4
    explorer.window.value = 0
    assert explorer.edits.cells == []
    explorer.compression.value = 8
    assert torch.equal(explorer.edits.tokens, mine)
    explorer.reset.click()
    assert explorer.edits.cells == []
    assert explorer.reset.disabled


def test_what_goes_wrong_is_said_and_the_last_picture_stays(explorer, monkeypatch):
    explorer.compression.value = 8
    picture = explorer.picture.value

    def broken(_):
        raise RuntimeError("out of <memory>")

    with monkeypatch.context() as patch:
        patch.setattr(explorer.study.model, "decode", broken)
        explorer.similar.picked = [0, 1]
    assert "out of &lt;memory&gt;" in explorer.message.value
    assert explorer.picture.value == picture
    explorer.undo.disabled = False
    explorer.undo.click()
    assert explorer.message.value == ""


def test_the_view_and_the_edited_motion_are_saved_and_the_motion_is_read_again(explorer, windows, tmp_path):
    explorer.compression.value = 8
    explorer.replace((explorer.code.value + 1) % 16)
    motion = explorer.motion()
    explorer.save_view.click()
    view = explorer.message.value
    explorer.save_motion.click()
    files = {path.suffix: path for path in (tmp_path / "saved").iterdir()}
    assert set(files) == {".png", ".json"}
    assert str(files[".png"]) in view
    assert base64.b64decode(re.search(r"base64,([^\"]+)", view)[1]) == files[".png"].read_bytes()
    assert pixels(files[".png"].read_bytes()).std() > 10
    again = read_keypoints(files[".json"], fps=20.0, skeleton=H36M_17)
    np.testing.assert_array_equal(again.confidence, motion.confidence)
    known = motion.confidence > 0  # the sample's skeleton has neither nose nor crown
    assert 0.8 < known.mean() < 1
    np.testing.assert_array_equal(again.keypoints[known], motion.keypoints[known])
    np.testing.assert_array_equal(motion.keypoints[~known], explorer._windows.keypoints[0].numpy()[~known])
    assert motion.keypoints.shape == (16, 17, 2)


def test_the_motion_follows_the_picture_that_the_tokens_stand_for(explorer):
    """With a perfect decoder the keypoints are the true ones; where it draws them elsewhere, they are found there."""
    explorer.compression.value = 8
    truth, peaks = explorer._windows.keypoints[0], explorer._windows.peaks[0]
    known = peaks.numpy() > 0
    seen, shift = explorer.study.see(0), torch.tensor([1.5, -1.0])
    for moved in (truth, truth + shift):
        picture = limbs_to_heatmaps(moved[None], H36M_17.limbs, 32, 0.75, peaks[None], merge=True, video=True)
        explorer.study._seen[0] = type(seen)(seen.target, picture[0].numpy(), seen.tokens)
        error = np.linalg.norm(explorer.motion().keypoints - moved.numpy(), axis=-1)[known]
        assert error.mean() < 0.35  # of a shift by 1.8 pixels


def test_all_controls_have_names_and_the_grid_starts_at_a_cell_with_something_in_it(explorer):
    controls = [explorer.compression, explorer.codes, explorer.window, explorer.frame, explorer.code]
    assert [control.description for control in controls] == ["compression", "codes", "window", "frame", "code"]
    assert all(isinstance(control, widgets.Widget) and control.tooltip for control in controls)
    step, row, column = explorer.cell
    rate, output = explorer.study.rate, explorer.study.see(0).output[0, explorer.frame.value]
    sums = output.reshape(32 // rate, rate, 32 // rate, rate).sum((1, 3))
    assert step == explorer.frame.value // rate
    assert sums[row, column] == sums.max()


def test_a_batch_run_gets_all_models_below_one_another(windows, models):
    still = explore_codebook(windows, VIDEO, models)
    assert isinstance(still, Still)
    assert len(still.pictures) == 3
    assert all(pixels(png).std() > 5 for png in still.pictures)
    assert "f8-32" in still.caption


def test_without_models_there_is_nothing_to_explore(windows):
    with pytest.raises(ValueError, match="no models to explore"):
        explore_codebook(windows, VIDEO, {})
