"""The training loop against hand-written loops, and its promises: resume, interrupts, divergence, checkpoints."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from motionkit.fitting import checkpoints, history, surroundings
from motionkit.fitting.checkpoints import list_checkpoints, read_checkpoint
from motionkit.fitting.players import make_players
from motionkit.training import History, TrainConfig, TrainingDiverged, TrainingInterrupted, fit, load_weights

QUIET = {"device": "cpu", "progress": "off"}


def batches(index: int) -> torch.Tensor:
    return torch.randn(4, 6, generator=torch.Generator().manual_seed(index))


@dataclass(frozen=True)
class ToyConfig:
    width: int = 8


class Autoencoder(nn.Module):
    """Buffers that change in forward (BatchNorm) and noise (dropout)."""

    def __init__(self, config: ToyConfig = ToyConfig(), dropout: float = 0.2):
        super().__init__()
        self.config = config
        w = config.width
        self.net = nn.Sequential(nn.Linear(6, w, bias=False), nn.BatchNorm1d(w), nn.Dropout(dropout), nn.Linear(w, 6))

    def loss(self, batch, step):
        error = self.net(batch) - batch
        return {"loss": error.square().mean(), "l1": error.abs().mean()}


class Gan(nn.Module):
    """Two players sharing a forward pass; Gumbel noise; a usage buffer, a hook; the discriminator rests at times."""

    def __init__(self, noisy: bool = True):
        super().__init__()
        self.generator = nn.Linear(6, 6)
        self.discriminator = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.register_buffer("usage", torch.zeros(6))
        self.noisy = noisy

    def players(self):
        return {"generator": list(self.generator.parameters()), "discriminator": list(self.discriminator.parameters())}

    def loss(self, batch, step):
        logits = self.generator(batch)
        codes = nn.functional.gumbel_softmax(logits) if self.noisy else logits.softmax(-1)
        self.usage = 0.9 * self.usage + 0.1 * codes.detach().mean(0)
        judged, real = self.discriminator(codes), self.discriminator(batch)
        fake = self.discriminator(codes.detach())
        rec = (codes - batch).square().mean() + 0.1 * self.frozen(codes).mean()
        losses = {"loss/generator": rec - 0.1 * judged.mean(), "rec": rec.detach()}
        if step % 3:
            losses["loss/discriminator"] = (fake - 1).relu().mean() + (1 - real).relu().mean()
        return losses

    def after_step(self, step):
        self.usage += 0.01 * torch.rand(6)  # what a restart of dead codes does


def make(kind, seed=0):
    torch.manual_seed(seed)
    return kind()


def assert_same_state(a: nn.Module, b: nn.Module) -> None:
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


def records_without_time(records):
    return [{k: v for k, v in record.items() if k != "elapsed_s"} for record in records]


# Settings


def unchecked_config(**values) -> None:
    """What a user without type checks, as these tests have them, would meet."""
    config = object.__new__(TrainConfig)
    for name, value in {**vars(TrainConfig(num_steps=3)), **values}.items():
        object.__setattr__(config, name, value)
    config.__post_init__()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("num_steps", 0), ("num_steps", 2.5), ("lr", -1.0), ("lr", math.nan), ("optimizer", "sgd")],
        *[
            ("betas", (0.9, 1.0)),
            ("schedule", "step"),
            ("warmup_steps", -1),
            ("accumulation", True),
            ("clip_norm", 0.0),
        ],
        *[("ema_decay", 1.0), ("precision", "16"), ("device", "gpu"), ("devices", 0), ("keep_last", 0), ("seed", -1)],
        *[("best_mode", "best"), ("max_minutes", 0), ("explode_factor", 1.0), ("weight_decay", -0.1)],
        *[("player_lr", {"a": 0.0}), ("progress", "loud"), ("log_every", 0), ("eps", 0.0)],
    ],
)
def test_config_refuses_and_names_the_value(field, value):
    with pytest.raises(ValueError, match=rf"TrainConfig: {field} is ") as error:
        unchecked_config(**{field: value})
    assert repr(value) in str(error.value)


def test_exponential_schedule_needs_an_end_above_zero():
    with pytest.raises(ValueError, match="final_lr_fraction is 0"):
        TrainConfig(num_steps=3, schedule="exponential", final_lr_fraction=0.0)


def test_schedules_by_hand():
    cosine = TrainConfig(num_steps=14, schedule="cosine", warmup_steps=4, final_lr_fraction=0.2)
    assert [cosine.lr_factor(s) for s in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert cosine.lr_factor(9) == pytest.approx(0.6)  # halfway down
    assert cosine.lr_factor(14) == pytest.approx(0.2)
    exponential = replace(cosine, schedule="exponential")
    assert exponential.lr_factor(9) == pytest.approx(math.sqrt(0.2))
    assert replace(cosine, schedule="constant").lr_factor(13) == 1.0


# Against hand-written loops


def test_one_player_equals_a_plain_loop(tolerance):
    model, twin = make(lambda: Autoencoder(dropout=0.0)), make(lambda: Autoencoder(dropout=0.0))
    options = {"lr": 1e-2, "betas": (0.8, 0.99), "weight_decay": 0.1}
    config = TrainConfig(
        num_steps=12, optimizer="adamw", accumulation=2, clip_norm=0.5, schedule="cosine", **options, **QUIET
    )
    result = fit(model, batches, config)
    optimizer = torch.optim.AdamW(twin.parameters(), **options)
    for step in range(12):
        optimizer.zero_grad()
        for micro in range(2):
            (twin.loss(batches(2 * step + micro), step)["loss"] / 2).backward()
        nn.utils.clip_grad_norm_(twin.parameters(), 0.5)
        optimizer.param_groups[0]["lr"] = 1e-2 * config.lr_factor(step)
        optimizer.step()
    for name, tensor in twin.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], tensor, **tolerance())
    assert (result.step, result.stopped, result.resumed_from) == (12, "finished", None)


def test_two_players_equal_a_plain_loop(tolerance):
    model, twin = make(lambda: Gan(noisy=False)), make(lambda: Gan(noisy=False))
    config = TrainConfig(num_steps=7, lr=1e-2, player_lr={"discriminator": 3e-2}, **QUIET)
    fit(model, batches, config)
    g = torch.optim.Adam(twin.generator.parameters(), lr=1e-2)
    d = torch.optim.Adam(twin.discriminator.parameters(), lr=3e-2)
    for step in range(7):
        losses = twin.loss(batches(step), step)
        g_gradient = torch.autograd.grad(losses["loss/generator"], list(twin.generator.parameters()), retain_graph=True)
        for p, gradient in zip(twin.generator.parameters(), g_gradient, strict=True):
            p.grad = gradient
        if step % 3:
            d.zero_grad()
            losses["loss/discriminator"].backward(inputs=list(twin.discriminator.parameters()))
            d.step()
        g.step()
    for name, p in twin.named_parameters():
        torch.testing.assert_close(dict(model.named_parameters())[name], p, **tolerance())
    assert all(p.grad is None for p in model.parameters())


def test_a_resting_player_does_not_move():
    model = make(Gan)
    before = {name: p.clone() for name, p in model.named_parameters()}
    fit(model, batches, TrainConfig(num_steps=1, weight_decay=0.1, **QUIET))  # step 0: the discriminator rests
    moved = {name.split(".")[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"generator"}


def test_moving_average_by_hand():
    trail = []

    class Watched(Autoencoder):
        def after_step(self, step):
            trail.append(self.net[0].weight.clone())

    model = make(Watched)
    mean = model.net[0].weight.detach().clone()
    fit(model, batches, TrainConfig(num_steps=15, ema_decay=0.5, lr=0.01, **QUIET))
    for step, weight in enumerate(trail):
        decay = min(0.5, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(model.net[0].weight.detach(), mean)
    assert not torch.allclose(mean, trail[-1])


def test_mixed_precision_keeps_weights_in_float32():
    model, exact = make(Autoencoder), make(Autoencoder)
    seen = []
    model.net[0].register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    config = TrainConfig(num_steps=5, **QUIET)
    rough = fit(model, batches, replace(config, precision="bf16-mixed"))
    fine = fit(exact, batches, config)
    assert set(seen) == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert rough.records[0]["loss"] == pytest.approx(fine.records[0]["loss"], rel=0.05)


def test_compile_wraps_the_loss(monkeypatch):
    wrapped = []
    monkeypatch.setattr(torch, "compile", lambda function: wrapped.append(function) or function)
    model = make(Autoencoder)
    fit(model, batches, TrainConfig(num_steps=1, compile=True, **QUIET))
    assert wrapped == [model.loss]


def test_channels_last_weights_train():
    class Convolution(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)

        def loss(self, batch, step):
            return {"loss": self.net(batch.view(2, 3, 2, 2).repeat(1, 1, 3, 3)).square().mean()}

    model, twin = make(Convolution), make(lambda: Convolution().to(memory_format=torch.contiguous_format))
    for m in (model, twin):
        fit(m, lambda i: batches(i)[:, :6], TrainConfig(num_steps=5, lr=0.01, **QUIET))
    torch.testing.assert_close(model.net.weight, twin.net.weight)


# What fit must not disturb


def test_random_numbers_of_the_caller_go_on():
    model = make(Autoencoder)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit(model, batches, TrainConfig(num_steps=3, **QUIET))
    assert torch.equal(torch.rand(3), expected)


def test_seed_decides_the_noise():
    results = []
    for seed in (0, 0, 1):
        model = make(Autoencoder)
        fit(model, batches, TrainConfig(num_steps=3, seed=seed, **QUIET))
        results.append(model.net[0].weight.detach().clone())
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_validation_sees_averages_in_eval_mode_and_leaves_no_trace():
    model, twin = make(Gan), make(Gan)
    model.frozen.eval()
    seen = []

    def validate(m):
        seen.append((m.training, torch.is_grad_enabled(), m.generator.weight.clone(), float(torch.rand(()))))
        return {"noise": torch.rand(())}

    class Modes(list):
        def __call__(self, module, inputs):
            self.append(module.training)

    modes = Modes()
    model.generator.register_forward_pre_hook(modes)
    config = TrainConfig(num_steps=6, ema_decay=0.9, validate_every=4, **QUIET)
    result = fit(model, batches, config, validate=validate)
    fit(twin, batches, config)
    assert_same_state(model, twin)
    assert [entry[:2] for entry in seen] == [(False, False)] * 2
    assert seen[0][3] == seen[1][3]  # seeded alike
    assert torch.equal(seen[1][2], model.generator.weight)  # what was validated last is what the model holds
    assert all(modes)
    assert not model.training
    assert [r["step"] for r in result.records if r["split"] == "validate"] == [4, 6]


# Resume


CASES = {
    "autoencoder": (Autoencoder, {"schedule": "cosine", "warmup_steps": 5, "ema_decay": 0.9, "log_every": 5}),
    "gan": (Gan, {"accumulation": 2, "clip_norm": 0.3, "ema_decay": 0.99, "player_lr": {"discriminator": 1e-2}}),
    "adamw": (Gan, {"optimizer": "adamw", "weight_decay": 0.1, "schedule": "exponential", "log_every": 3}),
}


def final_tensors(folder):
    checkpoint = read_checkpoint(list_checkpoints(folder)[-1])
    return {name: tensor for name, tensor in checkpoint.tensors.items()}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("stop_at", [1, 8, 17])
def test_resume_equals_no_interruption(case, stop_at, tmp_path):
    kind, options = CASES[case]
    config = TrainConfig(
        num_steps=20, lr=1e-2, validate_every=6, checkpoint_every=8, best_metric="v", **{"log_every": 4}, **QUIET
    )
    config = replace(config, **options)

    def validate(m):
        return {"v": float(next(iter(m.parameters())).square().sum()), "noise": float(torch.rand(()))}

    def interrupted(index):
        if index == stop_at * config.accumulation:
            raise KeyboardInterrupt
        return batches(index)

    whole, parts = make(kind), make(kind)
    straight = fit(whole, batches, config, validate=validate, checkpoint_dir=tmp_path / "whole")
    with pytest.raises(TrainingInterrupted, match=f"after step {stop_at} of 20; call fit again"):
        fit(parts, interrupted, config, validate=validate, checkpoint_dir=tmp_path / "parts")
    torch.rand(11)  # whatever happens in between
    fresh = make(kind, seed=99)
    resumed = fit(fresh, batches, config, validate=validate, checkpoint_dir=tmp_path / "parts")
    assert resumed.resumed_from == stop_at
    assert_same_state(whole, fresh)
    a, b = final_tensors(tmp_path / "whole"), final_tensors(tmp_path / "parts")
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert records_without_time(resumed.records) == records_without_time(straight.records)
    on_disk = History.read(tmp_path / "parts")
    assert on_disk.records == resumed.records
    assert resumed.best == straight.best
    best = [read_checkpoint(tmp_path / folder / "best.safetensors") for folder in ("whole", "parts")]
    assert best[0].header["step"] == best[1].header["step"] == straight.best["step"]


def test_finished_run_returns_at_once_and_can_be_extended(tmp_path):
    config = TrainConfig(num_steps=7, log_every=5, checkpoint_every=7, ema_decay=0.9, **QUIET)
    whole, parts = make(Autoencoder), make(Autoencoder)
    fit(whole, batches, replace(config, num_steps=12), checkpoint_dir=tmp_path / "whole")
    first = fit(parts, batches, config, checkpoint_dir=tmp_path / "parts")
    again = fit(
        make(Autoencoder, 1), lambda i: pytest.fail("no batch is needed"), config, checkpoint_dir=tmp_path / "parts"
    )
    assert again.records == first.records
    assert again.resumed_from == 7
    longer = fit(parts, batches, replace(config, num_steps=12), checkpoint_dir=tmp_path / "parts")
    assert_same_state(whole, parts)
    steps = [record["step"] for record in longer.records]
    assert steps == [5, 7, 10, 12]


def test_time_limit_ends_cleanly_and_continues(tmp_path, monkeypatch):
    config = TrainConfig(num_steps=9, max_minutes=1e-9, **QUIET)
    whole, parts = make(Autoencoder), make(Autoencoder)
    fit(whole, batches, replace(config, max_minutes=None))
    first = fit(parts, batches, config, checkpoint_dir=tmp_path, validate=lambda m: {"v": 1.0})
    assert (first.stopped, first.step) == ("max_minutes", 0)
    clock = iter(range(10**6))
    monkeypatch.setattr("motionkit.training.time.monotonic", lambda: float(next(clock)))
    second = fit(parts, batches, replace(config, max_minutes=0.1), checkpoint_dir=tmp_path)
    assert second.stopped == "max_minutes"
    assert 0 < second.step < 9
    third = fit(parts, batches, replace(config, max_minutes=None), checkpoint_dir=tmp_path)
    assert (third.stopped, third.resumed_from) == ("finished", second.step)
    assert_same_state(whole, parts)


@pytest.mark.parametrize(
    ("field", "then", "now"),
    [("lr", 0.01, 0.02), ("seed", 0, 3), ("betas", [0.9, 0.999], [0.5, 0.9]), ("clip_norm", None, 1.0)],
)
def test_resume_with_another_setting_is_refused(field, then, now, tmp_path):
    config = TrainConfig(num_steps=2, lr=0.01, **QUIET)
    fit(make(Autoencoder), batches, config, checkpoint_dir=tmp_path)
    changed = replace(config, **{field: tuple(now) if isinstance(now, list) else now})
    with pytest.raises(ValueError, match="step_00000002") as error:
        fit(make(Autoencoder), batches, changed, checkpoint_dir=tmp_path)
    assert f"was trained with {field} {then!r}, now it is {now!r}" in str(error.value)


def test_resume_refuses_what_does_not_belong_together(tmp_path):
    config = TrainConfig(num_steps=3, **QUIET)
    fit(make(Autoencoder), batches, config, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="model width 8, now it is 9"):
        fit(Autoencoder(ToyConfig(width=9)), batches, config, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="accumulation x devices 1, now it is 2"):
        fit(make(Autoencoder), batches, replace(config, accumulation=2), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="at step 3, past num_steps 2"):
        fit(make(Autoencoder), batches, replace(config, num_steps=2), checkpoint_dir=tmp_path)
    wider = make(Autoencoder)
    wider.net[3] = nn.Linear(8, 7)
    with pytest.raises(ValueError, match=r"'net.3.weight' is \(6, 8\) in the file, \(7, 8\) in the model"):
        load_weights(wider, tmp_path)


# Interrupts


@pytest.fixture
def default_interrupts():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("num_steps", [9, 5])  # in the middle, in the last step
def test_interrupt_waits_for_the_step(num_steps, tmp_path, default_interrupts):
    class Pressed(Autoencoder):
        def loss(self, batch, step):
            if step == 4:
                signal.raise_signal(signal.SIGINT)
            return super().loss(batch, step)

    model, config = make(Pressed), TrainConfig(num_steps=num_steps, ema_decay=0.9, **QUIET)
    with pytest.raises(TrainingInterrupted) as caught:
        fit(model, batches, config, checkpoint_dir=tmp_path)
    result = caught.value.history
    assert (result.step, result.stopped, result.checkpoint) == (5, "interrupted", list_checkpoints(tmp_path)[-1])
    assert isinstance(caught.value, KeyboardInterrupt)
    twin = make(Pressed, 1)
    load_weights(twin, tmp_path)
    assert_same_state(model, twin)  # both hold the averages


def test_second_interrupt_does_not_wait_and_saves_nothing_half_done(tmp_path, default_interrupts):
    class Pressed(Autoencoder):
        def loss(self, batch, step):
            if step == 4:
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
            return super().loss(batch, step)

    with pytest.raises(TrainingInterrupted, match=r"continue from .*step_00000003"):
        fit(make(Pressed), batches, TrainConfig(num_steps=9, checkpoint_every=3, **QUIET), checkpoint_dir=tmp_path)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000003.safetensors"]


def test_interrupt_in_validation_acts_at_once_and_validation_is_made_up_for(tmp_path, default_interrupts):
    config = TrainConfig(num_steps=8, validate_every=4, ema_decay=0.9, **QUIET)

    def pressed(m):
        signal.raise_signal(signal.SIGINT)
        pytest.fail("validation went on")

    whole, parts = make(Autoencoder), make(Autoencoder)
    straight = fit(whole, batches, config, validate=lambda m: {"v": 1.0})
    with pytest.raises(TrainingInterrupted, match="after step 4 of 8"):
        fit(parts, batches, config, validate=pressed, checkpoint_dir=tmp_path)
    resumed = fit(parts, batches, config, validate=lambda m: {"v": 1.0}, checkpoint_dir=tmp_path)
    assert_same_state(whole, parts)
    assert records_without_time(resumed.records) == records_without_time(straight.records)


def test_interrupt_without_a_folder_says_so():
    def stop(index):
        raise KeyboardInterrupt

    with pytest.raises(TrainingInterrupted, match="after step 0 of 3; without a checkpoint_dir"):
        fit(make(Autoencoder), stop, TrainConfig(num_steps=3, **QUIET))


# Divergence


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_loss_names_step_batch_and_checkpoint(bad, tmp_path):
    weights = []

    class Breaks(Autoencoder):
        def loss(self, batch, step):
            weights.append(self.net[0].weight.detach().clone())
            values = super().loss(batch, step)
            return {**values, "loss": values["loss"] * (bad if step == 5 and len(weights) == 12 else 1.0)}

    model = make(Breaks)
    config = TrainConfig(num_steps=9, accumulation=2, checkpoint_every=2, **QUIET)
    with pytest.raises(TrainingDiverged, match=r"step 5, batch index 11: loss is (nan|inf); the last good") as caught:
        fit(model, batches, config, checkpoint_dir=tmp_path)
    assert caught.value.checkpoint == tmp_path / "step_00000004.safetensors"
    assert (caught.value.step, caught.value.batch_index) == (5, 11)
    assert torch.equal(model.net[0].weight, weights[-1])  # the update did not happen
    assert read_checkpoint(caught.value.checkpoint).header["step"] == 4


def test_non_finite_gradient_of_a_finite_loss_is_noticed_before_the_update():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

        def loss(self, batch, step):
            return {"loss": self.weight.abs().sum().sqrt()}

    model = Root()
    with pytest.raises(TrainingDiverged, match=r"step 0, batch index 0: grad_norm is (nan|inf); there is no earlier"):
        fit(model, batches, TrainConfig(num_steps=3, **QUIET))
    assert torch.equal(model.weight, torch.zeros(3))


def test_a_metric_may_be_nan_and_the_file_stays_json(tmp_path):
    class Metric(Autoencoder):
        def loss(self, batch, step):
            return {
                **super().loss(batch, step),
                "undefined": torch.tensor(math.nan),
                "count": 3,
                "int": torch.tensor(2),
            }

    result = fit(make(Metric), batches, TrainConfig(num_steps=2, log_every=2, **QUIET), checkpoint_dir=tmp_path)
    line = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert line["undefined"] is None
    assert (line["count"], line["int"]) == (3, 2)
    assert math.isnan(result.records[0]["undefined"])
    assert math.isnan(History.read(tmp_path).records[0]["undefined"])


def test_exploding_loss_stops_and_a_tolerant_run_does_not():
    class Explodes(Autoencoder):
        def loss(self, batch, step):
            return {"loss": super().loss(batch, step)["loss"] * (500.0 if step == 30 else 1.0)}

    config = TrainConfig(num_steps=40, lr=1e-5, explode_factor=100.0, **QUIET)
    with pytest.raises(TrainingDiverged, match=r"step 30, batch index 30: the loss is .* over 100 x its recent median"):
        fit(make(Explodes), batches, config)
    for factor in (2000.0, None):
        assert fit(make(Explodes), batches, replace(config, explode_factor=factor)).step == 40


def test_a_loss_near_zero_may_jump_while_below_its_beginning():
    class Overfits(Autoencoder):
        def loss(self, batch, step):
            return {"loss": super().loss(batch, step)["loss"] * (1.0 if step == 0 else 0.5 if step == 30 else 1e-9)}

    assert fit(make(Overfits), batches, TrainConfig(num_steps=40, lr=1e-5, **QUIET)).step == 40


def test_values_are_fetched_late_on_an_accelerator_but_never_checkpointed_bad(tmp_path, monkeypatch):
    """Other devices wait only once an interval: the fault is found at its end, named exactly, before any checkpoint."""

    class Breaks(Autoencoder):
        def loss(self, batch, step):
            return {"loss": super().loss(batch, step)["loss"] * (math.nan if step == 6 else 1.0)}

    monkeypatch.setattr("motionkit.training._Run._is_cheap_to_fetch", False, raising=True)
    steps = []
    model = make(Breaks)
    with pytest.raises(TrainingDiverged, match="step 6, batch index 6: loss is nan"):
        fit(
            model,
            lambda i: steps.append(i) or batches(i),
            TrainConfig(num_steps=30, log_every=5, checkpoint_every=4, **QUIET),
            checkpoint_dir=tmp_path,
        )
    assert steps[-1] == 7  # found by the checkpoint due at step 8
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000004.safetensors"]


# What models may get wrong


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ({"rec": 1.0}, r"step 0: model.loss returned \['rec'\], without 'loss/generator' or 'loss/discriminator'"),
        ({"loss/generator": None}, r"'loss/generator' has shape \(2,\); a loss is a scalar"),
    ],
)
def test_wrong_losses_are_named(returned, message):
    class Wrong(Gan):
        def loss(self, batch, step):
            return {k: self.generator.weight[:2, 0] if v is None else torch.tensor(v) for k, v in returned.items()}

    with pytest.raises(ValueError, match=message):
        fit(make(Wrong), batches, TrainConfig(num_steps=1, **QUIET))


def test_players_must_be_the_same_in_all_micro_batches():
    class Moody(Gan):
        def loss(self, batch, step):
            self.calls = getattr(self, "calls", 0) + 1
            return super().loss(batch, self.calls)

    with pytest.raises(ValueError, match="micro-batches of one step"):
        fit(make(Moody), batches, TrainConfig(num_steps=9, accumulation=2, **QUIET))


@pytest.mark.parametrize(
    ("players", "message"),
    [
        (lambda m: {"a": m.generator.parameters(), "b": m.generator.parameters()}, "'generator.weight' belongs to two"),
        (
            lambda m: {"a": [nn.Parameter(torch.zeros(2))]},
            r"'a': a parameter of shape \(2,\) is not one of the model's",
        ),
        (lambda m: {"a": m.frozen.parameters()}, "'a' has no parameter to train"),
        (
            lambda m: {"generator": m.discriminator[0].parameters(), "discriminator": m.generator.parameters()},
            "'loss/discriminator' reaches no parameter of player 'discriminator': 'generator.weight'",
        ),
        (lambda m: {"a": m.generator.parameters()}, "player_lr names 'critic'; the players are a"),
    ],
)
def test_wrong_players_are_named(players, message):
    model = make(Gan)
    model.players = lambda: players(model)
    lr = {"critic": 1e-3} if "critic" in message else {}
    with pytest.raises(ValueError, match=message):
        fit(model, batches, TrainConfig(num_steps=2, player_lr=lr, **QUIET))


def test_cuda_is_refused_where_there_is_none():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="'cuda', but this machine has no usable GPU"):
        surroundings.pick_device("cuda")


# Checkpoint files


def test_a_kill_before_the_rename_leaves_the_older_checkpoint(tmp_path, monkeypatch):
    config = TrainConfig(num_steps=9, checkpoint_every=3, **QUIET)
    whole = make(Autoencoder)
    fit(whole, batches, config)
    replace_file = os.replace

    def killed(source, target):
        if "step_00000006" in str(target):
            raise SystemExit("killed")
        replace_file(source, target)

    monkeypatch.setattr(checkpoints.os, "replace", killed)
    with pytest.raises(SystemExit):
        fit(make(Autoencoder), batches, config, checkpoint_dir=tmp_path)
    monkeypatch.undo()
    assert list(tmp_path.glob(".*.tmp"))  # the half-written file
    model = make(Autoencoder, 1)
    result = fit(model, batches, config, checkpoint_dir=tmp_path)
    assert result.resumed_from == 3
    assert_same_state(whole, model)
    assert not list(tmp_path.glob(".*.tmp"))


def corrupt(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "foreign":
        save_file({"weight": torch.zeros(2)}, path)
    elif how == "pickle":
        torch.save({"weight": torch.zeros(2)}, path)
    elif how == "header":
        path.write_bytes(data.replace(b"motionkit-checkpoint-1", b"motionkit-checkpoint-9"))


@pytest.mark.parametrize("how", ["truncated", "empty", "foreign", "pickle", "header"])
def test_a_damaged_or_foreign_checkpoint_is_named(how, tmp_path):
    config = TrainConfig(num_steps=4, checkpoint_every=2, **QUIET)
    fit(make(Autoencoder), batches, config, checkpoint_dir=tmp_path)
    corrupt(tmp_path / "step_00000004.safetensors", how)
    with pytest.raises(ValueError, match=r"step_00000004\.safetensors: (damaged|not a motionkit checkpoint)"):
        fit(make(Autoencoder), batches, config, checkpoint_dir=tmp_path)
    (tmp_path / "step_00000004.safetensors").unlink()  # as the message says
    assert fit(make(Autoencoder), batches, config, checkpoint_dir=tmp_path).resumed_from == 2


def test_rotation_keeps_the_newest_and_the_best(tmp_path):
    values = iter([3.0, 1.0, 2.0, math.nan, 1.0])
    model = make(Autoencoder)
    config = TrainConfig(num_steps=10, validate_every=2, checkpoint_every=1, keep_last=3, best_metric="v", **QUIET)
    result = fit(model, batches, config, validate=lambda m: {"v": next(values)}, checkpoint_dir=tmp_path)
    assert [path.name[5:13] for path in list_checkpoints(tmp_path)] == ["00000008", "00000009", "00000010"]
    assert result.best == {"step": 4, "metric": "v", "value": 1.0}
    assert load_weights(make(Autoencoder), tmp_path / "best.safetensors")["step"] == 4
    with pytest.raises(ValueError, match="best_metric is 'w'; validate returned v"):
        fit(model, batches, replace(config, best_metric="w", num_steps=11), validate=lambda m: {"v": 1.0})


def test_tied_weights_are_saved(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
            self.b.weight = self.a.weight

        def loss(self, batch, step):
            return {"loss": (self.b(self.a(batch)) - batch).square().mean()}

    model, twin = make(Tied), make(Tied, 1)
    fit(model, batches, TrainConfig(num_steps=3, ema_decay=0.5, **QUIET), checkpoint_dir=tmp_path)
    load_weights(twin, tmp_path)
    assert_same_state(model, twin)


# Records and progress


def test_frame_is_tidy():
    result = fit(make(Gan), batches, TrainConfig(num_steps=6, log_every=3, **QUIET), validate=lambda m: {"score": 0.5})
    frame = result.frame()
    assert list(frame.columns) == ["step", "split", "name", "value"]
    train = frame[frame.split == "train"]
    names = {"loss/generator", "loss/discriminator", "rec", "grad_norm/generator", "grad_norm/discriminator"}
    assert set(train.name) == names | {"lr/generator", "lr/discriminator", "elapsed_s"}
    assert set(train.step) == {3, 6}
    assert frame[frame.name == "score"].value.tolist() == [0.5]


def test_records_are_means_over_their_interval():
    class Counts(Autoencoder):
        def loss(self, batch, step):
            return {**super().loss(batch, step), "step_number": float(step), "odd": torch.tensor(float(step % 2))}

    result = fit(make(Counts), batches, TrainConfig(num_steps=7, log_every=4, accumulation=3, **QUIET))
    assert [(r["step"], r["step_number"], r["odd"]) for r in result.records] == [(4, 1.5, 0.5), (7, 5.0, 1 / 3)]


def test_a_torn_last_line_is_dropped_and_other_rubbish_named(tmp_path):
    good = '{"step": 1, "split": "train", "loss": 1.0}\n'
    path = tmp_path / "metrics.jsonl"
    path.write_text(good + '{"step": 2, "spl')
    assert [record["step"] for record in history.read_metrics(path)] == [1]
    path.write_text(good + "rubbish\n" + good)
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: not a training record: 'rubbish'"):
        history.read_metrics(path)


def test_progress_lines_bar_and_silence(capfd, monkeypatch):
    model, config = make(Autoencoder), TrainConfig(num_steps=4, log_every=2, device="cpu", progress="off")
    fit(model, batches, config)
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(history, "LINE_INTERVAL_S", -1.0)
    fit(model, batches, replace(config, progress="auto"))  # tests run with MOTIONKIT_BATCH
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 5  # a line a step and one at the end
    assert lines[-1].startswith("step 4/4 (100 %)")
    assert "left  loss " in lines[-1]
    fit(model, batches, replace(config, progress="bar"))
    assert "4/4" in capfd.readouterr().err


# Several processes


def test_only_buffers_a_step_changed_are_averaged():
    model = make(Autoencoder)
    model.register_buffer("constant", torch.tensor(0.1))
    seen = []

    def mean_with_a_process_of_zeros(values):
        seen.append(values.numel())
        return values / 2

    shared = surroundings.SharedBuffers(model, mean_with_a_process_of_zeros)
    model.net[1].running_mean.add_(4.0)
    shared.average_changed()
    assert seen == [8]
    assert torch.equal(model.net[1].running_mean, torch.full((8,), 2.0))
    assert torch.equal(model.constant, torch.tensor(0.1))
    assert torch.equal(model.net[1].running_var, torch.ones(8))


def test_missing_gradients_count_as_zero_beside_another_process():
    model = make(Autoencoder)
    (player,) = make_players(model, TrainConfig(num_steps=1))
    model.net[3].bias.grad = torch.ones(6)
    player.sum_over_processes(lambda flat: flat + 1)
    assert torch.equal(model.net[3].bias.grad, torch.full((6,), 2.0))
    assert all(torch.equal(p.grad, torch.ones_like(p)) for name, p in model.named_parameters() if name != "net.3.bias")


SCRIPT = """
import sys
from pathlib import Path
import torch
sys.path.insert(0, sys.argv[1])
import test_training as t
from motionkit.training import TrainConfig, fit

folder, is_notebook = Path(sys.argv[2]), sys.argv[3] == "notebook"
torch.set_num_threads(1)
if is_notebook:
    sys.ps1 = ">>> "
config = TrainConfig(num_steps=8, lr=1e-2, devices=2, clip_norm=0.5, ema_decay=0.9, log_every=4, **t.QUIET)
model = t.make(t.Gan, seed=0)
if is_notebook:
    t.fit(t.make(t.Gan), t.batches, t.replace(config, devices=1))  # training before the fork must not hang it
history = fit(model, t.batches, config, validate=t.score, checkpoint_dir=folder / "two")
# the weights of rank 1 must not matter
resumed = t.make(t.Gan, seed=3)
fit(resumed, t.batches, config, checkpoint_dir=folder / "one")
if is_notebook:
    assert history.records and history.checkpoint.is_file() and history.step == 8
    saved = t.make(t.Gan, seed=4)
    t.load_weights(saved, folder / "two")
    t.assert_same_state(model, saved)
"""


def score(model):
    return {"score": float(model.generator.weight.sum())}


@pytest.mark.parametrize("place", ["script", "notebook"])
def test_two_processes_equal_accumulation(place, tmp_path):
    accumulated = TrainConfig(num_steps=8, lr=1e-2, accumulation=2, clip_norm=0.5, ema_decay=0.9, log_every=4, **QUIET)
    fit(make(Gan), batches, replace(accumulated, num_steps=5), checkpoint_dir=tmp_path / "one")
    expected = make(Gan)
    straight = fit(expected, batches, accumulated, validate=score, checkpoint_dir=tmp_path / "whole")
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path), place]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    whole = final_tensors(tmp_path / "whole")
    for folder in ("two", "one"):  # two processes from the start; begun by one process, continued by two
        found = final_tensors(tmp_path / folder)
        assert found.keys() == whole.keys()
        for name in whole:
            if "usage" not in name:  # one after the other it is updated by each micro-batch, side by side by their mean
                torch.testing.assert_close(found[name], whole[name], rtol=1e-5, atol=1e-6, msg=name)
    records = History.read(tmp_path / "two").records
    assert [(r["step"], r["split"]) for r in records] == [(4, "train"), (8, "train"), (8, "validate")]
    for mine, theirs in zip(records, straight.records, strict=True):
        for name in mine.keys() - {"elapsed_s", "split"}:
            assert mine[name] == pytest.approx(theirs[name], rel=1e-5, abs=1e-6), name
    # begun by two processes, continued by one
    longer = fit(make(Gan, 5), batches, replace(accumulated, num_steps=9), checkpoint_dir=tmp_path / "two")
    assert (longer.resumed_from, longer.step) == (8, 9)
