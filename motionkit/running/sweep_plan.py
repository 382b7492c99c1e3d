"""What a sweep file asks for: read, checked and spread out into runs before anything starts.

::

    notebook: 01_heatmap_vqgan        # a name, its beginning, or a path
    profile: laptop                   # optional: small, the notebook's own values, if left out
    parameters: {num_steps: 3000}     # optional: the same in every run
    grid:                             # every combination; or a list of mappings, one for each row
      num_downsamples: [3, 4]
      num_codes_2d: [128, 512]
    seeds: [0, 1, 2]                  # optional: values of the notebook's parameter `seed`
    fills: {paper: vqgan, table: III} # optional: the published table that the results belong to
    timeout_s: 3600                   # optional: longest time for one cell
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from motionkit.data.cache import fingerprint
from motionkit.data.catalogue import CATALOGUE, load_dataset
from motionkit.results import published, run_id
from motionkit.running.parameters import (
    OWN_PROFILE,
    check_parameters,
    find_notebook,
    nearest,
    notebook_parameters,
    notebooks_folder,
    read_notebook,
    read_profile,
)

KEYS = ("notebook", "profile", "parameters", "grid", "seeds", "fills", "timeout_s")
OWN = {"runs": "the sweep gives each run its own folder", "profile": "the sweep's own `profile` sets it"}


@dataclass(frozen=True)
class Sweep:
    """A sweep file, checked: ``points`` are the grid's combinations, each a mapping of parameters."""

    name: str
    file: Path
    notebook: Path
    profile: str
    parameters: Mapping[str, Any]
    points: tuple[Mapping[str, Any], ...]
    seeds: tuple[int, ...] = ()
    fills: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None


@dataclass(frozen=True)
class Run:
    """One run of a sweep. ``varied`` tells it from the others, ``settings`` are all parameters of its notebook."""

    id: str
    varied: Mapping[str, Any]
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        return " ".join(f"{name}={value}" for name, value in self.varied.items()) or self.id


def find_sweep(name: str | Path) -> Path:
    """A sweep file by its path, or by its name in ``notebooks/sweeps/``."""
    if (path := Path(name)).is_file():
        return path
    folder = notebooks_folder() / "sweeps"
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if path.parent == Path(".") and path.name.removesuffix(".yaml") in names:
        return folder / f"{path.name.removesuffix('.yaml')}.yaml"
    known = ", ".join(names) or "no sweeps"
    raise FileNotFoundError(f"no sweep file {name};{nearest(path.stem, names)} {folder} holds {known}")


def read_sweep(file: str | Path, profile: str | None = None) -> Sweep:
    """Read and check a sweep file. ``profile`` takes the place of the file's.

    Raises ``ValueError`` naming file, line, key and value, with the nearest valid name, for unknown or repeated keys,
    unknown parameters, wrong types, an empty grid, and a parameter given twice.
    """
    file = find_sweep(file)
    source = _Source(file)
    content = source.content
    for key in content:
        if key not in KEYS:
            raise ValueError(f"{source.at(key)}: unknown key;{nearest(key, list(KEYS))} it may have {', '.join(KEYS)}")
    if not isinstance(content.get("notebook"), str):
        raise ValueError(f"{file.name}: needs a line `notebook: NAME`, has {content.get('notebook')!r}")
    notebook = find_notebook(_beside(file, content["notebook"]))
    profile = profile or str(content.get("profile") or OWN_PROFILE)
    check_parameters(notebook, *read_profile(notebook, profile))
    fixed = _fixed(source, notebook)
    points = _points(source, notebook)
    seeds = _seeds(source, notebook)
    for point in points:
        if twice := [name for name in point if name in fixed or (name == "seed" and seeds)]:
            other = "parameters" if twice[0] in fixed else "seeds"
            raise ValueError(f"{source.at('grid')}: {twice[0]!r} is given in {other} already")
    if seeds and "seed" in fixed:
        raise ValueError(f"{source.at('seeds')}: 'seed' is given in parameters already")
    fills, timeout_s = _fills(source), _timeout(source)
    return Sweep(file.stem, file, notebook, profile, fixed, points, seeds, fills, timeout_s)


def plan_runs(sweep: Sweep) -> list[Run]:
    """The runs of a sweep in the file's order, seeds running fastest.

    A run is named by a hash of the notebook's code, all its parameters, the content of its data set and the version of
    the library. Raises ``ValueError`` for a data set that cannot be read and for two runs that would be the same.
    """
    cells = [cell.source for cell in read_notebook(sweep.notebook).cells if cell.cell_type == "code"]
    code = hashlib.sha256("\0".join(cells).encode()).hexdigest()
    own = {name: parameter.default for name, parameter in notebook_parameters(sweep.notebook).items()}
    own |= check_parameters(sweep.notebook, *read_profile(sweep.notebook, sweep.profile)) | sweep.parameters
    prints: dict[str, str] = {}
    runs: dict[str, Run] = {}
    for point, seed in itertools.product(sweep.points, sweep.seeds or (None,)):
        varied = {**point, **({} if seed is None else {"seed": seed})}
        settings = own | varied
        data = settings.get("dataset", "")
        if data and data not in prints:
            prints[data] = _data_fingerprint(sweep, data)
        # where results go does not change them: a sweep may be moved to another folder
        hashed = {name: value for name, value in settings.items() if name != "runs"}
        run = Run(run_id(sweep.notebook.stem, code, hashed, prints.get(data, "")), varied, settings)
        if run.id in runs:
            raise ValueError(f"{sweep.file.name}: two runs are the same: {runs[run.id].label} and {run.label}")
        runs[run.id] = run
    return list(runs.values())


def _data_fingerprint(sweep: Sweep, name: str) -> str:
    """A folder of one's own is named as the notebook sees it: relative to the notebook's folder."""
    folder = sweep.notebook.parent / Path(name).expanduser()
    if name in CATALOGUE and not CATALOGUE[name].is_embedded and CATALOGUE[name].find() is None:
        # planning downloads nothing, and not every run by itself either
        raise ValueError(f"{sweep.file.name}: {CATALOGUE[name].instructions()}")
    try:
        return fingerprint(load_dataset(folder if folder.is_dir() else name))
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{sweep.file.name}: dataset {name!r}: {error}") from None


# ---- the parts of a sweep file ---------------------------------------------------------------------------------------


class _Source:
    """A YAML file with the lines of its keys, in which no key may stand twice."""

    def __init__(self, file: Path) -> None:
        self.file, self.lines = file, {}
        try:
            text = file.read_text(encoding="utf-8")
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            self._note_lines(root, ())
            self.content = yaml.safe_load(text)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"{file} is no valid YAML: {error}") from None
        if not isinstance(self.content, dict) or not all(isinstance(key, str) for key in self.content):
            raise ValueError(f"{file}: expected lines `name: value`, with {', '.join(KEYS)}")

    def _note_lines(self, node: yaml.Node | None, path: tuple) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                here, line = (*path, key.value), key.start_mark.line + 1
                if here in self.lines:
                    raise ValueError(f"{self.at(*here)}: stands a second time in line {line}")
                self.lines[here] = line
                self._note_lines(value, here)
        elif isinstance(node, yaml.SequenceNode):
            for number, item in enumerate(node.value):
                self.lines[*path, number] = item.start_mark.line + 1
                self._note_lines(item, (*path, number))

    def at(self, *path: str | int) -> str:
        """File, line and keys, as messages name them."""
        return f"{self.file.name}, line {self.lines.get(path, 1)}, {': '.join(map(str, path))}"


def _fixed(source: _Source, notebook: Path) -> dict[str, Any]:
    given = source.content.get("parameters") or {}
    if not isinstance(given, dict):
        raise ValueError(f"{source.at('parameters')}: expected `name: value`, found {given!r}")
    return _check(source, notebook, given, "parameters")


def _points(source: _Source, notebook: Path) -> tuple[dict[str, Any], ...]:
    """The combinations of a mapping of lists, or the mappings of a list."""
    grid = source.content.get("grid")
    if isinstance(grid, list) and grid and all(isinstance(row, dict) and row for row in grid):
        return tuple(_check(source, notebook, row, "grid", number) for number, row in enumerate(grid))
    if isinstance(grid, dict) and grid:
        axes = {}
        for name, values in grid.items():
            if not isinstance(values, list) or not values:
                raise ValueError(f"{source.at('grid', name)}: expected a list of values, such as [1, 2]; is {values!r}")
            axes[name] = [_check(source, notebook, {name: value}, "grid")[name] for value in values]
            if double := [value for i, value in enumerate(axes[name]) if value in axes[name][:i]]:
                raise ValueError(f"{source.at('grid', name)}: {double[0]!r} stands twice")
        return tuple(dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    if "grid" not in source.content and source.content.get("seeds"):
        return ({},)  # a sweep over seeds alone
    raise ValueError(
        f"{source.at('grid')}: expected lists of values by name, or a list of rows `- name: value`; is {grid!r}"
    )


def _check(source: _Source, notebook: Path, given: dict, *path: str | int) -> dict[str, Any]:
    checked = {}
    for name, value in given.items():
        if name in OWN:
            raise ValueError(f"{source.at(*path, name)}: not to be set here: {OWN[name]}")
        checked |= check_parameters(notebook, {name: value}, source.at(*path, name))
    return checked


def _seeds(source: _Source, notebook: Path) -> tuple[int, ...]:
    if "seeds" not in source.content:
        return ()
    seeds, where = source.content["seeds"], source.at("seeds")
    if not isinstance(seeds, list) or not seeds:
        raise ValueError(f"{where}: expected a list, such as [0, 1, 2]; is {seeds!r}")
    if double := [seed for i, seed in enumerate(seeds) if seed in seeds[:i]]:
        raise ValueError(f"{where}: {double[0]!r} stands twice")
    return tuple(check_parameters(notebook, {"seed": seed}, where)["seed"] for seed in seeds)


def _fills(source: _Source) -> dict[str, str]:
    fills = source.content.get("fills") or {}
    if not isinstance(fills, dict) or (fills and set(fills) != {"paper", "table"}):
        raise ValueError(f"{source.at('fills')}: expected {{paper: NAME, table: NUMBER}}; is {fills!r}")
    fills = {key: str(value) for key, value in fills.items()}
    if fills:
        try:
            published(**fills)
        except ValueError as error:
            raise ValueError(f"{source.at('fills')}: {error}") from None
    return fills


def _timeout(source: _Source) -> float | None:
    seconds = source.content.get("timeout_s")
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ValueError(f"{source.at('timeout_s')}: expected seconds above 0; is {seconds!r}")
    return float(seconds)


def _beside(file: Path, notebook: str) -> str | Path:
    """A path to a notebook is meant from the sweep file's folder."""
    path = file.parent / notebook
    return path if path.suffix == ".ipynb" and path.is_file() else notebook
