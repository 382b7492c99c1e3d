"""Trained models as a folder of two files: ``weights.safetensors`` and ``model.json`` (configuration and provenance).

Loading runs no code from the files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from motionkit.data.atomic import written_whole

Model = TypeVar("Model", bound=nn.Module)
Config = TypeVar("Config")

WEIGHTS, DESCRIPTION = "weights.safetensors", "model.json"
_SCALE = ":scale"  # of the kernel of that name, in a compact file


def save_weights(
    model: nn.Module, folder: str | Path, provenance: Mapping[str, Any], *, is_compact: bool = False
) -> None:
    """Writes a model, its configuration (``model.config``, a dataclass) and where it comes from.

    folder: created where missing. Each file is replaced whole: a reader never sees half of one.
    provenance: anything json can hold, e.g. data set, step, seed, ``describe_features(...)``, commit.
    is_compact: round convolution kernels to 8-bit integers, each slice along the first axis with a scale of its own,
        and all else to float16: about a quarter of the size. Kernels are off by at most 1/254 of their slice's largest
        weight.

    Raises ``ValueError`` for a model without such a configuration, and for weights that are not finite or, but for
    kernels, beyond the range of float16 where ``is_compact``.
    """
    if not is_dataclass(getattr(model, "config", None)):
        raise ValueError(f"{type(model).__name__} has no configuration dataclass in .config and cannot be saved")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    description = {"model": type(model).__name__, "config": asdict(model.config), "provenance": dict(provenance)}
    text = json.dumps(description, indent=2, allow_nan=False) + "\n"
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with written_whole(folder / WEIGHTS) as aside:
        save_file(_compact(state) if is_compact else state, aside)
    with written_whole(folder / DESCRIPTION) as aside:
        aside.write_text(text, encoding="utf-8")


def load_weights(
    model_type: type[Model] | Sequence[type[Model]], folder: str | Path, device: str | torch.device = "cpu"
) -> tuple[Model, dict[str, Any]]:
    """The model of this type in a folder written by ``save_weights``, in evaluation mode, and its provenance.

    model_type: a class that is built from one configuration dataclass, ``def __init__(self, config: SomeConfig)``, or
        several, any of which will do.
    Raises: ``FileNotFoundError``; ``ValueError`` naming the file for another model, unknown configuration keys,
    damaged files, and weights that do not fit the configuration.
    """
    folder = Path(folder)
    for name in (DESCRIPTION, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name}: no such file; a saved model holds {DESCRIPTION} and {WEIGHTS}")
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not valid json: {error}") from None
    if not isinstance(description, dict) or not {"model", "config", "provenance"} <= set(description):
        raise ValueError(f"{path}: expected an object with 'model', 'config' and 'provenance'")
    types = {kind.__name__: kind for kind in ((model_type,) if isinstance(model_type, type) else model_type)}
    if description["model"] not in types:
        raise ValueError(f"{path}: holds a {description['model']!r}, not a {' or a '.join(map(repr, types))}")
    model_type = types[description["model"]]
    config_type = get_type_hints(model_type.__init__)["config"]
    try:
        model = model_type(config_from_dict(config_type, description["config"]))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    try:
        model.load_state_dict(_whole(load_file(folder / WEIGHTS)))
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"{folder / WEIGHTS}: does not hold the weights of {path}: {error}") from None
    return model.to(device).eval(), description["provenance"]


def config_from_dict(config_type: type[Config], values: Mapping[str, Any]) -> Config:
    """A configuration dataclass from a plain mapping; json's lists become tuples, absent keys keep their defaults.

    Raises: ``ValueError`` for keys the dataclass does not have, and whatever its own checks raise.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"the configuration of {config_type.__name__} must be an object, got {values!r}")
    known = {field.name for field in fields(config_type)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(f"{config_type.__name__} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}")
    return config_type(**{key: _as_tuples(value) for key, value in values.items()})


def _as_tuples(value: Any) -> Any:
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value


def _compact(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    packed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            packed[name] = tensor
        elif tensor.ndim < 3:
            packed[name] = tensor.half()
        else:
            largest = tensor.abs().amax(dim=tuple(range(1, tensor.ndim)), keepdim=True)
            scale = (largest.float() / 127).clamp_min(1e-30)
            packed[name], packed[name + _SCALE] = (tensor / scale).round().to(torch.int8), scale
        rounded = packed.get(name + _SCALE, packed[name])
        if rounded.is_floating_point() and not rounded.isfinite().all():
            raise ValueError(f"{name!r} reaches {tensor.abs().max().item():g}, which a compact file cannot hold")
    return packed


def _whole(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undoes ``_compact``; other weights stay as they are. ``RuntimeError`` for a compact kernel without its scale."""
    for name, tensor in state.items():
        if tensor.dtype == torch.int8 and name + _SCALE not in state:
            raise RuntimeError(f"{name} is stored in 8 bits, and its scale is missing")
    return {
        name: tensor * state[name + _SCALE] if name + _SCALE in state else tensor
        for name, tensor in state.items()
        if not name.endswith(_SCALE)
    }
