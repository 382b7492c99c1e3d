"""Codes that nobody learns: a linear map takes each latent to a few numbers, each is rounded by itself, and a second
linear map leads back. No search, and nothing that could fall out of use but by the encoder's choice.

``FiniteScalars`` rounds each number to one of 4 or 8 levels, ``LookupFree`` to its sign.
Source: Mentzer et al. 2023, "Finite scalar quantization: VQ-VAE made simple", 3; Yu et al. 2023, "Language model beats
diffusion: tokenizer is key to visual generation", 3.1.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from motionkit.models.quantizers.quantized import (
    Quantized,
    counts_to_perplexity,
    straight_through,
    to_grid,
    to_rows,
    to_token_grid,
)


def levels_for(num_codes: int) -> tuple[int, ...]:
    """Levels of each number of a ``FiniteScalars``, whose product is ``num_codes``: as few numbers as 8 levels allow,
    the bits shared out as evenly as possible.

    Raises ``ValueError`` unless ``num_codes`` is a power of two, 2 or more.

    >>> {n: levels_for(n) for n in (128, 256, 512, 1024, 2048)}
    {128: (8, 4, 4), 256: (8, 8, 4), 512: (8, 8, 8), 1024: (8, 8, 4, 4), 2048: (8, 8, 8, 4)}
    """
    bits = _bits(num_codes)
    numbers = math.ceil(bits / 3)
    return tuple(2 ** (bits // numbers + (i < bits % numbers)) for i in range(numbers))


class FiniteScalars(nn.Module):
    """Finite scalar quantization (FSQ): tanh, then rounding to evenly spaced levels from -1 to 1.

    num_codes: a power of two; see ``levels_for``. dim: channels of the latents.
    loss: 0, there is nothing to weigh; ``commitment_loss`` says how far the rounded numbers lie from the others.

    Differs: the paper's recommended levels, such as 8, 6, 5 for about 256 codes, do not multiply to the vocabularies
    that are compared here; powers of two do. Its even levels lie off center by half a step; these are symmetric.
    """

    is_nearest = False

    def __init__(self, num_codes: int, dim: int) -> None:
        super().__init__()
        self.num_codes = num_codes
        self.bits_per_cell = math.log2(num_codes)
        self.levels = levels_for(num_codes)
        self.down = nn.Linear(dim, len(self.levels))
        self.up = nn.Linear(len(self.levels), dim)
        # a token counts in mixed radix, the first number is its lowest digit
        radix = [math.prod(self.levels[:i]) for i in range(len(self.levels))]
        self.register_buffer("radix", torch.tensor(radix), persistent=False)
        self.register_buffer("sizes", torch.tensor(self.levels), persistent=False)

    def forward(self, z: Float[Tensor, "batch dim *grid"]) -> Quantized:
        """Latents (B, dim, *grid) to ``Quantized``."""
        with torch.autocast(z.device.type, enabled=False):
            numbers = self.down(to_rows(z, self.down.in_features)).tanh()
            half = (self.sizes - 1) / 2
            digits = (numbers.detach() * half + half).round().long()  # 0 to levels - 1
            tokens = (digits * self.radix).sum(-1)
            rounded = self._values(digits)
            z_q = self.up(straight_through(numbers, rounded))
        return _quantized(z, z_q, tokens, self.num_codes, F.mse_loss(numbers.detach(), rounded), None)

    def codes(self, tokens: Int[Tensor, "*any"]) -> Float[Tensor, "*any dim"]:
        """The vectors that tokens stand for."""
        return _mapped(self.up, self._values(tokens[..., None] // self.radix % self.sizes))

    def _values(self, digits: Tensor) -> Tensor:
        """Digits 0 to levels - 1 as numbers from -1 to 1."""
        return digits * (2 / (self.sizes - 1)) - 1

    def update(self) -> None:
        """Nothing to do: the codes stand still."""


class LookupFree(nn.Module):
    """Lookup-free quantization (LFQ): a token's bits are the signs of log2(num_codes) numbers.

    num_codes: a power of two. dim: channels of the latents.
    commitment_weight: weight of the squared distance of the numbers from their signs.
    entropy_weight: weight of the entropy term, in nats: the mean entropy of a vector's distribution over the codes
        plus what the entropy of the batch's mean distribution lacks to log(num_codes). It is 0 where every vector is
        sure of its code and all codes are used alike. A vector's distribution is the softmax of minus the squared
        distances to all codes, which falls into one Bernoulli distribution a bit.

    Differs: the paper's entropy term is less by the constant log(num_codes), and its temperature unknown; it is 1 here.
    """

    is_nearest = False

    def __init__(self, num_codes: int, dim: int, commitment_weight: float = 1.0, entropy_weight: float = 0.1) -> None:
        super().__init__()
        self.num_codes = num_codes
        self.bits_per_cell = math.log2(num_codes)
        self.commitment_weight = commitment_weight
        self.entropy_weight = entropy_weight
        bits = _bits(num_codes)
        self.down = nn.Linear(dim, bits)
        self.up = nn.Linear(bits, dim)
        self.register_buffer("radix", 2 ** torch.arange(bits), persistent=False)

    def forward(self, z: Float[Tensor, "batch dim *grid"]) -> Quantized:
        """Latents (B, dim, *grid) to ``Quantized``."""
        with torch.autocast(z.device.type, enabled=False):
            numbers = self.down(to_rows(z, self.down.in_features))
            bits = numbers.detach() > 0
            tokens = (bits * self.radix).sum(-1)
            signs = self._values(bits)
            z_q = self.up(straight_through(numbers, signs))
            commitment_loss = F.mse_loss(numbers, signs)
            sure, used = entropies(numbers)
            entropy_loss = sure + (math.log(self.num_codes) - used)
        loss = self.commitment_weight * commitment_loss + self.entropy_weight * entropy_loss
        extra = {"entropy_of_cells": sure.detach(), "entropy_of_codes": used.detach()}
        return _quantized(z, z_q, tokens, self.num_codes, commitment_loss, loss, extra)

    def codes(self, tokens: Int[Tensor, "*any"]) -> Float[Tensor, "*any dim"]:
        """The vectors that tokens stand for."""
        return _mapped(self.up, self._values(tokens[..., None] // self.radix % 2))

    def _values(self, bits: Tensor) -> Tensor:
        """Bits as -1 and 1."""
        return bits * 2.0 - 1

    def update(self) -> None:
        """Nothing to do: the codes stand still."""


def entropies(numbers: Float[Tensor, "rows bits"]) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean entropy of the vectors' distributions over all 2**bits codes, and entropy of their mean, in nats.

    A vector's distribution is a product over its bits, so its entropy is a sum. The mean over vectors is no product;
    but with the bits in two halves, each of about sqrt(codes) combinations, it is a product of two matrices, and no
    matrix of all vectors by all codes is made.
    """
    logits = 4 * numbers  # (u + 1)^2 - (u - 1)^2
    chances = torch.stack([torch.sigmoid(-logits), torch.sigmoid(logits)], -1)  # (N, bits, 2)
    of_vectors = (F.softplus(logits) - logits * chances[..., 1]).sum(-1).mean()
    middle = numbers.shape[1] // 2
    low, high = (_combinations(chances[:, part]) for part in (slice(middle), slice(middle, None)))
    mean = high.T @ low / len(numbers)
    return of_vectors, torch.special.entr(mean.clamp(min=torch.finfo(mean.dtype).tiny)).sum()


def _combinations(chances: Tensor) -> Tensor:
    """(N, n, 2) chances of a bit's two values -> (N, 2**n) chances of all their combinations."""
    product = chances.new_ones(len(chances), 1)
    for bit in chances.unbind(1):
        product = (bit[:, :, None] * product[:, None, :]).flatten(1)
    return product


def _bits(num_codes: int) -> int:
    if num_codes < 2 or num_codes & (num_codes - 1):
        raise ValueError(f"num_codes must be a power of two, 2 or more, for fixed codes, got {num_codes}")
    return num_codes.bit_length() - 1


def _mapped(layer: nn.Linear, values: Tensor) -> Tensor:
    """The layer on rows of numbers, as in the forward pass: for as many rows the same to the bit."""
    with torch.autocast(values.device.type, enabled=False):
        return layer(values.reshape(-1, values.shape[-1])).reshape(*values.shape[:-1], -1)


def _quantized(
    z: Tensor,
    z_q: Tensor,
    tokens: Tensor,
    num_codes: int,
    commitment_loss: Tensor,
    loss: Tensor | None,
    extra: dict[str, Tensor] | None = None,
) -> Quantized:
    return Quantized(
        z_q=to_grid(z_q, z),
        tokens=to_token_grid(tokens, z),
        codebook_loss=commitment_loss.detach(),
        commitment_loss=commitment_loss,
        loss=torch.zeros_like(commitment_loss) if loss is None else loss,
        perplexity=counts_to_perplexity(torch.bincount(tokens, minlength=num_codes)),
        extra=extra or {},
    )
