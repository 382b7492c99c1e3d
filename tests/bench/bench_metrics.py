"""SSIM of a heatmap video on one CPU thread, ours beside torchmetrics and scikit-image, in one process.

The contestants take turns on the same input, by CPU time, so that a busy machine disturbs little; the time of each is
the median over the rounds, the speed-up the median of the ratios within a round. Run as a script.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from motionkit.metrics.image import ssim

SIZES = [(64, 64, 64), (64, 128, 128), (17 * 16, 64, 64)]  # (frames, height, width); the last: 17 channels
ROUNDS = 9
GOAL = 10.0  # times as fast as torchmetrics at 64 x 128 x 128


def pictures(frames: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A walking line of sigma 1 px and a slightly blurred, fainter reconstruction of it."""
    t = torch.arange(frames)[:, None, None]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = (x - width / 3 - 0.2 * (t % 64)) - 0.3 * (y - height / 2)
    pair = 0.9 * torch.exp(-(distance**2) / 3), torch.exp(-(distance**2) / 2)
    # without the numbers next to 0 that float32 holds only in its slow denormal form, and no heatmap renderer writes
    output, target = (torch.where(picture > 1e-6, picture, 0.0) for picture in pair)
    return output, target


def contestants(output: torch.Tensor, target: torch.Tensor) -> dict[str, Callable[[], float]]:
    def scikit_image() -> float:
        options = {"data_range": 1.0, "gaussian_weights": True, "use_sample_covariance": False}
        pairs = zip(output.numpy(), target.numpy(), strict=True)
        return float(np.mean([structural_similarity(o, t, **options) for o, t in pairs]))

    return {
        "motionkit": lambda: ssim(output, target).mean().item(),
        "torchmetrics": lambda: structural_similarity_index_measure(
            output[:, None], target[:, None], data_range=1.0
        ).item(),
        "motionkit, border valid": lambda: ssim(output, target, border="valid").mean().item(),
        "scikit-image": scikit_image,  # counts inner windows only, as border "valid" does
    }


def measure(functions: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Seconds of each function in each round, after one unmeasured call; the order turns from round to round."""
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    names = list(functions)
    for turn in range(ROUNDS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            start = time.process_time()
            functions[name]()
            seconds[name].append(time.process_time() - start)
    return seconds


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'frames x H x W':>15}  {'':<24} {'ms':>8} {'frames/s':>9} {'SSIM':>10}  times as fast as torchmetrics")
    with torch.inference_mode():
        for size in SIZES:
            functions = contestants(*pictures(*size))
            values = {name: function() for name, function in functions.items()}
            seconds = measure(functions)
            for name, times in seconds.items():
                ratio = statistics.median(a / b for a, b in zip(seconds["torchmetrics"], times, strict=True))
                took = statistics.median(times)
                goal = f"  (goal {GOAL:.0f})" if name == "motionkit" and size == (64, 128, 128) else ""
                print(
                    f"{' x '.join(map(str, size)):>15}  {name:<24} {1000 * took:8.1f} {size[0] / took:9.0f} "
                    f"{values[name]:10.6f}  {ratio:6.1f}{goal}"
                )
            assert abs(values["motionkit"] - values["torchmetrics"]) < 2e-6
            assert abs(values["motionkit, border valid"] - values["scikit-image"]) < 2e-6


if __name__ == "__main__":
    main()
