"""One small transformer that names what it sees, whether it is given tokens or keypoints.

Only the first layer differs: a table of vectors for tokens, a linear map for numbers. What follows is the same, so that
a difference in accuracy is one of the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from motionkit.data.batches import TensorBatches
from motionkit.models.transformer import GridPosition, TransformerBlock
from motionkit.training import TrainConfig, fit


@dataclass(frozen=True)
class SequenceClassifierConfig:
    """Sizes of a ``SequenceClassifier``.

    num_classes: classes to tell apart.
    grid: axes of the input: (t, h, w) for tokens of a clip, (T,) for one vector a frame.
    num_codes: size of the codebook, for tokens. num_features: length of a vector, for anything else. One of them.
    dim, depth, num_heads: width, number of blocks, attention heads of each.
    dropout: share of values that training drops, in [0, 1).

    Raises: ``ValueError`` naming the field and its value.
    """

    num_classes: int
    grid: tuple[int, ...]
    num_codes: int | None = None
    num_features: int | None = None
    dim: int = 64
    depth: int = 2
    num_heads: int = 4
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if (self.num_codes is None) == (self.num_features is None):
            raise ValueError(f"give num_codes or num_features, got {self.num_codes} and {self.num_features}")
        if not self.grid or min(self.grid) < 1:
            raise ValueError(f"grid must be sizes of at least 1, got {self.grid}")
        for name in ("num_classes", "num_codes", "num_features", "dim", "depth", "num_heads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.dim % self.num_heads:
            raise ValueError(f"dim must be a multiple of num_heads {self.num_heads}, got {self.dim}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")


class SequenceClassifier(nn.Module):
    """Tokens (B, *grid) or vectors (B, *grid, num_features) -> logits (B, num_classes).

    Raises: ``ValueError`` for an input of another shape.
    """

    def __init__(self, config: SequenceClassifierConfig) -> None:
        super().__init__()
        self.config = c = config
        if c.num_codes is not None:
            self.first = nn.Embedding(c.num_codes, c.dim)
        else:
            self.first = nn.Linear(c.num_features, c.dim)
        self.position = GridPosition(c.grid, c.dim)
        self.blocks = nn.Sequential(*(TransformerBlock(c.dim, c.num_heads, c.dropout) for _ in range(c.depth)))
        self.norm = nn.LayerNorm(c.dim)
        self.last = nn.Linear(c.dim, c.num_classes)

    def forward(
        self, x: Int[Tensor, "batch *grid"] | Float[Tensor, "batch *grid features"]
    ) -> Float[Tensor, "batch classes"]:
        c = self.config
        expected = c.grid if c.num_features is None else (*c.grid, c.num_features)
        if tuple(x.shape[1:]) != expected:
            raise ValueError(f"input of shape {tuple(x.shape)}: expected (B, {', '.join(map(str, expected))})")
        cells = self.position(self.first(x)).flatten(1, -2)
        return self.last(self.norm(self.blocks(cells)).mean(1))

    @torch.no_grad()
    def predict(self, x: Tensor, batch_size: int = 256) -> Int[Tensor, "batch"]:
        """The most probable class of each sample, on the CPU."""
        device = next(self.parameters()).device
        return torch.cat([self(part.to(device)).argmax(-1).cpu() for part in x.split(batch_size)])

    def loss(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        """Cross-entropy in nats (``"loss"``) and ``"accuracy"`` of {"input": as in ``forward``, "label": (B,)}."""
        logits = self(batch["input"])
        right = (logits.detach().argmax(-1) == batch["label"]).float()
        return {"loss": F.cross_entropy(logits, batch["label"]), "accuracy": right.mean()}


def train_classifier(
    x: Int[Tensor, "samples *grid"] | Float[Tensor, "samples *grid features"],
    labels: Int[Tensor, "samples"],
    num_classes: int,
    config: TrainConfig,
    *,
    num_codes: int = 0,
    batch_size: int = 32,
    device: str | torch.device = "cpu",
) -> SequenceClassifier:
    """A classifier of the default size for inputs like ``x``, trained on those whose label is not -1.

    num_codes: size of the codebook, for tokens. config.seed: of initial weights and batches too.
    Raises: ``ValueError`` if no sample has a label.
    """
    known = labels >= 0
    if not known.any():
        raise ValueError(f"none of {len(labels)} samples has a label")
    if x.is_floating_point():
        form = {"grid": tuple(x.shape[1:-1]), "num_features": x.shape[-1]}
    else:
        form = {"grid": tuple(x.shape[1:]), "num_codes": num_codes}
    torch.manual_seed(config.seed)
    model = SequenceClassifier(SequenceClassifierConfig(num_classes, **form)).to(device)
    samples = {"input": x[known], "label": labels[known]}
    fit(model, TensorBatches(samples, batch_size, seed=config.seed, device=device), config)
    return model
