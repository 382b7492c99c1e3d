"""A training step of the VQ-GAN beside the same network as it is published: ``python tests/bench/bench_vqgan.py``.

On a GPU the published size, 64 x 128 x 128; on a CPU 16 x 64 x 64 with the laptop's widths. Both networks have the same
weights and see the same batches; that their losses and gradients agree is checked first, at both sizes.

"As published", written from the description of what it does: float32; frames, height and width stored last; upsampling
by repetition and a convolution; attention with its matrix written out; the adaptive weight from two backward passes to
the last layer, then one through everything; the discriminator run again on the finished clips for its own loss.
The perceptual network is the same for both: its weights are not the subject.

Three parts of a step: "forward" ends with both players' losses and holds what the adaptive weight differentiates,
"backward" is what follows from them, "optimizer" is Adam. A CPU's times are processor time; a GPU's those of a clock,
each part waited for.
"""

from __future__ import annotations

import argparse
import copy
import multiprocessing
import os
import resource
import statistics
import time
from contextlib import nullcontext
from dataclasses import replace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from machine import print_constants
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from motionkit.data.cameras import dome
from motionkit.data.catalogue import load_dataset
from motionkit.data.skeleton import H36M_17
from motionkit.data.windows import WindowBatches, cut_windows
from motionkit.fitting.surroundings import pick_device, run_settings
from motionkit.models.autoencoder import Decoder, Encoder
from motionkit.models.discriminator import hinge_loss_discriminator, hinge_loss_generator
from motionkit.models.layers import Pointwise, SelfAttention, Upsample
from motionkit.models.quantizers import GradientCodebook, Quantized
from motionkit.models.vqgan import PAPER_2D_F16_128, VQGAN, VQGANConfig
from motionkit.representation.heatmap_video import HeatmapVideo

PARTS = ("forward", "backward", "optimizer", "step")
ADVERSARIAL = {"adversarial_start": 0, "adversarial_factor": 0.5}
LAPTOP = VQGANConfig(
    in_channels=16, widths=(16, 32, 64), halving_stem=True, encoder_blocks=1, decoder_blocks=1, num_codes=128,
    code_dim=64, perceptual_frames=1, discriminator_widths=(16, 32, 64), **ADVERSARIAL,
)  # fmt: skip
FULL = replace(PAPER_2D_F16_128, in_channels=16, perceptual="efficientnet_lite0", **ADVERSARIAL)


class PlainUpsample(Upsample):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class PlainPointwise(Pointwise):
    def forward(self, x: Tensor) -> Tensor:
        return F.conv3d(x, self.linear.weight[:, :, None, None, None], self.linear.bias)


class PlainAttention(SelfAttention):
    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        query, key, value = (
            F.conv3d(x, layer.weight[:, :, None, None, None], layer.bias).flatten(2)
            for layer in (self.query, self.key, self.value)
        )
        attention = (query.transpose(1, 2) @ key * x.shape[1] ** -0.5).softmax(2)
        mixed = (value @ attention.transpose(1, 2)).view_as(x)
        return x + F.conv3d(mixed, self.out.weight[:, :, None, None, None], self.out.bias)


class PlainEncoder(Encoder):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.silu(self.norm(self.layers(self.first(x)))))


class PlainDecoder(Decoder):
    def forward(self, z: Tensor) -> Tensor:
        x = F.silu(self.norm(self.layers(self.first(z))))
        if self.doubling_head:
            x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
        return self.last(x)


class PlainCodebook(GradientCodebook):
    """All distances, their minimum, and a product with a table of zeros and ones."""

    def forward(self, z: Tensor) -> Quantized:
        rows, codes = z.movedim(1, -1).reshape(-1, z.shape[1]), self.codebook
        distances = rows.square().sum(1, keepdim=True) + codes.square().sum(1) - 2 * rows @ codes.t()
        tokens = distances.argmin(1)
        chosen = F.one_hot(tokens, len(codes)).to(rows.dtype) @ codes
        to_codes, to_rows = F.mse_loss(chosen, rows.detach()), F.mse_loss(rows, chosen.detach())
        z_q = (rows + (chosen - rows).detach()).view(z.shape[0], *z.shape[2:], -1).movedim(-1, 1)
        loss = self.codebook_weight * to_codes + self.commitment_weight * to_rows
        shape = (z.shape[0], *z.shape[2:])
        return Quantized(z_q.contiguous(), tokens.view(shape), to_codes, to_rows, loss, to_rows.detach())


class PlainVQGAN(VQGAN):
    def loss(self, batch: dict[str, Tensor], step: int) -> dict[str, Tensor]:
        c, target = self.config, batch["target"]
        quantized = self._quantize(batch["input"])
        output = self._decode(quantized.z_q)
        reconstruction = self._reconstruction_losses(output, target, step)["reconstruction"]
        if step < c.adversarial_start:
            return {"loss/generator": reconstruction + quantized.loss}
        adversarial = hinge_loss_generator(self.discriminator(output))
        pulls = [
            torch.autograd.grad(loss, self.last_layer, retain_graph=True)[0].norm()
            for loss in (reconstruction, adversarial)
        ]
        weight = c.adversarial_factor * c.adversarial_weight * (pulls[0] / (pulls[1] + 1e-4)).clamp(max=1e4).detach()
        real, fake = self.discriminator(target), self.discriminator(output.detach())
        return {
            "loss/generator": reconstruction + weight * adversarial + quantized.loss,
            "loss/discriminator": c.adversarial_factor * hinge_loss_discriminator(real, fake),
        }


PLAIN = {
    VQGAN: PlainVQGAN, Encoder: PlainEncoder, Decoder: PlainDecoder, GradientCodebook: PlainCodebook,
    Upsample: PlainUpsample, Pointwise: PlainPointwise, SelfAttention: PlainAttention,
}  # fmt: skip


def as_published(model: VQGAN) -> VQGAN:
    """A copy with the same weights that computes the same, the published way."""
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    for module in plain.modules():
        module.__class__ = PLAIN.get(type(module), type(module))
    return plain


def batches_of(frames: int, pixels: int, batch_size: int, device: torch.device) -> WindowBatches:
    clips = load_dataset("sample", H36M_17)
    video = HeatmapVideo(H36M_17, "2d", pixels, 0.75, tuple(dome()))
    windows = cut_windows(clips, length=frames, stride=8, fps=20.0)
    return WindowBatches(windows, batch_size, seed=0, transform=video, device=device)


def now(device: torch.device) -> float:
    """Milliseconds: of the processor, or, once the device has done its work, of the clock."""
    if device.type == "cpu":
        return time.process_time() * 1e3
    torch.cuda.synchronize(device)
    return time.perf_counter() * 1e3


class Way:
    """A model and how it is trained; ``times`` collects the milliseconds of each step's parts."""

    def __init__(self, model: VQGAN, device: torch.device, precision: torch.dtype = torch.float32) -> None:
        self.model, self.device, self.precision, self.step = model, device, precision, 0
        self.players = model.players()
        self.optimizers = [torch.optim.Adam(p, lr=2.25e-5, betas=(0.5, 0.9), fused=True) for p in self.players.values()]
        self.times: dict[str, list[float]] = {part: [] for part in PARTS}

    def losses(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        is_mixed = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision) if is_mixed else nullcontext():
            return self.model.loss(batch, self.step)

    def backward(self, losses: dict[str, Tensor], share: float = 1.0) -> None:
        active = [name for name in self.players if f"loss/{name}" in losses]
        for name in active:
            loss = share * losses[f"loss/{name}"]
            loss.backward(retain_graph=name != active[-1], inputs=self.players[name])

    def train(self, micro_batches: list[dict[str, Tensor]]) -> None:
        """One update."""
        spent = dict.fromkeys(PARTS, 0.0)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        for batch in micro_batches:
            start = now(self.device)
            losses = self.losses(batch)
            middle = now(self.device)
            self.backward(losses, 1 / len(micro_batches))
            spent["forward"] += middle - start
            spent["backward"] += now(self.device) - middle
        start = now(self.device)
        for optimizer in self.optimizers:
            optimizer.step()
        with torch.no_grad():
            self.model.after_step(self.step)
        spent["optimizer"] = now(self.device) - start
        spent["step"] = sum(spent.values())
        for part in PARTS:
            self.times[part].append(spent[part])
        self.step += 1


def check(config: VQGANConfig, batch: dict[str, Tensor], what: str) -> None:
    """Losses and gradients of both ways agree, up to rounding: it turns the sign of single pixels' errors."""
    device = batch["input"].device
    torch.manual_seed(0)
    ours = VQGAN(config).to(device)
    with torch.no_grad():
        ours.quantizer.codebook.normal_()  # far apart, so that rounding does not decide which one is nearest
    found = []
    for way in (Way(ours, device), Way(as_published(ours), device)):
        losses = way.losses(batch)
        way.backward(losses)
        losses = {name: value.detach() for name, value in losses.items() if "/" in name}
        found.append((losses, {name: p.grad for name, p in way.model.named_parameters()}))
    (losses, gradients), (plain_losses, plain_gradients) = found
    torch.testing.assert_close(losses, plain_losses, rtol=1e-4, atol=1e-5)
    scale = statistics.median(g.norm().item() for g in plain_gradients.values())
    off = {
        name: ((gradients[name] - g).norm() / (g.norm() + 1e-3 * scale)).item() for name, g in plain_gradients.items()
    }
    worst = max(off, key=off.get)
    assert off[worst] < 1e-2, f"{what}: the gradients of {worst} differ by {off[worst]:.1e} of their size"
    values = ", ".join(f"{name.removeprefix('loss/')} {value:.4f}" for name, value in losses.items())
    print(f"{what}: equal losses ({values}); gradients differ by {statistics.median(off.values()):.0e} of their size")


class Flops(TorchDispatchMode):
    """Adds up the operations of convolutions and matrix products. (torch's own counter follows modules too, which
    fails where a loss is differentiated within the forward pass.)"""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def gigaflops(device: torch.device, precision: torch.dtype) -> float:
    """GFLOP/s of a large matrix product, the best of many."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.rand(size, size, device=device).to(precision) for _ in range(2))
    times = []
    for _ in range(12):
        start = now(device)
        a @ b
        times.append(now(device) - start)
    return 2e-6 * size**3 / min(times)


def peak_megabytes(way: Way, micro_batches: list[dict[str, Tensor]]) -> float:
    """What one step needs on top of weights, optimizer and batches: allocated on a GPU; on a CPU the growth of a
    forked process."""
    if way.device.type == "cuda":
        way.train(micro_batches)
        resident = torch.cuda.memory_allocated(way.device)
        torch.cuda.reset_peak_memory_stats(way.device)
        way.train(micro_batches)
        return (torch.cuda.max_memory_allocated(way.device) - resident) * 1e-6
    context = multiprocessing.get_context("fork")
    grown = context.Value("d", 0.0)

    def run() -> None:
        start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        way.backward(way.losses(micro_batches[0]))
        grown.value = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * 1.024e-3

    process = context.Process(target=run)
    process.start()
    process.join()
    assert process.exitcode == 0, f"the step of the forked process ended with {process.exitcode}"
    return grown.value


def ways_of(config: VQGANConfig, device: torch.device, use_compile: bool) -> dict[str, Way]:
    torch.manual_seed(0)
    ours = VQGAN(config).to(device)
    ways = {
        "as published, fp32": Way(as_published(ours), device),
        "ours, fp32": Way(copy.deepcopy(ours), device),
        "ours, bf16": Way(copy.deepcopy(ours), device, torch.bfloat16),
    }
    if use_compile:
        for module in (ours.encoder, ours.decoder, ours.discriminator):
            module.compile()
        precision = torch.bfloat16 if device.type == "cuda" else torch.float32
        ways[f"ours, {'bf16' if device.type == 'cuda' else 'fp32'}, compiled"] = Way(ours, device, precision)
    return ways


def side_by_side(config: VQGANConfig, clip: tuple[int, int], options: argparse.Namespace, device: torch.device) -> None:
    batches = batches_of(*clip, options.batch_size, device)
    micro_batches = [batches(index) for index in range(options.accumulation)]
    ways = ways_of(config, device, options.compile)
    memory = {name: peak_megabytes(way, micro_batches) for name, way in ways.items()}
    flops = {}
    for name, way in ways.items():
        if "compiled" in name:
            flops[name] = flops["ours, fp32"]  # not counted inside compiled code
            way.train(micro_batches)
            continue
        with Flops() as counter:
            way.train(micro_batches)
        flops[name] = counter.total * 1e-9
    for way in ways.values():
        way.train(micro_batches)
        way.times = {part: [] for part in PARTS}
    drawing: list[float] = []
    begin, rounds = time.perf_counter(), 0
    while rounds < 5 or time.perf_counter() - begin < options.seconds:
        for name in list(ways)[:: 1 if rounds % 2 == 0 else -1]:
            ways[name].train(micro_batches)
        start = now(device)
        for index in range(options.accumulation):
            batches(rounds * options.accumulation + index)
        drawing.append(now(device) - start)
        rounds += 1
    report(ways, memory, flops, drawing)


def report(ways: dict[str, Way], memory: dict[str, float], flops: dict[str, float], drawing: list[float]) -> None:
    device = next(iter(ways.values())).device
    rate = {precision: gigaflops(device, precision) for precision in {way.precision for way in ways.values()}}
    print("  matrix product: " + ", ".join(f"{g:.0f} GFLOP/s in {str(p)[6:]}" for p, g in rate.items()))
    print(f"  ms, minimum (median) of {len(drawing)}" + " " * 4 + "".join(f"{part:>18s}" for part in PARTS))
    for name, way in ways.items():
        cells = (f"{min(t):9.1f} ({statistics.median(t):6.1f})" for t in way.times.values())
        print(f"  {name:28s}" + "".join(cells))
    print(f"  {'':28s}  times as fast (min, median)    GFLOP  GFLOP/s  of a product    MB")
    plain, *_ = ways.values()
    for name, way in ways.items():
        low, middle = min(way.times["step"]), statistics.median(way.times["step"])
        faster = min(plain.times["step"]) / low, statistics.median(plain.times["step"]) / middle
        achieved = flops[name] / low * 1e3
        print(
            f"  {name:28s} {faster[0]:15.2f} {faster[1]:12.2f} {flops[name]:8.1f} {achieved:8.0f} "
            f"{achieved / rate[way.precision]:12.0%} {memory[name]:6.0f}"
        )
    share = statistics.median(drawing) / min(statistics.median(way.times["step"]) for way in ways.values())
    print(f"  keypoints to heatmaps: {statistics.median(drawing):.2f} ms, {share:.1%} of the fastest step (goal 5 %)")


def main() -> None:
    parser = argparse.ArgumentParser(description="A training step of the VQ-GAN beside the published way.")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--batch-size", type=int, help="2 on a CPU, 1 on a GPU as published")
    parser.add_argument("--accumulation", type=int, default=1, help="batches an update")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--compile", action="store_true", help="compile on a CPU too: takes minutes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = pick_device(options.device)
    is_gpu = device.type == "cuda"
    print_constants()
    check(FULL, batches_of(16, 32, 1, device)(0), "published widths at 16 x 32 x 32")
    config, clip = (FULL, (64, 128)) if is_gpu else (LAPTOP, (16, 64))
    options.batch_size = options.batch_size or (1 if is_gpu else 2)
    options.compile |= is_gpu
    size = "{} x {} x {}".format(*clip, clip[1])
    check(config, batches_of(*clip, options.batch_size, device)(0), size)
    for phase, start in (("with the discriminator", 0), ("before it starts", 10**9)):
        name = torch.cuda.get_device_name() if is_gpu else "CPU"
        print(f"\n{name}, {options.batch_size} x {size}, {options.accumulation} batches an update, {phase}")
        with run_settings(device):
            side_by_side(replace(config, adversarial_start=start), clip, options, device)


if __name__ == "__main__":
    main()
