"""Who is trained: parameters that share a loss and an optimizer, and the moving average of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from motionkit.fitting.config import TrainConfig


class Player:
    """Parameters trained by one loss, and their optimizer."""

    def __init__(self, name: str, loss_key: str, named: dict[str, nn.Parameter], config: TrainConfig) -> None:
        self.name, self.loss_key = name, loss_key
        self.names, self.parameters = list(named), list(named.values())
        self.lr = config.player_lr.get(name, config.lr)
        make = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        self.optimizer = make(
            self.parameters,
            lr=self.lr,
            betas=tuple(config.betas),
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=True,  # one kernel for all parameters: on the CPU 4 to 6 times as fast as the default
        )

    def clear(self) -> None:
        """Give up the gradients, memory and all."""
        for p in self.parameters:
            p.grad = None

    def sum_over_processes(self, add_up: Callable[[Tensor], Tensor]) -> None:
        """One reduction of all gradients in a row. A missing one counts as zero: another process may have it."""
        for p in self.parameters:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        flat = add_up(torch.cat([p.grad.flatten() for p in self.parameters]))
        for p, part in zip(self.parameters, flat.split([p.numel() for p in self.parameters]), strict=True):
            p.grad.copy_(part.view(p.shape))

    def clip(self, clip_norm: float | None) -> Tensor:
        """Scale the gradient down to ``clip_norm``; its norm before. Does not wait for the device."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if not gradients:
            raise ValueError(f"{self.loss_key!r} reaches no parameter of player {self.name!r}: {self.names[0]!r}, ...")
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        if clip_norm is not None:
            torch._foreach_mul_(gradients, (clip_norm / (norm + 1e-6)).clamp(max=1.0))
        return norm

    def update(self, lr_factor: float) -> None:
        self.optimizer.param_groups[0]["lr"] = self.lr * lr_factor
        self.optimizer.step()

    @property
    def current_lr(self) -> float:
        return self.optimizer.param_groups[0]["lr"]


def make_players(model: nn.Module, config: TrainConfig) -> list[Player]:
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
        players.append(Player(player, loss_key, named, config))
    return players


class MovingAverage:
    """Exponential moving average of the players' parameters; with decay 0 none is kept and every call does nothing."""

    def __init__(self, model: nn.Module, players: list[Player], decay: float) -> None:
        self._decay = decay
        self._weights = [p for player in players for p in player.parameters] if decay else []
        self._means = [p.detach().clone() for p in self._weights]
        by_weight = {id(p): mean for p, mean in zip(self._weights, self._means, strict=True)}
        named = model.named_parameters(remove_duplicate=False)  # a tied weight under each of its names
        self.tensors = {name: by_weight[id(p)] for name, p in named if id(p) in by_weight}

    def update(self, step: int) -> None:
        """After update ``step`` (from 0)."""
        if self._means:
            decay = min(self._decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(self._means, self._weights, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model holds the averages meanwhile; nothing is copied."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def settle(self) -> None:
        """The model holds the averages from now on."""
        for p, mean in zip(self._weights, self._means, strict=True):
            p.data.copy_(mean)

    def _swap(self) -> None:
        for p, mean in zip(self._weights, self._means, strict=True):
            p.data, mean.data = mean.data, p.data
