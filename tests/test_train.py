"""Training notebooks as plain scripts: what is run and refused, and several processes under real launchers."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import nbformat.v4 as v4
import pytest
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port

from motionkit import cli
from motionkit.fitting import processes, surroundings
from motionkit.fitting.checkpoints import list_checkpoints, read_checkpoint
from motionkit.results import code_version
from motionkit.running import train
from motionkit.running.notebooks import run_notebook
from motionkit.running.train import CellFailed, train_notebook, training_cells
from motionkit.training import TrainConfig, fit

IMPORTS = """\
import os, time
from dataclasses import replace
from pathlib import Path
import torch
from motionkit.models.quantizers import EMACodebook
from motionkit.results import run_id
from motionkit.training import TrainConfig, fit
"""
PARAMETERS = """\
runs: str = "runs"  # where checkpoints go
names: list[str] = ["one"]  # of the trainings
stops: list[int] = [6]  # last step of each; beyond 100 each takes a while
accumulation: int = 2  # batches in a step
dies: bool = False  # whether the second of two processes dies in step 5
"""
MODEL = """\
class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = torch.nn.Linear(6, 4), torch.nn.Linear(4, 6)
        self.codebook = EMACodebook(8, 4, decay=0.9)

    def loss(self, batch, step):
        found = self.codebook(self.encoder(batch))
        return {"loss": (self.decoder(found.z_q) - batch).square().mean() + found.loss}

    def after_step(self, step):
        self.codebook.update()

def batches(index):
    if dies and os.environ.get("RANK") == "1" and index > 9:
        os.kill(os.getpid(), 9)
    time.sleep(0.05 * (stop > 100))
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(index))

display(print("the model is made"))
"""
TRAIN = """\
config = TrainConfig(num_steps=6, lr=1e-2, accumulation=accumulation, device="cpu", checkpoint_every=2, ema_decay=0.5)
for name, stop in zip(names, stops):
    torch.manual_seed(0)
    model = Tiny()
    folder = Path(runs) / name / run_id(config)
    history = fit(model, batches, replace(config, num_steps=stop), checkpoint_dir=folder)
"""
AFTER = 'Path(runs, "evaluated.txt").write_text(f"{history.resumed_from} {history.step}")'


def write_notebook(path: Path, train_cell: str = TRAIN, tag: str = "train") -> Path:
    cells = [
        v4.new_code_cell(IMPORTS),
        v4.new_markdown_cell("## Parameters"),
        v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
        v4.new_markdown_cell("## The model"),
        v4.new_code_cell(MODEL),
        v4.new_code_cell('Path("shown.txt").touch()', metadata={"tags": ["show"]}),
        v4.new_markdown_cell("## Training"),
        v4.new_code_cell(train_cell, metadata={"tags": [tag]}),
        v4.new_code_cell(AFTER),
    ]
    nbformat.write(v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture
def notebook(tmp_path, monkeypatch):
    """A tiny notebook in a folder of its own; everything alone in its process, and told so."""
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    # The version of the code is part of a folder's name: it shall not change because someone edits meanwhile.
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    code_version.cache_clear()
    monkeypatch.setattr(sys, "argv", ["motionkit"])
    yield write_notebook(tmp_path / "07_tiny.ipynb")
    code_version.cache_clear()


def checkpoint(runs: Path, name: str) -> Path:
    (folder,) = (runs / name).iterdir()  # one run id, whatever trained it
    return list_checkpoints(folder)[-1]


def assert_same(a: Path, b: Path) -> None:
    a, b = read_checkpoint(a), read_checkpoint(b)
    assert a.header["step"] == b.header["step"]
    assert a.tensors.keys() == b.tensors.keys()
    for name, tensor in a.tensors.items():
        torch.testing.assert_close(b.tensors[name], tensor, rtol=1e-5, atol=1e-6, msg=name)


# Alone


def test_what_training_needs_is_run_and_nothing_else(notebook, capsys):
    before = os.getcwd()
    defined = train_notebook(notebook, parameters={"names": ["a", "b"], "stops": [2, 3]})
    assert (defined["accumulation"], defined["names"]) == (2, ["a", "b"])
    assert [checkpoint(notebook.parent / "runs", name).name[5:13] for name in "ab"] == ["00000002", "00000003"]
    assert sorted(path.name for path in notebook.parent.iterdir()) == ["07_tiny.ipynb", "runs"]  # no cell that shows
    assert os.getcwd() == before
    assert "07_tiny" not in sys.modules
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["[1/4] import os, time", "[2/4] parameters", "[3/4] The model", "the model is made"]


def test_an_error_is_a_traceback_that_names_the_cell(notebook, capsys):
    write_notebook(notebook, "stop = 1\nbatches(stop) / [second for second in 'no number']\n")
    with pytest.raises(CellFailed, match=r"07_tiny\.ipynb, cell 5 \(Training\) failed"):
        train_notebook(notebook)
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(notebook)])
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert 'File "07_tiny.ipynb, cell 5 (Training)", line 2, in <module>\n    batches(stop) / [second' in told
    assert "TypeError: unsupported operand" in told
    assert "train.py" not in told  # only what the author of the notebook wrote


@pytest.mark.parametrize(
    ("cell", "tag", "settings", "message"),
    [
        (TRAIN, "train", ["acumulation=2"], "no parameter 'acumulation'; did you mean 'accumulation'?"),
        (TRAIN, "train", ["accumulation=two"], "parameter 'accumulation' of notebook 07_tiny is 'two' (str)"),
        (TRAIN, "other", ["accumulation=2"], "notebook 07_tiny trains nothing: none of its cells is tagged 'train'"),
        ("x = 1\n%time fit()", "train", [], "cell 5 (Training), line 2: no plain Python: '%time fit()'"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_starts(notebook, cell, tag, settings, message, capsys):
    write_notebook(notebook, cell, tag)
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(notebook), *(["--set", *settings] if settings else [])])
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err


def test_an_interrupt_ends_with_a_message_and_a_code_of_its_own(notebook, capsys):
    disturbed = "import signal\ndef disturbed(index):\n    if index == 5: signal.raise_signal(signal.SIGTERM)\n"
    write_notebook(notebook, disturbed + "    return batches(index)\n" + TRAIN.replace("batches,", "disturbed,"))
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        cli.main(["train", str(notebook)])
    assert ended.value.code == train.INTERRUPTED
    assert signal.getsignal(signal.SIGTERM) == handler
    assert "training interrupted after step 3 of 6" in capsys.readouterr().err
    assert checkpoint(notebook.parent / "runs", "one").name == "step_00000003.safetensors"


def test_the_notebooks_that_train_say_where():
    """Every notebook of the project that calls ``fit`` can be trained as a script."""
    folder = Path(__file__).parents[1] / "notebooks"
    for path in sorted(folder.glob("*.ipynb")):
        if re.search(r"\bfit\(", path.read_text(encoding="utf-8")):
            cells = training_cells(path)
            assert "fit(" in cells[-1].source
            for cell in cells:
                cell.compiled()
                assert ".savefig(" not in cell.source  # every process would write the file


# Launchers and what they say


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4", "GROUP_WORLD_SIZE": "2"}


@pytest.mark.parametrize(
    ("environment", "expected", "rank"),
    [
        ({}, None, 0),
        ({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}, None, 1),  # started by Fabric
        ({**TORCHRUN, "RANK": "5", "LOCAL_RANK": "1", "SLURM_STEP_NUM_TASKS": "2"}, (2, 4), 5),
        ({"SLURM_NTASKS": "6", "SLURM_PROCID": "0"}, None, 0),  # a batch script, not srun in it
        ({"SLURM_STEP_NUM_TASKS": "6", "SLURM_STEP_NUM_NODES": "3", "SLURM_PROCID": "4"}, (3, 2), 4),
    ],
)
def test_launchers_are_known_by_their_environment(environment, expected, rank, monkeypatch):
    monkeypatch.setattr(os, "environ", environment)
    assert processes.launched_processes() == expected
    assert processes.process_rank() == rank
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert processes.launched_processes() is None  # a kernel that inherits the environment


def test_unequal_machines_are_refused(monkeypatch):
    monkeypatch.setattr(os, "environ", {**TORCHRUN, "WORLD_SIZE": "6", "RANK": "0"})
    with pytest.raises(ValueError, match="6 processes on 2 machines, 4 on this one"):
        processes.launched_processes()


def test_batches_that_cannot_be_shared_are_refused(monkeypatch):
    for name, value in {**TORCHRUN, "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    config = TrainConfig(num_steps=1, accumulation=3, device="cpu")
    with pytest.raises(ValueError, match=r"8 processes cannot share .* evenly: accumulation is 3; make it a multiple"):
        fit(torch.nn.Linear(2, 2), lambda index: None, config)


def test_each_process_has_its_own_gpu(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        train._take_gpu()
    assert chosen[-1] == 1
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="process 3 of this machine has no GPU of its own, there are 2"):
        train._take_gpu()


def test_the_echo_of_an_interrupt_is_no_second_one():
    told = []
    interrupts = surroundings.Interrupts(lambda: told.append(1), patience_s=60.0)
    with interrupts.caught():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert interrupts.is_requested
    assert told == [1]
    interrupts = surroundings.Interrupts(lambda: None)
    with interrupts.caught():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_all_processes_refuse_alike_and_the_first_says_why(notebook, monkeypatch, capsys):
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    launched = {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
    launched |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    handler, told = signal.getsignal(signal.SIGTERM), []
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(SystemExit) as ended:
            cli.main(["train", str(notebook), "--set", "acumulation=2"])
        assert ended.value.code == 1
        told.append(capsys.readouterr())
    assert "did you mean 'accumulation'?" in told[0].err
    assert told[0].out + told[1].out + told[1].err == ""
    assert not (notebook.parent / "runs").exists()
    assert signal.getsignal(signal.SIGTERM) == handler


# Two processes under real launchers


class Launched:
    """``motionkit train`` in two processes, started by torchrun or ``fabric run``; none outlives the block."""

    def __init__(self, launcher: str, *arguments: str) -> None:
        root = Path(cli.__file__).parents[1]
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "motionkit"]
        if launcher == "fabric":
            script = str(root / "motionkit" / "__main__.py")
            command = ["-m", "lightning_fabric.cli", "--accelerator", "cpu", "--devices", "2"]
            command += ["--main-port", str(find_free_network_port()), script]
        command = [sys.executable, *command, "train", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)

    def __enter__(self) -> "Launched":
        return self

    def __exit__(self, *_) -> None:
        if self.process.poll() is None:
            self.process.terminate()  # not killed: it ends its own processes
            self.process.communicate(timeout=60)

    def reads_until(self, words: str) -> str:
        text = ""
        while line := self.process.stdout.readline():
            text += line
            if words in line:
                return text
        pytest.fail(f"ended without printing {words!r}:\n{text}\n{self.process.communicate()[1]}")

    def ends(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=100)
        return self.process.returncode, out, err


def test_two_processes_train_as_one_take_turns_with_it_and_can_be_interrupted(notebook):
    runs = notebook.parent / "runs"
    train_notebook(notebook, parameters={"names": ["whole", "begun_by_one"], "stops": [6, 3]})
    settings = ["names=[begun_by_one, begun_by_two, interrupted]", "stops=[6, 3, 900]"]
    with Launched("torchrun", str(notebook), "--set", *settings) as two:
        out = two.reads_until("step 3/3")
        while not list(runs.glob("interrupted/*/step_*")):
            assert two.process.poll() is None
            time.sleep(0.1)
        two.process.terminate()  # as a queue does that wants the machine back
        code, _, err = two.ends()
    assert out.count("[3/4] The model") == out.count("the model is made") == 1  # only rank 0 prints
    assert f"continuing from {runs.name}/begun_by_one/" in out
    path = checkpoint(runs, "interrupted")
    step = read_checkpoint(path).header["step"]
    assert err.count(f"training interrupted after step {step} of 900") == 1
    assert code != 0
    turns = {"names": ["begun_by_two", "until_there"], "stops": [6, step]}
    train_notebook(notebook, parameters=turns)
    for name in ("begun_by_one", "begun_by_two"):
        assert_same(checkpoint(runs, "whole"), checkpoint(runs, name))
    assert_same(checkpoint(runs, "until_there"), path)
    # The notebook itself finds what two processes trained, and only evaluates.
    run_notebook(notebook, parameters={"names": ["begun_by_one"]}, out_folder=notebook.parent / "out")
    assert (runs / "evaluated.txt").read_text() == "6 6"
    assert (notebook.parent / "shown.txt").exists()


def test_a_dead_process_ends_the_others_with_one_message(notebook):
    with Launched("fabric", str(notebook), "--set", "dies=true") as two:
        code, _, err = two.ends()
    assert code != 0
    assert err.count("motionkit: ") == 1
    path = checkpoint(notebook.parent / "runs", "one")
    assert path.name == "step_00000004.safetensors"
    assert "training stopped in step 5: another of its 2 processes has died" in err
    assert f"the same call continues from {path.relative_to(notebook.parent)}" in err
