"""How to train, as one checked value."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class TrainConfig:
    """How to train; see ``fit``. Raises ``ValueError`` naming the field and its value.

    num_steps: updates in all, interruptions included.
    lr: learning rate at the height of the schedule. player_lr: another one for the players named.
    optimizer: "adam" or "adamw"; betas, eps, weight_decay: its constants.
    schedule: after ``warmup_steps`` linear steps "constant", or down to ``final_lr_fraction`` of the rate at
        ``num_steps`` by "cosine" or "exponential".
    accumulation: micro-batches an update of each device, one after the other; gradients are the mean of all.
    clip_norm: upper bound of the norm of a player's gradient; ``None`` for no bound.
    ema_decay: decay per update of the moving average of the weights, in [0, 1); 0 keeps none. In update t it is at most
        (1 + t) / (10 + t), so that a short run is not held back by its initial weights. Buffers are not averaged.
    seed: of all randomness in training; the initial weights are the caller's.
    device: "auto" (a GPU if there is one), "cpu" or "cuda". devices: processes, one device each, that ``fit`` starts
        on this machine. Where a launcher (torchrun, srun) has started processes, on one machine or several, these
        share the accumulation x devices micro-batches of an update instead: neither what is trained nor its config
        depends on how many they are.
    precision: "32-true", or "bf16-mixed" (autocast around ``loss``; weights and optimizer stay float32).
    compile: run ``loss`` through ``torch.compile``.
    log_every: updates between records of training values. Values are fetched from a GPU only then.
    validate_every, checkpoint_every: updates between; 0 means at the end only. Both also happen at the end.
    keep_last: checkpoints kept, besides the best.
    best_metric: name of a value of ``validate`` by which ``best.safetensors`` is chosen; best_mode: "min" or "max".
    max_minutes: end after this wall-clock time [minutes] of the call as if finished, with validation and checkpoint;
        the same call later continues. Several processes look at the clock about once a second.
    explode_factor: stop when the players' summed absolute losses exceed this many times their median over the last 100
        updates (from the 20th on) and the very first one; ``None`` never does.
    progress: "auto", "bar", "lines" (a line every 20 s) or "off".
    """

    num_steps: int
    lr: float = 3e-4
    player_lr: Mapping[str, float] = field(default_factory=dict)
    optimizer: Literal["adam", "adamw"] = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "exponential"] = "constant"
    warmup_steps: int = 0
    final_lr_fraction: float = 0.01
    accumulation: int = 1
    clip_norm: float | None = None
    ema_decay: float = 0.0
    seed: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    compile: bool = False
    log_every: int = 10
    validate_every: int = 0
    checkpoint_every: int = 0
    keep_last: int = 2
    best_metric: str | None = None
    best_mode: Literal["min", "max"] = "min"
    max_minutes: float | None = None
    explode_factor: float | None = 1e3
    progress: Literal["auto", "bar", "lines", "off"] = "auto"

    def __post_init__(self) -> None:
        choices = {
            "optimizer": ("adam", "adamw"),
            "schedule": ("constant", "cosine", "exponential"),
            "device": ("auto", "cpu", "cuda"),
            "precision": ("32-true", "bf16-mixed"),
            "best_mode": ("min", "max"),
            "progress": ("auto", "bar", "lines", "off"),
        }
        for name, allowed in choices.items():
            self._require(name, getattr(self, name) in allowed, f"one of {', '.join(allowed)}")
        for name in ("num_steps", "accumulation", "devices", "log_every", "keep_last"):
            self._require(name, _is_integer(getattr(self, name), at_least=1), "an integer of at least 1")
        for name in ("warmup_steps", "validate_every", "checkpoint_every", "seed"):
            self._require(name, _is_integer(getattr(self, name), at_least=0), "an integer of at least 0")
        for name in ("lr", "eps"):
            self._require(name, 0 < getattr(self, name) < math.inf, "a positive number")
        for name in ("clip_norm", "max_minutes"):
            value = getattr(self, name)
            self._require(name, value is None or 0 < value < math.inf, "None or a positive number")
        self._require("explode_factor", self.explode_factor is None or self.explode_factor > 1, "None or above 1")
        self._require("weight_decay", 0 <= self.weight_decay < math.inf, "0 or more")
        self._require("betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two numbers in [0, 1)")
        self._require("ema_decay", 0 <= self.ema_decay < 1, "in [0, 1)")
        low = 0 if self.schedule != "exponential" else 1e-12
        self._require("final_lr_fraction", low <= self.final_lr_fraction <= 1, f"in [{low:g}, 1]")
        self._require("player_lr", all(0 < lr < math.inf for lr in self.player_lr.values()), "positive numbers")

    def _require(self, name: str, is_met: bool, what: str) -> None:
        if not is_met:
            raise ValueError(f"TrainConfig: {name} is {getattr(self, name)!r}; expected {what}")

    def lr_factor(self, step: int) -> float:
        """Share of the learning rate used in update ``step`` (from 0)."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = min(1.0, (step - self.warmup_steps) / max(1, self.num_steps - self.warmup_steps))
        if self.schedule == "cosine":
            return self.final_lr_fraction + (1 - self.final_lr_fraction) * 0.5 * (1 + math.cos(math.pi * done))
        return self.final_lr_fraction**done if self.schedule == "exponential" else 1.0


# What a run must have in common with the checkpoint it continues: all that decides what is optimized, and how.
# (A later num_steps stretches what remains of the schedule.) Accumulation x devices is compared as one number.
MUST_AGREE = ("lr", "player_lr", "optimizer", "betas", "eps", "weight_decay", "schedule", "warmup_steps")
MUST_AGREE += ("final_lr_fraction", "clip_norm", "ema_decay", "seed")


def as_json(config: Any) -> dict[str, Any]:
    """A config dataclass as json would give it back (tuples as lists), for comparison with a stored one."""
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def _is_integer(value: Any, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least
