"""Scoring a finished run again, without training, gives what the run itself gave."""

import importlib.util
import json
from pathlib import Path

import pandas as pd

from motionkit.results import COLUMNS, load_record, load_results
from motionkit.running.notebooks import run_notebook
from motionkit.study.kept import EXAMPLES_FILE, HISTORY_FILE, load_examples

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("rescore", ROOT / ".ci" / "rescore.py")
rescore = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rescore)


def test_scores_of_a_finished_run_come_back_from_its_checkpoint(tmp_path, monkeypatch):
    few = {"kinds": ["2D VQ-GAN"], "num_steps": 3, "adversarial_start": 2, "max_test_windows": 2}
    few |= {"perceptual": "none", "dataset": "sample", "runs": str(tmp_path / "id")}
    run_notebook("01", parameters=few, out_folder=tmp_path)
    run = tmp_path / "id" / "small" / "01_heatmap_vqgan"
    before, record = load_results(run), load_record(run)
    example = load_examples(run)["2D VQ-GAN F8/512"]
    kept = before.loc[before["column"] != "Keypoint error", list(COLUMNS)]
    kept.to_parquet(run / "results.parquet", index=False)  # as if the metric had not been there yet
    for name in (EXAMPLES_FILE, HISTORY_FILE):
        (run / name).unlink()
    text = json.loads((run / "record.json").read_text())
    text["parameters"].pop("keypoint_windows")
    text["duration_s"] = 1234.0
    (run / "record.json").write_text(json.dumps(text))
    monkeypatch.chdir(ROOT / "notebooks")

    rescore.rescore(run)

    after = load_results(run)
    about = ["table", "row", "column", "value"]
    is_peak = (before["column"] == "Keypoint error").to_numpy()  # a rounding can move the peak of a flat picture
    pd.testing.assert_frame_equal(after[about][~is_peak], before[about][~is_peak], rtol=1e-4)
    pd.testing.assert_frame_equal(after[about][is_peak], before[about][is_peak], rtol=0.05)
    assert (load_examples(run)["2D VQ-GAN F8/512"].output == example.output).mean() > 0.999
    assert (run / HISTORY_FILE).is_file()
    again = load_record(run)
    assert (again.started, again.duration_s, again.commit) == (record.started, 1234.0, record.commit)
    assert "scored_by" in again.extra
    assert again.extra["filled_in"] == ["keypoint_windows"]
