"""Vector quantization side by side with vector-quantize-pytorch and the one matrix product it needs, on one thread.

65,536 vectors of 256 numbers, the latents of 32 clips at the paper's F8. Training mode: nearest code, straight-through,
loss, moving averages. Both get the memory layout they like: channels last for ours too, as our encoder leaves them.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from machine import alternate, print_constants
from vector_quantize_pytorch import VectorQuantize

from motionkit.models.quantizers import EMACodebook, GradientCodebook, build_quantizer, nearest_codes

ROWS, DIM = 65_536, 256
GOAL_PEER = 5.0  # times as fast as the peer's forward pass with moving averages
GOAL_PRODUCT = 1.3  # times the matrix product: torch.mm, which like ours and the peer's returns new memory
PEER, OURS, PRODUCT = "vector-quantize-pytorch", "moving averages", "its matrix product alone"
OTHERS = ("gumbel", "residual", "fsq", "lfq")


def side_by_side(num_codes: int, seconds: float) -> None:
    torch.manual_seed(0)
    rows = torch.randn(1, ROWS, DIM, requires_grad=True)
    latents = rows.movedim(-1, 1)
    peer = VectorQuantize(dim=DIM, codebook_size=num_codes, decay=0.99)
    averages, gradient = EMACodebook(num_codes, DIM), GradientCodebook(num_codes, DIM)
    codes = averages.codebook.clone()
    scores = torch.empty(ROWS, num_codes)

    def ours(with_backward: bool = False) -> None:
        quantized = averages(latents)
        averages.update()
        if with_backward:
            (quantized.z_q.sum() + quantized.loss).backward()

    def theirs(with_backward: bool = False) -> None:
        z_q, _, loss = peer(rows)
        if with_backward:
            (z_q.sum() + loss.sum()).backward()

    times = alternate(
        {
            PEER: theirs,
            OURS: ours,
            "gradient codebook": lambda: gradient(latents),
            f"{PEER}, with backward": lambda: theirs(with_backward=True),
            f"{OURS}, with backward": lambda: ours(with_backward=True),
            "nearest code alone": lambda: nearest_codes(rows[0], codes),
            PRODUCT: lambda: torch.mm(rows[0].detach(), codes.t()),
            "the same into memory that is there": lambda: torch.mm(rows[0].detach(), codes.t(), out=scores),
        },
        seconds,
        at_least=5,
    )
    print(f"\n{ROWS} vectors x {DIM}, {num_codes} codes, CPU ms (min, median), times as fast as the peer (by minima)")
    for name, (low, middle) in times.items():
        beside = times[PEER + (", with backward" if "backward" in name else "")][0]
        print(f"  {name:40s} {low:8.1f} {middle:8.1f} {beside / low:8.1f}")
    low = {name: values[0] for name, values in times.items()}
    print(f"  forward in training mode: {low[PEER] / low[OURS]:.1f} times as fast as the peer (goal {GOAL_PEER:.0f})")
    print(f"  and {low[OURS] / low[PRODUCT]:.2f} times the matrix product (goal at most {GOAL_PRODUCT})")


def other_kinds(num_codes: int, seconds: float) -> None:
    latents = torch.randn(1, ROWS // 4, DIM, requires_grad=True).movedim(-1, 1)
    quantizers = {kind: build_quantizer(kind, num_codes, DIM) for kind in OTHERS}
    times = alternate({kind: lambda q=q: q(latents) for kind, q in quantizers.items()}, seconds, at_least=3)
    print(f"\nThe other kinds, forward, {ROWS // 4} vectors, {num_codes} codes, CPU ms (min, median)")
    for name, (low, middle) in times.items():
        print(f"  {name:40s} {low:8.1f} {middle:8.1f}")


def main(seconds: float = 5.0) -> None:
    torch.set_num_threads(1)
    print_constants()
    for num_codes in (512, 1024):
        side_by_side(num_codes, seconds)
    other_kinds(512, seconds / 5)


if __name__ == "__main__":
    main()
