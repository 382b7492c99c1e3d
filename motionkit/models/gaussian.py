"""Diagonal normal distributions as hierarchical models use them: drawn from, compared, evaluated."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LOG_VAR_RANGE = (-20.0, 3.0)  # the public program's limits, for all its distributions


@dataclass(frozen=True)
class Gaussian:
    """mean, log_var: alike in shape; ``log_var`` within ``LOG_VAR_RANGE`` where it comes from a network."""

    mean: Tensor
    log_var: Tensor

    def sample(self) -> Tensor:
        """One draw, differentiable in mean and variance; the noise is of torch's global generator."""
        return self.mean + torch.exp(0.5 * self.log_var) * torch.randn_like(self.mean)

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-density [nats] of each element."""
        return -0.5 * ((x - self.mean).square() * torch.exp(-self.log_var) + self.log_var + math.log(2 * math.pi))

    def divergence_from(self, prior: Gaussian) -> Tensor:
        """KL(self || prior) [nats] of each element; 0 where both are the same."""
        ratio, away = self.log_var - prior.log_var, (self.mean - prior.mean).square() * torch.exp(-prior.log_var)
        return 0.5 * (ratio.exp() - ratio - 1 + away)


def standard(like: Tensor) -> Gaussian:
    """Mean 0 and variance 1, of a tensor's shape."""
    return Gaussian(torch.zeros_like(like), torch.zeros_like(like))
