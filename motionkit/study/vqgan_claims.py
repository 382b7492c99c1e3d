"""The claims of paper 1 (adversarially refined VQ-GAN) about its Table III, and about the adversary.

Source: abstract, V-B and VI; the notes are our reading of its tables.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from motionkit.study import claims
from motionkit.study.claims import Claim, ClaimSet, difference, gain, gain_of_first_pair, least_difference, reduction
from motionkit.study.kept import NO_ADVERSARY

_RISING = {"SSIM": "", "SSIM skill": "", "SSIM foreground": "", "PSNR": "dB"}  # more is better
_F16 = "{} VQ-GAN F16/{}".format
_BEST_3D, _DVAE_3D, _DVAE_2D = "3D VQ-GAN F8/1024", "3D dVAE F8/2048", "2D dVAE F8/2048"
_ALL_2D = ("2D VQ-GAN F8/512", _F16("2D", 512), _F16("2D", 256), _F16("2D", 128), "2D VQ-GAN F32/512")
_ALL_3D = (_BEST_3D, _F16("3D", 1024), _F16("3D", 512), _F16("3D", 256), "3D VQ-GAN F32/1024")

_TABLE_III = (
    Claim(
        "3D F8 has a higher SSIM than the dVAE",
        "abstract, V-B", "9.31 %", (_BEST_3D, _DVAE_3D), {"SSIM": "%"}, gain,
        "9.31 % is relative to the higher value, 0.934. Relative to the dVAE it is 10.27 %, in points 8.7.",
    ),
    Claim(
        "3D F8 is better than the dVAE where something is drawn",
        "abstract, V-B", "", (_BEST_3D, _DVAE_3D), {"SSIM skill": "", "SSIM foreground": ""}, difference,
        "Most of SSIM is empty background. These two metrics leave it out; the paper does not print them.",
    ),
    Claim(
        "3D F8 is steadier than the dVAE",
        "abstract, V-B, VI", "37.1 %", (_BEST_3D, _DVAE_3D), {"T-Std": "%", "T-Std temporal": "%"}, reduction,
        "Rests on one value, 0.151, which the authors' repository later gives as 0.210 (12.5 %). T-Std has no scale: "
        "noise gives 0.214 +- 0.021. T-Std temporal measures the flicker itself.",
    ),
    Claim(
        "every 2D VQ-GAN is better than the 2D dVAE",
        "V-B", "consistently", (_DVAE_2D, *_ALL_2D), _RISING, least_difference,
        "By the paper's own table 2D F32/512 is worse than the dVAE F8/2048 in SSIM, PSNR and L1; it has 64 times "
        "fewer tokens, so the comparison says little.",
    ),
    Claim(
        "every 3D VQ-GAN is better than the 3D dVAE",
        "V-B", "consistently", (_DVAE_3D, *_ALL_3D), _RISING, least_difference, "",
    ),
    Claim(
        "2D F16: 128 codes are better than 512",
        "abstract, V-B, VI", "SSIM 0.950 to 0.954", (_F16("2D", 128), _F16("2D", 512)), _RISING, difference,
        "0.004 without a spread over seeds.",
    ),
    Claim(
        "2D F16: the Q-loss falls from 512 to 128 codes",
        "V-B", "90.9 %", (_F16("2D", 128), _F16("2D", 512)), {"Q-Loss": "%", "Q-Loss normalized": "%"}, reduction,
        "The Q-loss grows with the scale of the latents, which each model chooses; normalized it is free of it.",
    ),
    Claim(
        "2D F16: the Q-loss falls from 512 to 256 codes",
        "Table III", "", (_F16("2D", 256), _F16("2D", 512)), {"Q-Loss": "%", "Q-Loss normalized": "%"}, reduction,
        "If a smaller codebook lowered the Q-loss, half way to 128 it should be lower too; the paper prints a rise. "
        "The authors' repository has 0.0008 here in later versions.",
    ),
    Claim(
        "3D F16: 1024 codes are better than 512",
        "V-B", "significant drop", (_F16("3D", 1024), _F16("3D", 512)), _RISING, difference, "",
    ),
    Claim(
        "3D F16: 512 codes are better than 256",
        "V-B", "", (_F16("3D", 512), _F16("3D", 256)), _RISING, difference,
        "The paper's SSIM falls with 256 codes while its PSNR rises and its T-Std falls; the text mentions 512 only.",
    ),
    Claim(
        "2D F16: 128 codes are better than 1024",
        "abstract, V-B, VI", "optimal", (_F16("2D", 128), _F16("2D", 1024)), _RISING, difference,
        "The paper trains no 2D model with 1024 codes.",
    ),
    Claim(
        "F16: 8 times as many codes help 3D more than 2D",
        "abstract, V-B, VI", "8 times",
        (_F16("3D", 1024), _F16("3D", 128), _F16("2D", 1024), _F16("2D", 128)), _RISING, gain_of_first_pair,
        "The paper trains no 2D model with 1024 codes and no 3D model with 128.",
    ),
)  # fmt: skip

# Of runs that differ in the adversary alone, such as those of the sweep vqgan_adversarial.
_ADVERSARY = tuple(
    Claim(
        f"{row.split('/')[0]}: the adversary {makes}",
        "abstract, V-B, VI", "essential", (row, row + NO_ADVERSARY), metrics, measure,
        "The paper trains no VQ-GAN without the adversary: against the dVAE quantizer and loss change as well.",
    )
    for row in ("2D VQ-GAN F8/512", _BEST_3D)
    for makes, metrics, measure in (
        ("makes motion steadier", {"T-Std temporal": "%", "T-Std": "%"}, reduction),
        ("makes pictures better", _RISING, difference),
    )
)  # fmt: skip

CLAIMS = ClaimSet(
    paper="vqgan",
    table="III",
    claims=_TABLE_III,
    of_a_row=frozenset({
        "kinds", "num_downsamples", "num_codes_2d", "num_codes_3d", "num_codes_dvae", "seed", "runs",
        "adversarial_factor", "adversarial_phases", "on_harm",
    }),
    skill="SSIM skill",
    no_skill="all are worse than an empty picture",
)  # fmt: skip
ADVERSARY_CLAIMS = replace(CLAIMS, claims=_ADVERSARY)


def check_claims(results: pd.DataFrame | None = None, claim_set: ClaimSet = CLAIMS) -> pd.DataFrame:
    """See ``motionkit.study.claims.check_claims``."""
    return claims.check_claims(results, claim_set)
