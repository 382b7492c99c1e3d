"""Vector quantization side by side with vector-quantize-pytorch, on one thread.

65,536 vectors of 256 numbers, the latents of 32 clips at the paper's F8. Training mode: nearest code, straight-through,
loss, moving averages. Both get the memory layout they like: channels last for ours too, as our encoder leaves them.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from machine import alternate, print_constants
from vector_quantize_pytorch import VectorQuantize

from motionkit.models.quantizers import EMACodebook, GradientCodebook, nearest_codes

ROWS, DIM = 65_536, 256
GOAL = 5.0  # times as fast as the peer's forward pass with moving averages


def side_by_side(num_codes: int, seconds: float) -> None:
    torch.manual_seed(0)
    rows = torch.randn(1, ROWS, DIM, requires_grad=True)
    latents = rows.movedim(-1, 1)
    peer = VectorQuantize(dim=DIM, codebook_size=num_codes, decay=0.99)
    averages, gradient = EMACodebook(num_codes, DIM), GradientCodebook(num_codes, DIM)
    codes = averages.codebook.clone()

    def ours() -> torch.Tensor:
        quantized = averages(latents)
        averages.update()
        return quantized.z_q.sum() + quantized.loss

    def ours_gradient() -> torch.Tensor:
        quantized = gradient(latents)
        return quantized.z_q.sum() + quantized.loss

    def theirs() -> torch.Tensor:
        z_q, _, loss = peer(rows)
        return z_q.sum() + loss.sum()

    times = alternate(
        {
            "vector-quantize-pytorch": theirs,
            "moving averages": ours,
            "gradient codebook": ours_gradient,
            "vector-quantize-pytorch, with backward": lambda: theirs().backward(),
            "moving averages, with backward": lambda: ours().backward(),
            "nearest code alone": lambda: nearest_codes(rows[0], codes),
            "its matrix product alone": lambda: torch.mm(rows[0].detach(), codes.t()),
        },
        seconds,
        at_least=5,
    )
    print(f"\n{ROWS} vectors x {DIM}, {num_codes} codes, CPU ms (min, median), times as fast as the peer (by medians)")
    for name, (low, middle) in times.items():
        peer_name = "vector-quantize-pytorch" + (", with backward" if "backward" in name else "")
        print(f"  {name:40s} {low:8.1f} {middle:8.1f} {times[peer_name][1] / middle:8.1f}")
    ratio = times["vector-quantize-pytorch"][1] / times["moving averages"][1]
    print(f"  forward in training mode: {ratio:.1f} times as fast (goal {GOAL:.0f})")


def main(seconds: float = 5.0) -> None:
    torch.set_num_threads(1)
    print_constants()
    for num_codes in (512, 1024):
        side_by_side(num_codes, seconds)


if __name__ == "__main__":
    main()
