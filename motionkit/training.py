"""One training loop for every model: ``fit``. It knows players, losses and steps, and nothing of any model.

What a model gives: ``loss(batch, step) -> dict`` of scalars with "loss" in it; what else is in it gets logged.
A model with several players (a generator and a discriminator) also gives ``players() -> {name: parameters}`` and
returns one "loss/<name>" for each, all computed before any update; a player whose key is absent rests in that step.
Optionally ``after_step(step)``, called after the update, without gradients.

Randomness: before each ``loss`` torch's generators are seeded from (seed, batch index), so dropout or Gumbel noise
depend on nothing that happened before. That makes a resumed run equal to an uninterrupted one, and W processes equal
to accumulation W, with no generator state to carry along. Models draw from torch's default generators only.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from motionkit.checkpoints import (
    Checkpoint,
    checkpoint_path,
    link_best,
    list_checkpoints,
    load_optimizer_tensors,
    load_state,
    load_weights,
    optimizer_tensors,
    read_checkpoint,
    rotate,
    write_checkpoint,
)
from motionkit.history import History, Meter, MetricsFile, Progress, Row

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class TrainingDiverged(RuntimeError):
    """A loss or gradient became non-finite, or the loss exploded. Holds ``step``, ``batch_index``, ``checkpoint``.

    On the CPU with one process the model keeps the weights from before the offending update; elsewhere values are
    fetched every ``log_every`` steps and updates may have followed: load ``checkpoint``, written before it happened.
    """

    def __init__(self, message: str, step: int, batch_index: int, checkpoint: Path | None) -> None:
        super().__init__(message)
        self.step, self.batch_index, self.checkpoint = step, batch_index, checkpoint


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C, or a notebook's stop button. Holds ``history``; the message says how to go on.

    A ``KeyboardInterrupt``, so that "run all cells" and scripts stop here and no half-trained model is evaluated
    by accident. The model holds its (averaged) weights; the same call with the same ``checkpoint_dir`` continues.
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


@dataclass(frozen=True)
class TrainConfig:
    """How to train; see ``fit``. Raises ``ValueError`` naming the field and its value.

    num_steps: updates in all, interruptions included.
    lr: learning rate at the height of the schedule. player_lr: another one for the players named.
    optimizer: "adam" or "adamw"; betas, eps, weight_decay: its constants.
    schedule: after ``warmup_steps`` linear steps "constant", or down to ``final_lr_fraction`` of the rate at
        ``num_steps`` by "cosine" or "exponential".
    accumulation: micro-batches an update, one after the other; gradients are their mean.
    clip_norm: upper bound of the norm of a player's gradient; ``None`` for no bound.
    ema_decay: decay per update of the moving average of the weights, in [0, 1); 0 keeps none. In update t it is at most
        (1 + t) / (10 + t), so that a short run is not held back by its initial weights. Buffers are not averaged.
    seed: of all randomness in training; the initial weights are the caller's.
    device: "auto" (a GPU if there is one), "cpu" or "cuda". devices: processes, one device each, on this machine.
    precision: "32-true", or "bf16-mixed" (autocast around ``loss``; weights and optimizer stay float32).
    compile: run ``loss`` through ``torch.compile``.
    log_every: updates between records of training values. Values are fetched from a GPU only then.
    validate_every, checkpoint_every: updates between; 0 means at the end only. Both also happen at the end.
    keep_last: checkpoints kept, besides the best.
    best_metric: name of a value of ``validate`` by which ``best.safetensors`` is chosen; best_mode: "min" or "max".
    max_minutes: end after this wall-clock time [minutes] of the call as if finished, with validation and checkpoint;
        the same call later continues. Several processes look at the clock every ``log_every`` updates.
    explode_factor: stop when the players' summed absolute losses exceed this many times their median over the last 100
        updates (from the 20th); ``None`` never does.
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
_MUST_AGREE = ("lr", "player_lr", "optimizer", "betas", "eps", "weight_decay", "schedule", "warmup_steps")
_MUST_AGREE += ("final_lr_fraction", "clip_norm", "ema_decay", "seed")


def pick_device(name: str = "auto") -> torch.device:
    """The device a ``TrainConfig.device`` stands for. Raises ``ValueError`` for "cuda" where there is none."""
    # Asks the driver's library, not CUDA itself: a process that touched CUDA can no longer fork for several devices.
    from lightning_fabric.accelerators import CUDAAccelerator

    has_cuda = CUDAAccelerator.is_available()
    if name == "cuda" and not has_cuda:
        raise ValueError("device is 'cuda', but this machine has no usable GPU; use 'auto' or 'cpu'")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def fit(
    model: nn.Module,
    batches: Callable[[int], Any],
    config: TrainConfig,
    *,
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None,
    checkpoint_dir: str | Path | None = None,
) -> History:
    """Train ``model`` in place; on return it is in eval mode, on the device, with its averaged weights if any.

    batches: gives the batch of an index; must depend on the index alone. The index of a micro-batch is
        ``(step * accumulation + micro) * num_processes + rank``, so W processes see what accumulation W sees.
    validate: run on rank 0 in eval mode, without gradients, with the averaged weights, seeded alike each time.
    checkpoint_dir: where checkpoints and ``metrics.jsonl`` go. If it holds a checkpoint, training continues from the
        newest, bit for bit as if never interrupted (on one CPU process); a finished run returns at once.

    Parameters of no player are left alone; where a player's parameter gets no gradient, it counts as zero. With
    several processes buffers changed in a step are averaged (integers: taken from rank 0). A script that asks for
    several is started once per process, from its beginning; a notebook's processes are forked inside ``fit``.

    Raises ``TrainingDiverged``, ``TrainingInterrupted``, and ``ValueError`` for a config, a model or a checkpoint
    that do not fit together, naming what and both values.
    """
    from lightning_fabric import Fabric

    device = pick_device(config.device)
    is_notebook = hasattr(sys, "ps1")
    strategy = "auto" if config.devices == 1 else "ddp_notebook" if is_notebook else "ddp"
    fabric = Fabric(accelerator=device.type, devices=config.devices, strategy=strategy, precision=config.precision)
    folder = Path(checkpoint_dir) if checkpoint_dir is not None else None

    def run(fabric: Fabric) -> History:
        return _Run(fabric, model, batches, config, validate, folder).run()

    if config.devices == 1:
        return run(fabric)
    if not is_notebook:
        return fabric.launch(run)
    # Forked processes train copies: their result comes back through a file (a queue would block on its size).
    with tempfile.TemporaryDirectory() as shared:
        fabric.launch(_run_and_leave, run, model, Path(shared))
        header = load_weights(model.eval(), Path(shared) / "result.safetensors")
        return _history_from_json(header["history"])


def _run_and_leave(fabric: Fabric, run: Callable[[Fabric], History], model: nn.Module, shared: Path) -> None:
    history = run(fabric)
    if fabric.global_rank == 0:
        state = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
        header = {"history": {**dataclasses.asdict(history), "checkpoint": str(history.checkpoint or "")}}
        write_checkpoint(shared / "result.safetensors", state, header)


def _history_from_json(fields: dict[str, Any]) -> History:
    return History(**{**fields, "checkpoint": Path(fields["checkpoint"]) if fields["checkpoint"] else None})


class _Player:
    """Parameters trained by one loss: their optimizer, and their gradients as views of one flat tensor.

    Flat, so that zeroing, the norm, clipping and averaging over processes are one operation each.
    """

    def __init__(self, name: str, loss_key: str, named: dict[str, nn.Parameter], config: TrainConfig) -> None:
        self.name, self.loss_key = name, loss_key
        self.names, self.parameters = list(named), list(named.values())
        self.lr = config.player_lr.get(name, config.lr)
        first = self.parameters[0]
        self.gradient = torch.zeros(sum(p.numel() for p in self.parameters), dtype=first.dtype, device=first.device)
        start = 0
        for label, p in named.items():
            if p.dtype != first.dtype:
                raise ValueError(f"player {name!r}: {label!r} is {p.dtype}, {self.names[0]!r} is {first.dtype}")
            # Same memory order as the weight (channels last, say): fused optimizers demand it.
            part = self.gradient[start : start + p.numel()]
            p.grad = part.as_strided(p.shape, torch.empty_like(p).stride(), part.storage_offset())
            start += p.numel()
        make = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = make(
            self.parameters,
            lr=self.lr,
            betas=tuple(config.betas),
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=True,  # one kernel for all parameters: on the CPU 4 to 6 times as fast as the default
        )

    def clip(self, clip_norm: float | None) -> Tensor:
        """Scale the gradient down to ``clip_norm``; its norm before."""
        norm = torch.linalg.vector_norm(self.gradient)
        if clip_norm is not None:
            self.gradient.mul_((clip_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def update(self, lr_factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * lr_factor
        self.optimizer.step()


def _make_players(model: nn.Module, config: TrainConfig) -> list[_Player]:
    names = {id(p): name for name, p in model.named_parameters()}
    if hasattr(model, "players"):
        groups = {name: (f"loss/{name}", list(parameters)) for name, parameters in model.players().items()}
    else:
        groups = {"model": ("loss", list(model.parameters()))}
    unknown = sorted(set(config.player_lr) - set(groups))
    if unknown:
        raise ValueError(f"TrainConfig: player_lr names {unknown[0]!r}; the players are {', '.join(groups)}")
    players, owner = [], {}
    for player, (loss_key, parameters) in groups.items():
        named = {}
        for p in (p for p in parameters if p.requires_grad):
            if id(p) not in names:
                raise ValueError(f"player {player!r}: a parameter of shape {tuple(p.shape)} is not one of the model's")
            if owner.setdefault(id(p), player) != player:
                raise ValueError(f"parameter {names[id(p)]!r} belongs to two players, {owner[id(p)]!r} and {player!r}")
            named[names[id(p)]] = p
        if not named:
            raise ValueError(f"player {player!r} has no parameter to train")
        players.append(_Player(player, loss_key, named, config))
    return players


class _Run:
    """One call of ``fit`` in one process."""

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        batches: Callable[[int], Any],
        config: TrainConfig,
        validate: Callable[[nn.Module], Mapping[str, float]] | None,
        folder: Path | None,
    ) -> None:
        self.fabric, self.batches, self.config, self.validate, self.folder = fabric, batches, config, validate, folder
        self.device, self.world, self.rank = fabric.device, fabric.world_size, fabric.global_rank
        self.model = model.to(self.device).train()
        self.loss = torch.compile(model.loss) if config.compile else model.loss
        self.players = _make_players(model, config)
        self.checks_each_step = self.device.type == "cpu" and self.world == 1  # free there; a wait elsewhere
        self.meter = Meter(self._average if self.world > 1 else None, self.device)
        self.recent: deque[float] = deque(maxlen=100)  # total losses, for the explosion check
        self.history = History()
        self.done = 0  # updates
        self.elapsed_before = 0.0
        self.is_whole = True  # False while a step is half done: no checkpoint then
        self.stop_requested = False
        self.started = time.monotonic()
        weights = [p for player in self.players for p in player.parameters]
        self.weights, self.ema = weights, [p.detach().clone() for p in weights] if config.ema_decay else []

    # -- the loop ---------------------------------------------------------------------------------------------

    def run(self) -> History:
        if self.folder is not None and self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._resume()
        self._share_initial_state()
        self.metrics = MetricsFile(self.folder, self.done, writes=self.rank == 0)
        self.history.records = self.metrics.records
        self.progress = Progress(self.config.progress if self.rank == 0 else "off", self.config.num_steps, self.done)
        if self.history.resumed_from is not None:
            self.progress.note(f"continuing from {self.history.checkpoint} (step {self.done})")
        try:
            with _restored_generators(self.device), self._deferred_interrupt():
                self._loop()
        except KeyboardInterrupt as error:
            raise self._interrupted() from error
        finally:
            self._clean_up()
        return self.history

    def _loop(self) -> None:
        self._at_boundary()
        while self.done < self.config.num_steps and not self._must_stop():
            self._step(self.done)
            self.done += 1
            self.is_whole = True
            self.progress.advance(self.done)
            self._at_boundary()
        self._finish_interval()
        self._validate_once()
        self._save_once()

    def _step(self, step: int) -> None:
        accumulation = self.config.accumulation
        versions = self._buffer_versions() if self.world > 1 else {}
        active: list[_Player] | None = None
        for micro in range(accumulation):
            index = (step * accumulation + micro) * self.world + self.rank
            batch = self.batches(index)
            if self.device.type != "cpu":
                batch = self.fabric.to_device(batch)
            self._seed(2 * index)
            if micro == 0:
                self.is_whole = False
                for player in self.players:
                    player.gradient.zero_()
            with self.fabric.autocast():
                values = self.loss(batch, step)
            now_active = self._active(values, step)
            if active is not None and now_active != active:
                raise ValueError(f"step {step}: the players with a loss differ between the step's micro-batches")
            active = now_active
            self._backward(active, values)
            self.meter.add(step, micro, {name: _detached(value) for name, value in values.items()})
        self._update(step, active)
        if self.world > 1:
            self._average_buffers(versions)
        if hasattr(self.model, "after_step"):
            self._seed(2 * step + 1)  # alike on all processes
            with torch.no_grad():
                self.model.after_step(step)

    def _active(self, values: Mapping[str, Tensor], step: int) -> list[_Player]:
        active = [player for player in self.players if player.loss_key in values]
        if not active:
            wanted = " or ".join(repr(player.loss_key) for player in self.players)
            raise ValueError(f"step {step}: model.loss returned {sorted(values)}, without {wanted}")
        return active

    def _backward(self, active: list[_Player], values: Mapping[str, Tensor]) -> None:
        share = 1.0 / (self.config.accumulation * self.world)
        for player in active:
            loss = values[player.loss_key]
            scale = torch.full((), share, dtype=loss.dtype, device=loss.device)
            # Restricted to the player's own parameters: a generator's loss leaves no gradient in the discriminator.
            torch.autograd.backward(loss, scale, retain_graph=player is not active[-1], inputs=player.parameters)

    def _update(self, step: int, active: list[_Player]) -> None:
        config, norms = self.config, {}
        for player in active:
            if self.world > 1:
                player.gradient.copy_(self.fabric.all_reduce(player.gradient, reduce_op="sum"))
            norms["grad_norm" if len(self.players) == 1 else f"grad_norm/{player.name}"] = player.clip(config.clip_norm)
        self.meter.add(step, -1, norms)
        if self.checks_each_step:
            self._pull()
        for player in active:
            player.update(config.lr_factor(step))
        if self.ema:
            decay = min(config.ema_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self.ema, self.weights, 1 - decay)

    def _at_boundary(self) -> None:
        """What happens between two updates; does nothing a second time, so a resumed run may repeat it."""
        config, done = self.config, self.done
        if done and done % config.log_every == 0:
            self._finish_interval()
        if done and config.validate_every and done % config.validate_every == 0:
            self._validate_once()
        if done and config.checkpoint_every and done % config.checkpoint_every == 0:
            self._save_once()

    def _must_stop(self) -> bool:
        is_due = self.world == 1 or self.done % self.config.log_every == 0  # asking all processes costs a wait
        if not is_due:
            return False
        limit = self.config.max_minutes
        reason = "finished"
        if self.stop_requested:
            reason = "interrupted"
        elif limit is not None and time.monotonic() - self.started >= 60 * limit:
            reason = "max_minutes"
        if self.world > 1:
            reason = self.fabric.broadcast(reason)
        self.history.stopped = reason
        if reason == "interrupted":
            raise KeyboardInterrupt
        return reason == "max_minutes"

    # -- values -----------------------------------------------------------------------------------------------

    def _pull(self) -> None:
        """Fetch the waiting values and look whether training still makes sense."""
        totals: dict[int, float] = {}
        for row in self.meter.pull():
            losses = {p.loss_key: row.values[p.loss_key] for p in self.players if p.loss_key in row.values}
            norms = {name: value for name, value in row.values.items() if row.micro < 0}
            for name, value in {**losses, **norms}.items():
                if not math.isfinite(value):
                    self._diverge(row, f"{name} is {value}")
            totals[row.step] = totals.get(row.step, 0.0) + sum(map(abs, losses.values())) / self.config.accumulation
            if row.micro < 0:
                self._check_explosion(row, totals[row.step])

    def _check_explosion(self, row: Row, total: float) -> None:
        factor = self.config.explode_factor
        if factor is not None and len(self.recent) >= 20:
            usual = statistics.median(self.recent)
            if total > factor * usual:
                self._diverge(row, f"the loss is {total:.6g}, over {factor:g} times its recent median {usual:.6g}")
        self.recent.append(total)

    def _diverge(self, row: Row, what: str) -> None:
        count = self.config.accumulation * self.world
        first, last = row.step * count, row.step * count + count - 1
        if row.micro >= 0:
            first, last = first + row.micro * self.world, first + (row.micro + 1) * self.world - 1
        where = f"batch index {first}" if first == last else f"batch indices {first} to {last}"
        path = self._newest_checkpoint()
        good = f"the last good checkpoint is {path}" if path else "there is no earlier checkpoint"
        message = f"step {row.step}, {where}: {what}; {good}"
        raise TrainingDiverged(message, row.step, first, path)

    def _finish_interval(self) -> None:
        """Turn the values since the last record into one."""
        self._pull()
        means = self.meter.means()
        if means:
            lrs = {
                "lr" if len(self.players) == 1 else f"lr/{p.name}": p.optimizer.param_groups[0]["lr"]
                for p in self.players
            }
            self._record("train", {**means, **lrs})
            self.progress.show({name: value for name, value in means.items() if "grad_norm" not in name})

    def _record(self, split: str, values: Mapping[str, float]) -> None:
        elapsed = self.elapsed_before + time.monotonic() - self.started
        self.metrics.append({"step": self.done, "split": split, **values, "elapsed_s": round(elapsed, 3)})

    def _validate_once(self) -> None:
        if self.validate is None:
            return
        if any(r["split"] == "validate" and r["step"] == self.done for r in self.metrics.records[-4:]):
            # Done already; a run killed at the wrong moment may still lack the best's second name.
            self._keep_best(self.metrics.records[-1])
            return
        values: dict[str, float] = {}
        if self.rank == 0:
            with self._averaged_weights(), _eval_mode(self.model), torch.no_grad(), self._interruptible():
                self._seed(0)
                values = {name: float(value) for name, value in self.validate(self.model).items()}
        if self.world > 1:
            values = self.fabric.broadcast(values)  # also keeps the others waiting
        self._record("validate", values)
        self._keep_best(values)

    def _keep_best(self, values: dict[str, float]) -> None:
        name = self.config.best_metric
        if name is not None and name not in values:
            raise ValueError(
                f"TrainConfig: best_metric is {name!r}; validate returned {', '.join(values) or 'nothing'}"
            )
        self.history.best = _best(self.metrics.records, self.config)
        if self.history.best is not None and self.history.best["step"] == self.done:
            self._save_once()
            if self.folder is not None and self.rank == 0:
                link_best(checkpoint_path(self.folder, self.done))

    # -- checkpoints ------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        path = self._newest_checkpoint()
        if path is None:
            return
        checkpoint = read_checkpoint(path)
        self._check_fits(checkpoint)
        load_state(self.model, checkpoint.under("model"), path)
        for player in self.players:
            own = checkpoint.under(f"optimizer/{player.name}")
            load_optimizer_tensors(player.optimizer, player.names, own, path)
        averaged = checkpoint.under("ema")
        for name, mean in zip(self._weight_names(), self.ema, strict=False):
            mean.copy_(averaged[name])
        header = checkpoint.header
        self.done, self.elapsed_before = header["step"], header["elapsed_s"]
        self.recent.extend(header["recent_losses"])
        self.meter.rows = [Row(*row) for row in header["open_interval"]]
        self.history.resumed_from, self.history.checkpoint = self.done, path

    def _check_fits(self, checkpoint: Checkpoint) -> None:
        path, header, config = checkpoint.path, checkpoint.header, self.config
        other_place = "choose another checkpoint_dir to start afresh"
        then, now = header["config"], _as_json(config)
        for name in _MUST_AGREE:
            if then.get(name) != now[name]:
                raise ValueError(
                    f"{path}: was trained with {name} {then.get(name)!r}, now it is {now[name]!r}; {other_place}"
                )
        before, after = then["accumulation"] * then["devices"], config.accumulation * config.devices
        if before != after:
            raise ValueError(
                f"{path}: was trained with accumulation x devices {before}, now it is {after}; {other_place}"
            )
        model_then, model_now = header["model"], _describe(self.model)
        for name in {**model_now, **model_then}:
            if model_then.get(name) != model_now.get(name):
                raise ValueError(
                    f"{path}: belongs to a model with {name} {model_then.get(name)!r}, this one's is "
                    f"{model_now.get(name)!r}; {other_place}"
                )
        if header["step"] > config.num_steps:
            raise ValueError(f"{path}: is at step {header['step']}, beyond num_steps {config.num_steps}; {other_place}")

    def _save_once(self) -> None:
        self._pull()  # nothing non-finite gets into a checkpoint
        if self.folder is None:
            return
        path = checkpoint_path(self.folder, self.done)
        if self.history.checkpoint == path:
            return
        if self.rank == 0:
            write_checkpoint(path, self._tensors(), self._header())
            rotate(self.folder, self.config.keep_last)
        self.history.checkpoint = path

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"ema/{name}": mean for name, mean in zip(self._weight_names(), self.ema, strict=False)}
        for player in self.players:
            state = optimizer_tensors(player.optimizer, player.names)
            tensors |= {f"optimizer/{player.name}/{name}": tensor for name, tensor in state.items()}
        return tensors

    def _header(self) -> dict[str, Any]:
        return {
            "step": self.done,
            "elapsed_s": self.elapsed_before + time.monotonic() - self.started,
            "config": _as_json(self.config),
            "model": _describe(self.model),
            "recent_losses": list(self.recent),
            "open_interval": self.meter.rows,
            "versions": {
                "motionkit": version("motionkit"),
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }

    def _newest_checkpoint(self) -> Path | None:
        files = list_checkpoints(self.folder) if self.folder is not None else []
        return files[-1] if files else None

    def _weight_names(self) -> list[str]:
        return [name for player in self.players for name in player.names]

    # -- around the loop --------------------------------------------------------------------------------------

    def _interrupted(self) -> TrainingInterrupted:
        # Several processes may be at different steps unless they agreed to stop.
        is_agreed = self.world == 1 or self.history.stopped == "interrupted"
        if self.is_whole and is_agreed:
            self._save_once()
        self.history.stopped = "interrupted"
        where = f"training interrupted after step {self.done} of {self.config.num_steps}"
        if self.history.checkpoint is not None:
            how = f"call fit again with the same checkpoint_dir to continue from {self.history.checkpoint}"
        elif self.folder is not None:
            how = "no checkpoint was written yet; the same call starts anew"
        else:
            how = "without a checkpoint_dir it cannot be continued"
        return TrainingInterrupted(f"{where}; {how}", self.history)

    def _clean_up(self) -> None:
        self.progress.close()
        self.metrics.close()
        for p, mean in zip(self.weights, self.ema, strict=False):
            p.data.copy_(mean)
        for p in self.weights:
            p.grad = None
        self.model.eval()
        self.history.step = self.done
        self.history.duration_s = time.monotonic() - self.started

    @contextmanager
    def _deferred_interrupt(self) -> Iterator[None]:
        """Let Ctrl-C wait for the end of the step, where a checkpoint is possible; a second one does not wait."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def on_signal(number: int, frame: Any) -> None:
            if self.stop_requested:
                raise KeyboardInterrupt
            self.stop_requested = True
            self.progress.note("interrupted: stopping after this step (again: at once)")

        before = signal.signal(signal.SIGINT, on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """During validation nothing is half done: let Ctrl-C act at once (with one process)."""
        if self.world > 1 or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def _averaged_weights(self) -> Iterator[None]:
        self._swap_weights()
        try:
            yield
        finally:
            self._swap_weights()

    def _swap_weights(self) -> None:
        for p, mean in zip(self.weights, self.ema, strict=False):
            p.data, mean.data = mean.data, p.data

    def _seed(self, index: int) -> None:
        """Seed this device's generator (and the CPU's) from (seed, index), well mixed."""
        x = (self.config.seed * 0x9E3779B97F4A7C15 + index * 0xD1B54A32D192ED03 + 1) & 0xFFFFFFFFFFFFFFFF
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        x = (x ^ (x >> 27)) & 0x7FFFFFFFFFFFFFFF
        # Not torch.manual_seed, which takes 90 microseconds for asking every backend there is.
        torch.default_generator.manual_seed(x)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(x)

    # -- several processes ------------------------------------------------------------------------------------

    def _average(self, values: Tensor) -> Tensor:
        return self.fabric.all_reduce(values, reduce_op="mean")

    def _share_initial_state(self) -> None:
        if self.world > 1:
            for tensor in [*self.model.parameters(), *self.model.buffers(), *self.ema]:
                torch.distributed.broadcast(tensor.detach(), src=0)

    def _buffer_versions(self) -> dict[str, tuple[int, int]]:
        return {name: (id(b), b._version) for name, b in self.model.named_buffers()}

    def _average_buffers(self, versions: dict[str, tuple[int, int]]) -> None:
        """Only those changed in this step: averaging constants would wear them down by rounding."""
        buffers = dict(self.model.named_buffers())
        changed = [buffers[name] for name, now in self._buffer_versions().items() if versions.get(name) != now]
        with torch.no_grad():
            floats = [b for b in changed if b.is_floating_point()]
            if floats:
                flat = self._average(torch.cat([b.float().flatten() for b in floats]))
                for b, part in zip(floats, flat.split([b.numel() for b in floats]), strict=True):
                    b.copy_(part.view(b.shape))
            for b in changed:
                if not b.is_floating_point():
                    torch.distributed.broadcast(b, src=0)


@contextmanager
def _eval_mode(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:  # one by one: a frozen part may have been in eval mode all along
            module.training = mode


@contextmanager
def _restored_generators(device: torch.device) -> Iterator[None]:
    """Training seeds torch's generators all the time; the caller's random numbers go on as if it had not."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def _best(records: list[dict[str, Any]], config: TrainConfig) -> dict[str, Any] | None:
    name = config.best_metric
    rows = [r for r in records if r["split"] == "validate" and math.isfinite(r.get(name, math.nan))]
    if not rows:
        return None
    row = (min if config.best_mode == "min" else max)(rows, key=lambda r: r[name])  # the first, among equals
    return {"step": row["step"], "metric": name, "value": row[name]}


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _is_integer(value: Any, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= at_least


def _as_json(config: Any) -> dict[str, Any]:
    return json.loads(json.dumps(dataclasses.asdict(config), default=str))


def _describe(model: nn.Module) -> dict[str, Any]:
    """Class and, for a model that keeps its config dataclass as ``config``, that."""
    config = getattr(model, "config", None)
    return {"class": type(model).__name__, **(_as_json(config) if dataclasses.is_dataclass(config) else {})}
