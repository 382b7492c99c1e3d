"""What the README shows runs as it stands, and the pictures that it shows are there."""

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.splitlines()[-1].split(" ")[0])
def test_a_program_runs_and_gives_the_shapes_that_it_says(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(program, "README.md", "exec"), names)
    last = program.splitlines()[-1]
    result, told = names[last.split(" ")[0]], re.search(r"# \(windows, ([^)]*)\)", last)[1]
    assert isinstance(result, torch.Tensor)
    assert result.isfinite().all()
    assert list(result.shape[1:]) == [int(part.split()[0]) for part in told.split(", ")]


def test_there_are_programs_and_every_picture_is_there():
    assert len(PROGRAMS) == 2
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", TEXT)
    assert pictures
    assert not [name for name in pictures if not (ROOT / name).is_file()]
