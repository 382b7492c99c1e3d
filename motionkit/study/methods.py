"""Tables I and II of paper 1 with what building its models tells: sizes, tokens and bits."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from motionkit.metrics.tokens import bits_per_second
from motionkit.models.tokenizers import PUBLISHED, Config, tokenizer_size
from motionkit.results import published

PANOPTIC_FPS = 30.0  # of the published windows; their cameras take 29.97
_KINDS = {"dVAE": " dVAE", "Ours": " VQ-GAN"}  # rows of Table I -> ending of the kinds of Table III


def table_one() -> pd.DataFrame:
    """Table I as printed, and to the right of it what the paper does not say, for the two methods of Table III: as
    lowest and highest value over their published models. All cells are text.

    Parameters without the discriminator; bits per second in a code of fixed length; and where the column "Denoising" is
    put to the test.
    """
    table, own = published("vqgan", "I"), {}
    for method, ending in _KINDS.items():
        models = {row: config for row, config in PUBLISHED.items() if row.split(" F")[0].endswith(ending)}
        sizes = [tokenizer_size(config) for config in models.values()]
        bits = [
            bits_per_second(size.num_tokens, config.num_codes, size.clip[0] / PANOPTIC_FPS)
            for size, config in zip(sizes, models.values(), strict=True)
        ]
        own[method] = {
            "Parameters": _range([size.parameters / 1e6 for size in sizes], " M", 1),
            "Tokens of 64 frames": _range([size.num_tokens for size in sizes]),
            "Bits per second": _range(bits),
            "Denoising tested": "not in the paper; here in notebook 01b",
        }
    return table.join(pd.DataFrame(own).T).fillna("–")


def table_two() -> pd.DataFrame:
    """Table II: F8, F16, F32 by the printed size and factor, and by those of the published models as they are built."""
    printed, lines = published("vqgan", "II"), {}
    for rate, cells in printed.iterrows():
        sizes = [tokenizer_size(config) for row, config in PUBLISHED.items() if row.split()[-1].startswith(f"{rate}/")]
        (size,) = {(size.clip, size.grid): size for size in sizes}.values()  # 2D and 3D, VQ-GAN and dVAE agree
        lines[rate] = {
            "Original Size": _product(size.clip),
            "Compressed Size, printed": cells["Compressed Size"],
            "Compressed Size, built": _product(size.grid),
            "Compression Factor, printed": int(cells["Compression Factor"]),
            "Compression Factor": size.compression_factor,
        }
    return pd.DataFrame(lines).T


def table_of_sizes(configs: Mapping[str, Config], clip: tuple[int, int, int]) -> pd.DataFrame:
    """Models of one's own for clips of (frames, height, width): parameters, tokens and compression by row."""
    lines = {}
    for row, config in configs.items():
        size = tokenizer_size(config, clip)
        lines[row] = {
            "parameters": size.parameters,
            "discriminator": size.discriminator,
            "clip": _product(size.clip),
            "tokens": _product(size.grid),
            "compression factor": round(size.compression_factor),
        }
    return pd.DataFrame(lines).T


def _product(sizes: tuple[int, int, int]) -> str:
    return " x ".join(map(str, sizes))


def _range(values: list[float], unit: str = "", decimals: int = 0) -> str:
    low, high = (f"{value:,.{decimals}f}" for value in (min(values), max(values)))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"
