"""Discrete VAE for heatmap clips: the baseline of the VQ-GAN, with the same encoder and decoder.

Each latent cell is a categorical variable over ``num_codes`` codes, relaxed by Gumbel-softmax while training.
Source: paper 1, Table III, rows "dVAE" (F8, 2048 codes) and MoFM, arXiv 2502.05432; relaxation: Jang et al. 2017.
Differs: neither text gives widths, temperature or KL weight. The trunk is the VQ-GAN's, so that the comparison
isolates quantizer and adversary; temperature and KL weight are those common for discrete VAEs of images.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from motionkit.models.autoencoder import Batch, Decoder, Encoder, Reconstruction, check_clip_shape, input_and_target
from motionkit.models.layers import Pointwise
from motionkit.models.quantizers.gumbel import divergence_from_uniform
from motionkit.models.quantizers.quantized import counts_to_perplexity


@dataclass(frozen=True)
class DVAEConfig:
    """Sizes and loss weights of a ``DVAE``.

    in_channels, out_channels: of the heatmap clips.
    widths: channels of the encoder's stages, mirrored in the decoder.
    num_downsamples, halving_stem: as in ``VQGANConfig``.
    encoder_blocks, decoder_blocks: residual blocks per stage.
    num_codes, code_dim: number of codes (logits per latent cell) and their dimension.
    temperature, final_temperature, temperature_steps: the relaxation's temperature falls by the same factor each step,
        from the one to the other in so many steps. The default is the usual decay by exp(-1e-6) a step; a short run
        needs a faster one.
    kl_weight: of the divergence of the cell's distribution from the uniform one, in nats per cell.

    Raises: ``ValueError`` naming the field and its value, for a size or count that is too small or a final temperature
        that is not above 0 and at most ``temperature``.
    """

    in_channels: int = 1
    out_channels: int = 1
    widths: tuple[int, ...] = (64, 64, 128, 128, 256)
    num_downsamples: int = 3
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    halving_stem: bool = False
    num_codes: int = 2048
    code_dim: int = 256
    temperature: float = 1.0
    final_temperature: float = 0.5
    temperature_steps: int = 693_147
    kl_weight: float = 0.0

    def __post_init__(self) -> None:
        most = len(self.widths) + self.halving_stem
        if not 1 <= self.num_downsamples <= most:
            raise ValueError(f"num_downsamples must be 1 to {most}, got {self.num_downsamples}")
        if not 0 < self.final_temperature <= self.temperature:
            raise ValueError(
                f"final_temperature must be above 0 and at most temperature {self.temperature}, "
                f"got {self.final_temperature}"
            )
        counts = ("in_channels", "out_channels", "encoder_blocks", "decoder_blocks", "code_dim", "temperature_steps")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.num_codes < 2:
            raise ValueError(f"num_codes must be at least 2, got {self.num_codes}")


# Table III, the dVAE rows.
PAPER_2D_DVAE_F8_2048 = DVAEConfig(in_channels=17, out_channels=1)
PAPER_3D_DVAE_F8_2048 = DVAEConfig(in_channels=3, out_channels=3)


class DVAE(nn.Module):
    """Clips (B, in_channels, T, H, W) in [0, 1] <-> tokens (B, T/f, H/f, W/f) int64 with f = 2**num_downsamples.

    Raises: ``ValueError`` for clips with other channels, or with T, H or W that is no multiple of f.
    """

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.config = c = config
        self.encoder = Encoder(c.in_channels, c.code_dim, c.widths, c.num_downsamples, c.encoder_blocks, c.halving_stem)
        self.logits = Pointwise(c.code_dim, c.num_codes)
        self.codebook = nn.Embedding(c.num_codes, c.code_dim)
        self.decoder = Decoder(
            c.code_dim, c.out_channels, c.widths, c.num_downsamples, c.decoder_blocks, c.halving_stem
        )
        self.to(memory_format=torch.channels_last_3d)

    def players(self) -> dict[str, list[nn.Parameter]]:
        """One player: the whole model."""
        return {"generator": list(self.parameters())}

    @torch.no_grad()
    def encode(self, clips: Float[Tensor, "batch c_in t h w"]) -> Int[Tensor, "batch t2 h2 w2"]:
        """The most probable token of each latent cell."""
        return self._logits(clips).argmax(-1)

    @torch.no_grad()
    def decode(self, tokens: Int[Tensor, "batch t2 h2 w2"]) -> Float[Tensor, "batch c_out t h w"]:
        """The clips that tokens stand for; values are not clamped to [0, 1]."""
        return self.decoder(self.codebook(tokens).movedim(-1, 1))

    @torch.no_grad()
    def reconstruct(self, clips: Float[Tensor, "batch c_in t h w"]) -> Reconstruction:
        """Encodes and decodes the clips with their most probable tokens; there is no quantization loss."""
        tokens = self.encode(clips)
        return Reconstruction(self.decode(tokens), tokens, None)

    def temperature(self, step: int) -> float:
        """Temperature of the relaxation at this step."""
        c = self.config
        return c.temperature * (c.final_temperature / c.temperature) ** min(1.0, step / c.temperature_steps)

    def loss(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """``"loss/generator"`` = mean squared error + kl_weight * KL(cell || uniform), and detached metrics:
        ``"loss"``, ``"reconstruction"``, ``"l1"``, ``"kl"`` (nats per cell), ``"perplexity"`` of the most probable
        tokens, ``"temperature"``.

        Draws its noise from torch's global generator.
        """
        c = self.config
        clips, target = input_and_target(batch, c.in_channels, c.out_channels, c.num_downsamples)
        logits = self._logits(clips).float()
        temperature = self.temperature(step)
        codes = F.gumbel_softmax(logits, tau=temperature) @ self.codebook.weight
        output = self.decoder(codes.movedim(-1, 1)).float()
        kl = divergence_from_uniform(logits)
        error = F.mse_loss(output, target)
        total = error + c.kl_weight * kl
        counts = torch.bincount(logits.argmax(-1).flatten(), minlength=c.num_codes)
        parts = {
            "loss": total,
            "reconstruction": error,
            "l1": F.l1_loss(output.detach(), target),
            "kl": kl,
            "perplexity": counts_to_perplexity(counts),
            "temperature": output.new_tensor(temperature),
        }
        return {name: value.detach() for name, value in parts.items()} | {"loss/generator": total}

    def _logits(self, clips: Tensor) -> Tensor:
        """(B, t, h, w, num_codes)."""
        check_clip_shape(clips, self.config.in_channels, self.config.num_downsamples)
        return self.logits(self.encoder(clips)).movedim(1, -1)
