"""Claims checked against numbers that are known, and what runs keep for being shown together."""

import math
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from motionkit.models.dvae import DVAEConfig
from motionkit.results import COLUMNS, RunRecord, load_record, load_results, published, result_row, save_results
from motionkit.study.claims import claim_rows, claim_texts
from motionkit.study.kept import (
    EXAMPLES_FILE,
    GUARDED,
    HISTORY_FILE,
    NO_ADVERSARY,
    Example,
    keep_examples,
    keep_history,
    keep_sweep,
    load_examples,
    read_sweeps,
    result_rows,
    thin_history,
)
from motionkit.study.methods import table_of_sizes, table_one, table_two
from motionkit.study.views import curves_of, grid_of, shared_windows, starts_of, teaser, trade_off_of
from motionkit.study.vqgan_claims import ADVERSARY_CLAIMS, CLAIMS, check_claims


def record(seed=0, dataset="cmu", profile="laptop", started="2026-01-01T00:00:00+00:00", **parameters):
    return RunRecord("vqgan", "01_heatmap_vqgan", profile, {"seed": seed, **parameters}, (seed,), dataset, "data",
                     started=started, duration_s=1.0)  # fmt: skip


def save(folder, values, **about):
    """A finished run: {(row, column): value}."""
    run = record(**about)
    save_results(folder, [result_row(run, "III", *cell, value) for cell, value in values.items()], run)
    return folder


def table(**seeds):
    """Loaded results straight from {(row, column): value} by seed."""
    lines = []
    for seed, values in seeds.items():
        lines += [
            result_row(record(), "III", *cell, value) | {"seeds": seed[1:], "run": seed}
            for cell, value in values.items()
        ]
    return pd.DataFrame(lines)


def line(checked, claim, metric):
    (found,) = checked[(checked["claim"] == claim) & (checked["metric"] == metric)].to_dict("records")
    return found


# ---- claims ----------------------------------------------------------------------------------------------------------

BETTER_SSIM, STEADIER = "3D F8 has a higher SSIM than the dVAE", "3D F8 is steadier than the dVAE"
GAN, DVAE = "3D VQ-GAN F8/1024", "3D dVAE F8/2048"


@pytest.mark.parametrize(
    ("claim", "metric", "expected"),
    [
        (BETTER_SSIM, "SSIM", 10.27),  # and not the stated 9.31
        (STEADIER, "T-Std", 37.1),
        ("every 2D VQ-GAN is better than the 2D dVAE", "SSIM", 0.913 - 0.925),  # contradicted by the paper's own table
        ("every 2D VQ-GAN is better than the 2D dVAE", "PSNR", 25.28 - 27.07),
        ("every 3D VQ-GAN is better than the 3D dVAE", "SSIM", 0.858 - 0.847),
        ("2D F16: 128 codes are better than 512", "SSIM", 0.004),
        ("2D F16: the Q-loss falls from 512 to 128 codes", "Q-Loss", 90.9),
        ("2D F16: the Q-loss falls from 512 to 256 codes", "Q-Loss", -3.03),
        ("3D F16: 1024 codes are better than 512", "SSIM", 0.021),
        ("3D F16: 512 codes are better than 256", "SSIM", 0.025),
        ("3D F16: 512 codes are better than 256", "PSNR", -0.26),
    ],
)
def test_claims_by_the_numbers_that_the_paper_prints(claim, metric, expected):
    assert line(check_claims(), claim, metric)["paper"] == pytest.approx(expected, rel=2e-3, abs=1e-9)


def test_what_the_paper_never_ran_is_not_printed():
    checked = check_claims()
    for claim in ("F16: 8 times as many codes help 3D more than 2D", "2D F16: 128 codes are better than 1024"):
        assert math.isnan(line(checked, claim, "SSIM")["paper"])
    assert check_claims(None, ADVERSARY_CLAIMS)["paper"].isna().all()
    assert math.isnan(line(checked, STEADIER, "T-Std temporal")["paper"])
    assert set(checked["num_seeds"]) == {0}
    assert line(checked, BETTER_SSIM, "SSIM")["verdict"] == f"not run: {GAN}, {DVAE}"


def test_one_seed_agrees_or_disagrees():
    ours = table(s0={(GAN, "SSIM"): 0.9, (DVAE, "SSIM"): 0.8, (GAN, "T-Std"): 0.3, (DVAE, "T-Std"): 0.2})
    checked = check_claims(ours)
    found = line(checked, BETTER_SSIM, "SSIM")
    assert (found["ours"], found["num_seeds"], found["verdict"]) == (pytest.approx(12.5), 1, "for it, one seed")
    assert math.isnan(found["low"])
    found = line(checked, STEADIER, "T-Std")
    assert (found["ours"], found["verdict"]) == (pytest.approx(-50), "against it, one seed")
    assert line(checked, STEADIER, "T-Std temporal")["verdict"].startswith("not run")


@pytest.mark.parametrize(
    ("dvae", "verdict"),
    [((0.80, 0.81, 0.82), "agrees"), ((0.99, 1.0, 1.01), "disagrees"), ((0.7, 0.9, 1.1), "undecided")],
)
def test_seeds_are_paired_and_the_interval_decides(dvae, verdict):
    ours = table(**{f"s{n}": {(GAN, "SSIM"): 0.9, (DVAE, "SSIM"): value} for n, value in enumerate(dvae)})
    found = line(check_claims(ours), BETTER_SSIM, "SSIM")
    gains = np.array([100 * (0.9 / value - 1) for value in dvae])
    half = 4.302653 * gains.std(ddof=1) / math.sqrt(3)  # Student's 0.975 quantile for two degrees of freedom
    assert found["ours"] == pytest.approx(gains.mean())
    assert (found["low"], found["high"]) == pytest.approx((gains.mean() - half, gains.mean() + half))
    assert (found["num_seeds"], found["verdict"]) == (3, verdict)


def test_a_seed_that_lacks_a_row_does_not_count():
    ours = table(s0={(GAN, "SSIM"): 0.9, (DVAE, "SSIM"): 0.8}, s1={(GAN, "SSIM"): 0.5})
    assert line(check_claims(ours), BETTER_SSIM, "SSIM")["num_seeds"] == 1
    apart = table(s0={(GAN, "SSIM"): 0.9}, s1={(DVAE, "SSIM"): 0.5})
    assert line(check_claims(apart), BETTER_SSIM, "SSIM")["verdict"] == "not run: no common seed"


def test_models_worse_than_an_empty_picture_have_no_order():
    values, skills = {(GAN, "SSIM"): 0.9, (DVAE, "SSIM"): 0.8}, {(GAN, "SSIM skill"): -0.1, (DVAE, "SSIM skill"): -0.2}
    assert line(check_claims(table(s0=values | skills)), BETTER_SSIM, "SSIM")["verdict"].startswith("none: all are")
    skills[GAN, "SSIM skill"] = 0.1
    assert line(check_claims(table(s0=values | skills)), BETTER_SSIM, "SSIM")["verdict"] == "for it, one seed"


def test_runs_of_other_settings_are_not_compared():
    ours = table(s0={(GAN, "SSIM"): 0.9, (DVAE, "SSIM"): 0.8})
    same = ours.assign(parameters=['{"num_steps": 2000, "num_codes_3d": 1024}', '{"num_steps": 2000}'])
    assert line(check_claims(same), BETTER_SSIM, "SSIM")["verdict"] == "for it, one seed"
    other = ours.assign(parameters=['{"num_steps": 2000, "widths": [8]}', '{"num_steps": 4000}'])
    found = line(check_claims(other), BETTER_SSIM, "SSIM")
    assert (found["verdict"], found["num_seeds"]) == ("not comparable: num_steps, widths", 0)


def test_eight_times_as_many_codes():
    values = {
        "3D VQ-GAN F16/1024": 0.90,
        "3D VQ-GAN F16/128": 0.80,
        "2D VQ-GAN F16/1024": 0.95,
        "2D VQ-GAN F16/128": 0.92,
    }
    ours = table(s0={(row, "SSIM"): value for row, value in values.items()})
    checked = check_claims(ours)
    assert line(checked, "F16: 8 times as many codes help 3D more than 2D", "SSIM")["ours"] == pytest.approx(0.07)
    assert line(checked, "2D F16: 128 codes are better than 1024", "SSIM")["ours"] == pytest.approx(-0.03)


def test_mixed_and_double_results_are_refused():
    ours = table(s0={(GAN, "SSIM"): 0.9})
    with pytest.raises(ValueError, match=r"mix datasets cmu, default"):
        check_claims(pd.concat([ours, ours.assign(dataset="default")]))
    with pytest.raises(ValueError, match=rf"{GAN}, SSIM twice for seed 0: see s0 and other"):
        check_claims(pd.concat([ours, ours.assign(run="other")]))


def test_claims_as_text():
    ours = table(**{f"s{n}": {(GAN, "SSIM"): 0.9, (DVAE, "SSIM"): 0.8 + n / 100} for n in range(3)})
    texts = claim_texts(check_claims(ours))
    first = texts.iloc[0]
    assert first["paper's numbers"] == "+10.3 %"
    assert first["stated"] == "9.31 %"
    assert first["ours"].startswith("+11.1 % ± ")
    assert first["ours"].endswith("(3)")
    assert (texts["claim"] != "").sum() == len(CLAIMS.claims)  # the other metrics of a claim follow below it
    assert "not printed" in set(texts["paper's numbers"])
    assert set(texts["verdict"]) == {"agrees", "not run"}


# ---- what runs keep --------------------------------------------------------------------------------------------------


def test_examples_come_back_in_steps_of_a_255th(tmp_path):
    target = torch.linspace(-0.2, 1.3, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4)
    keep_examples(tmp_path, {"2D VQ-GAN F8/512": (target, target / 2)}, fps=20.0)
    (row, example), = load_examples(tmp_path).items()  # fmt: skip
    assert (row, example.fps) == ("2D VQ-GAN F8/512", 20.0)
    assert np.abs(example.target - target.clamp(0, 1).numpy()).max() < 0.5 / 255 + 1e-6
    assert np.abs(example.output - (target / 2).clamp(0, 1).numpy()).max() < 0.5 / 255 + 1e-6
    assert load_examples(tmp_path / "none") == {}


def test_thinned_history_keeps_means_and_order():
    steps = np.arange(1, 11)
    frame = pd.DataFrame(
        {"step": [*steps, 5], "split": ["train"] * 10 + ["validate"], "name": "l1", "value": [*steps, 7.0]}
    )
    thin = thin_history(frame, points=4)
    train = thin[thin["split"] == "train"]
    assert train["value"].tolist() == [2, 5, 8, 10]  # three at a time, the last alone
    assert train["step"].tolist() == [2, 5, 8, 10]
    assert thin[thin["split"] == "validate"]["value"].tolist() == [7]
    pd.testing.assert_frame_equal(thin_history(frame, 100)[list(frame)], frame, check_dtype=False)
    assert thin_history(frame.iloc[:0], 5).empty


def finished(folder, row="2D VQ-GAN F8/512", value=0.5, **about):
    """A run of a sweep, with everything that a run keeps."""
    save(folder, {(row, "SSIM"): value, ("2D blank", "SSIM"): 0.1}, **about)
    keep_examples(folder, {row: (np.zeros((1, 2, 3, 3)), np.full((1, 2, 3, 3), value))}, 20.0)
    history = pd.DataFrame({"step": [1, 2], "split": "train", "name": "l1", "value": [value, value / 2]})
    keep_history(folder, {row: history})


def test_a_sweep_that_was_kept_reads_like_the_sweep(tmp_path):
    for seed in (0, 1):
        finished(tmp_path / "runs/III" / f"id{seed}" / "laptop/01", seed=seed, value=0.5 + seed / 10, runs="/somewhere")
    kept = keep_sweep(tmp_path / "runs/III", tmp_path / "figures")
    assert [path.relative_to(tmp_path).as_posix() for path in kept] == ["figures/III/id0", "figures/III/id1"]
    assert {path.name for path in kept[0].iterdir()} == {EXAMPLES_FILE, HISTORY_FILE, "results.parquet", "record.json"}
    assert "runs" not in load_record(kept[0]).parameters
    before, after = (read_sweeps(["III"], [tmp_path / folder]) for folder in ("runs", "figures"))
    both = read_sweeps(["III"], [tmp_path / "runs", tmp_path / "figures"])  # the same runs twice are one
    assert len(before.results) == len(after.results) == len(both.results) == 4
    assert before.results["value"].tolist() == after.results["value"].tolist() == [0.5, 0.1, 0.6, 0.1]
    assert after.examples["2D VQ-GAN F8/512"].output.mean() == pytest.approx(0.5, abs=1 / 255)  # of seed 0
    assert after.history["value"].tolist() == [0.5, 0.25, 0.6, 0.3]
    assert set(after.history["seeds"]) == {"0", "1"}
    shutil.rmtree(tmp_path / "runs/III/id0")
    assert keep_sweep(tmp_path / "runs/III", tmp_path / "figures") == kept[1:]
    assert not kept[0].exists()
    with pytest.raises(ValueError, match="no finished run"):
        keep_sweep(tmp_path / "nowhere", tmp_path)
    finished(tmp_path / "runs/III/id2/laptop/01", seed=2)
    for wrong in ("runs", "runs/III/id1/laptop/01"):  # of several sweeps, and of none
        with pytest.raises(ValueError, match="give the folder of one sweep"):
            keep_sweep(tmp_path / wrong, tmp_path / "figures")


def test_what_is_not_there_is_empty(tmp_path):
    study = read_sweeps(["III", "grid"], [tmp_path, tmp_path / "missing"])
    assert study.results.empty
    assert study.history.empty
    assert study.examples == {}
    assert set(COLUMNS) < set(study.results.columns)
    assert set(check_claims(study.results)["num_seeds"]) == {0}


def test_a_sweep_of_another_data_set_is_left_out_wherever_it_stands(tmp_path):
    finished(tmp_path / "cmu/a", row="2D VQ-GAN F8/512")
    finished(tmp_path / "other/b", row="2D VQ-GAN F16/512", dataset="default")
    finished(tmp_path / "more/c", row="2D VQ-GAN F32/512")
    found = read_sweeps(["cmu", "other", "more"], [tmp_path], dataset="cmu")
    assert set(found.examples) == {"2D VQ-GAN F8/512", "2D VQ-GAN F32/512"}
    assert read_sweeps(["other"], [tmp_path], dataset="cmu").results.empty


def test_the_sweep_named_first_counts_and_others_are_selected_out(tmp_path):
    finished(tmp_path / "III/a", value=0.5)
    finished(tmp_path / "grid/b", value=0.7, l2_weight=3)
    finished(tmp_path / "grid/c", row="2D VQ-GAN F16/512", value=0.6, l2_weight=3, num_downsamples=4)
    finished(tmp_path / "grid/d", row="2D VQ-GAN F32/512", value=0.4, dataset="default")
    study = read_sweeps(["III", "grid"], [tmp_path], dataset="cmu", profile="laptop")
    values = study.results[study.results["row"] != "2D blank"].set_index("row")["value"].to_dict()
    assert values == {"2D VQ-GAN F8/512": 0.5, "2D VQ-GAN F16/512": 0.6}
    assert set(study.examples) == set(study.history["row"]) == set(values)
    assert read_sweeps(["grid"], [tmp_path], dataset="cmu").results["value"].max() == 0.7
    assert read_sweeps(["grid"], [tmp_path], profile="full").results.empty


def test_a_model_without_adversary_has_a_row_of_its_own(tmp_path):
    finished(tmp_path / "on/a", row=GAN, adversarial_factor=0.5)
    finished(tmp_path / "on/b", row=GAN, adversarial_factor=0.0, value=0.4)
    finished(tmp_path / "on/c", row=GAN, adversarial_factor=0.5, on_harm="return")
    study = read_sweeps(["on"], [tmp_path])
    assert set(study.results["row"]) == {GAN, GAN + NO_ADVERSARY, GAN + GUARDED, "2D blank"}
    assert set(study.examples) == set(study.history["row"]) == {GAN, GAN + NO_ADVERSARY, GAN + GUARDED}
    better = line(
        check_claims(study.results, ADVERSARY_CLAIMS), "3D VQ-GAN F8: the adversary makes pictures better", "SSIM"
    )
    assert (better["ours"], better["verdict"]) == (pytest.approx(0.1), "for it, one seed")
    assert load_results(tmp_path)["row"].nunique() == 2  # the files stay as they are


# ---- tables of sizes -------------------------------------------------------------------------------------------------


def test_table_two_is_what_the_built_models_give():
    table = table_two()
    assert list(table.index) == ["F8", "F16", "F32"]
    assert (table["Compressed Size, built"] == table["Compressed Size, printed"]).all()
    assert table["Compression Factor"].tolist() == table["Compression Factor, printed"].tolist() == [512, 4096, 32768]


def test_table_one_keeps_what_is_printed_and_adds_what_is_not():
    table = table_one()
    pd.testing.assert_frame_equal(table[list(published("vqgan", "I"))], published("vqgan", "I"))
    assert table.loc["Ours", "Tokens of 64 frames"] == "32 to 2,048"  # 2 x 4 x 4 and 8 x 16 x 16
    # F32 with 512 codes: 32 tokens of 9 bits in 64 / 30 s; 3D F8 with 1024: 2,048 of 10
    assert table.loc["Ours", "Bits per second"] == "135 to 9,600"
    assert table.loc["dVAE", "Bits per second"] == "10,560"  # 2,048 tokens of 11 bits
    assert table.loc["MoMask", "Parameters"] == "–"


def test_sizes_of_models_of_ones_own():
    small = {"widths": (8, 8, 8), "code_dim": 4, "encoder_blocks": 1, "decoder_blocks": 1}
    table = table_of_sizes({"2D dVAE F8/16": DVAEConfig(5, 1, num_codes=16, **small)}, (8, 16, 24))
    assert table.loc["2D dVAE F8/16"].drop("parameters").to_dict() == {
        "discriminator": 0, "clip": "8 x 16 x 24", "tokens": "1 x 2 x 3", "compression factor": 512,
    }  # fmt: skip


def test_rows_of_several_tables():
    rows = result_rows(
        record(), {"III": {GAN: {"SSIM": 0.5, "PSNR": 20.0}}, "II": {"F8": {"Compression Factor": 512.0}}}
    )
    assert [(row["table"], row["row"], row["column"], row["value"]) for row in rows] == [
        ("III", GAN, "SSIM", 0.5), ("III", GAN, "PSNR", 20.0), ("II", "F8", "Compression Factor", 512.0),
    ]  # fmt: skip


# ---- views -----------------------------------------------------------------------------------------------------------


def test_grid_and_trade_off_take_means_over_seeds():
    cells = {("2D VQ-GAN F16/512", "SSIM skill"): 0.4, ("2D VQ-GAN F16/512", "Bits per second"): 90.0}
    more = {("2D VQ-GAN F16/128", "SSIM skill"): 0.3, ("2D VQ-GAN F16/128", "Bits per second"): 70.0}
    other = {("2D VQ-GAN F16/512" + NO_ADVERSARY, "SSIM skill"): 9.0, ("3D VQ-GAN F8/1024", "SSIM skill"): 9.0}
    ours = table(s0=cells | more | other, s1={("2D VQ-GAN F16/512", "SSIM skill"): 0.6})
    grid = grid_of(ours, "2D", "SSIM skill")
    assert grid.shape == (3, 4)
    assert grid.stack().dropna().to_dict() == {("F16", 512): pytest.approx(0.5), ("F16", 128): 0.3}
    assert trade_off_of(ours, "Bits per second", "SSIM skill") == {
        "2D VQ-GAN F16": [(70, 0.3, "128"), (90, pytest.approx(0.5), "512")]
    }
    assert grid_of(ours.iloc[:0], "3D", "SSIM").isna().all(axis=None)
    assert trade_off_of(ours.iloc[:0], "Bits per second", "SSIM skill") == {}


def test_curves_are_told_apart(tmp_path):
    parameters = {"num_steps": 100, "num_steps_3d": 150, "adversarial_start": 50, "adversarial_factor": 0.5}
    finished(tmp_path / "s/a", row=GAN, **parameters)
    finished(tmp_path / "s/b", row=GAN, **parameters, seed=1)
    finished(tmp_path / "s/c", row=GAN, **{**parameters, "adversarial_factor": 0.0})
    history = read_sweeps(["s"], [tmp_path]).history
    assert set(curves_of(history, "3D")) == {f"{GAN}, seed 0", f"{GAN}, seed 1", GAN + NO_ADVERSARY}
    assert curves_of(history, "2D") == {}
    assert starts_of(history, "3D") == {"discriminator joins": 75}
    empty = read_sweeps([], []).history
    assert (curves_of(empty, "2D"), starts_of(empty, "2D")) == ({}, {})


def test_windows_that_several_models_drew():
    window, other = np.zeros((1, 4, 2, 2)), np.ones((1, 4, 2, 2))
    examples = {
        "2D VQ-GAN F8/512": Example(window, window + 1, 20.0),
        "2D VQ-GAN F16/512": Example(window, window + 2, 20.0),
    }
    examples["2D VQ-GAN F32/512"] = Example(other, window, 20.0)  # of another window
    ((target, outputs, fps),) = shared_windows(examples, ["2D VQ-GAN F16/512", "2D VQ-GAN F8/512", "2D VQ-GAN F32/512"])
    assert target is window
    assert fps == 20
    assert {label: output.max() for label, output in outputs.items()} == {"F16/512": 2, "F8/512": 1}
    assert list(shared_windows(examples, ["3D VQ-GAN F8/1024"])) == []


def test_teaser_shows_projections_left_and_compressions_right():
    video = np.arange(3 * 4, dtype=float).reshape(3, 4, 1, 1)
    examples = {GAN: Example(video, -video, 20.0), "2D VQ-GAN F16/512": Example(video[:1], -video[:1], 20.0)}
    ((pictures, rows, columns),) = teaser(examples)
    assert columns == ["3D F8 YZ", "3D F8 XZ", "3D F8 XY", "2D F16"]
    assert rows == ["ground truth", "reconstruction"]
    assert np.ravel(pictures).tolist() == [2, 6, 10, 2, -2, -6, -10, -2]  # the third of four frames
    assert list(teaser({})) == []


def test_claims_as_results():
    ours = table(**{f"s{n}": {(GAN, "SSIM"): 0.9, (DVAE, "SSIM"): 0.8 + n / 100} for n in range(2)})
    rows = pd.DataFrame(claim_rows(record(), check_claims(ours))).set_index(["row", "column"])
    assert set(rows["table"]) == {"claims"}
    assert rows.loc[(BETTER_SSIM, "SSIM, paper"), "value"] == pytest.approx(10.27, abs=0.01)
    assert rows.loc[(BETTER_SSIM, "SSIM"), "num_seeds"] == 2
    assert rows.loc[(BETTER_SSIM, "SSIM"), "high"] > rows.loc[(BETTER_SSIM, "SSIM"), "value"]
    assert (BETTER_SSIM, "SSIM skill") not in rows.index
