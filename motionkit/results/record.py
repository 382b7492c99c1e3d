"""The record of a run: what it was, on which machine, with which code."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path

import torch


@dataclass(frozen=True)
class RunRecord:
    """Where results come from: enough to repeat the run.

    paper, notebook, profile: key of the paper, name of the notebook, name of the parameter set.
    parameters: the notebook's parameters, json values only.
    seeds: the random seeds used.
    dataset, fingerprint: name of the data set and the hash of what was read.
    device: in words, see ``describe_device``.
    torch_version, commit: version of torch; git commit of the library (``+`` if edited) or its version.
    started: UTC, ISO 8601. duration_s: seconds, 0 while running.
    perceptual: which image features the perceptual loss used, ``""`` for none.
    extra: anything else worth keeping, json values only.

    Raises ``ValueError`` naming the field that json cannot hold.
    """

    paper: str
    notebook: str
    profile: str
    parameters: dict = field(default_factory=dict)
    seeds: Sequence[int] = ()
    dataset: str = ""
    fingerprint: str = ""
    device: str = ""
    torch_version: str = ""
    commit: str = ""
    started: str = ""
    duration_s: float = 0.0
    perceptual: str = ""
    extra: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", tuple(int(seed) for seed in self.seeds))
        for name in ("parameters", "extra"):
            try:
                plain = json.loads(json.dumps(getattr(self, name), allow_nan=False))
            except (TypeError, ValueError) as error:
                raise ValueError(f"run record: {name} cannot be written as json: {error}") from None
            object.__setattr__(self, name, plain)

    def finished(self, **changes) -> RunRecord:
        """The record with its duration filled in from ``started``, and ``changes``."""
        seconds = (datetime.now(UTC) - datetime.fromisoformat(self.started)).total_seconds()
        return replace(self, duration_s=round(seconds, 3), **changes)


def start_record(paper: str, notebook: str, profile: str, *, device: str | torch.device = "cpu", **known) -> RunRecord:
    """A record of a run that begins now; device, versions and time are filled in, ``known`` are further fields."""
    return RunRecord(
        paper,
        notebook,
        profile,
        device=describe_device(device),
        torch_version=torch.__version__,
        commit=code_version(),
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
        **known,
    )


def describe_device(device: str | torch.device = "cpu") -> str:
    """A device in words: ``"NVIDIA H200"`` or ``"AMD EPYC 7B13, 1 of 2 cores"``."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return str(device)
    name = platform.processor() or platform.machine()
    processors = Path("/proc/cpuinfo")
    if processors.exists():
        models = [
            line.partition(":")[2].strip() for line in processors.read_text().splitlines() if "model name" in line
        ]
        name = models[0] if models else name
    return f"{name}, {torch.get_num_threads()} of {os.cpu_count()} cores"


@cache
def code_version() -> str:
    """Git commit of this library, ``+`` appended if tracked files were edited; its version if it is not in git."""
    folder = Path(__file__).parents[1]
    git = ["git", "-C", str(folder)]
    try:
        # only a repository of our own counts, not one that merely contains the virtual environment
        subprocess.run([*git, "ls-files", "--error-unmatch", "__init__.py"], check=True, capture_output=True)
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], check=True, capture_output=True, text=True)
        edited = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", "."], capture_output=True).returncode
    except (OSError, subprocess.CalledProcessError):
        return f"version {metadata.version('motionkit')}"
    return commit.stdout.strip() + ("+" if edited else "")


def run_id(*parts) -> str:
    """A short name for what a result depends on: configs (dataclasses), numbers, texts; and this code's version.

    Equal parts give equal names, on any machine; use it for folders of checkpoints, so that a changed setting starts
    anew and an unchanged one continues.

    >>> run_id("model", {"lr": 0.1}) == run_id("model", {"lr": 0.1}) != run_id("model", {"lr": 0.2})
    True
    """
    plain = [asdict(part) if is_dataclass(part) else part for part in parts]
    text = json.dumps([code_version(), *plain], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
