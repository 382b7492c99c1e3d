"""Batches of samples that lie in memory as tensors: tokens, features, labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


class TensorBatches:
    """An endless, reproducible supply: ``batches(index)`` depends on ``seed`` and ``index`` alone.

    tensors: name -> (samples, ...), all with equally many samples; a batch has the same names.
    Samples are drawn with replacement, so any batch size will do.

    Raises ``ValueError`` for tensors that differ in length, no samples, or a batch size below 1.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], batch_size: int, *, seed: int, device: str | torch.device = "cpu"
    ) -> None:
        lengths = {name: len(tensor) for name, tensor in tensors.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise ValueError(f"tensors must hold equally many samples, at least one; they hold {lengths}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {batch_size}")
        self.num_samples, self.batch_size, self.seed = next(iter(lengths.values())), batch_size, seed
        self._tensors = {name: tensor.to(device) for name, tensor in tensors.items()}

    def __call__(self, index: int) -> dict[str, Tensor]:
        drawn = np.random.default_rng((self.seed, index)).integers(self.num_samples, size=self.batch_size)
        return {name: tensor[torch.from_numpy(drawn).to(tensor.device)] for name, tensor in self._tensors.items()}
