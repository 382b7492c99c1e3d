"""The command line: what `motionkit data` prints, and errors without a traceback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from motionkit.cli import _gather_lists, main
from motionkit.data.catalogue import CATALOGUE


@pytest.fixture(autouse=True)
def data_root(tmp_path, monkeypatch):
    """A data folder with one HumanAct12 clip and one broken file."""
    monkeypatch.setenv("MOTIONKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MOTIONKIT_DATA", str(tmp_path))
    (tmp_path / "humanact12").mkdir()
    np.save(tmp_path / "humanact12" / "P01G01R01F0001T0002A0201.npy", np.arange(144.0).reshape(2, 24, 3))
    (tmp_path / "bandai_namco").mkdir()
    (tmp_path / "bandai_namco" / "bandai_namco_2_positions.npz").write_bytes(b"PK broken")
    return tmp_path


def run(*args: str) -> int:
    try:
        main(list(args))
    except SystemExit as stop:
        return stop.code or 0
    return 0


def test_list(capsys, data_root):
    assert run("data", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    states = {line.split()[0]: line.split()[1] for line in lines if not line.startswith(" ")}
    assert list(states) == list(CATALOGUE)
    assert states["sample"] == "embedded"
    assert states["humanact12"] == "here"
    assert states["cmu"] == "fetchable"
    assert states["amass"] == "missing"
    text = "\n".join(lines)
    assert str(data_root / "humanact12") in text
    for dataset in CATALOGUE.values():
        assert dataset.license in text


def test_check(capsys):
    assert run("data", "check", "sample", "humanact12", "panoptic") == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in out[:2]] == [["sample", "embedded", "2"], ["humanact12", "found", "1"]]
    assert out[2].startswith("panoptic      missing    put into panoptic/: for each sequence")


def test_check_names_broken_files_and_goes_on(capsys):
    assert run("data", "check", "bandai_namco", "sample") == 1
    printed = capsys.readouterr()
    assert "BROKEN" in printed.out
    assert "bandai_namco_2_positions.npz" in printed.out
    assert "2 clips" in printed.out
    assert printed.err == "motionkit: not as they should be: bandai_namco\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("data", "check", "sampel"), "Did you mean 'sample'"),
        (("data", "fetch"), "These can be fetched: cmu, cmu_amc, mnist"),
        (("data", "fetch", "amass"), "data set 'amass' is not in"),
        (("data", "fetch", "sample"), "embedded in the package: there is nothing to fetch"),
    ],
)
def test_errors_are_one_line(capsys, args, message):
    assert run(*args) == 1
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.startswith("motionkit: ")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("args", [("nonsense",), ("data", "nonsense"), ("data", "list", "more"), ()])
def test_wrong_usage(capsys, args):
    assert run(*args) == 2


@pytest.mark.parametrize(("args", "word"), [(("--help",), "data"), (("data", "--help"), "fetch")])
def test_help(capsys, args, word):
    assert run(*args) == 0
    assert word in capsys.readouterr().out


def test_installed_command():
    command = Path(sys.executable).with_name("motionkit")
    if not command.is_file():
        pytest.skip("the package is not installed as a command")
    done = subprocess.run([command, "data", "check", "sample"], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()[:2]) == (0, ["sample", "embedded"]), done.stderr


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("run 01 --set a=1 --set b=2 c=3", "run 01 --set a=1 b=2 c=3"),
        ("run 01 --set a=1 --profile small --set=b=2", "run 01 --profile small --set a=1 b=2"),
        ("results --where k=1 --where n=2 --set x=1", "results --where k=1 n=2 --set x=1"),
        ("run 01 --set", "run 01 --set"),
        ("data list", "data list"),
    ],
)
def test_an_option_with_several_values_may_be_repeated(given, expected):
    assert _gather_lists(given.split()) == expected.split()
