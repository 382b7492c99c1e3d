"""HG-VAE at its published size: a training step and imputation, in the kit's layout and in the public program's:
``[OMP_NUM_THREADS=2] python tests/bench/bench_hg_vae.py [clips in a batch]``.

The public layout is written anew here: (batch, nodes, features) throughout, S (A W) in this order, the whole network
for each step of an imputation, with gradients of the weights too. Both compute the same function and the same gradients
of it; that is checked.
Speed is measured with random weights; what filling in leaves wrong, and how soon, with the trained model of the kit.
In bfloat16 (``precision="bf16-mixed"``) products are many times faster on processors that have units for them. A batch
of more than 200 clips is learned from in parts as well (``accumulation``), whose volumes are nearer to caches in size,
and where there is a C++ compiler also with ``compile=True``, which takes a minute before the first step.
"""

from __future__ import annotations

import copy
import os
import shutil
import sys
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from machine import alternate
from torch import Tensor, nn

from motionkit.data.gaps import interpolate_gaps
from motionkit.data.masks import lose_numbers
from motionkit.models.elbo import Inference, elbo_loss, log_posterior
from motionkit.models.gaussian import standard
from motionkit.models.graph_layers import GraphBlock, GraphConv
from motionkit.models.hg_vae import HGVAE, HGVAEConfig, _Down, _Up
from motionkit.models.imputation import impute, impute_map, leftovers_of
from motionkit.models.pretrained import load_pretrained
from motionkit.representation.pelvis_frame import pelvis_windows

STEPS = 10
PART = 200  # clips at a time: the quickest of those tried in single precision


class PublicLayout(nn.Module):
    """The same network with the batch first in memory."""

    def __init__(self, model: HGVAE) -> None:
        super().__init__()
        self.model = model
        for module in model.modules():
            if isinstance(module, GraphConv):
                module.forward = lambda x, layer=module: layer.mix @ (x @ layer.weight.t()) + layer.bias.transpose(0, 1)
            elif isinstance(module, GraphBlock):
                module.forward = lambda x, m=module: x + m.alpha * F.gelu(m.second(F.gelu(m.first(x))))
            elif isinstance(module, _Up):
                module.forward = partial(self._up, module)
            elif isinstance(module, _Down):
                module.passed = partial(self._passed, module)
                module.left = lambda trunk, above, m=module: trunk + m.alphas[1] * above
                module.joined = lambda trunk, latent, m=module: trunk + m.alphas[2] * m.widen(latent)

    @staticmethod
    def _up(up: _Up, x: Tensor) -> tuple[Tensor, Tensor | None]:
        activation = up.block(up.reduce(x))
        return activation, None if up.skip is None else up.skip(x) + up.alpha * activation

    @staticmethod
    def _passed(down: _Down, trunk: Tensor) -> tuple[Tensor, Tensor]:
        trunk = trunk + down.alphas[0] * down.block(trunk)
        return trunk, down.prior_block(trunk)

    def infer(self, clips: Tensor) -> Inference:
        model = self.model
        activations, x = [], model.nodes(clips).transpose(0, 1).contiguous()
        for up in model.up:
            activation, x = up(x)
            activations.append(activation)
        posterior = model.top(activations.pop())
        posteriors, priors, latents = [posterior], [standard(posterior.mean)], [posterior.mean]
        trunk = model.from_top(latents[0])
        for down in model.down:
            trunk, above = down.passed(trunk)
            posteriors.append(down.posterior(down.combined(trunk, activations.pop())))
            priors.append(down.prior(above))
            trunk = down.left(trunk, above)
            latents.append(posteriors[-1].mean)
            trunk = down.joined(trunk, latents[-1])
        out = model.out(model.last(trunk))
        out = type(out)(out.mean.transpose(0, 1), out.log_var.transpose(0, 1))
        return Inference(posteriors, priors, latents, model.nodes.clips(out))

    def impute(self, clips: Tensor, is_seen: Tensor, start: Tensor) -> Tensor:
        missing = start.clone().requires_grad_()
        optimizer = torch.optim.Adam([missing], lr=1e-2)
        for _ in range(STEPS):
            seen = self.infer(torch.where(is_seen, clips, missing))
            levels = zip(seen.posteriors, seen.priors, strict=True)
            score = sum(prior.log_prob(posterior.mean).sum((1, 2)) for posterior, prior in levels)
            optimizer.zero_grad()
            (-score.mean()).backward()
            optimizer.step()
        return torch.where(is_seen, clips, missing).detach()


def built() -> HGVAE:
    torch.manual_seed(0)
    model = HGVAE(HGVAEConfig())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "alpha" in name:
                parameter.fill_(0.1)
    return model


def train_step(
    model: nn.Module,
    infer,
    clips: Tensor,
    *,
    part: int | None = None,
    is_mixed: bool = False,
    is_compiled: bool = False,
):
    """part: so many clips at a time, their gradients added up (``accumulation``); by default all at once."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def loss_of(some: Tensor) -> Tensor:
        return elbo_loss(infer(some), some)["loss"]

    loss = torch.compile(loss_of) if is_compiled else loss_of

    def step() -> None:
        optimizer.zero_grad()
        for some in clips.split(part or len(clips)):
            with torch.autocast("cpu", torch.bfloat16, enabled=is_mixed):
                weighed = loss(some) * (len(some) / len(clips))
            weighed.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 100.0)
        optimizer.step()

    return step


def check_alike(ours: HGVAE, public: PublicLayout, clips: Tensor) -> None:
    with torch.no_grad():
        one, other = ours.infer(clips, is_drawn=False), public.infer(clips)
        torch.testing.assert_close(one.output.mean, other.output.mean, rtol=1e-3, atol=1e-4)
        score = sum(p.log_prob(q.mean).sum((1, 2)) for q, p in zip(other.posteriors, other.priors, strict=True))
        torch.testing.assert_close(log_posterior(one).sum(0), score, rtol=1e-3, atol=1e-1)
    found = []
    for model, infer in ((ours, ours.infer), (public.model, public.infer)):
        clips_made = (infer(clips, is_drawn=False) if model is ours else infer(clips)).output.mean
        grads = torch.autograd.grad(clips_made.square().mean(), list(model.parameters()), allow_unused=True)
        found.append(torch.cat([grad.flatten() for grad in grads if grad is not None]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-2, atol=1e-3 * found[1].abs().max().item())


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    torch.manual_seed(0)
    clips, is_seen = 0.3 * torch.randn(count, 50, 18, 3), torch.rand(count, 50, 18, 3) > 0.1
    start, leftovers = torch.zeros_like(clips), torch.linspace(-4, -12, 50).view(50, 1, 1).expand(50, 18, 3)
    ours, public = built(), PublicLayout(built())
    check_alike(ours, public, clips[:8])
    infer = partial(ours.infer, is_drawn=False)
    threads = torch.get_num_threads()
    print(f"{count} clips, {threads} thread(s), {'processor' if threads == 1 else 'wall'} time")
    tasks = {
        "public": train_step(public, public.infer, clips),
        "ours": train_step(ours, infer, clips),
        "ours, bfloat16": train_step(ours, infer, clips, is_mixed=True),
    }
    if count > PART:
        tasks |= {
            f"ours, {PART} at a time": train_step(ours, infer, clips, part=PART),
            f"ours, bfloat16, {PART}": train_step(ours, infer, clips, part=PART, is_mixed=True),
        }
        if shutil.which("g++"):
            compiled = train_step(ours, infer, clips, part=PART, is_mixed=True, is_compiled=True)
            tasks[f"compiled, bfloat16, {PART}"] = compiled
            compiled()
    report("training step", tasks, count)
    tasks = {
        "public": lambda: public.impute(clips, is_seen, start),
        "ours, ascent": lambda: impute_map(ours, clips, is_seen, start, num_steps=STEPS),
        "ours, filling": lambda: impute(ours, clips, is_seen, start, leftovers, num_steps=STEPS),
        "ours, filling, 3 steps": lambda: impute(ours, clips, is_seen, start, leftovers, num_steps=3),
        "ours, filling, 1 step": lambda: impute(ours, clips, is_seen, start, leftovers, num_steps=1),
    }
    report(f"imputation, {STEPS} steps", tasks, count)
    report_reached(lost=0.05)


def report_reached(lost: float) -> None:
    """The MSE that the public procedure reaches in its steps from the mean, and ours from interpolation, which has
    passed it before the first pass."""
    parts = pelvis_windows("default", length=50, stride=5, fps=25.0, most=100)
    train, calibration, clips = (parts[name].positions for name in ("train", "calibration", "test"))
    ours, mean = load_pretrained("hg-vae-18-50"), train.mean(0)
    public, leftovers = PublicLayout(copy.deepcopy(ours)), leftovers_of(ours, calibration)
    is_seen = lose_numbers(clips.shape, lost, torch.Generator().manual_seed(0))
    tasks = {"public": lambda: public.impute(clips, is_seen, torch.where(is_seen, clips, mean))} | {
        f"ours, filling, {num_steps} steps": lambda num_steps=num_steps: impute(
            ours, clips, is_seen, interpolate_gaps(clips, is_seen, mean), leftovers, num_steps=num_steps
        )
        for num_steps in (0, 1, STEPS)
    }
    at_mean = (mean - clips)[~is_seen].square().mean()
    for name, fill in tasks.items():
        change = 100 * ((fill() - clips)[~is_seen].square().mean() / at_mean - 1)
        print(f"{lost:.0%} of numbers lost, MSE against means: {name:24} {change:6.1f} %")
    report("reached, kit's HG-VAE", tasks, len(clips))


def report(what: str, tasks: dict, count: int) -> None:
    times = alternate(tasks, at_least=2)
    for name, (least, median) in times.items():
        ratio = times["public"][1] / median
        print(f"{what:24} {name:24} {least:9.0f} {median:9.0f} ms  {1e3 * count / median:8.1f} clips/s  {ratio:5.1f}x")


if __name__ == "__main__":
    main()
