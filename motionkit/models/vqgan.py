"""VQ-GAN for heatmap clips: 3D convolutional encoder, vector quantizer, decoder, and a patch discriminator.

Source: paper 1, "Adversarially-refined VQ-GAN with dense motion tokenization for spatio-temporal heatmaps", III-B,
Eq. 2 (total), 3 (reconstruction), 4 (quantization), 5 (adversarial). Where the text is silent: its published code.
Differs: F32 decodes to the full size (``Decoder``); the perceptual distance is normalized (``perceptual_distance``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from motionkit.fitting.guard import Guard
from motionkit.models.adversarial import Injected, adversarial_losses, adversarial_strength
from motionkit.models.autoencoder import (
    Batch,
    Decoder,
    Encoder,
    Reconstruction,
    check_clip_shape,
    input_and_target,
)
from motionkit.models.discriminator import PatchDiscriminator
from motionkit.models.layers import Pointwise
from motionkit.models.perceptual import load_features, perceptual_distance
from motionkit.models.quantizers import Quantized, QuantizerKind, build_quantizer, check_quantizer


@dataclass(frozen=True)
class VQGANConfig:
    """Sizes and loss weights of a ``VQGAN``; the defaults are the paper's 2D F8 model but for its channels,
    its perceptual network and the ``adversarial_factor`` of its code (see ``PAPER_2D_F8_512``).

    in_channels, out_channels: of the heatmap clips.
    widths: channels of the encoder's stages, mirrored in the decoder.
    num_downsamples: 3, 4, 5 for F8, F16, F32: T, H and W are divided by 2**num_downsamples. At most one per stage,
        and one more with ``halving_stem``.
    encoder_blocks, decoder_blocks: residual blocks per stage.
    halving_stem: the first convolution does the first of the halvings, the last one the last of the doublings; for
        training on a CPU, not published, see ``Encoder``.
    num_codes, code_dim: size of the codebook, channels of the latents.
    quantizer: ``"gradient"`` (the paper), ``"ema"`` (moving averages, unused codes restarted), ``"residual"``,
        ``"gumbel"``, ``"fsq"`` or ``"lfq"``: see ``motionkit.models.quantizers``.
    codebook_weight, commitment_weight: of Eq. 4; only the gradient codebook has a codebook term.
    ema_decay, restart_below: see ``EMACodebook``; for "ema" and "residual".
    quantizer_depth: codebooks of "residual", each of ``num_codes``.
    entropy_weight: of "lfq", see ``LookupFree``.
    temperature, final_temperature, temperature_steps: of "gumbel", see ``GumbelCodebook``.
    l1_weight, perceptual_weight: beta and alpha of Eq. 3.
    l2_weight: of the mean squared error, which the paper does not have. Most pixels of a heatmap are empty, so a blank
        clip is what absolute error alone asks of a model that cannot tell yet where the limbs are; squared error asks
        for a blur, from which small models with few steps find on.
    l2_final_weight, l2_steps: the weight falls by the same factor each step, to ``l2_final_weight`` in so many steps;
        ``None``: it stays.
    perceptual: ``"efficientnet_lite0"``, ``"vgg16"`` or ``"none"``.
    perceptual_frames: frames per clip the perceptual distance looks at, evenly spaced and shifting by one from step
        to step; ``None`` for all.
    discriminator_widths: see ``PatchDiscriminator``.
    adversarial_start: first step with a discriminator; ``None``: never, and none is built.
    adversarial_warmup, adversarial_ramp: steps in which the discriminator learns alone, and steps after these in which
        the generator's term grows to its full strength, see ``adversarial_strength``. The published code has neither.
    on_harm, guard_window, guard_tolerance: what happens if "l1" rises once the generator feels the discriminator:
        ``"warn"``, or ``"return"`` to the last good checkpoint and go on without, see ``Guard``.
    adversarial_weight, adversarial_cap: scale and upper limit of the adaptive weight, see ``adaptive_weight``.
    adversarial_factor: multiplies both adversarial losses, the generator's and the discriminator's; at 0 the
        discriminator is built but rests, and ``guard`` shows how the error goes without it.

    Raises: ``ValueError`` naming the field and its value, for an unknown word or a size or count that is too small.
    """

    in_channels: int = 1
    out_channels: int = 1
    widths: tuple[int, ...] = (64, 64, 128, 128, 256)
    num_downsamples: int = 3
    encoder_blocks: int = 2
    decoder_blocks: int = 3
    halving_stem: bool = False
    num_codes: int = 512
    code_dim: int = 256
    quantizer: QuantizerKind = "gradient"
    codebook_weight: float = 1.0
    commitment_weight: float = 1.0
    ema_decay: float = 0.99
    restart_below: float = 0.03
    quantizer_depth: int = 4
    entropy_weight: float = 0.1
    temperature: float = 1.0
    final_temperature: float = 0.5
    temperature_steps: int = 693_147
    l1_weight: float = 1.0
    l2_weight: float = 0.0
    l2_final_weight: float | None = None
    l2_steps: int = 1
    perceptual_weight: float = 1.0
    perceptual: Literal["efficientnet_lite0", "vgg16", "none"] = "efficientnet_lite0"
    perceptual_frames: int | None = None
    discriminator_widths: tuple[int, ...] = (64, 128, 256, 512)
    adversarial_start: int | None = 24_000
    adversarial_warmup: int = 0
    adversarial_ramp: int = 0
    on_harm: Literal["warn", "return"] = "warn"
    guard_window: int = 200
    guard_tolerance: float = 0.1
    adversarial_weight: float = 0.8
    adversarial_cap: float = 1e4
    adversarial_factor: float = 1.0

    def __post_init__(self) -> None:
        most = len(self.widths) + self.halving_stem
        if not 1 <= self.num_downsamples <= most:
            raise ValueError(f"num_downsamples must be 1 to {most}, got {self.num_downsamples}")
        check_quantizer(self.quantizer, self.num_codes)
        if not 0 < self.final_temperature <= self.temperature:
            raise ValueError(
                f"final_temperature must be above 0 and at most temperature {self.temperature}, "
                f"got {self.final_temperature}"
            )
        if self.perceptual not in ("efficientnet_lite0", "vgg16", "none"):
            raise ValueError(f"perceptual must be 'efficientnet_lite0', 'vgg16' or 'none', got {self.perceptual!r}")
        if self.perceptual_frames is not None and self.perceptual_frames < 1:
            raise ValueError(f"perceptual_frames must be at least 1 or None, got {self.perceptual_frames}")
        for name in ("in_channels", "out_channels", "encoder_blocks", "decoder_blocks", "code_dim", "quantizer_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.l2_final_weight is not None and not 0 < self.l2_final_weight <= self.l2_weight:
            raise ValueError(
                f"l2_final_weight must be above 0 and at most l2_weight {self.l2_weight}, got {self.l2_final_weight}"
            )
        for name in ("l2_steps", "temperature_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("adversarial_start", "adversarial_warmup", "adversarial_ramp"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.on_harm not in ("warn", "return"):
            raise ValueError(f"on_harm must be 'warn' or 'return', got {self.on_harm!r}")
        if self.guard_window < 1:
            raise ValueError(f"guard_window must be at least 1, got {self.guard_window}")
        if not 0 < self.guard_tolerance < math.inf:
            raise ValueError(f"guard_tolerance must be a positive number, got {self.guard_tolerance}")
        weights = ("l1_weight", "l2_weight", "perceptual_weight", "codebook_weight", "commitment_weight")
        for name in (*weights, "entropy_weight", "adversarial_weight", "adversarial_cap", "adversarial_factor"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")


# Table III, the VQ-GAN rows. 2D: one input channel a limb, the output is their maximum; 3D: three projections.
# Perceptual network: the paper's. Start step and factor of the adversarial loss: the published code's.
PAPER_2D_F8_512 = VQGANConfig(in_channels=17, out_channels=1, perceptual="vgg16", adversarial_factor=0.5)
PAPER_2D_F16_512 = replace(PAPER_2D_F8_512, num_downsamples=4)
PAPER_2D_F16_256 = replace(PAPER_2D_F16_512, num_codes=256)
PAPER_2D_F16_128 = replace(PAPER_2D_F16_512, num_codes=128)
PAPER_2D_F32_512 = replace(PAPER_2D_F8_512, num_downsamples=5)
PAPER_3D_F8_1024 = VQGANConfig(
    in_channels=3, out_channels=3, num_codes=1024, perceptual="vgg16", adversarial_start=2_000
)
PAPER_3D_F16_1024 = replace(PAPER_3D_F8_1024, num_downsamples=4)
PAPER_3D_F16_512 = replace(PAPER_3D_F16_1024, num_codes=512)
PAPER_3D_F16_256 = replace(PAPER_3D_F16_1024, num_codes=256)
PAPER_3D_F32_1024 = replace(PAPER_3D_F8_1024, num_downsamples=5)


class VQGAN(nn.Module):
    """Clips (B, in_channels, T, H, W) in [0, 1] <-> tokens (B, T/f, H/f, W/f) int64 with f = 2**num_downsamples.

    Trains with ``loss``, ``players`` and ``after_step``; the discriminator is the second player, and ``guard`` watches
    what it does to the first.
    Raises: ``ValueError`` for clips with other channels, or with T, H or W that is no multiple of f.
    """

    def __init__(self, config: VQGANConfig) -> None:
        super().__init__()
        self.config = c = config
        self.encoder = Encoder(c.in_channels, c.code_dim, c.widths, c.num_downsamples, c.encoder_blocks, c.halving_stem)
        self.before_quantizer = Pointwise(c.code_dim, c.code_dim)
        self.quantizer = build_quantizer(
            c.quantizer, c.num_codes, c.code_dim, codebook_weight=c.codebook_weight,
            commitment_weight=c.commitment_weight, ema_decay=c.ema_decay, restart_below=c.restart_below,
            depth=c.quantizer_depth,
            entropy_weight=c.entropy_weight, temperature=c.temperature, final_temperature=c.final_temperature,
            temperature_steps=c.temperature_steps,
        )  # fmt: skip
        self.after_quantizer = Pointwise(c.code_dim, c.code_dim)
        self.decoder = Decoder(
            c.code_dim, c.out_channels, c.widths, c.num_downsamples, c.decoder_blocks, c.halving_stem
        )
        self.discriminator = self.guard = None
        if c.adversarial_start is not None:
            self.discriminator = PatchDiscriminator(c.out_channels, c.discriminator_widths)
            felt_from = c.adversarial_start + c.adversarial_warmup
            self.guard = Guard("l1", felt_from, c.guard_window, c.guard_tolerance, c.on_harm)
        self.to(memory_format=torch.channels_last_3d)

    def players(self) -> dict[str, list[nn.Parameter]]:
        """The parameters that each player's loss moves."""
        modules = (self.encoder, self.before_quantizer, self.quantizer, self.after_quantizer, self.decoder)
        players = {"generator": [parameter for module in modules for parameter in module.parameters()]}
        if self.discriminator is not None:
            players["discriminator"] = list(self.discriminator.parameters())
        return players

    def l2_weight(self, step: int) -> float:
        """Weight of the squared error at this step."""
        c = self.config
        if c.l2_final_weight is None:
            return c.l2_weight
        return c.l2_weight * (c.l2_final_weight / c.l2_weight) ** min(1.0, step / c.l2_steps)

    def adversarial_strength(self, step: int) -> float | None:
        """Share of the adversarial term at this step, ``None`` where the discriminator rests."""
        c = self.config
        if self.guard is None or self.guard.has_returned or c.adversarial_factor == 0:
            return None
        return adversarial_strength(step, c.adversarial_start, c.adversarial_warmup, c.adversarial_ramp)

    @property
    def last_layer(self) -> nn.Parameter:
        """The weights the two gradients of the adaptive weight are compared at."""
        return self.decoder.last.weight

    @torch.no_grad()
    def encode(self, clips: Float[Tensor, "batch c_in t h w"]) -> Int[Tensor, "batch t2 h2 w2 *depth"]:
        """Tokens of the clips, 0 to num_codes - 1; those of a residual quantizer have a last axis over its depth."""
        return self._quantize(clips).tokens

    @torch.no_grad()
    def decode(self, tokens: Int[Tensor, "batch t2 h2 w2 *depth"]) -> Float[Tensor, "batch c_out t h w"]:
        """The clips that tokens stand for; values are not clamped to [0, 1]."""
        return self._decode(self.quantizer.codes(tokens).movedim(-1, 1))

    @torch.no_grad()
    def reconstruct(self, clips: Float[Tensor, "batch c_in t h w"]) -> Reconstruction:
        """Encodes and decodes the clips."""
        latents = self._latents(clips)
        quantized = self.quantizer(latents)
        q_loss = q_error = None
        if self.quantizer.is_nearest:
            error = (latents - quantized.z_q).float().square().mean()  # both terms of Eq. 4 have this value
            q_loss = (self.config.codebook_weight + self.config.commitment_weight) * error
            q_error = error / latents.float().square().mean()
        return Reconstruction(self._decode(quantized.z_q), quantized.tokens, q_loss, q_error)

    def after_step(self, step: int) -> None:
        """Moves moving-average codebooks and temperatures; called once after each optimizer step."""
        self.quantizer.update()

    def loss(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """The losses of both players, computed before either moves. Source: Eq. 2 to 5.

        ``"loss/generator"`` and, from ``adversarial_start`` on, ``"loss/discriminator"``; before that, and once
        ``guard`` has returned, the key is absent and the discriminator rests. All other keys are detached: ``"loss"``
        (the generator's), ``"reconstruction"``, ``"l1"``, ``"quantization"``, ``"perplexity"`` and what else the
        quantizer tells (``Quantized.extra``); ``"l2"`` and ``"perceptual"`` where they have a weight; and, with the
        discriminator, ``"adversarial"``, ``"adversarial_weight"``, ``"logit_real"``, ``"logit_fake"``. Without
        gradients (under ``torch.no_grad``) the adversarial part is left out: its weight is made of gradients.

        The losses on the output are differentiated once, down to the output; the sum is then handed to the decoder.
        The adaptive weight, the generator's loss and the discriminator's loss share these passes.
        """
        clips, target = input_and_target(
            batch, self.config.in_channels, self.config.out_channels, self.config.num_downsamples
        )
        quantized = self._quantize(clips)
        output = self._decode(quantized.z_q)
        leaf = output.detach().float().requires_grad_(output.requires_grad)
        parts = self._reconstruction_losses(leaf, target, step)
        total = parts["reconstruction"]
        losses: dict[str, Tensor] = {}
        strength = self.adversarial_strength(step)
        if output.requires_grad:
            (gradient,) = torch.autograd.grad(total, leaf)
            if strength is not None:
                c, sides = self.config, (output, target, self.last_layer, leaf, gradient)
                adversarial, push, losses = adversarial_losses(
                    self.discriminator, *sides, strength=strength, scale=c.adversarial_weight, cap=c.adversarial_cap,
                    factor=c.adversarial_factor,
                )  # fmt: skip
                total, gradient = total + adversarial, gradient + push
            total = Injected.apply(output, total.detach(), gradient)
        total = total + quantized.loss
        parts |= {"loss": total, "quantization": quantized.loss, "perplexity": quantized.perplexity} | quantized.extra
        return {name: value.detach() for name, value in parts.items()} | {"loss/generator": total} | losses

    def _latents(self, clips: Tensor) -> Tensor:
        check_clip_shape(clips, self.config.in_channels, self.config.num_downsamples)
        return self.before_quantizer(self.encoder(clips))

    def _quantize(self, clips: Tensor) -> Quantized:
        return self.quantizer(self._latents(clips))

    def _decode(self, z_q: Tensor) -> Tensor:
        return self.decoder(self.after_quantizer(z_q))

    def _reconstruction_losses(self, output: Tensor, target: Tensor, step: int) -> dict[str, Tensor]:
        """Eq. 3 (with the squared error, if wanted) and its terms."""
        c = self.config
        parts = {"l1": (output - target).abs().mean()}
        total = c.l1_weight * parts["l1"]
        if c.l2_weight > 0:
            parts["l2"] = (output - target).square().mean()
            total = total + self.l2_weight(step) * parts["l2"]
        if c.perceptual != "none" and c.perceptual_weight > 0:
            frames = _spread(target.shape[2], c.perceptual_frames, step)
            network = load_features(c.perceptual, output.device)
            parts["perceptual"] = perceptual_distance(network, target[:, :, frames], output[:, :, frames])
            total = total + c.perceptual_weight * parts["perceptual"]
        return parts | {"reconstruction": total}


def _spread(num_frames: int, wanted: int | None, step: int) -> slice | list[int]:
    """``wanted`` evenly spaced frames, all of them one later from step to step, the last one followed by the first."""
    if wanted is None or wanted >= num_frames:
        return slice(None)
    return [(step + number * num_frames // wanted) % num_frames for number in range(wanted)]
