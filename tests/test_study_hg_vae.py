"""The depth study of paper 4: its claims by known numbers, its views of made-up runs, and sweeps that fit together."""

import math

import pytest
import torch

from motionkit.models.hg_vae import HGVAE, NODES_OF_16_LEVELS, HGVAEConfig, off_levels, sixteen_levels
from motionkit.models.motion_models import table_row
from motionkit.results import RunRecord, pivot, result_row, save_results
from motionkit.running.parameters import find_notebook, notebook_parameters
from motionkit.running.sweep_plan import plan_runs, read_sweep
from motionkit.study.capacity import capacity_table, learning_parameters
from motionkit.study.claims import check_claims, claim_rows, claims_side_by_side
from motionkit.study.hg_vae_claims import BOUND, DEPTH_CLAIMS, DEPTHS, READINGS, depth_row, label_of
from motionkit.study.hg_vae_views import (
    SCORES,
    curves_over_depth,
    divergence_by_level,
    errors_of_filling,
    linear_evidence,
    printed_over_depth,
    scores_of,
)
from motionkit.study.kept import read_sweeps

USUAL, LOWEST, POSTERIOR = READINGS
DEEP, FIRST = "depth 16 has {} than depth 1", "depth 2 has {} than depth 1"
LIKELIER, NEARER, COSTLIER = "higher likelihoods", "better reconstructions", "a higher KL"


def save(folder, values, seed=0, table="1", **parameters):
    """A finished run: {(row, column): value}."""
    run = RunRecord("hgvae", "04_hg_vae", "laptop", {"seed": seed, **parameters}, (seed,), "default", "data",
                    started=f"2026-01-01T00:00:0{seed}+00:00", duration_s=1.0)  # fmt: skip
    save_results(folder, [result_row(run, table, *cell, value) for cell, value in values.items()], run)


def at_depth(depth, reading="", *, log_x, kl=100.0, mse=1.0, evidence=None):
    row, levels = depth_row(depth, reading), range(16)
    off = off_levels(16, depth, READINGS[reading][0])
    cells = {"log(X)": log_x, "MSE": mse, "KL-Divergence": kl, "evidence": log_x - kl if evidence is None else evidence}
    cells |= {f"KL of z{level}": 0.0 if level in off else kl / depth for level in levels}
    return {(row, column): value for column, value in cells.items()} | {("linear", "evidence"): 500.0}


@pytest.fixture
def runs(tmp_path):
    """Two seeds of depths 1, 2 and 16, and of the lowest levels of depth 1, one seed."""
    for seed in (0, 1):
        for depth, log_x in ((1, 1000.0), (2, 1100.0 + seed), (16, 1500.0 + 10 * seed)):
            values = at_depth(depth, log_x=log_x, kl=50.0 * depth, mse=2 / depth)
            save(tmp_path / f"hgvae_1/{depth}-{seed}", values, seed, depth=depth, keep="highest")
    save(tmp_path / "hgvae_1/low", at_depth(1, LOWEST, log_x=900.0), depth=1, keep="lowest")
    return read_sweeps(["hgvae_1"], [tmp_path]).results


def line(checked, claim, metric):
    (found,) = checked[(checked["claim"] == claim) & (checked["metric"] == metric)].to_dict("records")
    return found


# ---- claims ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize(
    ("claim", "metric", "expected"),
    [
        (DEEP.format(LIKELIER), "log(X)", 7238 - 1986),
        (DEEP.format(LIKELIER), BOUND, (7238 - 29) - (1986 - 274)),
        (DEEP.format(LIKELIER), "evidence", math.nan),
        (DEEP.format(NEARER), "MSE", 100 * (1 - 0.53 / 2.30)),
        (DEEP.format(COSTLIER), "KL-Divergence", 29 - 274),
        ("depth 8 has a higher KL than depth 4", "KL-Divergence", 2),  # the only step that rises
        ("depth 16 has higher likelihoods than depth 8", "log(X)", 126),
    ],
)
def test_claims_by_the_numbers_that_the_paper_prints(reading, claim, metric, expected):
    found = line(check_claims(None, DEPTH_CLAIMS[reading]), claim, metric)
    assert found["paper"] == pytest.approx(expected, nan_ok=True)
    assert found["num_seeds"] == 0


def test_claims_by_ours_and_what_they_wait_for(runs):
    checked = check_claims(runs, DEPTH_CLAIMS[USUAL])
    rises = line(checked, DEEP.format(LIKELIER), "log(X)")
    assert (rises["ours"], rises["num_seeds"], rises["verdict"]) == (505, 2, "agrees")
    bound = line(checked, DEEP.format(LIKELIER), BOUND)
    assert (bound["ours"], bound["verdict"]) == (505 - 750, "disagrees")
    assert line(checked, DEEP.format(NEARER), "MSE")["ours"] == pytest.approx(100 * (1 - 1 / 16))
    assert line(checked, "depth 4 has a higher KL than depth 2", "KL-Divergence")["verdict"] == "not run: depth 4"
    lowest = check_claims(runs, DEPTH_CLAIMS[LOWEST])
    found = line(lowest, DEEP.format(LIKELIER), "log(X)")  # the one model with all levels on is of every reading
    assert (found["ours"], found["verdict"]) == (600, "for it, one seed")
    assert line(lowest, FIRST.format(LIKELIER), "log(X)")["verdict"] == "not run: depth 2, lowest levels"
    assert set(check_claims(runs, DEPTH_CLAIMS[POSTERIOR])["num_seeds"]) == {0}


def test_depths_that_differ_in_more_than_depth_are_not_compared(tmp_path):
    save(tmp_path / "s/a", at_depth(1, log_x=1.0), depth=1, num_steps=1500)
    save(tmp_path / "s/b", at_depth(2, log_x=2.0), depth=2, num_steps=3000)
    checked = check_claims(read_sweeps(["s"], [tmp_path]).results, DEPTH_CLAIMS[USUAL])
    assert line(checked, FIRST.format(LIKELIER), "log(X)")["verdict"] == "not comparable: num_steps"


def test_claims_of_several_readings_stand_side_by_side(runs):
    checked = {label_of(reading): check_claims(runs, claims) for reading, claims in DEPTH_CLAIMS.items()}
    table = claims_side_by_side(checked)
    shown = [label_of(USUAL), label_of(LOWEST)]  # the third has not run
    assert list(table) == ["claim", "stated", "metric", "paper's numbers", *shown, "note"]
    first = table.iloc[0]
    assert (first["metric"], first["paper's numbers"]) == ("log(X) [nats]", "+5252")
    assert first[shown[0]].startswith("+505 ± ")
    assert first[shown[0]].endswith(" (2)\nagrees")
    assert first[shown[1]] == "+600 (1)\nfor it, one seed"
    nothing = claims_side_by_side({label: check_claims(None, DEPTH_CLAIMS[USUAL]) for label in ("one", "two")})
    assert set(nothing["one"]) == {"not run"}
    assert "two" not in nothing
    rows = claim_rows(RunRecord("hgvae", "04c_depth_study", "small"), checked[label_of(USUAL)])
    assert (rows[0]["table"], rows[0]["value"]) == ("claims", 505)


def test_rows_are_those_that_models_bear():
    for reading, (keep, off_latent) in READINGS.items():
        for depth in DEPTHS:
            off = off_levels(16, depth, keep)
            config = HGVAEConfig(levels=sixteen_levels(1, 1), trunk_features=1, off_levels=off, off_latent=off_latent)
            assert table_row(HGVAE(config)) == depth_row(depth, reading)


# ---- views -----------------------------------------------------------------------------------------------------------


def test_curves_are_means_over_seeds_by_reading(runs):
    curves = curves_over_depth(runs, "log(X)")
    assert list(curves) == [label_of(USUAL), label_of(LOWEST)]
    usual = curves[label_of(USUAL)].set_index("depth")
    assert usual["value"].to_dict() == {1: 1000, 2: 1100.5, 16: 1505}
    half = 12.706205 * 0.5  # Student's 0.975 quantile for one degree of freedom, standard error of 1100 and 1101
    assert usual.loc[2, ["low", "high"]].tolist() == pytest.approx([1100.5 - half, 1100.5 + half])
    assert curves[label_of(LOWEST)]["depth"].tolist() == [1, 16]
    assert math.isnan(curves[label_of(LOWEST)]["low"][0])
    bound = curves_over_depth(runs, BOUND)[label_of(USUAL)]
    assert bound["value"].tolist() == [950, 1000.5, 705]
    assert linear_evidence(runs) == {"evidence": {"linear": 500}}


def test_what_the_paper_prints_over_depth():
    assert printed_over_depth("log(X)")["value"].tolist() == [1986, 3912, 6511, 7112, 7238]
    assert printed_over_depth(BOUND)["value"].tolist() == [1712, 3833, 6481, 7080, 7209]
    assert printed_over_depth("evidence").empty
    assert list(printed_over_depth("evidence")) == ["depth", "value", "low", "high"]


def test_levels_that_are_off_tell_nothing(runs):
    table = divergence_by_level(runs, USUAL)
    assert table.index.tolist() == [1, 2, 16]
    assert table.loc[2].dropna().to_dict() == {"z0": 50, "z1": 50}
    assert table.loc[16].notna().all()
    low = divergence_by_level(runs, LOWEST)
    assert low.loc[1].dropna().to_dict() == {"z15": 100}
    assert divergence_by_level(runs, POSTERIOR).index.tolist() == [16]


def test_with_posterior_means_levels_that_are_off_are_shown_too(tmp_path):
    values = at_depth(1, POSTERIOR, log_x=1.0) | {(depth_row(1, POSTERIOR), "KL of z7"): 3.0}
    save(tmp_path / "s/a", values, off_latent="posterior")
    table = divergence_by_level(read_sweeps(["s"], [tmp_path]).results, POSTERIOR)
    assert table.loc[1, "z7"] == 3
    assert table.notna().all(axis=None)


def test_errors_of_filling_come_back_as_curves(tmp_path):
    for seed in (0, 1):
        values = {("HG-VAE", f"joints {share:g}: {metric}"): value + seed
                  for share, value in ((0.05, 2.0), (0.5, 4.0)) for metric in ("RMSE", "MPJPE")}  # fmt: skip
        save(tmp_path / f"s/{seed}", values | {("HG-VAE", "coverage of 90% bands"): 0.9}, seed, "imputation")
    results = read_sweeps(["s"], [tmp_path]).results
    curves = errors_of_filling(results)
    assert len(curves) == 8
    rmse = curves[curves["metric"] == "RMSE"]
    assert rmse[["pattern", "share", "seed", "method", "value"]].to_numpy().tolist() == [
        ["joints", 0.05, "0", "HG-VAE", 2], ["joints", 0.5, "0", "HG-VAE", 4],
        ["joints", 0.05, "1", "HG-VAE", 3], ["joints", 0.5, "1", "HG-VAE", 5],
    ]  # fmt: skip
    pooled = pivot(scores_of(results, "imputation", "RMSE"))
    assert pooled[["column", "value", "num_seeds"]].to_numpy().tolist() == [
        ["joints 0.05", 2.5, 2], ["joints 0.5", 4.5, 2],
    ]  # fmt: skip
    assert len(scores_of(results, "imputation")) == len(results)


def test_without_a_run_every_view_is_empty(tmp_path):
    results = read_sweeps(["s"], [tmp_path]).results
    assert all(curves_over_depth(results, score) == {} for score in SCORES)
    assert all(divergence_by_level(results, reading).empty for reading in READINGS)
    assert errors_of_filling(results).empty
    assert scores_of(results, "imputation", "RMSE").empty
    assert linear_evidence(results) == {}


# ---- capacity --------------------------------------------------------------------------------------------------------


def test_parameters_that_learn_are_those_that_training_moves():
    config = HGVAEConfig(levels=((54, 4), (8, 4), (1, 6)), trunk_features=5, off_levels=(1, 2))
    total, learning = learning_parameters(config)
    torch.manual_seed(0)
    model, clips = HGVAE(config), 0.1 * torch.randn(3, 50, 18, 3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "alpha" in name:
                parameter.fill_(0.5)  # a block that is multiplied by 0 would have no gradient at first
    model.loss(clips, 1)["loss"].backward()
    moved = [p for p in model.parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert total == sum(p.numel() for p in model.parameters())
    assert learning == sum(p.numel() for p in moved) < total


def test_depth_changes_what_learns():
    total, one = learning_parameters(HGVAEConfig(levels=sixteen_levels(), off_levels=off_levels(16, 1, "highest")))
    assert (total, round(100 * one / total)) == (15_011_486, 59)
    _, lowest = learning_parameters(HGVAEConfig(levels=sixteen_levels(), off_levels=off_levels(16, 1, "lowest")))
    assert round(100 * lowest / total) == 49
    levels = ((54, 4), (8, 4), (2, 4), (1, 6))
    table = capacity_table(levels, 5)
    assert list(table) == [label_of(reading) for reading in READINGS]
    assert table.index.tolist() == ["depth 1", "depth 2", "depth 4"]
    assert set(table.loc["depth 4"]) == {"100 %"}
    assert table.index.name == f"of {learning_parameters(HGVAEConfig(levels=levels, trunk_features=5))[0]:,}"


# ---- the sweeps that the study reads ---------------------------------------------------------------------------------


def test_the_sweeps_of_table_1_differ_in_nothing_but_its_rows():
    of_a_row = DEPTH_CLAIMS[USUAL].of_a_row
    settings = [run.settings for name in ("hgvae_1", "hgvae_1_readings") for run in plan_runs(read_sweep(name))]
    others = [{name: value for name, value in setting.items() if name not in of_a_row} for setting in settings]
    assert all(other == others[0] for other in others)
    cmu = read_sweep("hgvae_1_cmu").parameters
    assert {name: value for name, value in cmu.items() if name in others[0] and value != others[0][name]} == {
        "dataset": "cmu", "held_out": ["02", "08", "16", "05"], "unseen": [],
    }  # fmt: skip
    rows = {(setting["depth"], setting["keep"], setting["off_latent"]) for setting in settings}
    assert rows == {(depth, *how) for how in READINGS.values() for depth in DEPTHS[:-1]} | {(16, *READINGS[USUAL])}


def test_the_notebook_knows_the_sizes_of_the_sweeps():
    sizes = {name: parameter.default for name, parameter in notebook_parameters(find_notebook("04c")).items()}
    parameters = read_sweep("hgvae_1").parameters
    assert [nodes for nodes, _ in parameters["levels"]] == list(NODES_OF_16_LEVELS)
    levels = [list(level) for level in sixteen_levels(sizes["features"], sizes["top_features"])]
    assert (levels, sizes["trunk_features"]) == (parameters["levels"], parameters["trunk_features"])
