"""One training loop for every model: ``fit``. It knows players, losses and steps, and nothing of any model.

What a model gives: ``loss(batch, step) -> dict`` of scalars with "loss" in it; what else is in it gets logged.
A model with several players (a generator and a discriminator) also gives ``players() -> {name: parameters}`` and
returns one "loss/<name>" for each, all computed before any update; a player whose key is absent rests in that step.
Optionally ``after_step(step)``, called after the update, without gradients. Steps count from 0.
Optionally ``guard``, a ``Guard`` or ``None``: it judges a phase of training, and may take the run back to before it.

Randomness: before each ``loss`` torch's generators are seeded from (seed, batch index), so dropout or Gumbel noise
depend on nothing that happened before. That makes a resumed run equal to an uninterrupted one, and W processes equal
to accumulation W, with no generator state to carry along. Models draw from torch's default generators only.
"""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from motionkit.fitting.checkpoints import (
    BEST,
    GOOD,
    Checkpoint,
    checkpoint_path,
    link_checkpoint,
    list_checkpoints,
    load_optimizer_tensors,
    load_state,
    load_weights,
    optimizer_tensors,
    read_checkpoint,
    rotate,
    write_checkpoint,
)
from motionkit.fitting.config import MUST_AGREE, TrainConfig, as_json
from motionkit.fitting.guard import Guard
from motionkit.fitting.history import History, Meter, MetricsFile, Progress, Row
from motionkit.fitting.players import MovingAverage, Player, make_players
from motionkit.fitting.processes import ProcessLost, is_connection_lost, launched_processes, part_at_exit
from motionkit.fitting.surroundings import (
    Interrupts,
    SharedBuffers,
    eval_mode,
    pick_device,
    run_settings,
    seed_generators,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LOOK_INTERVAL_S = 1.0  # how often several processes ask each other whether to stop

__all__ = [
    "Guard",
    "History",
    "ProcessLost",
    "TrainConfig",
    "TrainingDiverged",
    "TrainingInterrupted",
    "fit",
    "load_weights",
    "pick_device",
]


class TrainingDiverged(RuntimeError):
    """A loss or gradient became non-finite, or the loss exploded. Holds ``step``, ``batch_index``, ``checkpoint``.

    On the CPU with one process the model keeps the weights from before the offending update; elsewhere values are
    fetched every ``log_every`` steps and updates may have followed: load ``checkpoint``, written before it happened.
    """

    def __init__(self, message: str, step: int, batch_index: int, checkpoint: Path | None) -> None:
        super().__init__(message)
        self.step, self.batch_index, self.checkpoint = step, batch_index, checkpoint


class TrainingInterrupted(KeyboardInterrupt):
    """Ctrl-C, a notebook's stop button, or SIGTERM. Holds ``history``; the message says how to go on.

    A ``KeyboardInterrupt``, so that "run all cells" and scripts stop here and no half-trained model is evaluated
    by accident. The model holds its (averaged) weights; the same call with the same ``checkpoint_dir`` continues.
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


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
        ``(step * accumulation + micro) * num_processes + rank``, so W processes see what accumulation W sees
        (with a launcher's W processes, each makes ``accumulation * devices / W`` of an update's micro-batches).
    validate: run on rank 0 in eval mode, without gradients, with the averaged weights, seeded alike each time.
    checkpoint_dir: where checkpoints and ``metrics.jsonl`` go. If it holds a checkpoint, training continues from the
        newest, bit for bit as if never interrupted (on one CPU process); a finished run returns at once.
        Only rank 0 reads and writes there.

    Parameters of no player are left alone. With several processes a missing gradient counts as zero, and buffers
    changed in a step are averaged (integers: taken from rank 0). A script that asks for several is started once per
    process, from its beginning; a notebook's processes are forked inside ``fit``; a launcher's are there already.

    Raises ``TrainingDiverged``, ``TrainingInterrupted``, ``ProcessLost``, and ``ValueError`` for a config, a model, a
    checkpoint or a number of processes that do not fit together, naming what and both values. A guard that is to
    return needs a ``checkpoint_dir``.
    """
    from lightning_fabric import Fabric

    launched = launched_processes()
    num_nodes, devices = launched or (1, config.devices)
    _check_shares(config, num_nodes * devices)
    # ps1: a notebook or another interactive interpreter
    is_forking = launched is None and devices > 1 and hasattr(sys, "ps1")
    fabric = Fabric(
        accelerator=pick_device(config.device).type,
        devices=devices,
        num_nodes=num_nodes,
        strategy="auto" if num_nodes * devices == 1 else "ddp_notebook" if is_forking else "ddp",
        precision=config.precision,
    )
    folder = Path(checkpoint_dir) if checkpoint_dir is not None else None

    def run(fabric: Fabric) -> History:
        return _Run(fabric, model, batches, config, validate, folder).run()

    if not is_forking:
        # Under `fabric run` everything is set up with the object and must not be again.
        history = run(fabric) if "LT_CLI_USED" in os.environ else fabric.launch(run)
        if num_nodes * devices > 1:
            part_at_exit()
        return history
    # Forked processes train copies. Their result comes back as a file: the launcher's own queue blocks on large ones.
    with tempfile.TemporaryDirectory() as shared:
        result = Path(shared) / "result.safetensors"
        fabric.launch(_run_and_leave, run, model, result)
        fields = load_weights(model.eval(), result)["history"]
        return History(**{**fields, "checkpoint": Path(fields["checkpoint"]) if fields["checkpoint"] else None})


def _check_shares(config: TrainConfig, num_processes: int) -> None:
    total, what = config.accumulation * config.devices, "accumulation" + " x devices" * (config.devices > 1)
    if total % num_processes:
        raise ValueError(
            f"{num_processes} processes cannot share the micro-batches of an update evenly: {what} is {total}; "
            f"make it a multiple of {num_processes} (and the batches smaller), or start fewer processes"
        )


def _run_and_leave(fabric: Fabric, run: Callable[[Fabric], History], model: nn.Module, path: Path) -> None:
    history = run(fabric)
    if fabric.global_rank == 0:
        fields = {**dataclasses.asdict(history), "checkpoint": str(history.checkpoint or "")}
        write_checkpoint(path, {f"model/{name}": t for name, t in model.state_dict().items()}, {"history": fields})


class _Run:
    """One call of ``fit`` in one process: the loop, the values it watches, the checkpoints it writes and continues."""

    def __init__(
        self,
        fabric: Fabric,
        model: nn.Module,
        batches: Callable[[int], Any],
        config: TrainConfig,
        validate: Callable[[nn.Module], Mapping[str, float]] | None,
        folder: Path | None,
    ) -> None:
        self.started = time.monotonic()
        self.fabric, self.batches, self.config, self.validate, self.folder = fabric, batches, config, validate, folder
        self.device, self.world, self.rank = fabric.device, fabric.world_size, fabric.global_rank
        self.accumulation = config.accumulation * config.devices // self.world
        self.model = model.to(self.device).train()
        self.loss = torch.compile(model.loss) if config.compile else model.loss
        self.players = make_players(model, config)
        self.average = MovingAverage(model, self.players, config.ema_decay)
        self.guard: Guard | None = getattr(model, "guard", None)
        if self.guard is not None:
            if self.guard.on_harm == "return" and folder is None:
                raise ValueError("the model's guard has on_harm 'return'; that needs a checkpoint_dir, got None")
            self.guard.load({})
        self.meter = Meter(self._mean_over_processes if self.world > 1 else None, self.device)
        self.recent: deque[float] = deque(maxlen=100)  # total losses, for the explosion check
        self.first: float | None = None  # likewise: the very first
        self.history = History()
        self.done = 0  # updates
        self.elapsed_before = 0.0
        self.is_whole = True  # False while a step is half done: no checkpoint then
        self.looked: tuple[int, float] | None = None  # update and time of the last look at clock and interrupts
        self.next_look = 0
        self.interrupts = Interrupts(
            lambda: self.progress.note("stopping after this step (Ctrl-C again: at once)"),
            patience_s=2.0 if self.world > 1 else 0.0,
        )

    # The loop

    def run(self) -> History:
        try:
            return self._train()
        except RuntimeError as error:
            if self.world == 1 or not is_connection_lost(error):
                raise
            raise self._lost() from error

    def _train(self) -> History:
        if self.folder is not None and self.rank == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._continue()
        if self.world > 1:
            for tensor in [*self.model.parameters(), *self.model.buffers(), *self.average.tensors.values()]:
                torch.distributed.broadcast(tensor.detach(), src=0)
        self.metrics = MetricsFile()
        self.history.records = self.metrics.records = self._from_first(self._open_metrics)
        recorded = max((r["step"] for r in self.metrics.records if r["split"] == "train"), default=0)
        # A run that ended closed its last interval, after the checkpoint perhaps.
        self.meter.rows = [row for row in self.meter.rows if row.step >= recorded]
        self.progress = Progress(self.config.progress if self.rank == 0 else "off", self.config.num_steps, self.done)
        if self.history.resumed_from is not None:
            self.progress.note(f"continuing from {self.history.checkpoint} (step {self.done})")
        try:
            with run_settings(self.device), self.interrupts.caught():
                self._loop()
        except KeyboardInterrupt as error:
            raise self._interrupted() from error
        finally:
            self._clean_up()
        return self.history

    def _loop(self) -> None:
        self._between_steps()
        while self.done < self.config.num_steps and not self._is_time_up():
            self._step(self.done)
            self.done += 1
            self.is_whole = True
            self.progress.advance(self.done)
            self._between_steps()
        self._finish_interval()
        self._validate_once()
        self._save_once()
        self._look()  # an interrupt comes too late to stop training, not to stop what would come after it

    def _step(self, step: int) -> None:
        buffers = SharedBuffers(self.model, self._mean_over_processes) if self.world > 1 else None
        active: list[Player] = []
        for micro in range(self.accumulation):
            index = (step * self.accumulation + micro) * self.world + self.rank
            batch = self.batches(index)
            if self.device.type != "cpu":
                batch = self.fabric.to_device(batch)
            if micro == 0:
                self.is_whole = False
                for player in self.players:
                    player.clear()
            seed_generators(self.device, self.config.seed, 2 * index)
            with self.fabric.autocast():
                values = self.loss(batch, step)
            before, active = active, self._active(values, step)
            if micro > 0 and active != before:
                raise ValueError(f"step {step}: the micro-batches of one step have losses of different players")
            self._backward(active, values)
            self.meter.add(step, micro, values)
        self._update(step, active)
        if buffers is not None:
            buffers.average_changed()
        if hasattr(self.model, "after_step"):
            seed_generators(self.device, self.config.seed, 2 * step + 1)  # alike on all processes
            with torch.no_grad():
                self.model.after_step(step)

    def _active(self, values: Mapping[str, Tensor], step: int) -> list[Player]:
        active = [player for player in self.players if player.loss_key in values]
        if not active:
            wanted = " or ".join(repr(player.loss_key) for player in self.players)
            raise ValueError(f"step {step}: model.loss returned {sorted(values)}, without {wanted}")
        return active

    def _backward(self, active: list[Player], values: Mapping[str, Tensor]) -> None:
        share = 1.0 / (self.accumulation * self.world)
        for player in active:
            loss = values[player.loss_key]
            if loss.ndim:
                raise ValueError(f"{player.loss_key!r} has shape {tuple(loss.shape)}; a loss is a scalar")
            scale = None if share == 1.0 else torch.full_like(loss, share)
            # Restricted to the player's own parameters: a generator's loss leaves no gradient in the discriminator.
            torch.autograd.backward(loss, scale, retain_graph=player is not active[-1], inputs=player.parameters)

    def _update(self, step: int, active: list[Player]) -> None:
        norms = {}
        for player in active:
            if self.world > 1:
                player.sum_over_processes(partial(self.fabric.all_reduce, reduce_op="sum"))
            norms[self._label("grad_norm", player)] = player.clip(self.config.clip_norm)
        self.meter.add(step, -1, norms)
        if self._is_cheap_to_fetch:
            self._fetch()
        for player in active:
            player.update(self.config.lr_factor(step))
        self.average.update(step)

    def _between_steps(self) -> None:
        """What is due at this step; nothing happens a second time, so a continued run may begin with it."""
        config, done = self.config, self.done
        if done and done % config.log_every == 0:
            self._finish_interval()
        self._guard_once()
        if done and config.validate_every and done % config.validate_every == 0:
            self._validate_once()
        if done and config.checkpoint_every and done % config.checkpoint_every == 0:
            self._save_once()

    def _is_time_up(self) -> bool:
        if self.done < self.next_look:
            return False
        is_over = self._look()
        if is_over:
            self.history.stopped = "max_minutes"
        return is_over

    def _look(self) -> bool:
        """Whether ``max_minutes`` are over. Raises ``KeyboardInterrupt`` if an interrupt is waiting.

        Several processes ask each other, so that all stop at the same update whichever was told to; as that costs a
        wait, about once a second.
        """
        now, limit = time.monotonic(), self.config.max_minutes
        is_over = limit is not None and now - self.started >= 60 * limit
        is_requested = self.interrupts.is_requested
        if self.world > 1:
            before = self.looked or (self.done, now)
            seconds_a_step = (now - before[1]) / max(1, self.done - before[0])
            answers = torch.tensor([is_requested, is_over, seconds_a_step], device=self.device)
            torch.distributed.all_reduce(answers, torch.distributed.ReduceOp.MAX)
            is_requested, is_over, seconds_a_step = answers.tolist()
            steps = int(LOOK_INTERVAL_S / seconds_a_step) if seconds_a_step else 1
            self.looked, self.next_look = (self.done, now), self.done + max(1, steps)
        if is_requested:
            self.history.stopped = "interrupted"
            raise KeyboardInterrupt
        return bool(is_over)

    def _interrupted(self) -> TrainingInterrupted:
        is_agreed = self.world == 1 or self.history.stopped == "interrupted"  # else processes may be at different steps
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

    def _lost(self) -> ProcessLost:
        path = self._newest_checkpoint()
        on = f"the same call continues from {path}" if path else "there is no checkpoint to continue from"
        return ProcessLost(
            f"training stopped in step {self.done}: another of its {self.world} processes has died "
            f"(what it printed, or the launcher's report, says why); {on}"
        )

    def _clean_up(self) -> None:
        self.progress.close()
        self.metrics.close()
        self.average.settle()
        for player in self.players:
            player.clear()
        self.model.eval()
        self.history.step = self.done
        self.history.duration_s = time.monotonic() - self.started

    # Values

    def _fetch(self) -> None:
        """Get the waiting values and see whether training still makes sense."""
        total = 0.0
        for row in self.meter.fetch():
            losses = {p.loss_key: row.values[p.loss_key] for p in self.players if p.loss_key in row.values}
            for name, value in (losses if row.micro >= 0 else row.values).items():
                if not math.isfinite(value):
                    raise self._diverged(row, f"{name} is {value}")
            if self.guard is not None and row.micro >= 0:
                self.guard.add(row.step, row.values)
            total = sum(map(abs, losses.values()), start=total if row.micro else 0.0)
            if row.micro < 0:  # the last row of its step
                self._check_explosion(row, total / self.accumulation)

    def _check_explosion(self, row: Row, total: float) -> None:
        factor = self.config.explode_factor
        self.first = total if self.first is None else self.first
        is_guarded = self.guard is not None and self.guard.may_return(row.step)
        if factor is not None and not is_guarded and len(self.recent) >= 20 and total > self.first:
            usual = statistics.median(self.recent)
            if total > factor * usual:
                raise self._diverged(row, f"the loss is {total:.6g}, over {factor:g} x its recent median {usual:.6g}")
        self.recent.append(total)

    def _diverged(self, row: Row, what: str) -> TrainingDiverged:
        per_step = self.accumulation * self.world
        first, count = row.step * per_step, per_step
        if row.micro >= 0:
            first, count = first + row.micro * self.world, self.world
        where = f"batch index {first}" if count == 1 else f"batch indices {first} to {first + count - 1}"
        path = self._newest_checkpoint()
        good = f"the last good checkpoint is {path}" if path else "there is no earlier checkpoint"
        return TrainingDiverged(f"step {row.step}, {where}: {what}; {good}", row.step, first, path)

    def _finish_interval(self) -> None:
        """Turn the values since the last record into one."""
        self._fetch()
        means = self.meter.means()
        if means:
            self.progress.show({name: value for name, value in means.items() if not name.startswith("grad_norm")})
            self._record("train", {**means, **{self._label("lr", p): p.current_lr for p in self.players}})

    def _label(self, name: str, player: Player) -> str:
        return name if len(self.players) == 1 else f"{name}/{player.name}"

    def _record(self, split: str, values: Mapping[str, float]) -> None:
        self.metrics.append({"step": self.done, "split": split, **values, "elapsed_s": round(self._elapsed(), 3)})

    def _elapsed(self) -> float:
        return self.elapsed_before + time.monotonic() - self.started

    def _validate_once(self) -> None:
        if self.validate is None:
            return
        if not any(r["step"] == self.done and r["split"] == "validate" for r in self.metrics.records):
            values: dict[str, float] = {}
            if self.rank == 0:
                with ExitStack() as stack:
                    stack.enter_context(self.average.in_place())
                    stack.enter_context(eval_mode(self.model))
                    stack.enter_context(torch.no_grad())
                    if self.world == 1:
                        stack.enter_context(self.interrupts.at_once())
                    seed_generators(self.device, self.config.seed, 0)
                    values = {name: float(value) for name, value in self.validate(self.model).items()}
            self._record("validate", self.fabric.broadcast(values) if self.world > 1 else values)
        self._keep_best()

    def _keep_best(self) -> None:
        name = self.config.best_metric
        if name is None:
            return
        rows = [record for record in self.metrics.records if record["split"] == "validate"]
        if name not in rows[-1]:
            raise ValueError(f"TrainConfig: best_metric is {name!r}; validate returned {', '.join([*rows[-1]][2:-1])}")
        rows = [row for row in rows if math.isfinite(row.get(name, math.nan))]
        if not rows:
            return
        best = (min if self.config.best_mode == "min" else max)(rows, key=lambda row: row[name])  # the first of equals
        self.history.best = {"step": best["step"], "metric": name, "value": best[name]}
        if best["step"] == self.done:
            self._save_once()
            if self.folder is not None and self.rank == 0:
                link_checkpoint(checkpoint_path(self.folder, self.done), BEST)

    def _guard_once(self) -> None:
        guard = self.guard
        if guard is None or not guard.is_due(self.done):
            return
        self._fetch()
        if guard.judged != self.done:
            has_begun, values = guard.judge(self.done), {"harm": guard.harm}
            if has_begun:
                self.progress.note(guard.describe())
            if has_begun and guard.on_harm == "return":
                self._return_to_good()
                values["returned_to"] = guard.good
            self._record("guard", values)
        if guard.on_harm == "return" and guard.good == self.done:
            self._save_once()
            if self.rank == 0:
                link_checkpoint(checkpoint_path(self.folder, self.done), GOOD)

    def _return_to_good(self) -> None:
        self.is_whole = False  # a second Ctrl-C meanwhile must not save half of it
        self._restore(self._from_first(self._read_good))
        self.guard.has_returned = True
        self.is_whole = True
        self.progress.note(f"returned to the checkpoint of step {self.guard.good}; going on without that phase")

    @property
    def _is_cheap_to_fetch(self) -> bool:
        """Reading a value costs nothing on one CPU, and a wait anywhere else."""
        return self.device.type == "cpu" and self.world == 1

    def _mean_over_processes(self, values: Tensor) -> Tensor:
        return self.fabric.all_reduce(values, reduce_op="mean")

    # Checkpoints

    def _newest_checkpoint(self) -> Path | None:
        files = list_checkpoints(self.folder) if self.folder is not None else []
        return files[-1] if files else None

    def _save_once(self) -> None:
        self._fetch()  # nothing non-finite gets into a checkpoint
        if self.folder is None or self.history.checkpoint == checkpoint_path(self.folder, self.done):
            return
        self.history.checkpoint = checkpoint_path(self.folder, self.done)
        if self.rank != 0:
            return
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"ema/{name}": tensor for name, tensor in self.average.tensors.items()}
        for player in self.players:
            state = optimizer_tensors(player.optimizer, player.names)
            tensors |= {f"optimizer/{player.name}/{name}": tensor for name, tensor in state.items()}
        header = {
            "step": self.done,
            "elapsed_s": self._elapsed(),
            "config": as_json(self.config),
            "model": _describe(self.model),
            "recent_losses": list(self.recent),
            "first_loss": self.first,
            "guard": {**self.guard.settings, **self.guard.state()} if self.guard is not None else {},
            "open_interval": self.meter.rows,
            "versions": {
                "motionkit": version("motionkit"),
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }
        write_checkpoint(self.history.checkpoint, tensors, header)
        rotate(self.folder, self.config.keep_last)

    def _continue(self) -> None:
        checkpoint = self._from_first(self._read_newest)
        if checkpoint is None:
            return
        path, header = checkpoint.path, checkpoint.header
        self._restore(checkpoint)
        if self.guard is not None:
            self.guard.load(header["guard"])
        self.done, self.elapsed_before = header["step"], header["elapsed_s"]
        self.recent.extend(header["recent_losses"])
        self.first = header["first_loss"]
        self.meter.rows = [Row(*row) for row in header["open_interval"]]
        self.history.resumed_from, self.history.checkpoint = self.done, path

    def _restore(self, checkpoint: Checkpoint) -> None:
        """All that is trained: weights and buffers, optimizers, moving averages."""
        path = checkpoint.path
        load_state(self.model, checkpoint.under("model"), path)
        for player in self.players:
            load_optimizer_tensors(player.optimizer, player.names, checkpoint.under(f"optimizer/{player.name}"), path)
        for name, tensor in checkpoint.under("ema").items():
            self.average.tensors[name].copy_(tensor)

    def _read_good(self) -> Checkpoint:
        path, good = self.folder / GOOD, self.guard.good
        checkpoint = read_checkpoint(path) if path.is_file() else None
        step = checkpoint.header["step"] if checkpoint else None
        if step != good:
            found = "is missing" if step is None else f"is of step {step}"
            raise ValueError(f"{path}: {found}; the last good checkpoint is that of step {good}")
        return checkpoint

    def _read_newest(self) -> Checkpoint | None:
        path = self._newest_checkpoint()
        if path is None:
            return None
        checkpoint = read_checkpoint(path)
        self._check_agreement(path, checkpoint.header)
        return checkpoint

    def _open_metrics(self) -> list[dict[str, Any]]:
        self.metrics = MetricsFile(self.folder, self.done)
        return self.metrics.records

    def _from_first(self, read: Callable[[], Any]) -> Any:
        """What rank 0 reads, for all processes: others may be on machines that do not see the folder."""
        if self.world == 1:
            return read()
        found, problem = None, ""
        if self.rank == 0:
            try:
                found = read()
            except ValueError as error:
                problem = str(error)
        found, problem = self.fabric.broadcast((found, problem))
        if problem:
            raise ValueError(problem)
        return found

    def _check_agreement(self, path: Path, header: Mapping[str, Any]) -> None:
        then, now = header["config"], as_json(self.config)
        pairs = {name: (then.get(name), now[name]) for name in MUST_AGREE}
        pairs["accumulation x devices"] = tuple(c["accumulation"] * c["devices"] for c in (then, now))
        model_then, model_now = header["model"], _describe(self.model)
        pairs |= {f"model {n}": (model_then.get(n), model_now.get(n)) for n in {**model_now, **model_then}}
        guard_then, guard_now = header.get("guard", {}), self.guard.settings if self.guard is not None else {}
        pairs |= {f"guard {n}": (guard_then.get(n), guard_now.get(n)) for n in Guard.SETTINGS}
        way_out = "choose another checkpoint_dir to start afresh"
        for name, (old, new) in pairs.items():
            if old != new:
                raise ValueError(f"{path}: was trained with {name} {old!r}, now it is {new!r}; {way_out}")
        if header["step"] > self.config.num_steps:
            raise ValueError(f"{path}: is at step {header['step']}, past num_steps {self.config.num_steps}; {way_out}")


def _describe(model: nn.Module) -> dict[str, Any]:
    """Class and, for a model that keeps its config dataclass as ``config``, that."""
    config = getattr(model, "config", None)
    return {"class": type(model).__name__, **(as_json(config) if dataclasses.is_dataclass(config) else {})}
