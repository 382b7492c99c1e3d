"""What every quantizer returns, and the few lines all of them share."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Quantized:
    """What a quantizer returns for latents z of shape (B, dim, *grid).

    z_q: (B, dim, *grid) code vectors, float32; their gradient goes to z unchanged (straight-through), but for the fixed
        and the relaxed codes: see there.
    tokens: (B, *grid), of residual codebooks (B, *grid, depth): indices 0 to num_codes - 1, int64.
    codebook_loss: mean ||sg[z] - e||^2 per element; moves the codes (a constant where no gradient does).
    commitment_loss: mean ||z - sg[e]||^2 per element; moves the encoder.
    loss: the weighted sum of those that train this kind of quantizer; for a gradient codebook L_VQ of Eq. 4.
    perplexity: exp(entropy) of this batch's tokens, 1 (one code does all) to num_codes (all equally used).
    extra: detached values that only this kind of quantizer has, by name.
    """

    z_q: Tensor
    tokens: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor
    loss: Tensor
    perplexity: Tensor
    extra: dict[str, Tensor] = field(default_factory=dict)


def to_rows(z: Float[Tensor, "batch dim *grid"], dim: int) -> Float[Tensor, "rows dim"]:
    """(B, dim, *grid) as float32 rows (B * grid, dim); a view when channels are stored last.

    Raises ``ValueError`` for another number of channels.
    """
    if z.ndim < 2 or z.shape[1] != dim:
        raise ValueError(f"latents of shape {tuple(z.shape)} need {dim} channels on axis 1, as many as a code")
    return z.movedim(1, -1).reshape(-1, dim).float()


def to_grid(rows: Float[Tensor, "rows dim"], z: Float[Tensor, "batch dim *grid"]) -> Float[Tensor, "batch dim *grid"]:
    """Rows, one for each place of z, in its shape: the inverse of ``to_rows``."""
    return rows.reshape(z.shape[0], *z.shape[2:], -1).movedim(-1, 1)


def to_token_grid(tokens: Int[Tensor, " rows"], z: Float[Tensor, "batch dim *grid"]) -> Int[Tensor, "batch *grid"]:
    """Tokens, one for each place of z, in its shape."""
    return tokens.reshape(z.shape[0], *z.shape[2:])


def counts_to_perplexity(counts: Tensor) -> Float[Tensor, ""]:
    """exp of the entropy of the codes' frequencies, on the device (``metrics.tokens.perplexity`` fetches the value)."""
    return torch.special.entr(counts / counts.sum()).sum().exp()


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor, rounded: Tensor) -> Tensor:
        return rounded.view_as(rounded)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def straight_through(values: Tensor, rounded: Tensor) -> Tensor:
    """``rounded``, bit for bit; its gradient goes to ``values`` as if nothing had been rounded."""
    return _StraightThrough.apply(values, rounded)
