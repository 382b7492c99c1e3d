"""JSON from outside: read with errors that name the file, the field and the value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def read_json(path: Path) -> Any:
    """The file's content; ``ValueError`` naming the file (and line) if it is empty, truncated, no JSON or no UTF-8."""
    data = Path(path).read_bytes()
    if not data.strip():
        raise ValueError(f"{path}: the file is empty")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} ({data[error.start]:#04x}) is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: line {error.lineno}, column {error.colno}: {error.msg} (truncated?)") from None
    except RecursionError:
        raise ValueError(f"{path}: nested too deeply to be a data file") from None


def expect(value: Any, kind: type, where: str) -> Any:
    """``value`` if it is a ``kind``, else ``ValueError`` saying ``where`` and what it is."""
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{where} is {_short(value)}, expected {_KINDS[kind]}")
    return value


def get(mapping: Any, key: str, kind: type, where: str) -> Any:
    """``mapping[key]``, which must exist and be a ``kind``."""
    expect(mapping, dict, where)
    if key not in mapping:
        raise ValueError(f"{where}: field {key!r} is missing; it has {', '.join(map(repr, mapping)) or 'no fields'}")
    return expect(mapping[key], kind, f"{where}: field {key!r}")


def numbers(values: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A nested list as a float64 array of ``shape`` with finite entries; ``ValueError`` naming the first bad one."""
    expect(values, list, where)
    try:
        array = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        bad = next((value for value in values if not isinstance(value, int | float)), values)
        raise ValueError(f"{where} holds {_short(bad)}, expected {_shape(shape)} numbers") from None
    if array.shape != shape and array.size == np.prod(shape) and array.ndim > len(shape):
        array = array.reshape(shape)  # [[x], [y], [z]] for (3,)
    if array.shape != shape:
        raise ValueError(f"{where} has {_shape(array.shape)} numbers, expected {_shape(shape)}")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{where} holds {array[tuple(bad[0])]} at {tuple(map(int, bad[0]))}")
    return array


_KINDS = {dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number"}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "no"
