"""The guard of a phase of training: its rule by hand, what a run does on its verdict, a resumed run too."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from motionkit.fitting.checkpoints import list_checkpoints, read_checkpoint
from motionkit.fitting.guard import Guard
from motionkit.training import History, TrainConfig, TrainingInterrupted, fit, load_weights

START, WINDOW, STEPS = 40, 8, 80
CONFIG = TrainConfig(num_steps=STEPS, lr=5e-2, ema_decay=0.9, log_every=5, device="cpu", progress="off")


class Toy(nn.Module):
    """A generator learns to give back what it gets; from ``START`` on an adversary pulls with the given strength."""

    def __init__(self, strength=20.0, on_harm="return", tolerance=0.5, noise=0.01):
        super().__init__()
        torch.manual_seed(0)
        self.generator = nn.Linear(6, 6)
        self.discriminator = nn.Linear(6, 1)
        self.register_buffer("codebook", torch.zeros(6))
        self.strength, self.noise = strength, noise
        self.guard = Guard("error", START, WINDOW, tolerance, on_harm) if on_harm != "none" else None

    def players(self):
        return {"generator": list(self.generator.parameters()), "discriminator": list(self.discriminator.parameters())}

    def loss(self, batch, step):
        output = self.generator(batch) + self.noise * torch.randn(batch.shape)
        error = (output - batch).square().mean()
        losses = {"loss/generator": error, "error": error.detach()}
        if self.strength and step >= START and not (self.guard is not None and self.guard.has_returned):
            fake, real = self.discriminator(output), self.discriminator(batch)
            losses["loss/generator"] = error - self.strength * fake.mean()
            losses["loss/discriminator"] = (1 + self.discriminator(output.detach())).relu().mean() + (
                1 - real
            ).relu().mean()
        return losses

    def after_step(self, step):
        self.codebook.lerp_(self.generator.bias, 0.1)


class VolumeToy(Toy):
    """The generator's weights are stored with channels last, as those of the models for video are."""

    class Generator(nn.Conv3d):
        def forward(self, x):
            return super().forward(x[..., None, None, None]).flatten(1)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.generator = self.Generator(6, 6, 3, padding=1).to(memory_format=torch.channels_last_3d)


def batches(index):
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(index))


def error_of(model):
    held_out = torch.cat([batches(10**6 + i) for i in range(8)])
    return (model.generator(held_out) - held_out).square().mean().item()


def records_without_time(history):
    return [{k: v for k, v in r.items() if k != "elapsed_s"} for r in history.records]


def of_guard(history):
    return [r for r in history.records if r["split"] == "guard"]


def judge_all(guard, values):
    """Feed values step by step; {updates done: ratio} and the updates at which harm began."""
    ratios, begun = {}, []
    for step, value in enumerate(values):
        guard.add(step, {"error": value})
        if guard.is_due(step + 1):
            begun += [step + 1] * guard.judge(step + 1)
            ratios[step + 1] = guard.harm
    return ratios, begun


# The rule


def test_the_rule_by_hand():
    """Level: the median of 3, 1, 2; then the medians 2.1, 3.0, 5.0, 1.0 of windows of three."""
    guard = Guard("error", start=4, window=3, tolerance=0.2)
    ratios, begun = judge_all(guard, [9.0, 3, 1, 2, 2.1, 9, 0, 3, 3, 0, 5, 5, 5, 1, 1, 1])
    assert ratios == pytest.approx({4: 1.0, 7: 1.05, 10: 1.5, 13: 2.5, 16: 0.5})
    assert begun == [10]  # harm is news once
    assert guard.level == 2
    assert guard.good == 16


def test_lone_spikes_are_no_harm_and_a_lasting_rise_is():
    calm = [1.0] * 20
    assert judge_all(Guard("error", 10, 5), [*calm[:10], 50.0, 1, 50.0, 1, 1, *calm])[1] == []
    assert judge_all(Guard("error", 10, 5), [*calm[:10], *[1.2] * 20])[1] == [15]
    assert judge_all(Guard("error", 10, 5), [*calm[:10], *[1.09] * 20])[1] == []


@pytest.mark.parametrize("seed", range(5))
def test_noise_without_a_rise_is_no_harm(seed):
    """Steps that scatter by half their mean, 100 windows: the median of 200 keeps within a tolerance of 0.3."""
    noise = 1 + 0.5 * torch.randn(20_000, generator=torch.Generator().manual_seed(seed))
    assert judge_all(Guard("error", 200, 200, 0.3), noise.clamp(min=0).tolist())[1] == []


def test_micro_batches_of_a_step_count_as_their_mean():
    guard = Guard("error", 2, 2)
    for step, parts in enumerate([(1.0, 3.0), (4.0, 4.0)]):
        for value in parts:
            guard.add(step, {"error": value, "other": 7.0})
    guard.judge(2)
    assert guard.level == 3.0


def test_a_state_is_taken_up_where_it_was_left():
    values = [1.0] * 10 + [1.05, 1.3, 1.4, 1.5, 0.2, 3, 3]
    for stop in range(len(values)):
        guard, other = Guard("error", 10, 3), Guard("error", 10, 3)
        expected, _ = judge_all(Guard("error", 10, 3), values)
        judge_all(guard, values[:stop])
        other.load(guard.state())
        for step in range(stop, len(values)):
            other.add(step, {"error": values[step]})
            if other.is_due(step + 1):
                other.judge(step + 1)
                assert other.harm == expected[step + 1]
        other.load({})
        assert other.state() == Guard("error", 10, 3).state()


def test_a_phase_from_the_first_step_has_no_level_to_compare_with():
    assert judge_all(Guard("error", 0, 1), [1.0, 9.0, 99.0]) == ({}, [])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": -1}, "start must be 0 or more, got -1"),
        ({"window": 0}, "window must be at least 1, got 0"),
        ({"tolerance": 0.0}, "tolerance must be a positive number, got 0"),
        ({"tolerance": float("nan")}, "tolerance must be a positive number, got nan"),
        ({"on_harm": "stop"}, "on_harm must be 'warn' or 'return', got 'stop'"),
    ],
)
def test_impossible_settings_are_refused(values, message, unchecked):
    with pytest.raises(ValueError, match=message):
        Guard(**{"metric": "error", "start": 5, **values})


# In a run


def test_a_ruined_run_goes_back_and_ends_like_one_without_adversary(tmp_path):
    """Like one with as many updates fewer as were lost."""
    never, ruined, guarded = Toy(0.0, "none"), Toy(on_harm="warn"), Toy()
    fit(never, batches, replace(CONFIG, num_steps=STEPS - WINDOW))
    warned = fit(ruined, batches, CONFIG)
    history = fit(guarded, batches, CONFIG, checkpoint_dir=tmp_path)
    assert error_of(ruined) > 10 * error_of(never)
    assert error_of(guarded) == pytest.approx(error_of(never), rel=0.3)
    rows = of_guard(history)
    assert [r["step"] for r in rows] == list(range(START, STEPS + 1, WINDOW))
    assert rows[0]["harm"] == 1.0
    assert rows[1]["harm"] > 1.5
    assert [r.get("returned_to") for r in rows] == [None, START, *[None] * (len(rows) - 2)]
    assert all(r["harm"] < 1 for r in rows[2:])
    assert of_guard(warned)[1]["harm"] == rows[1]["harm"]
    assert not any("returned_to" in r for r in of_guard(warned))
    assert (history.frame().query("name == 'harm'")["split"] == "guard").all()


def test_nothing_of_the_phase_remains(tmp_path):
    """Bit for bit the run that never had an adversary and skipped the batches of the lost window."""
    config = replace(CONFIG, ema_decay=0.0)
    guarded, skipping = Toy(noise=0.0), Toy(0.0, "none", noise=0.0)
    fit(guarded, batches, config, checkpoint_dir=tmp_path)
    fit(skipping, lambda i: batches(i + WINDOW * (i >= START)), replace(config, num_steps=STEPS - WINDOW))
    assert guarded.guard.has_returned
    assert all(torch.equal(t, skipping.state_dict()[name]) for name, t in guarded.state_dict().items())


def test_all_that_is_trained_comes_back_from_the_last_good_checkpoint(tmp_path):
    """Weights, averages, optimizers, buffers: after the return the run is that of a fresh one from there."""
    history = fit(Toy(), batches, replace(CONFIG, num_steps=START + WINDOW), checkpoint_dir=tmp_path)
    good, last = read_checkpoint(tmp_path / "good.safetensors"), read_checkpoint(history.checkpoint)
    assert (good.header["step"], last.header["step"]) == (START, START + WINDOW)
    assert good.tensors.keys() == last.tensors.keys()
    assert {name.split("/")[0] for name in good.tensors} == {"model", "ema", "optimizer"}
    assert all(torch.equal(t, last.tensors[name]) for name, t in good.tensors.items())
    assert last.header["guard"]["has_returned"]


@pytest.mark.parametrize("seed", range(4))
def test_a_harmless_adversary_stays(seed, tmp_path):
    model = Toy(1e-3, tolerance=0.1)
    history = fit(model, batches, replace(CONFIG, seed=seed), checkpoint_dir=tmp_path)
    assert not model.guard.has_returned
    assert all(r["harm"] <= 1.1 and "returned_to" not in r for r in of_guard(history))
    assert read_checkpoint(tmp_path / "good.safetensors").header["step"] == STEPS
    plain = Toy(1e-3, "none")
    fit(plain, batches, replace(CONFIG, seed=seed))
    assert all(torch.equal(t, plain.state_dict()[n]) for n, t in model.state_dict().items())  # a guard only looks


def test_harm_that_comes_late_goes_back_to_the_last_good_window(tmp_path):
    class Late(Toy):
        def loss(self, batch, step):
            self.strength = 20.0 if step >= START + 2 * WINDOW + 2 else 1e-3
            return super().loss(batch, step)

    rows = of_guard(fit(Late(), batches, CONFIG, checkpoint_dir=tmp_path))
    (row,) = (r for r in rows if "returned_to" in r)
    assert row["step"] > START + 2 * WINDOW
    assert row["returned_to"] == START + 2 * WINDOW


@pytest.mark.parametrize(
    ("toy", "stop_at"),
    [
        *((Toy, step) for step in (START - 3, START, START + 3, START + WINDOW, START + WINDOW + 3, STEPS - 1)),
        *((VolumeToy, step) for step in (START + 3, START + WINDOW + 3)),
    ],
)
def test_resume_equals_no_interruption_across_the_return(toy, stop_at, tmp_path):
    """Before, at and after the good checkpoint and the return; with regular checkpoints, one of them kept."""
    config = replace(CONFIG, accumulation=2, checkpoint_every=11, keep_last=1, validate_every=WINDOW)

    def validate(model):
        return {"bias": float(model.generator.bias.sum())}

    def interrupted(index):
        if index == stop_at * config.accumulation:
            raise KeyboardInterrupt
        return batches(index)

    whole, parts, fresh = toy(), toy(), toy()
    straight = fit(whole, batches, config, validate=validate, checkpoint_dir=tmp_path / "whole")
    with pytest.raises(TrainingInterrupted, match=f"after step {stop_at} of"):
        fit(parts, interrupted, config, validate=validate, checkpoint_dir=tmp_path / "parts")
    fresh.guard.has_returned = True  # left over from another run
    resumed = fit(fresh, batches, config, validate=validate, checkpoint_dir=tmp_path / "parts")
    assert resumed.resumed_from == stop_at
    assert sum("returned_to" in r for r in of_guard(straight)) == 1
    assert records_without_time(resumed) == records_without_time(straight)
    assert fresh.guard.state() == whole.guard.state()
    files = [read_checkpoint(list_checkpoints(tmp_path / name)[-1]) for name in ("whole", "parts")]
    assert files[0].tensors.keys() == files[1].tensors.keys()
    assert all(torch.equal(t, files[1].tensors[name]) for name, t in files[0].tensors.items())
    assert all(torch.equal(t, fresh.state_dict()[name]) for name, t in whole.state_dict().items())


def test_a_kill_between_the_return_and_the_next_checkpoint_repeats_it(tmp_path, monkeypatch):
    """No checkpoint holds the return yet: the run goes on from the good one, is ruined again and returns again."""

    def killed(index):
        if index == START + WINDOW + 2:
            raise MemoryError
        return batches(index)

    with pytest.raises(MemoryError):
        fit(Toy(), killed, CONFIG, checkpoint_dir=tmp_path / "parts")
    assert any("returned_to" in r for r in History.read(tmp_path / "parts").records)
    whole, fresh = Toy(), Toy()
    straight = fit(whole, batches, CONFIG, checkpoint_dir=tmp_path / "whole")
    resumed = fit(fresh, batches, CONFIG, checkpoint_dir=tmp_path / "parts")
    assert resumed.resumed_from == START
    assert records_without_time(resumed) == records_without_time(straight)
    assert all(torch.equal(t, fresh.state_dict()[name]) for name, t in whole.state_dict().items())


def test_a_good_checkpoint_that_is_gone_or_another_is_named(tmp_path):
    def meddling(index):
        if index == START + 2:
            (tmp_path / "good.safetensors").unlink()
        return batches(index)

    with pytest.raises(ValueError, match=r"good\.safetensors: is missing; the last .* is that of step 40"):
        fit(Toy(), meddling, CONFIG, checkpoint_dir=tmp_path)


def test_what_a_guard_needs_is_said(tmp_path):
    with pytest.raises(ValueError, match="on_harm 'return'; that needs a checkpoint_dir"):
        fit(Toy(), batches, CONFIG)
    model = Toy()
    model.guard = Guard("err", START)
    with pytest.raises(ValueError, match=r"the guard watches 'err'; model\.loss returned"):
        fit(model, batches, CONFIG)
    fit(Toy(), batches, replace(CONFIG, num_steps=3), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"guard tolerance 0\.5, now it is 0\.4"):
        fit(Toy(tolerance=0.4), batches, CONFIG, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="guard metric 'error', now it is None"):
        fit(Toy(on_harm="none"), batches, CONFIG, checkpoint_dir=tmp_path)


def test_harm_is_told(capfd):
    fit(Toy(on_harm="warn"), batches, replace(CONFIG, progress="lines"))
    said = [line for line in capfd.readouterr().out.splitlines() if "its level before" in line]
    assert len(said) == 1
    assert said[0].startswith(f"step {START + WINDOW}: error is ")


def test_values_fetched_late_give_the_same_verdicts(tmp_path, monkeypatch):
    """As on an accelerator, where they are fetched every ``log_every`` steps and before a verdict."""
    at_once = fit(Toy(), batches, CONFIG, checkpoint_dir=tmp_path / "at_once")
    monkeypatch.setattr("motionkit.training._Run._is_cheap_to_fetch", False)
    late = fit(Toy(), batches, replace(CONFIG, log_every=1000), checkpoint_dir=tmp_path / "late")
    assert of_guard(late)[1].keys() >= {"harm", "returned_to"}
    for mine, theirs in zip(of_guard(late), of_guard(at_once), strict=True):
        assert {**mine, "elapsed_s": 0} == {**theirs, "elapsed_s": 0}


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
import test_guard as t
torch.set_num_threads(1)
t.fit(t.Toy(), t.batches, t.replace(t.CONFIG, devices=2), checkpoint_dir=sys.argv[2])
"""


def test_two_processes_return_together(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(Path(__file__).parent), str(tmp_path / "two")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = Toy(), Toy()
    straight = fit(one, batches, replace(CONFIG, accumulation=2), checkpoint_dir=tmp_path / "one")
    load_weights(two, tmp_path / "two")
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(two.state_dict()[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    both = [of_guard(history) for history in (straight, History.read(tmp_path / "two"))]
    for mine, theirs in zip(*both, strict=True):
        assert mine["harm"] == pytest.approx(theirs["harm"], rel=1e-3)
        assert mine.get("returned_to") == theirs.get("returned_to")
    assert sum("returned_to" in row for row in both[0]) == 1
