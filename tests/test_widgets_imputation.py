"""The imputation explorer: gaps are painted and taken back whole, what is shown of them is the library's answer, and
what is saved is read again."""

import asyncio
import base64
import io
import math
import re
import threading
import time
from dataclasses import replace

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from PIL import Image

from motionkit.data.bvh import read_bvh
from motionkit.data.catalogue import load_dataset
from motionkit.data.clip import convert_clip
from motionkit.data.gaps import interpolate_gaps
from motionkit.data.masks import PATTERNS
from motionkit.data.skeleton import AMASS_18
from motionkit.data.windows import cut_windows, thin
from motionkit.metrics.scores import posterior_of_means
from motionkit.metrics.usual_levels import UsualLevels
from motionkit.models.elbo import log_posterior
from motionkit.models.fillers import bridged
from motionkit.models.hg_vae import HGVAE, HGVAEConfig
from motionkit.models.imputation import WIDER, impute, impute_map, leftovers_of
from motionkit.models.linear_prior import LinearPrior
from motionkit.models.motion_vae import MotionVAE, MotionVAEConfig
from motionkit.representation.pelvis_frame import clip_to_pelvis_frame
from motionkit.widgets.controls import Reactions
from motionkit.widgets.drawings import DOTTED, Panel, Shape, ellipse, to_figure, to_svg
from motionkit.widgets.imputation_explorer import ImputationExplorer, explore_imputation
from motionkit.widgets.imputation_study import NUM_DRAWS, Filling, ImputationStudy, Occlusion, Setting
from motionkit.widgets.imputation_views import FILLED, filling_panels, scores_table
from motionkit.widgets.pictures import Still

FRAMES = 16


def build(num_classes=0):
    torch.manual_seed(0)
    levels = ((54, 8), (8, 8), (1, 12))
    model = HGVAE(HGVAEConfig(18, FRAMES, levels, trunk_features=8, num_classes=num_classes)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "alpha" in name:
                parameter.fill_(0.3)
    return model


@pytest.fixture(scope="module")
def windows():
    clips = [convert_clip(clip_to_pelvis_frame(clip), AMASS_18) for clip in load_dataset("sample")]
    return thin(cut_windows(clips, length=FRAMES, stride=20, fps=25.0), 12)


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def linear(windows):
    return LinearPrior.fit(windows.positions, 4).calibrated(windows.positions)


@pytest.fixture(scope="module")
def leftovers(windows, model):
    return leftovers_of(model, windows.positions)


@pytest.fixture(scope="module")
def usual(windows, model):
    return replace(UsualLevels.of(posterior_of_means(model, windows.positions), 0.5), threshold=0.0)


@pytest.fixture
def study(windows, model, leftovers, linear):
    return ImputationStudy(windows, model, leftovers, windows.positions.mean(0), linear)


@pytest.fixture
def explorer(windows, model, leftovers, linear, usual, monkeypatch, tmp_path):
    monkeypatch.setenv("MOTIONKIT_BATCH", "0")
    mean = windows.positions.mean(0)
    explorer = explore_imputation(windows, model, leftovers, mean, linear=linear, usual=usual, folder=tmp_path / "s")
    assert isinstance(explorer, ImputationExplorer)
    assert explorer.message.value == ""
    return explorer


def mask(share=0.4):
    return PATTERNS["joints"]((1, FRAMES, 18, 3), share, torch.Generator().manual_seed(3))[0]


# ---- what is missing -------------------------------------------------------------------------------------------------


def test_painting_takes_whole_joints_and_undo_and_clear_give_back():
    gaps = Occlusion(4, 3)
    assert (gaps.can_undo, bool(gaps.is_seen.all())) == (False, True)
    gaps.paint([(2, 1), (0, 3)], True)
    assert (~gaps.is_seen).nonzero().tolist() == [[1, 2, 0], [1, 2, 1], [1, 2, 2], [3, 0, 0], [3, 0, 1], [3, 0, 2]]
    assert gaps.missing == [[0, 0, 0, 3], [0, 0, 0, 0], [0, 3, 0, 0]]
    gaps.paint([(2, 1)], True)  # is missing already: no change to take back
    gaps.paint([(2, 1), (2, 2)], False)
    assert gaps.missing == [[0, 0, 0, 3], [0, 0, 0, 0], [0, 0, 0, 0]]
    gaps.clear()
    assert gaps.is_seen.all()
    for lost in (3, 6, 0):
        gaps.undo()
        assert (~gaps.is_seen).sum() == lost
    assert not gaps.can_undo
    gaps.undo()  # nothing is left to take back
    assert gaps.is_seen.all()


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_are_the_librarys_and_replace_what_is_missing(name):
    gaps = Occlusion(FRAMES, 18)
    gaps.paint([(0, frame) for frame in range(FRAMES)], True)
    gaps.draw(name, 0.25, torch.Generator().manual_seed(5))
    expected = PATTERNS[name]((1, FRAMES, 18, 3), 0.25, torch.Generator().manual_seed(5))[0]
    assert torch.equal(gaps.is_seen, expected)
    assert sum(map(sum, gaps.missing)) == (~expected).sum()


# ---- what is computed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["mean", "interpolation", "linear", "no network"])
@pytest.mark.parametrize("method", ["fill", "ascent"])
def test_a_filling_is_the_librarys(study, windows, model, leftovers, linear, start, method):
    clips, is_seen = windows.positions[2:3], mask()
    mean = windows.positions.mean(0)
    given = {"linear": linear.given, "no network": bridged(linear.given, mean, linear.witnesses)}
    starts = {
        "mean": torch.where(is_seen, clips, mean),
        "interpolation": interpolate_gaps(clips, is_seen[None], mean),
        **{name: ask(clips, is_seen[None])[0] for name, ask in given.items()},
    }
    assert study.starts == tuple(starts)
    found = study.fill(Setting(2, start, method, 4), is_seen)
    if method == "fill":
        variance = given[start](clips, is_seen[None])[1] if start in given else None
        expected = impute(model, clips, is_seen[None], starts[start], leftovers, start_variance=variance, num_steps=4)[
            0
        ]
        assert found.kept_step is None
    else:
        answer = impute_map(model, clips, is_seen[None], starts[start], num_steps=4)
        expected = answer.clips[0]
        assert found.kept_step == int(answer.steps)
    assert torch.equal(found.start, starts[start][0])
    assert torch.equal(found.filled, expected)
    assert torch.equal(found.truth, clips[0])
    assert found.rmse_mm(found.truth) == 0
    wrong = (expected - clips[0])[~is_seen]
    assert found.rmse_mm(found.filled) == pytest.approx(1000 * wrong.square().mean().sqrt().item(), rel=1e-5)


def test_a_linear_model_that_was_not_calibrated_is_a_start_by_itself(windows, model, leftovers, linear):
    plain = ImputationStudy(windows, model, leftovers, linear.mean, replace(linear, witnesses=None))
    assert plain.starts == ("mean", "interpolation", "linear")
    assert ImputationStudy(windows, model, leftovers, linear.mean).starts == ("mean", "interpolation")


def test_scores_are_those_of_the_posteriors_means(study, windows, model):
    with torch.no_grad():
        expected = log_posterior(model.infer(windows.positions[:3], is_drawn=False))
    torch.testing.assert_close(study.scores(0, list(windows.positions[:3])), expected)


def test_the_spread_is_that_of_draws_and_the_same_each_time(study, linear, windows):
    is_seen, setting = mask(), Setting(1, "interpolation", "fill", 2)
    before = torch.random.get_rng_state()
    spread = study.spread(setting, is_seen)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(study.spread(setting, is_seen), spread)
    assert NUM_DRAWS > 2
    assert not spread[is_seen].any()
    assert (spread[~is_seen] > 0).all()
    known = bridged(linear.given, windows.positions.mean(0), linear.witnesses)
    for start, given in (("linear", linear.given), ("no network", known)):
        exact = (WIDER * given(windows.positions[1:2], is_seen[None])[1][0]).sqrt()
        assert torch.equal(study.spread(Setting(1, start, "fill", 0), is_seen), exact)
        drawn = study.spread(Setting(1, start, "fill", 2), is_seen)
        assert (drawn[~is_seen] > 0).all()
    for none in (Setting(1, "mean", "fill", 0), Setting(1, "linear", "ascent", 3)):
        assert study.spread(none, is_seen) is None


def test_a_clip_with_nothing_missing_and_one_with_everything_can_be_filled(study):
    for is_seen in (torch.ones(FRAMES, 18, 3, dtype=torch.bool), torch.zeros(FRAMES, 18, 3, dtype=torch.bool)):
        for method in ("fill", "ascent"):
            found = study.fill(Setting(0, "interpolation", method, 2), is_seen)
            assert found.filled.isfinite().all()
            assert math.isnan(found.rmse_mm(found.filled)) == bool(is_seen.all())
        study.spread(Setting(0, "interpolation", "fill", 2), is_seen)


def test_what_does_not_fit_is_refused(windows, model, leftovers, unchecked):
    mean = windows.positions.mean(0)
    for args, message in [
        ((leftovers[1:], mean), r"leftovers has shape \(15, 18, 3\), windows \(16, 18, 3\)"),
        ((leftovers, mean[:, 1:]), r"mean has shape \(16, 17, 3\), windows \(16, 18, 3\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            explore_imputation(windows, model, *args)
    with pytest.raises(ValueError, match=r"classes have shape \(2,\), and there are 12 windows"):
        explore_imputation(windows, model, leftovers, mean, classes=torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="1 class names for a model of 0 classes"):
        explore_imputation(windows, model, leftovers, mean, class_names=["walk"])


# ---- pictures --------------------------------------------------------------------------------------------------------


def test_panels_show_what_is_left_the_filled_pose_its_spread_and_the_curve():
    truth = torch.linspace(-1, 1, FRAMES * 54).reshape(FRAMES, 18, 3).sin()
    is_seen = torch.ones_like(truth, dtype=torch.bool)
    knee, frame = AMASS_18.index("left_knee"), 5
    is_seen[4:8, knee, 1] = False
    filled = torch.where(is_seen, truth, truth + 0.1)
    filling = Filling(truth, is_seen, torch.where(is_seen, truth, 0.0), filled)
    spread = torch.where(is_seen, 0.0, 0.03)
    options = {"frame": frame, "joint": knee, "axis": 1, "azimuth_deg": 0.0}
    whole, left, found, curve = filling_panels(filling, spread, AMASS_18, 25.0, **options)
    assert len(whole.shapes) == len(AMASS_18.limbs)
    broken = [shape for shape in left.shapes if shape.dashes == DOTTED]
    assert len(broken) == sum(knee in limb for limb in AMASS_18.limbs)
    dots = [shape for shape in left.shapes if len(shape.points) == 2 and np.ptp(shape.points, axis=0).max() == 0]
    assert len(dots) == 17
    (disc,) = [shape for shape in found.shapes if not shape.width_px]
    np.testing.assert_allclose(disc.points.mean(0), filled[frame, knee, :2], atol=1e-6)
    np.testing.assert_allclose(np.ptp(disc.points, axis=0), [0, 4 * 0.03], atol=1e-6)
    gap, band, *_ = curve.shapes
    np.testing.assert_allclose(gap.points[:2, 0], [3.5 / 25, 7.5 / 25])
    np.testing.assert_allclose(band.points[:FRAMES, 1], (filled - 2 * spread)[:, knee, 1], atol=1e-6)
    lines = {shape.color: shape.points for shape in curve.shapes if len(shape.points) == FRAMES}
    np.testing.assert_allclose(lines[FILLED][:, 1], filled[:, knee, 1], atol=1e-6)
    assert curve.labels == ("time [s]", "left_knee, y [m]")
    without = filling_panels(filling, None, AMASS_18, 25.0, **options)
    assert len(without[2].shapes) == len(found.shapes) - 1
    assert len(without[3].shapes) == len(curve.shapes) - 1


def test_a_drawing_is_the_same_on_screen_and_in_print():
    line = Shape(np.array([[0.0, 0.0], [2.0, 4.0]]), "#0072B2", 2.0, dashes=DOTTED)
    disc = ellipse(np.array([1.0, 2.0]), np.array([0.5, 1.0]), "#009E73", 0.5)
    panel = Panel((10, 20, 100, 80), (0, 0), (2, 4), (disc, line),
                  ("time <s>", "y"), legend=(("truth", "#000000"),))  # fmt: skip
    svg = to_svg([panel], (150, 140)).decode()
    assert 'd="M0.0 80.0L100.0 0.0" fill="none" stroke="#0072B2" stroke-width="2" stroke-dasharray="1 4"' in svg
    assert "time &lt;s&gt;" in svg
    assert ">1.5<" in svg  # a tick
    area = re.search(r'd="M([\d. L]+)Z"', svg)[1]
    points = np.array([[float(number) for number in point.split()] for point in area.split("L")])
    np.testing.assert_allclose(points.min(0), [25, 20])
    np.testing.assert_allclose(points.max(0), [75, 60])
    figure = to_figure([panel], (150, 140))
    (axes,) = figure.axes
    np.testing.assert_allclose(axes.get_position().bounds, (10 / 150, 40 / 140, 100 / 150, 80 / 140))
    np.testing.assert_allclose(axes.lines[0].get_xydata(), line.points)
    assert (axes.get_xlim(), axes.get_ylim(), axes.get_xlabel()) == ((0, 2), (0, 4), "time <s>")


def test_the_table_tells_errors_scores_and_the_verdict():
    truth = torch.zeros(2, 1, 3)
    is_seen = torch.tensor([[[True, True, False]], [[True, True, False]]])
    filling = Filling(truth, is_seen, truth + 0.05 * ~is_seen, truth + 0.02 * ~is_seen)
    scores = torch.tensor([[-3.0, -1.0, 2.0], [-8.0, -4.0, 0.5]])
    usual = UsualLevels(torch.tensor([1.0, -2.0]).double(), torch.tensor([2.0, 0.5]).double(), 5.0)
    rows = re.findall("<tr>(.*?)</tr>", scores_table(filling, scores, usual))
    texts = [[re.sub("<.*?>", "", cell) for cell in re.findall("<td.*?>(.*?)</td>", row)] for row in rows]
    assert texts == [
        ["", "RMSE [mm]", "log p(z|x) [nats]", "z0", "z1", "balanced", "verdict"],
        ["start", "50.0", "−11.0", "−3.0", "−8.0", "−14.0", "unusual"],
        ["filled", "20.0", "−5.0", "−1.0", "−4.0", "−5.0", "unusual"],
        ["truth", "0.0", "2.5", "2.0", "0.5", "5.5", "usual"],
    ]
    assert "unusual at or below −5.0" in scores_table(filling, scores, usual)
    assert "usual" not in scores_table(filling, scores, None)
    # a threshold that so few clips do not give calls nothing usual either
    few = scores_table(filling, scores, replace(usual, threshold=math.inf))
    assert "too few usual clips for a verdict" in few
    assert ">usual<" not in few
    assert few.count(">–<") == 3
    assert "inf" not in few


# ---- the widget ------------------------------------------------------------------------------------------------------


def test_it_starts_with_joints_missing_and_every_setting_changes_the_picture(explorer):
    assert 0.2 < 1 - explorer.occlusion.is_seen.float().mean() < 0.4
    assert explorer.grid.missing == explorer.occlusion.missing
    explorer.clear.click()
    explorer.paint([(7, frame) for frame in range(4, 13)], True)
    assert (explorer.grid.frame, explorer.grid.joint) == (8, 7)
    pictures = [explorer.picture.value]
    for control, value in [(explorer.start, "mean"), (explorer.steps, 3), (explorer.start, "interpolation"),
                           (explorer.method, "ascent"), (explorer.steps, 0), (explorer.window, 5),
                           (explorer.axis, 2), (explorer.azimuth, -60)]:  # fmt: skip
        control.value = value
        assert explorer.message.value == ""
        assert explorer.picture.value not in pictures
        pictures.append(explorer.picture.value)
    for name, pattern in explorer.patterns.items():
        before = explorer.occlusion.is_seen
        pattern.click()
        assert not torch.equal(explorer.occlusion.is_seen, before), name
        assert explorer.message.value == ""
        assert explorer.grid.missing == explorer.occlusion.missing


def test_a_stroke_is_filled_and_undo_brings_the_picture_back(explorer):
    explorer.clear.click()
    assert explorer.clear.disabled
    clear = explorer.picture.value, explorer.numbers.value
    assert "<b>start</b></td>" in explorer.numbers.value
    assert "–" in explorer.numbers.value
    explorer.joint.value, explorer.frame.value = 4, 9
    cells = [[4, 9], [4, 10], [5, 10]]
    explorer.grid.stroke = {"cells": cells, "is_missing": True, "number": 1}
    assert explorer.message.value == ""
    assert (~explorer.occlusion.is_seen).all(-1).t().nonzero().tolist() == cells
    assert (explorer.joint.value, explorer.frame.value) == (4, 9)  # among the painted
    filling = explorer.filling
    assert torch.equal(filling.filled[filling.is_seen], filling.truth[filling.is_seen])
    assert f"{filling.rmse_mm(filling.filled):.1f}" in explorer.numbers.value
    assert "1% missing" in explorer.status.value
    explorer.grid.stroke = {"cells": [[11, 2], [11, 3]], "is_missing": True, "number": 2}
    assert (explorer.joint.value, explorer.frame.value) == (11, 3)  # it goes where the hand was
    explorer.undo.click()
    explorer.undo.click()
    assert explorer.occlusion.is_seen.all()
    explorer.joint.value, explorer.frame.value = 0, FRAMES // 2
    assert (explorer.picture.value, explorer.numbers.value) == clear
    assert explorer.message.value == ""


def test_numbers_and_verdict_are_those_of_the_library(explorer, windows, model, usual):
    filling = explorer.filling
    clips = torch.stack([filling.start, filling.filled, filling.truth])
    with torch.no_grad():
        levels = log_posterior(model.infer(clips, is_drawn=False))
    assert len(set(usual.is_unusual(levels).tolist())) == 2  # both words are shown
    found = re.findall("<tr>(.*?)</tr>", explorer.numbers.value)[1:]
    for row, clip, parts in zip(found, clips, levels.split(1, dim=1), strict=True):
        cells = [re.sub("<.*?>", "", cell).replace("−", "-") for cell in re.findall("<td.*?>(.*?)</td>", row)]
        assert float(cells[1]) == pytest.approx(filling.rmse_mm(clip), abs=0.06)
        assert float(cells[2]) == pytest.approx(parts.sum().item(), abs=0.06)
        assert list(map(float, cells[3:-2])) == pytest.approx(parts[:, 0].tolist(), abs=0.06)
        assert float(cells[-2]) == pytest.approx(usual.total(parts).item(), abs=0.06)
        assert cells[-1] == ("unusual" if usual.is_unusual(parts) else "usual")


def test_what_goes_wrong_is_said_and_the_last_picture_stays(explorer, monkeypatch):
    picture = explorer.picture.value

    def broken(*_):
        raise RuntimeError("out of <memory>")

    with monkeypatch.context() as patch:
        patch.setattr(explorer._study.model, "reconstruct", broken)
        explorer.steps.value = 7
    assert "out of &lt;memory&gt;" in explorer.message.value
    assert "could not be filled in" in explorer.status.value
    assert explorer.picture.value == picture
    explorer.steps.value = 10
    assert explorer.message.value == ""
    assert explorer.picture.value == picture


def test_in_a_kernel_the_spread_comes_when_the_hand_rests(explorer, monkeypatch):
    monkeypatch.setattr("motionkit.widgets.imputation_explorer.SPREAD_AFTER_S", 0.02)
    drawn, spread = [], explorer._study.spread
    monkeypatch.setattr(explorer._study, "spread", lambda *args: drawn.append(args) or spread(*args))

    async def drag():
        for steps in (3, 4, 5):
            explorer.steps.value = steps
        explorer.save_motion.click()
        first, told = explorer.picture.value, explorer.message.value
        assert drawn == []
        await asyncio.sleep(0.5)
        assert [setting.num_steps for setting, _ in drawn] == [5]
        assert explorer.picture.value != first
        assert explorer.message.value == told != ""
        explorer.frame.value += 1  # it is drawn once
        await asyncio.sleep(0.1)

    asyncio.run(drag())
    assert len(drawn) == 1
    assert "spread drawn in" in explorer.status.value


def test_the_view_and_the_filled_motion_are_saved_and_the_motion_is_read_again(explorer, tmp_path):
    explorer.save_view.click()
    view = explorer.message.value
    explorer.save_motion.click()
    files = {path.suffix: path for path in (tmp_path / "s").iterdir()}
    assert set(files) == {".png", ".bvh"}
    assert str(files[".png"]) in view
    assert base64.b64decode(re.search(r"base64,([^\"]+)", view)[1]) == files[".png"].read_bytes()
    assert np.asarray(Image.open(io.BytesIO(files[".png"].read_bytes())).convert("L")).std() > 5
    again = read_bvh(files[".bvh"], unit_m=0.01)
    assert (again.skeleton, again.fps) == (AMASS_18, 25.0)
    np.testing.assert_allclose(again.positions, explorer.filling.filled.numpy(), atol=2e-4)


def test_all_controls_have_names(explorer):
    controls = [explorer.window, explorer.frame, explorer.method, explorer.start, explorer.steps, explorer.share,
                explorer.joint, explorer.axis, explorer.azimuth, *explorer.generation.temperatures]  # fmt: skip
    assert all(isinstance(control, widgets.Widget) and control.description and control.tooltip for control in controls)
    assert explorer.start.options == ("mean", "interpolation", "linear", "no network")
    assert explorer.start.value == "no network"
    assert list(explorer.patterns) == list(PATTERNS)


def test_a_batch_run_gets_a_picture_the_numbers_and_a_player(windows, model, leftovers):
    still = explore_imputation(windows, model, leftovers, windows.positions.mean(0))
    assert isinstance(still, Still)
    assert np.asarray(Image.open(io.BytesIO(still.pictures[0])).convert("L")).std() > 5
    assert "RMSE" in still.extra_html
    assert "motionkit-player" in still.extra_html
    assert "start: interpolation, 10 steps" in still.caption

    async def in_a_kernel():
        return explore_imputation(windows, model, leftovers, windows.positions.mean(0))

    assert asyncio.run(in_a_kernel()).pictures == still.pictures  # the spread is waited for


# ---- new motion ------------------------------------------------------------------------------------------------------


def test_generated_motion_is_the_models_at_these_temperatures(explorer, tmp_path):
    panel = explorer.generation
    assert [slider.value for slider in panel.temperatures] == [1, 1, 1]
    payloads = [panel.player.payload["clips"][0]["positions"]]
    for slider in panel.temperatures:
        slider.value = 0.5
        payloads.append(panel.player.payload["clips"][0]["positions"])
    panel.redraw.click()
    assert panel.seed.value == 1
    payloads.append(panel.player.payload["clips"][0]["positions"])
    assert len(set(payloads)) == 5
    for slider in panel.temperatures:
        slider.value = 0.0
    means = panel.motion.positions
    panel.redraw.click()
    np.testing.assert_array_equal(panel.motion.positions, means)  # the priors' means know no seed
    panel.save_motion.click()
    assert panel.message.value.startswith("saved as")
    again = read_bvh(tmp_path / "s" / "generated_seed2.bvh", unit_m=0.01)
    np.testing.assert_allclose(again.positions, panel.motion.positions, atol=2e-4)
    assert panel.label.layout.display == "none"


def test_a_model_with_classes_gets_them_everywhere(windows, leftovers, monkeypatch):
    monkeypatch.setenv("MOTIONKIT_BATCH", "0")
    model, mean = build(num_classes=2), windows.positions.mean(0)
    classes = torch.arange(len(windows)) % 2
    explorer = explore_imputation(windows, model, leftovers, mean, classes=classes, class_names=["walk", "jump"])
    assert explorer.message.value == ""
    explorer.window.value = 1
    filling, is_seen = explorer.filling, explorer.occlusion.is_seen[None]
    start = interpolate_gaps(windows.positions[1:2], is_seen, mean)
    expected = impute(model, windows.positions[1:2], is_seen, start, leftovers, classes=torch.tensor([1]))[0]
    assert torch.equal(filling.filled, expected)
    label = explorer.generation.label
    assert [name for name, _ in label.options] == ["walk", "jump"]
    before = explorer.generation.motion.positions
    label.value = 1
    assert explorer.generation.message.value == ""
    assert not np.array_equal(explorer.generation.motion.positions, before)


def test_a_model_without_levels_to_draw_from_is_explored_without_that_tab(windows, leftovers, monkeypatch):
    monkeypatch.setenv("MOTIONKIT_BATCH", "0")
    torch.manual_seed(0)
    model = MotionVAE(MotionVAEConfig(num_joints=18, num_frames=FRAMES)).eval()
    explorer = explore_imputation(windows, model, leftovers, windows.positions.mean(0))
    assert explorer.generation is None
    assert explorer.children[0].titles == ("fill in",)
    assert explorer.start.options == ("mean", "interpolation")
    explorer.method.value = "ascent"
    assert explorer.message.value == ""
    assert "best step" in explorer.status.value


def test_what_is_asked_in_another_thread_waits_its_turn_and_is_not_lost():
    said, going_on, done = widgets.HTML(), threading.Event(), []
    reacting = Reactions(said)

    def long() -> None:
        going_on.wait(10)
        done.append("long")
        reacting(lambda: done.append("what follows"))(None)

    first = threading.Thread(target=reacting(long), args=(None,))
    second = threading.Thread(target=reacting(lambda: done.append("stroke")), args=(None,))
    first.start()
    while reacting._thread is None:
        time.sleep(0.01)
    second.start()
    going_on.set()
    first.join(10)
    second.join(10)
    assert done == ["long", "stroke"]
