"""What ``fit`` costs over a loop written by hand: ``python tests/bench/bench_training.py``.

Both loops train the same models on the same batches in one process, in turns, by CPU time, so that a busy machine
disturbs little. The tiny model is the worst case: its step takes about a millisecond. The hand-written loop is the
usual one: ``zero_grad``, ``backward``, clipping, the same fused Adam, ``ema.lerp_``, ``loss.item()`` every ten steps.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from motionkit.training import TrainConfig, fit


class Perceptron(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        layers = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
        self.net = nn.Sequential(*layers, nn.Linear(width, width))

    def loss(self, batch: torch.Tensor, step: int) -> dict[str, torch.Tensor]:
        return {"loss": (self.net(batch) - batch).square().mean()}


def by_hand(model: nn.Module, batches: Callable, num_steps: int, clip_norm: float | None, ema_decay: float) -> None:
    parameters = list(model.parameters())
    means = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.Adam(parameters, lr=1e-4, fused=True)
    for step in range(num_steps):
        optimizer.zero_grad()
        loss = model.loss(batches(step), step)["loss"]
        loss.backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        if ema_decay:
            for mean, p in zip(means, parameters, strict=True):
                mean.lerp_(p.detach(), 1 - ema_decay)
        if step % 10 == 9:
            loss.item()


def pick(data: torch.Tensor, index: int) -> torch.Tensor:
    return data[index % len(data)]


def milliseconds(run: Callable[[], None], num_steps: int) -> float:
    start = time.process_time()
    run()
    return (time.process_time() - start) / num_steps * 1e3


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'model':24} {'options':10} {'hand ms':>8} {'fit ms':>8} {'ratio':>6} {'extra us':>9}")
    for name, width, depth, rows, num_steps in (
        ("tiny (0.03 M weights)", 64, 6, 16, 500),
        ("small (1.3 M weights)", 512, 4, 64, 50),
        ("wide (17 M weights)", 2048, 3, 64, 6),
    ):
        data = torch.randn(64, rows, width)
        batches = partial(pick, data)
        for options, clip_norm, ema_decay in (("plain", None, 0.0), ("clip, ema", 1.0, 0.999)):
            config = TrainConfig(num_steps, clip_norm=clip_norm, ema_decay=ema_decay, device="cpu", progress="off")
            pairs = []
            for _ in range(5):
                mine, fitted = Perceptron(width, depth), Perceptron(width, depth)
                hand = partial(by_hand, mine, batches, num_steps, clip_norm, ema_decay)
                whole = partial(fit, fitted, batches, config)
                pairs.append((milliseconds(hand, num_steps), milliseconds(whole, num_steps)))
            hand_ms, fit_ms = (min(pair[i] for pair in pairs) for i in (0, 1))
            ratio = statistics.median(b / a for a, b in pairs)
            extra = (fit_ms - hand_ms) * 1e3
            print(f"{name:24} {options:10} {hand_ms:8.3f} {fit_ms:8.3f} {ratio:6.2f} {extra:9.0f}")


if __name__ == "__main__":
    main()
