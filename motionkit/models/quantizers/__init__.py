"""Vector quantization: latents become tokens 0 .. num_codes - 1, and tokens vectors, in six ways behind one call.

==============  =====================================================================================  ==============
``"gradient"``  a codebook moved by the loss (the paper)                                               ``codebooks``
``"ema"``       a codebook that follows running means, unused codes restarted                          ``codebooks``
``"residual"``  several of these, each for what the ones before left over; tokens with one more axis   ``codebooks``
``"gumbel"``    relaxed while training, as in a dVAE                                                   ``gumbel``
``"fsq"``       a few numbers, each rounded to 4 or 8 levels                                           ``fixed``
``"lfq"``       signs of log2(num_codes) numbers, kept in use by an entropy term                       ``fixed``
==============  =====================================================================================  ==============
"""

from __future__ import annotations

from typing import Literal, Protocol, get_args, runtime_checkable

from torch import Tensor

from motionkit.models.quantizers.codebooks import EMACodebook, GradientCodebook, ResidualCodebooks
from motionkit.models.quantizers.fixed import FiniteScalars, LookupFree, levels_for
from motionkit.models.quantizers.gumbel import GumbelCodebook
from motionkit.models.quantizers.lookup import nearest_codes
from motionkit.models.quantizers.quantized import Quantized

__all__ = [
    "EMACodebook",
    "FiniteScalars",
    "GradientCodebook",
    "GumbelCodebook",
    "LookupFree",
    "Quantized",
    "Quantizer",
    "QuantizerKind",
    "ResidualCodebooks",
    "build_quantizer",
    "check_quantizer",
    "levels_for",
    "nearest_codes",
]

QuantizerKind = Literal["gradient", "ema", "gumbel", "residual", "fsq", "lfq"]


@runtime_checkable
class Quantizer(Protocol):
    """What all kinds have, each an ``nn.Module``.

    num_codes: tokens are 0 to num_codes - 1. bits_per_cell: what the tokens of one latent cell take at a fixed length.
    is_nearest: whether codes lie near the latents they stand for, so that their distance is an error.
    """

    num_codes: int
    bits_per_cell: float
    is_nearest: bool

    def __call__(self, z: Tensor) -> Quantized:
        """Latents (B, dim, *grid) to tokens (B, *grid), for "residual" (B, *grid, depth), and what goes with them."""
        ...

    def codes(self, tokens: Tensor) -> Tensor:
        """The vectors (..., dim) that tokens (...) or (..., depth) stand for: the ``z_q`` of evaluation mode."""
        ...

    def update(self) -> None:
        """Called once after each optimizer step."""
        ...


def check_quantizer(kind: str, num_codes: int) -> None:
    """``ValueError`` for an unknown kind, or a number of codes that it cannot have."""
    kinds = get_args(QuantizerKind)
    if kind not in kinds:
        raise ValueError(f"quantizer must be one of {', '.join(map(repr, kinds))}, got {kind!r}")
    if num_codes < 2:
        raise ValueError(f"num_codes must be at least 2, got {num_codes}")
    if kind in ("fsq", "lfq"):
        levels_for(num_codes)


def build_quantizer(
    kind: QuantizerKind,
    num_codes: int,
    dim: int,
    *,
    codebook_weight: float = 1.0,
    commitment_weight: float = 1.0,
    ema_decay: float = 0.99,
    restart_below: float = 0.03,
    depth: int = 4,
    entropy_weight: float = 0.1,
    temperature: float = 1.0,
    final_temperature: float = 0.5,
    temperature_steps: int = 693_147,
) -> Quantizer:
    """A quantizer of this kind for latents of ``dim`` channels. It takes the settings it has and leaves the others.

    num_codes: of each codebook for "residual"; a power of two for "fsq" and "lfq".
    For the others see the classes: ``GradientCodebook``, ``EMACodebook``, ``ResidualCodebooks`` (depth), ``LookupFree``
    (entropy_weight), ``GumbelCodebook`` (temperatures).

    Raises: ``ValueError`` for an unknown kind or settings that are out of range.
    """
    check_quantizer(kind, num_codes)
    averages = (commitment_weight, ema_decay, restart_below)
    if kind == "gradient":
        return GradientCodebook(num_codes, dim, codebook_weight, commitment_weight)
    if kind == "ema":
        return EMACodebook(num_codes, dim, *averages)
    if kind == "residual":
        return ResidualCodebooks(num_codes, dim, depth, *averages)
    if kind == "gumbel":
        return GumbelCodebook(num_codes, dim, temperature, final_temperature, temperature_steps)
    if kind == "fsq":
        return FiniteScalars(num_codes, dim)
    return LookupFree(num_codes, dim, commitment_weight, entropy_weight)
