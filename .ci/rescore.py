"""Score the finished runs of a sweep of notebook 01 anew, without training: python .ci/rescore.py runs/sweeps/NAME.

For sweeps that were trained before a metric was added. Every cell of the notebook runs as it stands, but for the
training, which is read from the run's last checkpoint, and the explorer. Results, examples and curves are written in
place; the record keeps the time, the commit and the duration of the training, and names the commit that scored and the
parameters that the run did not know, which stand there with their present values.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

from motionkit.fitting.checkpoints import list_checkpoints, read_checkpoint
from motionkit.fitting.history import METRICS, History
from motionkit.results import RECORD_FILE, load_record, load_results, save_results
from motionkit.running.parameters import (
    check_parameters,
    find_notebook,
    notebook_parameters,
    read_notebook,
    read_profile,
)
from motionkit.training import load_weights

NOTEBOOK = "01_heatmap_vqgan"


def trained(run: Path) -> dict[tuple[str, int, int], Path]:
    """Class, output channels and codes of each model that a run trained -> the folder of its checkpoints."""
    folders = {}
    for folder in sorted(path.parent for path in run.glob(f"*/{METRICS}")):
        described = read_checkpoint(list_checkpoints(folder)[-1], prefixes=()).header["model"]
        folders[described["class"], described["out_channels"], described["num_codes"]] = folder
    return folders


def rescore(run: Path) -> None:
    """Write a finished run's results again."""
    record, folders = load_record(run), trained(run)
    notebook = find_notebook(NOTEBOOK)

    def fit(model: Any, *_: Any, **__: Any) -> History:
        key = type(model).__name__, model.config.out_channels, model.config.num_codes
        load_weights(model, list_checkpoints(folders[key])[-1])
        model.eval()
        return History.read(folders[key])

    known = notebook_parameters(notebook)
    recorded = {name: value for name, value in record.parameters.items() if name in known}
    values = check_parameters(notebook, *read_profile(notebook, record.profile))  # for parameters newer than the run
    values |= check_parameters(notebook, recorded, str(run)) | {"runs": str(run.parent.parent)}
    names: dict[str, Any] = {"display": lambda *_: None, "__name__": "rescored"}
    for cell in read_notebook(notebook).cells:
        if cell.cell_type != "code" or cell.source.startswith("explore_"):
            continue
        exec(compile(cell.source, f"{NOTEBOOK}, {cell['id']}", "exec"), names)
        if "parameters" in cell.metadata.get("tags", ()):
            names |= values | {"fit": fit}
    scored = load_record(run)
    about = {"started": record.started, "duration_s": record.duration_s, "commit": record.commit}
    extra = scored.extra | {"scored_by": scored.commit, "filled_in": sorted(set(known) - set(recorded))}
    results = load_results(run).assign(duration_s=record.duration_s, commit=record.commit)
    save_results(run, results, replace(scored, **about, extra=extra))


if __name__ == "__main__":
    matplotlib.use("Agg")
    runs = [path.parent.resolve() for path in sorted(Path(sys.argv[1]).rglob(RECORD_FILE))]
    os.chdir(find_notebook(NOTEBOOK).parent)
    for number, run in enumerate(runs, start=1):
        print(f"[{number}/{len(runs)}] {run}", flush=True)
        rescore(run)
