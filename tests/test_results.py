"""Results tables, run records and the comparison with the published numbers."""

import json
import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
import torch

from motionkit.results import (
    COLUMNS,
    RunRecord,
    code_version,
    compare,
    describe_device,
    format_comparison,
    load_record,
    load_results,
    result_row,
    results_table,
    save_results,
    start_record,
)

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
        from motionkit.results import _read_published, published

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
