"""The models of Table III side by side: the twelve published ones, how large each is, and the kinds a run may train.

Where the text of the paper and its public code differ, ``READINGS`` holds what each of them says.

Source: paper 1 (adversarially refined VQ-GAN), Tables II and III, sections IV-A to IV-D; and facts of its public code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import torch

from motionkit.models import dvae as dvaes
from motionkit.models import vqgan as vqgans
from motionkit.models.dvae import DVAE, DVAEConfig
from motionkit.models.vqgan import VQGAN, VQGANConfig

Config = VQGANConfig | DVAEConfig
KINDS = ("2D VQ-GAN", "2D dVAE", "3D VQ-GAN", "3D dVAE")
# fields that count training steps
STEPS = ("adversarial_start", "adversarial_warmup", "adversarial_ramp", "l2_steps", "temperature_steps")

# The rows of Table III.
PUBLISHED: dict[str, Config] = {
    "2D VQ-GAN F8/512": vqgans.PAPER_2D_F8_512,
    "2D VQ-GAN F16/512": vqgans.PAPER_2D_F16_512,
    "2D VQ-GAN F16/256": vqgans.PAPER_2D_F16_256,
    "2D VQ-GAN F16/128": vqgans.PAPER_2D_F16_128,
    "2D VQ-GAN F32/512": vqgans.PAPER_2D_F32_512,
    "2D dVAE F8/2048": dvaes.PAPER_2D_DVAE_F8_2048,
    "3D VQ-GAN F8/1024": vqgans.PAPER_3D_F8_1024,
    "3D VQ-GAN F16/1024": vqgans.PAPER_3D_F16_1024,
    "3D VQ-GAN F16/512": vqgans.PAPER_3D_F16_512,
    "3D VQ-GAN F16/256": vqgans.PAPER_3D_F16_256,
    "3D VQ-GAN F32/1024": vqgans.PAPER_3D_F32_1024,
    "3D dVAE F8/2048": dvaes.PAPER_3D_DVAE_F8_2048,
}
PUBLISHED_CLIP = (64, 128, 128)  # frames, height, width


@dataclass(frozen=True)
class Reading:
    """How to train, where the paper and its public code differ.

    optimizer, weight_decay: for ``TrainConfig``. AdamW's decay is not given; it is that of torch.
    codebook_weight, commitment_weight: the two terms of Eq. 4, for ``VQGANConfig``; a moving-average codebook has no
        codebook term.
    is_sampled: windows are spans, of which frames are drawn (``motionkit.data.windows.sample_segments``), in training
        and in tests, instead of consecutive frames.
    random_peaks: the brightness of each joint is drawn anew in each frame, in training and in tests.
    """

    optimizer: Literal["adam", "adamw"]
    weight_decay: float
    codebook_weight: float
    commitment_weight: float
    is_sampled: bool
    random_peaks: bool

    def window_length(self, num_frames: int) -> int:
        """Frames to cut for a model that reads ``num_frames``: as many, or a span, 300 for the published 64."""
        return num_frames * 300 // 64 if self.is_sampled else num_frames

    def drawing(self, num_frames: int) -> dict[str, int | bool | None]:
        """For ``HeatmapVideo``."""
        return {
            "sampled_frames": num_frames if self.is_sampled else None,
            "has_random_peaks": self.random_peaks,
        }


# IV-A: 64-frame windows; IV-D: AdamW; Eq. 4: both weights 1. The code: Adam, the codebook term weighs 0.25 (the
# commitment term 1), spans of 300 frames, and peaks drawn from a normal distribution.
PAPER = Reading("adamw", 0.01, 1.0, 1.0, is_sampled=False, random_peaks=False)
CODE = Reading("adam", 0.0, 0.25, 1.0, is_sampled=True, random_peaks=True)
READINGS = {"paper": PAPER, "code": CODE}


def tokenizer_configs(
    kinds: Iterable[str],
    vqgan: VQGANConfig,
    dvae: DVAEConfig,
    num_codes: Mapping[str, int],
    longer_3d: float = 1.0,
    vqgan_3d: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Config]:
    """The configurations of the kinds of model to train, by their rows of Table III (``"2D VQ-GAN F16/128"``).

    kinds: of ``KINDS``. vqgan, dvae: those of the 2D models; a 3D model draws three projections instead.
    num_codes: size of the codebook by kind.
    longer_3d: 3D models train so many times as long: what happens at a step of training happens as much later.
    vqgan_3d: fields in which the 3D VQ-GAN differs from the 2D one even so, such as ``adversarial_start``.

    Raises ``ValueError`` for another kind.
    """
    configs = {}
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; expected one of {', '.join(KINDS)}")
        config = replace(vqgan if kind.endswith("VQ-GAN") else dvae, num_codes=num_codes[kind])
        if kind.startswith("3D"):
            steps = {name: step for name in STEPS if (step := getattr(config, name, None)) is not None}
            later = {name: max(min(1, step), round(step * longer_3d)) for name, step in steps.items()}
            own = vqgan_3d if kind.endswith("VQ-GAN") else {}
            config = replace(config, in_channels=3, out_channels=3, **later | own)
        configs[f"{kind} F{2**config.num_downsamples}/{config.num_codes}"] = config
    return configs


def build_tokenizer(config: Config, seed: int | None = None) -> VQGAN | DVAE:
    """The model of a configuration. seed: of its initial weights, which then depend on nothing else; it sets torch's
    global generator."""
    if seed is not None:
        torch.manual_seed(seed)
    return VQGAN(config) if isinstance(config, VQGANConfig) else DVAE(config)


@dataclass(frozen=True)
class TokenizerSize:
    """parameters: of encoder, quantizer and decoder. discriminator: its parameters, 0 without one.
    clip, grid: frames x height x width of a clip and of its tokens."""

    parameters: int
    discriminator: int
    clip: tuple[int, int, int]
    grid: tuple[int, int, int]

    @property
    def num_tokens(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def compression_factor(self) -> float:
        """Positions of a clip per token, as in Table II: neither channels nor the bits of a token count."""
        return self.clip[0] * self.clip[1] * self.clip[2] / self.num_tokens


def tokenizer_size(config: Config, clip: tuple[int, int, int] = PUBLISHED_CLIP) -> TokenizerSize:
    """How large a model is and how far it compresses: found by building it and encoding a clip, without the memory and
    the arithmetic of either (on torch's ``meta`` device)."""
    with torch.device("meta"), torch.no_grad():
        model = build_tokenizer(config).eval()
        latents = model.encoder(torch.empty(1, config.in_channels, *clip))
    counts = {player: sum(p.numel() for p in parameters) for player, parameters in model.players().items()}
    return TokenizerSize(counts["generator"], counts.get("discriminator", 0), clip, tuple(latents.shape[2:]))
