"""The relaxed codebook of discrete VAEs: while training, a cell is a random mixture of codes that grows purer.

Source: Jang et al. 2017, "Categorical reparameterization with Gumbel-softmax"; as in discrete VAEs of images.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from motionkit.models.quantizers.quantized import Quantized, counts_to_perplexity, to_grid, to_rows, to_token_grid


def divergence_from_uniform(logits: Float[Tensor, "*cells codes"]) -> Float[Tensor, ""]:
    """KL(softmax(logits) || uniform) in nats, mean over the cells: 0 to log(codes)."""
    log_probability = logits.log_softmax(-1)
    return (log_probability.exp() * log_probability).sum(-1).mean() + math.log(logits.shape[-1])


class GumbelCodebook(nn.Module):
    """A linear map gives each latent one logit a code; a token is the most probable code.

    In training mode, with gradients, ``z_q`` is the mixture of all codes with the weights of a Gumbel-softmax, and its
    gradient reaches logits and codes; otherwise it is the token's code. Noise comes from torch's global generator.

    num_codes, dim: codes are (num_codes, dim), initialized as ``nn.Embedding`` does.
    temperature, final_temperature, temperature_steps: the temperature falls by the same factor with each ``update()``,
        from the one to the other in so many. Their number is a buffer and travels with checkpoints.
    kl_weight: of the divergence of a cell's distribution from the uniform one, in nats per cell: the only loss.
    """

    is_nearest = False

    def __init__(
        self,
        num_codes: int,
        dim: int,
        temperature: float = 1.0,
        final_temperature: float = 0.5,
        temperature_steps: int = 693_147,
        kl_weight: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < final_temperature <= temperature:
            raise ValueError(
                f"final_temperature must be above 0 and at most temperature {temperature}, got {final_temperature}"
            )
        self.num_codes = num_codes
        self.bits_per_cell = math.log2(num_codes)
        self.ends = (temperature, final_temperature)
        self.temperature_steps = temperature_steps
        self.kl_weight = kl_weight
        self.logits = nn.Linear(dim, num_codes)
        self.codebook = nn.Parameter(torch.randn(num_codes, dim))
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.int64))

    @property
    def temperature(self) -> Float[Tensor, ""]:
        """Of the next relaxation."""
        first, last = self.ends
        return first * (last / first) ** (self.num_updates / self.temperature_steps).clamp(max=1.0)

    def forward(self, z: Float[Tensor, "batch dim *grid"]) -> Quantized:
        """Latents (B, dim, *grid) to ``Quantized``, with "kl" (nats per cell) and "temperature" in ``extra``."""
        with torch.autocast(z.device.type, enabled=False):
            logits = self.logits(to_rows(z, self.logits.in_features))
            tokens = logits.detach().argmax(-1)
            kl = divergence_from_uniform(logits)
            if self.training and torch.is_grad_enabled():
                codes = F.gumbel_softmax(logits, tau=self.temperature) @ self.codebook
            else:
                codes = self.codes(tokens)
        nothing = torch.zeros_like(kl)
        return Quantized(
            z_q=to_grid(codes, z),
            tokens=to_token_grid(tokens, z),
            codebook_loss=nothing.detach(),
            commitment_loss=nothing.detach(),
            loss=self.kl_weight * kl,
            perplexity=counts_to_perplexity(torch.bincount(tokens, minlength=self.num_codes)),
            extra={"kl": kl.detach(), "temperature": self.temperature},
        )

    def codes(self, tokens: Int[Tensor, "*any"]) -> Float[Tensor, "*any dim"]:
        """The vectors that tokens stand for."""
        return F.embedding(tokens, self.codebook)

    @torch.no_grad()
    def update(self) -> None:
        """Lets the temperature fall by one step."""
        self.num_updates += 1
