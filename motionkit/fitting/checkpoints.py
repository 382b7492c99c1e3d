"""Checkpoint files: one safetensors file a checkpoint, with everything that is no tensor as json in its header.

A file is written under a temporary name and moved into place, so a folder never holds half a checkpoint, and
weights cannot be separated from the settings they belong to. Nothing is ever unpickled.

Tensor names: ``model/<name>`` (weights and buffers being trained), ``ema/<name>`` (their moving average, where one
is kept), ``optimizer/<player>/<key>/<parameter>`` (for instance ``exp_avg``).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FORMAT = "motionkit-checkpoint-1"
BEST, GOOD = "best.safetensors", "good.safetensors"
_NAME = re.compile(r"step_(\d{8,})\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """What one file holds: ``tensors`` by prefixed name, ``header`` as written by ``write_checkpoint``."""

    path: Path
    header: dict[str, Any]
    tensors: dict[str, Tensor]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names start with ``prefix/``, without it."""
        return {name[len(prefix) + 1 :]: t for name, t in self.tensors.items() if name.startswith(prefix + "/")}


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint taken after ``step`` updates lies."""
    return folder / f"step_{step:08d}.safetensors"


def list_checkpoints(folder: str | os.PathLike) -> list[Path]:
    """The finished checkpoints of a folder, oldest first (``BEST`` and ``GOOD`` are second names)."""
    found = [path for path in Path(folder).glob("step_*.safetensors") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(_NAME.fullmatch(path.name)[1]))


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> Path:
    """Write one checkpoint atomically and durably; a crash at any moment leaves either the old file or the new one."""
    owned, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        # Tied weights share memory, which the format refuses: the second name gets its own copy.
        storage = tensor.untyped_storage().data_ptr()
        owned[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file(owned, temporary, metadata={"motionkit": json.dumps({"format": FORMAT, **header})})
    with open(temporary, "rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    return path


def read_checkpoint(
    path: str | os.PathLike, *, prefixes: tuple[str, ...] = ("model", "ema", "optimizer")
) -> Checkpoint:
    """Read the tensors under ``prefixes`` to the CPU.

    Raises ``FileNotFoundError`` for a missing file and ``ValueError`` naming the file for one that is damaged, is no
    safetensors file, or was not written by ``write_checkpoint``.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("motionkit", "{}"))
            if header.get("format") != FORMAT:
                raise ValueError(
                    f"{path}: not a motionkit checkpoint (format {header.get('format')!r}, not {FORMAT!r})"
                )
            names = [name for name in file.keys() if name.split("/")[0] in prefixes]  # noqa: SIM118 (not a dict)
            return Checkpoint(path, header, {name: file.get_tensor(name) for name in names})
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: damaged, or no safetensors file ({error}); delete it to use an older one") from error


def load_weights(model: nn.Module, path: str | os.PathLike) -> dict[str, Any]:
    """Put a checkpoint's weights into ``model``: the moving average where there is one, as ``fit`` leaves them.

    ``path`` is a checkpoint or a folder of them (its newest). Returns the header: step, config, model, versions.
    Raises ``ValueError`` naming the file if the names or shapes are not the model's.
    """
    path = Path(path)
    if path.is_dir():
        files = list_checkpoints(path)
        if not files:
            raise FileNotFoundError(f"{path}: holds no checkpoint (step_*.safetensors)")
        path = files[-1]
    checkpoint = read_checkpoint(path, prefixes=("model", "ema"))
    load_state(model, {**checkpoint.under("model"), **checkpoint.under("ema")}, path)
    return checkpoint.header


def load_state(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """``load_state_dict`` whose error names the file and the first weight that does not fit; changes nothing then."""
    own = model.state_dict()
    for name in [*own, *state]:
        have, want = state.get(name), own.get(name)
        if have is None or want is None or have.shape != want.shape:
            shapes = [f"{tuple(t.shape)}" if t is not None else "nothing" for t in (have, want)]
            raise ValueError(f"{path}: {name!r} is {shapes[0]} in the file, {shapes[1]} in the model")
    model.load_state_dict(state)


def link_checkpoint(path: Path, name: str) -> Path:
    """Give ``path`` a second name, ``BEST`` or ``GOOD``, atomically; it then survives ``rotate``."""
    temporary = path.with_name(f".{name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without hard links
        temporary.write_bytes(path.read_bytes())
    os.replace(temporary, path.with_name(name))
    temporary.unlink(missing_ok=True)  # renaming one name of a file onto another of its names does nothing
    return path.with_name(name)


def rotate(folder: Path, keep_last: int) -> None:
    """Delete all but the newest ``keep_last`` checkpoints, and what an earlier crash left half-written."""
    for path in [*list_checkpoints(folder)[:-keep_last], *folder.glob(".*.safetensors.*.tmp")]:
        path.unlink(missing_ok=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """The optimizer's state as named tensors ``<key>/<parameter>``; ``names`` are its parameters', in its order."""
    state = optimizer.state_dict()["state"]
    return {f"{key}/{names[i]}": torch.as_tensor(value) for i, entry in state.items() for key, value in entry.items()}


def load_optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: list[str], tensors: Mapping[str, Tensor], path: Path
) -> None:
    """Inverse of ``optimizer_tensors``. Raises ``ValueError`` naming the file for a parameter the optimizer lacks."""
    position, state = {name: i for i, name in enumerate(names)}, {}
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for label, tensor in tensors.items():
        key, name = label.split("/", 1)
        if name not in position:
            raise ValueError(f"{path}: holds optimizer state {key!r} of {name!r}, which no player of the model trains")
        parameter = parameters[position[name]]
        if tensor.shape == parameter.shape:  # fused optimizers go through memory in order: laid out as the parameter is
            tensor = torch.empty_like(parameter, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
        state.setdefault(position[name], {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
