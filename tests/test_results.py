"""Results tables, run records and the comparison with the published numbers."""

import json
import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
import torch

from motionkit import cli
from motionkit.results import (
    COLUMNS,
    RunRecord,
    code_version,
    compare,
    describe_device,
    load_record,
    load_results,
    pivot,
    result_row,
    results_table,
    runs_table,
    save_results,
    select,
    start_record,
)
from motionkit.tables import format_comparison, format_pivot, format_runs, write_table

ROW = "2D VQ-GAN F16/128"


@pytest.fixture
def record() -> RunRecord:
    return RunRecord(
        paper="vqgan",
        notebook="01_heatmap_vqgan",
        profile="laptop",
        parameters={"steps": 400, "dataset": "default"},
        seeds=(0,),
        dataset="default",
        fingerprint="abc123",
        device="one core",
        torch_version="2.13.0",
        commit="0123456789ab",
        started="2026-01-02T03:04:05.000+00:00",
        duration_s=12.5,
        perceptual="efficientnet-lite0",
        extra={"sigma_px": 0.75, "label": "Größe"},
    )


class TestRecord:
    def test_round_trip(self, record, tmp_path):
        save_results(tmp_path, [], record)
        assert load_record(tmp_path) == record

    def test_is_frozen_and_keeps_plain_values(self, record):
        with pytest.raises(FrozenInstanceError):
            record.profile = "full"
        assert RunRecord("p", "n", "small", parameters={"widths": (1, 2)}).parameters == {"widths": [1, 2]}

    @pytest.mark.parametrize("value", [object(), float("nan"), torch.zeros(1), {1, 2}])
    @pytest.mark.parametrize("name", ["parameters", "extra"])
    def test_what_json_cannot_hold_is_refused_by_name(self, name, value):
        with pytest.raises(ValueError, match=f"run record: {name}"):
            RunRecord("p", "n", "small", **{name: {"key": value}})

    def test_start_and_finish(self):
        record = start_record("vqgan", "01", "small", seeds=[3], dataset="sample")
        assert (record.seeds, record.dataset, record.duration_s) == ((3,), "sample", 0)
        assert record.torch_version == torch.__version__
        assert record.device == describe_device("cpu")
        assert record.commit == code_version()
        done = record.finished(perceptual="none")
        assert 0 <= done.duration_s < 60
        assert replace(done, duration_s=0, perceptual="") == record

    def test_duration_is_counted_from_the_start(self, record):
        assert record.finished().duration_s > 86400 * 30  # started long ago

    def test_device_in_words(self):
        assert "1 of" in describe_device("cpu")  # the tests run on one thread
        assert len(describe_device("cpu")) > len("1 of 2 cores")

    def test_version_is_a_commit_or_a_release(self):
        assert code_version().removesuffix("+").isalnum() or code_version().startswith("version ")

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "{}", '{"paper": "a"}', '{"paper": 1,', "\x00", '{"paper":"a","notebook":"b","profile":"c","x":1}'],
    )
    def test_a_broken_record_is_named(self, text, tmp_path):
        (tmp_path / "record.json").write_text(text)
        with pytest.raises(ValueError, match=r"record\.json: not a run record"):
            load_record(tmp_path)

    def test_no_record(self, tmp_path):
        with pytest.raises(ValueError, match=r"no record\.json"):
            load_record(tmp_path)


class TestRows:
    def test_one_value_has_no_interval(self, record):
        row = result_row(record, "III", ROW, "SSIM", 0.9)
        assert list(row) == list(COLUMNS)
        assert (row["value"], row["num_seeds"]) == (0.9, 1)
        assert math.isnan(row["low"])
        assert math.isnan(row["high"])
        assert (row["paper"], row["dataset"], row["duration_s"]) == ("vqgan", "default", 12.5)

    def test_interval_over_seeds_by_hand(self, record):
        row = result_row(record, "III", ROW, "SSIM", [1.0, 2.0, 3.0])
        half = 4.302653 / math.sqrt(3)  # Student's t for 2 degrees of freedom, deviation 1
        assert row["value"] == pytest.approx(2)
        assert row["low"] == pytest.approx(2 - half, rel=1e-6)
        assert row["high"] == pytest.approx(2 + half, rel=1e-6)
        assert row["num_seeds"] == 3

    def test_interval_of_a_share_ends_where_shares_do(self, record):
        values, cell = [0.9, 1.0, 0.98], ("III", "row", "accuracy")
        free, bound = result_row(record, *cell, values), result_row(record, *cell, values, (0.0, 1.0))
        assert free["high"] > 1
        assert bound == {**free, "high": 1.0}
        low = result_row(record, *cell, [0.0, 0.1, 0.02], (0.0, 1.0))
        assert low["low"] == 0
        assert np.isnan(result_row(record, *cell, 0.5, (0.0, 1.0))["low"])

    def test_interval_covers_the_truth_in_95_of_100_experiments(self, record):
        generator = np.random.default_rng(0)
        rows = [result_row(record, "III", ROW, "SSIM", generator.normal(5, 2, size=4)) for _ in range(2000)]
        covered = np.mean([row["low"] <= 5 <= row["high"] for row in rows])
        assert covered == pytest.approx(0.95, abs=0.015)

    @pytest.mark.parametrize("values", [[], [[1.0, 2.0]]])
    def test_values_of_the_wrong_shape_are_named(self, record, values):
        with pytest.raises(ValueError, match=f"III, {ROW}, SSIM"):
            result_row(record, "III", ROW, "SSIM", values)

    def test_table_types(self, record):
        table = results_table([result_row(record, "III", ROW, "SSIM", 1)])
        kinds = {name: pd.Series(dtype=kind).dtype for name, kind in COLUMNS.items()}
        assert table.dtypes.to_dict() == results_table([]).dtypes.to_dict() == kinds

    def test_misspelt_columns_are_named(self, record):
        row = result_row(record, "III", ROW, "SSIM", 1)
        row["vaule"] = row.pop("value")
        with pytest.raises(ValueError, match=r"row 0: missing columns \['value'\], unknown columns \['vaule'\]"):
            results_table([row])


class TestFiles:
    def test_round_trip(self, record, tmp_path):
        rows = [result_row(record, "III", ROW, "SSIM", [0.9, 0.8]), result_row(record, "III", "blank", "PSNR", 12.0)]
        folder = save_results(tmp_path / "new" / "run", rows, record)
        assert sorted(path.name for path in folder.iterdir()) == ["record.json", "results.parquet"]
        pd.testing.assert_frame_equal(load_results(folder)[list(COLUMNS)], results_table(rows))
        save_results(folder, load_results(folder), record)  # a table is as good as rows
        pd.testing.assert_frame_equal(load_results(folder)[list(COLUMNS)], results_table(rows))

    def test_several_folders_and_folders_of_folders(self, record, tmp_path):
        for seed in range(3):
            run = replace(record, seeds=(seed,))
            save_results(tmp_path / f"run{seed}", [result_row(run, "III", ROW, "SSIM", 0.9 + seed / 100)], run)
        assert sorted(load_results(tmp_path)["value"]) == [0.90, 0.91, 0.92]
        assert sorted(load_results([tmp_path / "run0", tmp_path / "run2"])["value"]) == [0.90, 0.92]
        assert len(load_results([tmp_path, tmp_path / "run1"])) == 3

    def test_a_repeated_run_replaces_its_older_self(self, record, tmp_path):
        newer = replace(record, started="2026-01-03T00:00:00.000+00:00", commit="f" * 12)
        for name, run, value in (("b", record, 0.1), ("a", newer, 0.2)):
            save_results(tmp_path / name, [result_row(run, "III", ROW, "SSIM", value)], run)
        assert list(load_results(tmp_path)["value"]) == [0.2]

    def test_a_run_that_never_finished_does_not_count(self, record, tmp_path):
        save_results(tmp_path / "done", [result_row(record, "III", ROW, "SSIM", 0.9)], record)
        save_results(tmp_path / "killed", [result_row(record, "III", ROW, "SSIM", 0.1)], replace(record, seeds=(1,)))
        (tmp_path / "killed" / "record.json").unlink()
        assert list(load_results(tmp_path)["value"]) == [0.9]
        with pytest.raises(ValueError, match="killed: no finished run"):
            load_results(tmp_path / "killed")

    def test_a_failed_write_leaves_no_half_results(self, record, tmp_path, monkeypatch):
        save_results(tmp_path, [result_row(record, "III", ROW, "SSIM", 0.9)], record)

        def fail(*_):
            raise OSError("disk full")

        monkeypatch.setattr("motionkit.data.atomic.os.replace", fail)
        with pytest.raises(OSError, match="disk full"):
            save_results(tmp_path, [result_row(record, "III", ROW, "SSIM", 0.1)], record)
        assert [path.name for path in tmp_path.iterdir()] == [
            "results.parquet"
        ]  # whole, and without a record: unfinished
        assert list(pd.read_parquet(tmp_path / "results.parquet")["value"]) == [0.9]

    def test_a_table_of_something_else_is_refused(self, record, tmp_path):
        save_results(tmp_path, [], record)
        pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "results.parquet")
        with pytest.raises(ValueError, match=r"results\.parquet: columns are \['x'\]"):
            load_results(tmp_path)

    def test_record_is_readable_json(self, record, tmp_path):
        save_results(tmp_path, [], record)
        text = (tmp_path / "record.json").read_text(encoding="utf-8")
        assert "Größe" in text
        assert json.loads(text)["parameters"] == {"steps": 400, "dataset": "default"}


def line(comparison: pd.DataFrame, row: str, column: str) -> pd.Series:
    (found,) = [r for _, r in comparison[(comparison["row"] == row) & (comparison["column"] == column)].iterrows()]
    return found


class TestCompare:
    def test_difference_rounding_and_note(self, record):
        comparison = compare("vqgan", "III", results_table([result_row(record, "III", ROW, "SSIM", 0.91237)]))
        assert list(comparison.columns) == [
            "row", "setting", "column", "paper", "ours", "low", "high", "num_seeds", "difference", "note",
        ]  # fmt: skip
        cell = line(comparison, ROW, "SSIM")
        assert (cell["paper"], cell["ours"], cell["difference"]) == (0.954, 0.912, -0.042)
        assert "blank row" in cell["note"]

    def test_all_of_the_paper_is_there_and_all_of_ours(self, record):
        rows = [
            result_row(record, "III", "blank", "SSIM", 0.8),
            result_row(record, "III", ROW, "T-Std temporal", 0.01),
        ]
        comparison = compare("vqgan", "III", results_table(rows))
        assert len(comparison) == 12 * 5 + 2
        blank = line(comparison, "blank", "SSIM")
        assert math.isnan(blank["paper"])
        assert math.isnan(blank["difference"])
        assert blank["ours"] == 0.8
        not_run = line(comparison, "3D dVAE F8/2048", "PSNR")
        assert not_run["paper"] == 24.56
        assert math.isnan(not_run["ours"])
        assert not_run["num_seeds"] == 0
        not_printed = line(comparison, "3D dVAE F8/2048", "Q-Loss")
        assert math.isnan(not_printed["paper"])

    def test_other_papers_and_tables_are_left_out(self, record):
        rows = [
            result_row(record, "II", ROW, "SSIM", 0.1),
            result_row(replace(record, paper="nerm"), "III", ROW, "SSIM", 0.2),
        ]
        assert compare("vqgan", "III", results_table(rows))["ours"].isna().all()

    def test_single_seeds_are_pooled(self, record):
        runs = [replace(record, seeds=(seed,), commit=str(seed)) for seed in range(3)]
        rows = [result_row(run, "III", ROW, "PSNR", 27.0 + run.seeds[0]) for run in runs]
        pooled = line(compare("vqgan", "III", results_table(rows)), ROW, "PSNR")
        at_once = line(
            compare("vqgan", "III", results_table([result_row(record, "III", ROW, "PSNR", [27, 28, 29])])), ROW, "PSNR"
        )
        assert pooled["num_seeds"] == 3
        assert pooled["ours"] == 28
        pd.testing.assert_series_equal(pooled, at_once)

    def test_ambiguous_results_are_refused(self, record):
        seeds = result_row(record, "III", ROW, "PSNR", [1, 2])
        with pytest.raises(ValueError, match=f"2 values of {ROW}, PSNR"):
            compare("vqgan", "III", results_table([seeds, seeds]))
        full = result_row(replace(record, profile="full"), "III", ROW, "PSNR", 1)
        with pytest.raises(ValueError, match="mix profiles full, laptop"):
            compare("vqgan", "III", results_table([seeds, full]))
        cmu = result_row(replace(record, dataset="cmu"), "III", ROW, "PSNR", 1)
        with pytest.raises(ValueError, match="mix datasets cmu, default"):
            compare("vqgan", "III", results_table([seeds, cmu]))

    def test_unknown_table(self, record):
        with pytest.raises(ValueError, match="unknown table of vqgan: 'IV'; did you mean 'I'"):
            compare("vqgan", "IV", results_table([]))

    @pytest.mark.parametrize(
        ("row", "column", "finding"),
        [
            ("3D VQ-GAN F8/1024", "T-Std", "0.210"),
            ("3D VQ-GAN F8/1024", "T-Std", "cannot rank stability"),
            ("3D VQ-GAN F8/1024", "SSIM", "10.27 %"),
            ("2D VQ-GAN F16/128", "Q-Loss", "F32/512 prints 0.0003 too"),
            ("2D dVAE F8/2048", "PSNR", "F4 in Fig. 5"),
            ("3D VQ-GAN F16/512", "SSIM", "0.866"),
        ],
    )
    def test_notes_carry_the_findings(self, row, column, finding):
        assert finding in line(compare("vqgan", "III", results_table([])), row, column)["note"]

    def test_every_note_names_cells_that_exist(self):
        from motionkit.results.papers import _read_published, published

        for file in ("notes.csv", "columns.csv"):
            _, cells = _read_published(file)
            assert (cells != "").drop(columns="unit", errors="ignore").all().all()
            for cell in cells.to_dict("records"):
                table = published(cell["paper"], cell["table"])
                assert cell["column"] in (*table.columns, "*"), cell
                assert cell.get("row", "*") in (*table.index, "*"), cell


class TestText:
    def test_a_line_reads_as_expected(self, record):
        rows = [
            result_row(record, "III", ROW, "SSIM", [0.91, 0.92, 0.93]),
            result_row(record, "III", "blank", "PSNR", 12.0),
        ]
        text = format_comparison(compare("vqgan", "III", results_table(rows)))
        (ssim,) = [line for line in text.splitlines() if line.startswith(ROW) and " SSIM " in line]
        assert ssim.split()[3:-1] == ["SSIM", "0.954", "0.920", "0.895", "..", "0.945", "3", "-0.034"]
        (blank,) = [line for line in text.splitlines() if line.startswith("blank")]
        assert blank.split() == ["blank", "PSNR", "missing", "12.00", "1"]
        assert text.splitlines()[0].startswith("Maldonado")

    def test_each_note_is_printed_once_and_every_mark_has_one(self):
        import re

        comparison = compare("vqgan", "III", results_table([]))
        text = format_comparison(comparison)
        marks = re.findall(r"\[(\d+)\](?=$|\[)", text, re.MULTILINE)
        notes = re.findall(r"^\[(\d+)\] ", text, re.MULTILINE)
        assert notes == [str(number) for number in range(1, len(notes) + 1)]
        assert set(marks) == set(notes)
        assert text.count("cannot") == 1
        assert max(map(len, text.splitlines())) <= 110

    def test_a_table_without_numbers(self):
        assert format_comparison(compare("vqgan", "I", results_table([]))).splitlines()[0].startswith("Maldonado")


def test_results_need_no_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version.__wrapped__().startswith("version ")


# ---- many runs -------------------------------------------------------------------------------------------------------


@pytest.fixture
def sweep(record, tmp_path):
    """Two codebook sizes, three seeds, of which one run is missing. The blank row does not depend on the codebook."""
    for codes in (512, 256):
        for seed in range(3):
            if (codes, seed) == (256, 2):
                continue
            parameters = record.parameters | {
                "num_codes": codes,
                "seed": seed,
                "runs": f"there/{codes}{seed}",
                "lr": 1e-3,
            }
            minute = f"2026-01-02T03:{codes // 256}{seed}:00.000+00:00"
            run = replace(record, seeds=(seed,), parameters=parameters, started=minute)
            rows = [
                result_row(run, "III", ROW, "SSIM", 0.9 + codes / 10240 + seed / 100),
                result_row(run, "III", ROW, "PSNR", 27.0 + seed),
                result_row(run, "III", "blank", "SSIM", 0.5 + seed / 10),
                result_row(run, "III", f"size {codes}", "Perplexity", 100.0 + seed),
            ]
            save_results(tmp_path / "sweep" / f"{codes}-{seed}", rows, run)
    return tmp_path / "sweep"


def cell(table: pd.DataFrame, row: str, column: str, setting: str = "") -> pd.Series:
    chosen = table[(table["row"] == row) & (table["column"] == column) & (table["setting"] == setting)]
    (found,) = [line for _, line in chosen.iterrows()]
    return found


class TestPivot:
    def test_seeds_are_pooled_and_settings_are_not(self, sweep):
        table = pivot(load_results(sweep))
        small = cell(table, ROW, "SSIM", "num_codes=256")
        large = cell(table, ROW, "SSIM", "num_codes=512")
        assert (small["num_seeds"], large["num_seeds"]) == (2, 3)
        assert small["value"] == pytest.approx(0.9 + 0.025 + 0.005)
        assert large["value"] == pytest.approx(0.9 + 0.05 + 0.01)
        assert large["high"] - large["value"] == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)
        assert list(table[table["row"] == ROW]["setting"].unique()) == ["num_codes=256", "num_codes=512"]  # in order

    def test_what_does_not_depend_on_a_parameter_is_counted_once(self, sweep):
        blank = cell(pivot(load_results(sweep)), "blank", "SSIM")
        assert blank["num_seeds"] == 3
        assert blank["value"] == pytest.approx(0.6)

    def test_a_row_of_one_setting_needs_no_name(self, sweep):
        assert cell(pivot(load_results(sweep)), "size 256", "Perplexity")["num_seeds"] == 2

    def test_order_of_the_runs_changes_nothing(self, sweep):
        results = load_results(sweep)
        once = pivot(results).sort_values(["row", "setting", "column"]).reset_index(drop=True)
        again = pivot(results.sample(frac=1, random_state=1)).sort_values(["row", "setting", "column"])
        pd.testing.assert_frame_equal(once, again.reset_index(drop=True))

    def test_missing_cells_are_there_and_cells_that_never_were_are_not(self, sweep):
        table = pivot(load_results(sweep), expected_rows=["not run", ROW], expected_columns=["SSIM", "L1"])
        assert list(table["row"].unique())[:2] == ["not run", ROW]
        for row, column in (("not run", "SSIM"), ("not run", "L1")):
            missing = cell(table, row, column)
            assert missing["num_seeds"] == 0
            assert math.isnan(missing["value"])
        assert cell(table, ROW, "L1", "num_codes=256")["num_seeds"] == 0
        assert not ((table["row"] == "blank") & (table["column"] == "Perplexity")).any()

    def test_a_metric_that_only_one_setting_has_is_missing_in_the_other(self, sweep, record):
        parameters = record.parameters | {"num_codes": 128, "seed": 0, "lr": 1e-3}
        run = replace(record, parameters=parameters)
        save_results(sweep / "more", [result_row(run, "III", ROW, "SSIM", 0.7)], run)
        table = pivot(load_results(sweep))
        assert cell(table, ROW, "PSNR", "num_codes=128")["num_seeds"] == 0
        assert cell(table, ROW, "PSNR", "num_codes=512")["num_seeds"] == 3

    def test_a_run_repeated_in_another_folder_is_no_other_seed(self, sweep, record, tmp_path):
        run = load_record(sweep / "512-0")
        elsewhere = replace(
            run, parameters=run.parameters | {"runs": "elsewhere"}, started="2026-02-02T00:00:00.000+00:00"
        )
        save_results(tmp_path / "again", [result_row(elsewhere, "III", ROW, "SSIM", 0.99)], elsewhere)
        table = pivot(load_results([sweep, tmp_path / "again"]))
        assert cell(table, ROW, "SSIM", "num_codes=512")["num_seeds"] == 3
        assert cell(table, ROW, "SSIM", "num_codes=512")["value"] == pytest.approx((0.96 + 0.97 + 0.99) / 3)

    def test_other_data_are_another_setting(self, sweep, record):
        run = load_record(sweep / "512-0")
        changed = replace(run, fingerprint="other", seeds=(7,))
        save_results(sweep / "changed", [result_row(changed, "III", ROW, "SSIM", 0.1)], changed)
        settings = set(pivot(load_results(sweep))["setting"])
        assert "num_codes=512, data=other" in settings
        assert cell(pivot(load_results(sweep)), ROW, "SSIM", "num_codes=512, data=abc123")["num_seeds"] == 3

    def test_settings_that_no_parameter_alone_tells_apart_are_named_in_full(self, record, tmp_path):
        for number, (a, b, value) in enumerate([(1, 1, 0.1), (2, 2, 0.1), (1, 2, 0.2)]):
            run = replace(record, parameters={"a": a, "b": b})
            save_results(tmp_path / str(number), [result_row(run, "III", ROW, "SSIM", value)], run)
        assert set(pivot(load_results(tmp_path))["setting"]) == {"a=1, b=1 or a=2, b=2", "a=1, b=2"}

    def test_one_seed_twice_is_refused(self, sweep):
        run = load_record(sweep / "512-0")
        twice = [result_row(run, "III", ROW, "SSIM", value) for value in (0.1, 0.2)]
        save_results(sweep / "512-0", twice, run)
        with pytest.raises(ValueError, match=rf"several values of {ROW}, SSIM for seed 0: see .*512-0"):
            pivot(load_results(sweep))

    def test_tables_are_not_mixed(self, sweep):
        results = load_results(sweep)
        with pytest.raises(ValueError, match="mix tables II, III"):
            pivot(pd.concat([results, results.assign(table="II")]))

    def test_compare_parts_settings_too(self, sweep):
        comparison = compare("vqgan", "III", load_results(sweep), expected_seeds=3)
        lines = comparison[(comparison["row"] == ROW) & (comparison["column"] == "SSIM")]
        assert list(lines["setting"]) == ["num_codes=256", "num_codes=512"]
        assert list(lines["paper"]) == [0.954, 0.954]
        text = format_comparison(comparison)
        assert f"{ROW} (num_codes=256)" in text
        assert "2 of 3" in text

    def test_text(self, sweep):
        text = format_pivot(pivot(load_results(sweep), ["not run"], ["SSIM"], expected_seeds=3))
        by_row = {line.split("  ")[0]: line for line in text.splitlines()}
        assert "missing" in by_row["not run"]
        assert "0.9300 ± 0.0635 (2 of 3)" in by_row[f"{ROW} (num_codes=256)"]
        assert "28.00 ± 2.48 (3)" in by_row[f"{ROW} (num_codes=512)"]
        assert max(map(len, text.splitlines())) <= 110

    def test_columns_that_do_not_fit_continue_below(self, sweep):
        whole, narrow = (format_pivot(pivot(load_results(sweep)), width) for width in (400, 60))
        assert narrow.count(f"{ROW} (num_codes=512)") == 3
        for value in ("28.00 ± 2.48 (3)", "0.9600 ± 0.0248 (3)"):
            assert narrow.count(value) == whole.count(value) == 1


class TestListing:
    def test_one_line_a_run_with_the_parameters_that_differ(self, sweep):
        table = runs_table(load_results(sweep))
        assert list(table["num_codes"]) == [256, 256, 512, 512, 512]  # as they started
        assert list(table["seeds"]) == ["0", "1", "0", "1", "2"]
        assert not {"seed", "runs", "lr", "steps"} & set(table.columns)
        assert (table["values"] == 4).all()
        assert set(table["duration_s"]) == {12.5}

    def test_values_are_columns(self, sweep):
        table = runs_table(select(load_results(sweep), row=ROW), values=True)
        assert list(table.columns[-2:]) == ["SSIM", "PSNR"]
        assert list(table["PSNR"]) == [27, 28, 27, 28, 29]

    def test_common_facts_are_told_once(self, sweep):
        text = format_runs(runs_table(load_results(sweep)))
        assert text.count("0123456789ab") == 1
        assert text.startswith("in common: notebook: 01_heatmap_vqgan; profile: laptop")
        assert len([line for line in text.splitlines() if "sweep/" in line]) == 5

    @pytest.mark.parametrize(
        ("labels", "parameters", "count"),
        [
            ({"row": "blank"}, {}, 5),
            ({"row": "size*", "column": "Perp*"}, {}, 5),
            ({"paper": "vqgan", "profile": ""}, {"num_codes": 256}, 8),
            ({}, {"lr": "1e-3", "num_codes": "512"}, 12),
        ],
    )
    def test_select(self, sweep, labels, parameters, count):
        assert len(select(load_results(sweep), parameters, **labels)) == count

    @pytest.mark.parametrize(
        ("labels", "parameters", "message"),
        [
            ({"row": "blnk"}, {}, "unknown row: 'blnk'; did you mean 'blank'"),
            ({"profile": "full"}, {}, "unknown profile: 'full'.* There are: laptop"),
            ({}, {"num_code": 256}, "unknown parameter: 'num_code'; did you mean 'num_codes'"),
            ({}, {"num_codes": 100}, "no run with num_codes = 100; there are 256, 512"),
        ],
    )
    def test_what_is_not_there_is_named(self, sweep, labels, parameters, message):
        with pytest.raises(ValueError, match=message):
            select(load_results(sweep), parameters, **labels)


class TestExport:
    def test_numbers_come_back(self, sweep, tmp_path):
        table = pivot(load_results(sweep))
        csv, parquet = (write_table(tmp_path / f"new/table{suffix}", table) for suffix in (".csv", ".parquet"))
        pd.testing.assert_frame_equal(pd.read_parquet(parquet), table, check_dtype=False)
        back = pd.read_csv(csv, keep_default_na=False, na_values={"low": "", "high": "", "value": ""})
        pd.testing.assert_frame_equal(back, table, check_dtype=False)

    def test_texts_are_escaped(self, tmp_path):
        texts = pd.DataFrame({"row": ["a|b_c & 50 %"], "SSIM": ["0.9 ± 0.1"]})
        numbers = pd.DataFrame({"row": ["x"]})
        markdown = write_table(tmp_path / "t.md", numbers, texts).read_text()
        assert markdown.splitlines() == ["| row | SSIM |", "| --- | --- |", "| a\\|b_c & 50 % | 0.9 ± 0.1 |"]
        latex = write_table(tmp_path / "t.tex", numbers, texts).read_text()
        assert r"a|b\_c \& 50 \% & 0.9 $\pm$ 0.1 \\" in latex
        assert latex.count("tabular") == 2

    def test_another_suffix_is_refused_and_nothing_is_written(self, tmp_path):
        with pytest.raises(ValueError, match=r"cannot write .xls; use .csv, .parquet, .md, .tex"):
            write_table(tmp_path / "new" / "t.xls", pd.DataFrame({"a": [1]}))
        assert not (tmp_path / "new").exists()


class TestCommands:
    def test_results(self, sweep, tmp_path, capsys):
        cli.main(["results", str(sweep), "--row", "blank", "--where", "num_codes=256"])
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[-1] for line in lines[-2:]] == ["0.5", "0.6"]
        cli.main(["results", str(sweep), "--pivot"])
        assert "0.9300 ± 0.0635 (2)" in capsys.readouterr().out
        cli.main(["results", str(sweep), "--out", str(tmp_path / "all.csv")])
        assert len(pd.read_csv(tmp_path / "all.csv")) == 15
        with pytest.raises(SystemExit):
            cli.main(["results", str(sweep), "--where", "num_code=256"])
        assert "did you mean 'num_codes'" in capsys.readouterr().err

    def test_compare_prints_what_a_notebook_prints(self, sweep, tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "92")
        cli.main(["compare", "vqgan", "III", str(sweep), "--all"])
        assert capsys.readouterr().out.strip() == format_comparison(compare("vqgan", "III", load_results(sweep)))
        cli.main(["compare", "vqgan", "III", str(sweep), "--out", str(tmp_path / "t.md")])
        assert f"| {ROW} (num_codes=256) | SSIM | 0.954 |" in (tmp_path / "t.md").read_text()
        with pytest.raises(SystemExit):
            cli.main(["compare", "vqgan", "VI", str(sweep)])
        assert "unknown table of vqgan: 'VI'" in capsys.readouterr().err
