"""How well heatmap video comes back: the metrics of Table III, window by window, for models and baselines alike.

Source: Adversarially-refined VQ-GAN, section IV-C and Table III.
Differs: beside the paper's metrics stand SSIM over the foreground, the error of keypoints read from the output, and
bits per second; and the caller is meant to score trivial outputs too: a blank picture alone reaches an SSIM of 0.6 to
0.8 on sparse heatmaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, geometric_mean
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.metrics.image import (
    l1,
    psnr,
    ssim,
    ssim_foreground,
    ssim_skill,
    tstd_of_curves,
    tstd_paper,
    tstd_temporal,
)
from motionkit.metrics.tokens import bits_per_second, dead_codes, perplexity, usage_by_depth
from motionkit.models.autoencoder import Reconstruction
from motionkit.models.baselines import BASELINES
from motionkit.representation.heatmap_fit import fit_keypoints, place_pose
from motionkit.representation.heatmap_torch import VIEWS
from motionkit.representation.heatmaps import Limbs, limb_pairs

# Columns of the scores, with the paper's spelling where Table III has the column.
SCORES = ("SSIM", "SSIM foreground", "PSNR", "L1", "T-Std", "T-Std temporal", "T-Std paper")
KEYPOINT_ERROR = "Keypoint error"
TRUTH = "keypoints"  # the row of what the pictures are drawn from


@runtime_checkable
class Tokenizer(Protocol):
    """A model of heatmap video with tokens, such as ``VQGAN`` or ``DVAE``."""

    def reconstruct(self, clips: Tensor) -> Reconstruction: ...


@dataclass(frozen=True)
class KeypointReader:
    """Reads keypoints back from merged limb pictures, and tells how far they are off.

    limbs, sigma_px: as the pictures were drawn.
    every: only every so many-th batch is read, as reading takes much longer than all other metrics.
    """

    limbs: Limbs
    sigma_px: float
    every: int = 1

    def errors(
        self,
        output: Float[Tensor, "B C T H W"],
        keypoints: Float[Tensor, "B T J axes"],
        peaks: Float[Tensor, "B T J"],
    ) -> Float[Tensor, "B"]:
        """Mean distance in pixels of the joints that were drawn (``peaks`` above 0), one number a window.

        output: one channel for keypoints in the plane; the projections YZ, XZ, XY for joints in space, each read by
            itself and the three errors averaged.
        peaks: limbs at a joint that is drawn in no frame of the batch are not looked for.

        The search begins at the window's mean pose, placed where the output is bright (``place_pose``), for every
        output alike: a blank one gets the error of the mean pose, the true one what this reading can reach at best.
        """
        views = [(0, 1)] if keypoints.shape[-1] == 2 else [(column, row) for column, row, _ in VIEWS]
        drawn = (peaks > 0).any(1).any(0)
        limbs = [(a, b) for a, b in limb_pairs(self.limbs, len(drawn)).tolist() if drawn[a] and drawn[b]]
        errors = []
        for channel, axes in enumerate(views):
            pictures, truth = output[:, channel, None], keypoints[..., list(axes)]
            start = place_pose(pictures, truth.mean(1), limbs, self.sigma_px)
            found = fit_keypoints(pictures, start, limbs, self.sigma_px)
            distances = (found - truth).norm(dim=-1).where(peaks > 0, torch.nan)
            errors.append(distances.nanmean((1, 2)))
        return torch.stack(errors).mean(0)


@torch.inference_mode()
def reconstruction_scores(
    reconstruct: Callable[[Tensor, Tensor], Tensor],
    batches: Iterable[Mapping[str, Tensor]],
    reader: KeypointReader | None = None,
) -> dict[str, Float[Tensor, "windows"]]:
    """Score every window of ``batches``: name of the metric -> (windows,) float32 on the CPU.

    reconstruct: ``(input (B, C_in, T, H, W), target (B, C, T, H, W)) -> output`` shaped like the target. Models use
        only the input, trivial baselines only the target.
    batches: dicts with "input" and "target", values in [0, 1]; for a reader also with "keypoints" and "peaks".
    reader: adds "Keypoint error" in pixels, NaN for the windows that it leaves out.

    Outputs are clipped to [0, 1] first, as the published evaluation does. SSIM uses the border rule "valid", which is
    the published code's; PSNR (dB) is that of a frame's mean squared error over its channels; both, and L1 (in units of
    intensity), are means over the frames of a window, foreground SSIM over those that show anything, NaN if
    none does. "T-Std" is the public code's statistic, "T-Std paper" the literal equation of the text, "T-Std temporal"
    the pixelwise spread of the error over time. SSIM and the last two are taken channel by channel and averaged.

    Raises ``ValueError`` for an output of another shape than its target and for frames smaller than SSIM's window.
    """
    scores: dict[str, list[Tensor]] = {name: [] for name in SCORES + ((KEYPOINT_ERROR,) if reader else ())}
    for number, batch in enumerate(batches):
        target = batch["target"].float()
        output = reconstruct(batch["input"], target).float().clamp(0, 1)
        for name, values in window_scores(output, target).items():
            scores[name].append(values.cpu())
        if reader and number % reader.every == 0:
            scores[KEYPOINT_ERROR].append(reader.errors(output, batch["keypoints"], batch["peaks"]).cpu())
        elif reader:
            scores[KEYPOINT_ERROR].append(torch.full((len(output),), torch.nan))
    return {name: torch.cat(values) for name, values in scores.items()}


def trivial_scores(
    batches: Callable[[], Iterable[Mapping[str, Tensor]]], reader: KeypointReader | None = None
) -> dict[str, dict[str, Float[Tensor, "windows"]]]:
    """The scores of what needs no model, by name: the trivial outputs of ``BASELINES`` and "keypoints", the true
    picture itself, whose keypoint error is that of the reading alone.

    batches: called once for each, e.g. ``WindowBatches(...).in_order``; what it gives is as in
    ``reconstruction_scores``.
    """
    outputs = {**BASELINES, TRUTH: lambda target: target}
    return {
        name: reconstruction_scores(lambda _, target, draw=draw: draw(target), batches(), reader)
        for name, draw in outputs.items()
    }


@torch.inference_mode()
def tokenizer_scores(
    model: Tokenizer, batches: Iterable[Mapping[str, Tensor]], reader: KeypointReader | None = None
) -> tuple[dict[str, Float[Tensor, "windows"]], Int[Tensor, "windows t h w *depth"]]:
    """The scores of a model with tokens, and the tokens (windows, t, h, w) on the CPU: one pass over ``batches``.

    Adds, where the model has them, the quantizer's values for the window's batch: "Q-Loss" (the paper: its mean over
    the test set, one window a batch) and "Q-Loss normalized", the share of the latents' power that is lost, see
    ``Reconstruction.q_error``.
    """
    tokens: list[Tensor] = []
    quantizer: dict[str, list[Tensor]] = {}

    def reconstruct(clips: Tensor, _: Tensor) -> Tensor:
        result = model.reconstruct(clips)
        tokens.append(result.tokens.cpu())
        for name, value in (("Q-Loss", result.q_loss), ("Q-Loss normalized", result.q_error)):
            if value is not None:
                quantizer.setdefault(name, []).append(value.float().cpu().expand(len(clips)))
        return result.output

    scores = reconstruction_scores(reconstruct, batches, reader)
    return scores | {name: torch.cat(values) for name, values in quantizer.items()}, torch.cat(tokens)


def summarize(
    scores: Mapping[str, Float[Tensor, "windows"]],
    blank: Mapping[str, Float[Tensor, "windows"]],
    tokens: Int[Tensor, "..."] | None = None,
    num_codes: int = 0,
    duration_s: float | None = None,
) -> dict[str, float]:
    """One number a metric: the mean over the windows, those with NaN left out; and what follows from several of them.

    blank: the scores of the blank output on the same windows, for "SSIM skill".
    tokens, num_codes: with them also "Perplexity" and "Codes used" of these windows. Tokens (windows, t, h, w, depth)
        have a codebook a depth: means over the depths, of perplexities the geometric one, which keeps the bits.
    duration_s: seconds of a window; with it and tokens also "Bits per second", in a code of fixed length.
    """
    means = {name: values.nanmean().item() for name, values in scores.items()}
    skill = float(ssim_skill(means["SSIM"], blank["SSIM"].mean().item()))
    means = {"SSIM": means["SSIM"], "SSIM skill": skill} | means
    if tokens is not None:
        tables = usage_by_depth(tokens if tokens.ndim == 5 else tokens[..., None], num_codes)
        used = fmean(num_codes - len(dead_codes(counts)) for counts in tables)
        means |= {"Perplexity": geometric_mean(map(perplexity, tables)), "Codes used": used, "Usage": used / num_codes}
        if duration_s is not None:
            means["Bits per second"] = bits_per_second(tokens[0].numel(), num_codes, duration_s)
    return means


def summarize_all(
    scores: Mapping[str, Mapping[str, Float[Tensor, "windows"]]],
    tokens: Mapping[str, Int[Tensor, "..."]],
    num_codes: Mapping[str, int],
    num_joints: int,
    num_frames: int,
    fps: float,
) -> dict[str, dict[str, float]]:
    """``summarize`` for every row of Table III and of ours: row -> metric -> number.

    scores: by row; rows begin with their view, ``"2D ..."`` or ``"3D ..."``, and ``"2D blank"`` belongs to all of 2D.
    tokens, num_codes: of the rows that have tokens.
    num_joints, num_frames, fps: of a window. The rows ``"2D keypoints"`` and ``"3D keypoints"`` get the bits per second
        of coordinates in single precision, trivial rows none.
    """
    table, duration_s = {}, num_frames / fps
    for row, values in scores.items():
        blank = scores[f"{row[:2]} blank"]
        table[row] = summarize(values, blank, tokens.get(row), num_codes.get(row, 0), duration_s)
        if row[3:] == TRUTH:
            table[row]["Bits per second"] = 32.0 * int(row[0]) * num_joints * fps
    return table


def window_scores(
    output: Float[Tensor, "B C T H W"], target: Float[Tensor, "B C T H W"]
) -> dict[str, Float[Tensor, "B"]]:
    """The scores of one batch, values in [0, 1]; see :func:`reconstruction_scores`."""
    # One picture a frame: its channels below one another, so that a frame's squared error covers them all.
    wide_output, wide_target = (video.transpose(1, 2).flatten(2, 3) for video in (output, target))
    curves = psnr(wide_output, wide_target), ssim(output, target, border="valid").mean(1), l1(wide_output, wide_target)
    return {
        "SSIM": curves[1].mean(1),
        "SSIM foreground": ssim_foreground(output, target).nanmean((1, 2)),
        "PSNR": curves[0].mean(1),
        "L1": curves[2].mean(1),
        "T-Std": tstd_of_curves(*curves),
        "T-Std temporal": tstd_temporal(output, target).mean(1),
        "T-Std paper": tstd_paper(output).mean(1),
    }
