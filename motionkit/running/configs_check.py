"""Runs of a notebook that its own configs refuse are found in seconds, before any of them starts.

A notebook makes its configs in one cheap cell, tagged ``configs``. That cell, with the cells before it, is run once for
each set of parameters, all in one process of its own: what the dataclasses refuse is refused here, whatever the reason.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from motionkit.running.parameters import read_notebook

LONGEST_S = 300


def refused_settings(notebook: Path, settings: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    """Which of the sets of parameters the notebook's configs refuse, by number, with its reason.

    Nothing is refused where no cell is tagged ``configs``. Raises ``ValueError`` if the cells before it fail, whatever
    the parameters.
    """
    cells = [cell for cell in read_notebook(notebook).cells if cell.cell_type == "code"]
    tagged = [number for number, cell in enumerate(cells) if "configs" in cell.metadata.get("tags", ())]
    if not tagged:
        return {}
    before, configs = [cell.source for cell in cells[: tagged[0]]], cells[tagged[0]].source
    # as Python literals, not as json: a tuple must stay a tuple
    request = repr((before, configs, [dict(values) for values in settings]))
    try:
        answer = subprocess.run(
            [sys.executable, "-m", __name__],
            input=request,
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=notebook.parent,
            timeout=LONGEST_S,
            env={**os.environ, "MOTIONKIT_BATCH": "1", "PYTHONIOENCODING": "utf-8"},
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"{notebook.name}: the cell tagged configs takes more than {LONGEST_S} s") from None
    if answer.returncode:
        last = "\n".join(answer.stderr.strip().splitlines()[-8:])
        raise ValueError(f"{notebook.name}: the cells before its configs fail:\n{last}")
    return {int(number): reason for number, reason in json.loads(answer.stdout.splitlines()[-1]).items()}


def _main() -> None:
    before, configs, settings = ast.literal_eval(sys.stdin.read())
    refused = {}
    with contextlib.redirect_stdout(sys.stderr):
        common: dict[str, Any] = {"__name__": "__main__"}
        for source in before:
            exec(source, common)
        for number, values in enumerate(settings):
            try:
                exec(configs, {**common, **values})
            except Exception as error:  # whatever it is, the run would end there
                refused[number] = f"{type(error).__name__}: {error}"
    print(json.dumps(refused))


if __name__ == "__main__":
    _main()
