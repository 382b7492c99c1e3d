"""How close a heatmap video is to its target: SSIM, PSNR, L1 and three readings of the temporal deviation "T-Std".

Values lie in [0, 1]; a model's output is taken as it is, so clamp it first where the published evaluation does.
Every leading axis is kept: (B, C, T, H, W) scores each channel of each frame by itself. The published code of the
heatmap VQ-GAN pools the channels of a frame into one squared error instead; lay the channels side by side along H for
that.

Source: "Adversarially-refined VQ-GAN for spatio-temporal heatmaps", section IV-C; SSIM after Wang et al. 2004.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Border = Literal["reflect", "valid"]

SSIM_WINDOW = 11  # pixels
SSIM_SIGMA = 1.5  # pixels
SSIM_RADIUS = SSIM_WINDOW // 2
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2  # for a data range of 1
PSNR_MAX_DB = 100.0

_TILE = 32  # outputs per tile of the banded blur
_PIXELS_PER_CHUNK = 1 << 16  # four float32 maps of so many pixels stay in a core's second-level cache
_PIXELS_PER_CHUNK_GPU = 1 << 23  # 64 MiB a map


def ssim(
    output: Float[Tensor, "*frames height width"],
    target: Float[Tensor, "*frames height width"],
    *,
    border: Border = "reflect",
) -> Float[Tensor, "*frames"]:
    """Structural similarity of each frame, in [-1, 1]; 1 for equal frames. Differentiable.

    Gaussian window 11 x 11, sigma 1.5 px, population variances, data range 1.

    border: how windows that leave the picture count.
        ``"reflect"``: pictures are mirrored about their edge pixels (which are not repeated), every pixel counts.
        ``"valid"``: only windows wholly inside count, (H - 10) x (W - 10) of them.

    Half-precision input is scored in float32. Raises ``ValueError`` if the shapes differ or a side is below 11 px.

    Source: Wang et al. 2004, eq. 13; paper 1, section IV-C. Differs: paper 1 prints the formula for whole pictures;
    its code averages over windows with border "valid". "reflect" equals torchmetrics 1.9's
    ``structural_similarity_index_measure(data_range=1)``.

    >>> ssim(torch.full((1, 16, 16), 0.5), torch.ones(1, 16, 16))  # 2 * 0.5 / (0.25 + 1), but for C1
    tensor([0.8000])
    """
    frames = output.shape[:-2]
    maps = [similarity.mean((-2, -1)) for similarity in _similarity_chunks(output, target, border)]
    return torch.cat(maps).reshape(frames)


def ssim_foreground(
    output: Float[Tensor, "*frames height width"],
    target: Float[Tensor, "*frames height width"],
    *,
    threshold: float = 0.01,
    radius_px: int = 2,
) -> Float[Tensor, "*frames"]:
    """Mean SSIM over the neighborhood of what the target shows, so that empty background earns nothing.

    Counted are pixels within ``radius_px`` (in x and in y) of a target value above ``threshold``. With the defaults an
    all-zero output scores below 0.1 on limb heatmaps, whose SSIM over the whole picture would be about 0.9 (measured
    at 128 px, sigma 0.75 and 1.5 px). A frame whose target is empty has no foreground and gives NaN.
    Windows at the edge are mirrored as in ``ssim(border="reflect")``.
    """
    frames, (height, width) = output.shape[:-2], output.shape[-2:]
    similarity = torch.cat(list(_similarity_chunks(output, target, "reflect")))
    weight = _dilate(target.detach().reshape(-1, height, width) > threshold, radius_px).to(similarity.dtype)
    return ((similarity * weight).sum((-2, -1)) / weight.sum((-2, -1))).reshape(frames)


def ssim_skill(value: Float[Tensor, "*any"] | float, blank: Float[Tensor, "*any"] | float) -> Tensor | float:
    """(SSIM - blank) / (1 - blank): 0 for a model no better than an empty picture, 1 for a perfect one.

    ``blank`` is the SSIM of the all-zero output against the same target. On sparse heatmaps it is high (0.8 is
    common), which is why SSIM alone flatters. NaN where ``blank`` is 1: an empty target leaves nothing to be won.
    """
    room = 1 - blank
    if isinstance(room, Tensor):
        return torch.where(room > 0, (value - blank) / room, math.nan)
    return (value - blank) / room if room > 0 else math.nan


def psnr(
    output: Float[Tensor, "*frames height width"], target: Float[Tensor, "*frames height width"]
) -> Float[Tensor, "*frames"]:
    """Peak signal-to-noise ratio of each frame in dB for a peak of 1, capped at 100 dB.

    The cap (a mean squared error below 1e-10) keeps equal frames finite, so that averages over frames exist.

    Source: paper 1, section IV-C, MAX_I = 1. Differs: the cap.

    >>> psnr(torch.full((1, 4, 4), 0.5), torch.full((1, 4, 4), 0.6))  # 10 log10(1 / 0.01)
    tensor([20.0000])
    """
    _check_same_shape(output, target)
    error = (output - target).square().mean((-2, -1))
    return -10 * torch.log10(error.clamp_min(10 ** (-PSNR_MAX_DB / 10)))


def l1(
    output: Float[Tensor, "*frames height width"], target: Float[Tensor, "*frames height width"]
) -> Float[Tensor, "*frames"]:
    """Mean absolute error of each frame. Source: paper 1, section IV-C."""
    _check_same_shape(output, target)
    return (output - target).abs().mean((-2, -1))


def tstd_paper(video: Float[Tensor, "*batch frames height width"]) -> Float[Tensor, "*batch"]:
    """T-Std as printed: sum over frames of the spatial standard deviation, divided by F H W.

    Paper symbols: I = ``video``, F, H, W = frames, height, width; mu_f = mean of frame f over its pixels.
    The printed mu_f(i, j), a mean at one pixel of one frame, would make every term zero.
    The result is about the picture's contrast over H W: it compares nothing with a target, does not see the order of
    the frames, and is of the order 1e-5 at 128 px, far from the printed 0.15 to 0.24.

    Source: paper 1, section IV-C.
    """
    height, width = video.shape[-2:]
    return video.std((-2, -1), correction=0).mean(-1) / (height * width)


def tstd_code(
    output: Float[Tensor, "*batch frames height width"], target: Float[Tensor, "*batch frames height width"]
) -> Float[Tensor, "*batch"]:
    """T-Std as the authors' program computes it: mean spread of three per-frame score curves, each scaled to [0, 1].

    The curves PSNR, SSIM (border "valid") and L1 over the frames of a clip are min-max normalized, their unbiased
    standard deviations averaged. A constant curve counts as 0. Needs two frames or more.

    It is free of scale: doubling every error leaves it unchanged, and 64 independent Gaussian scores give 0.214 +-
    0.021, so it cannot rank how steady two models are. Use ``tstd_temporal``.

    Source: facts of the public code of paper 1; not the printed equation.
    """
    return tstd_of_curves(psnr(output, target), ssim(output, target, border="valid"), l1(output, target))


def tstd_of_curves(*curves: Float[Tensor, "*batch frames"]) -> Float[Tensor, "*batch"]:
    """``tstd_code`` from its curves over the frames. Of pictures with channels, a frame has one PSNR and one L1 over
    all of them, and the mean of their SSIM. (With channels the authors' program also mixes up frames in a reshape;
    that is not repeated here.)"""
    if curves[0].shape[-1] < 2:
        raise ValueError(f"a spread over frames needs 2 frames or more, got {curves[0].shape[-1]}")
    return torch.stack([_min_max(curve).std(-1) for curve in curves]).mean(0)


def tstd_temporal(
    output: Float[Tensor, "*batch frames height width"], target: Float[Tensor, "*batch frames height width"]
) -> Float[Tensor, "*batch"]:
    """How much the error flickers: population standard deviation over frames of (target - output), mean over pixels.

    0 for a perfect output and for one that is off by a still picture; s for independent noise of deviation s in every
    pixel; linear in the error; in units of intensity. An all-zero output scores the target's own variation.
    Needs two frames or more.
    """
    _check_same_shape(output, target)
    _check_frames(output)
    return (target - output).std(-3, correction=0).mean((-2, -1))


def _similarity_chunks(output: Tensor, target: Tensor, border: Border):
    """SSIM maps (n, H', W') of consecutive frames, few at a time: on a CPU a chunk's maps stay in the cache.

    Of the two variances only the sum occurs, so four maps are blurred, not five. A frame pair's mean brightness is
    taken off first: variances of bright pictures would otherwise drown in rounding (3e-4 for white frames).
    As the window sums to 1, a constant added before the blur is there after it: C2 comes in for free.
    """
    _check_same_shape(output, target)
    height, width = output.shape[-2:]
    if min(height, width) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs frames of {SSIM_WINDOW} x {SSIM_WINDOW} px or more, got {height} x {width}")
    dtype = torch.promote_types(torch.promote_types(output.dtype, target.dtype), torch.float32)
    on_gpu = output.device.type == "cuda"
    exact = torch.float64 if on_gpu else dtype  # float32 products on a GPU may be TF32: far too coarse for variances
    x, y = (video.reshape(-1, height, width).to(exact) for video in (output, target))
    rows, columns = (_tiles_like(size, border, x) for size in (height, width))
    c1, c2 = x.new_tensor(SSIM_C1), x.new_tensor(SSIM_C2)
    size = max(1, (_PIXELS_PER_CHUNK_GPU if on_gpu else _PIXELS_PER_CHUNK) // (height * width))
    for a, b in zip(x.split(size), y.split(size), strict=True):
        level = (a.mean((-2, -1), keepdim=True) + b.mean((-2, -1), keepdim=True)).detach() / 2
        a, b = a - level, b - level
        squares = torch.addcmul(torch.addcmul(c2, a, a), b, b)
        products = torch.addcmul(c2, a, b, value=2)
        a, b, squares, products = _blur(torch.stack([a, b, squares, products]), rows, columns)
        covariance = torch.addcmul(products, a, b, value=-2)  # twice, plus C2
        variances = torch.addcmul(torch.addcmul(squares, a, a, value=-1), b, b, value=-1)  # plus C2
        a, b = a + level, b + level
        luminance = torch.addcmul(c1, a, b, value=2)
        energy = torch.addcmul(torch.addcmul(c1, a, a), b, b)
        yield (covariance * luminance / (variances * energy)).to(dtype)


def _blur(maps: Tensor, rows: list, columns: list) -> Tensor:
    """(4, n, H, W) -> (4, n, H', W'): a banded matrix product along each axis, tile by tile to skip its zeros."""
    count, size, height, width = maps.shape
    flat = maps.view(-1, width)
    with torch.autocast(maps.device.type, enabled=False):
        flat = torch.cat([flat[:, low:high] @ tile.T for low, high, tile in columns], 1)
        images = flat.view(count * size, height, flat.shape[-1])
        images = torch.cat([tile.expand(len(images), -1, -1).bmm(images[:, low:high]) for low, high, tile in rows], 1)
    return images.view(count, size, *images.shape[-2:])


def _tiles_like(size: int, border: Border, like: Tensor) -> list[tuple[int, int, Tensor]]:
    return [
        (low, high, torch.as_tensor(t, dtype=like.dtype, device=like.device)) for low, high, t in _tiles(size, border)
    ]


@lru_cache(maxsize=16)
def _tiles(size: int, border: Border) -> list[tuple[int, int, np.ndarray]]:
    """The blur of one axis as a matrix, cut into blocks of rows: (first input, last input + 1, block)."""
    offsets = np.arange(SSIM_WINDOW) - SSIM_RADIUS
    window = np.exp(-0.5 * (offsets / SSIM_SIGMA) ** 2)
    window /= window.sum()
    centers = np.arange(size) if border == "reflect" else np.arange(SSIM_RADIUS, size - SSIM_RADIUS)
    matrix = np.zeros((len(centers), size))
    for row, center in zip(matrix, centers, strict=True):
        inputs = np.abs(center + offsets)
        np.add.at(row, np.where(inputs < size, inputs, 2 * (size - 1) - inputs), window)
    tiles = []
    for start in range(0, len(matrix), _TILE):
        block = matrix[start : start + _TILE]
        used = np.flatnonzero(block.any(0))
        tiles.append((int(used[0]), int(used[-1]) + 1, np.ascontiguousarray(block[:, used[0] : used[-1] + 1])))
    return tiles


def _dilate(mask: Bool[Tensor, "n h w"], radius_px: int) -> Bool[Tensor, "n h w"]:
    side, mask = 2 * radius_px + 1, mask.float()[:, None]
    mask = F.max_pool2d(mask, (1, side), stride=1, padding=(0, radius_px))
    return F.max_pool2d(mask, (side, 1), stride=1, padding=(radius_px, 0))[:, 0] > 0


def _min_max(curve: Tensor) -> Tensor:
    low, high = curve.amin(-1, keepdim=True), curve.amax(-1, keepdim=True)
    rounding = 16 * torch.finfo(curve.dtype).eps * high.abs()  # a curve that varies no more than this is constant
    return torch.where(high - low > rounding, (curve - low) / (high - low), 0.0)


def _check_same_shape(output: Tensor, target: Tensor) -> None:
    if output.shape != target.shape:
        raise ValueError(f"output has shape {tuple(output.shape)}, target {tuple(target.shape)}: they must be equal")


def _check_frames(video: Tensor) -> None:
    if video.shape[-3] < 2:
        raise ValueError(f"a spread over frames needs 2 frames or more, got {video.shape[-3]} in {tuple(video.shape)}")
