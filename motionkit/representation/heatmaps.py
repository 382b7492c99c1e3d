"""Keypoints and limbs as Gaussian heatmaps, volumes and their projections, and back.

A keypoint is drawn as ``peak * exp(-d^2 / (2 sigma^2))`` with d the distance of the pixel center to the keypoint, in
pixels; a limb is the same with d the distance to the segment between its two ends. The peak is the keypoint's
confidence (1 if none is given), for a limb the smaller one of its ends. Where several are drawn into one channel, the
largest value counts.

Pixel centers lie at integer coordinates, x to the right, y down. Keypoints that are NaN or infinite are not drawn, nor
limbs with such an end; peaks that are NaN or negative count as 0. Coordinates beyond +-1e6 pixels are drawn at that
limit.

Every function takes any number of leading axes, any device and any float type, and is differentiable with respect to
the keypoints and the peaks. Values are right to about 1e-5 of the peak in float32 (its coordinates are no finer than
that at 128 px) and to rounding in float64; values below 2^-24 of the peak (farther than 5.77 sigma), which float32
cannot add to 1, may be exactly 0. On the CPU, in float32 and with no gradient to record, compiled kernels draw only the
pixels near each keypoint, if numba (the extra ``fast``) is installed; everything else, and any other device, takes
torch operations that give the same values.

Source: Adversarially-refined VQ-GAN, section III-A, Eq. 1; limbs, box and peaks as in the implementation its authors
published.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from motionkit.representation.heatmap_torch import VIEWS, gaussians, projected_segments, segments

CUTOFF_SIGMAS = math.sqrt(2.0 * math.log(2.0**24))
"""Distance, in sigmas, beyond which a Gaussian is below 2^-24 of its peak and the compiled kernels draw nothing."""

_FAR_PX = 1e6

Size = int | tuple[int, int]
Limbs = Sequence[Sequence[int]] | Tensor | np.ndarray


# ------------------------------------------------------------------------------------------------ before drawing
def fit_to_box(
    keypoints: Float[Tensor, "*batch T J C"],
    size: int,
    fill: float = 0.9,
    *,
    y_up: bool | None = None,
    confidence: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch T J C"]:
    """Scale and move each clip into a grid of ``size`` pixels a side, its aspect kept.

    One box for all frames and joints of a clip, so that motion through the scene stays visible: its largest extent
    becomes ``fill * size`` and its center the grid's center ``(size - 1) / 2``.

    y_up: whether a larger y is higher; then y is turned over, since rows count downwards. By default true for C = 3
        (world positions) and false for C = 2 (keypoints of an image).
    confidence: (*batch, T, J); keypoints with confidence 0 do not count for the box. Nor do keypoints that are NaN or
        infinite.

    A clip that is a single point lands in the center; a clip without any keypoint that counts becomes NaN.

    Raises ``ValueError`` for a size below 1 or a fill that is not positive.
    Source: the published implementation's scaling to 0.9 of the grid (the paper does not give it).

    >>> fit_to_box(torch.tensor([[[0.0, 0.0], [4.0, 2.0]]]), size=10)
    tensor([[[0.0000, 2.2500],
             [9.0000, 6.7500]]])
    """
    if size < 1 or not fill > 0:
        raise ValueError(f"size is {size} and fill {fill}; expected a size of at least 1 and a positive fill")
    if y_up is None:
        y_up = keypoints.shape[-1] == 3
    counts = keypoints.isfinite().all(dim=-1, keepdim=True)
    if confidence is not None:
        if confidence.shape != keypoints.shape[:-1]:
            raise ValueError(f"confidence has shape {tuple(confidence.shape)}, keypoints {tuple(keypoints.shape)}")
        counts = counts & (confidence > 0).unsqueeze(-1)
    low = keypoints.where(counts, math.inf).amin(dim=(-3, -2), keepdim=True)
    high = keypoints.where(counts, -math.inf).amax(dim=(-3, -2), keepdim=True)
    extent = (high - low).amax(dim=-1, keepdim=True)
    scale = fill * size / extent.where(extent != 0, 1.0)
    centered = (keypoints - (low + high) / 2) * scale
    if y_up:
        centered = centered * centered.new_tensor([1.0, -1.0, 1.0][: centered.shape[-1]])
    return centered + (size - 1) / 2


def random_peaks(
    shape: Sequence[int], generator: torch.Generator, mean: float = 0.65, std: float = 0.16
) -> Float[Tensor, "..."]:
    """Peaks drawn from a normal distribution and clipped to [0, 1], one for each keypoint and frame; on the generator's
    device.

    Training on them imitates the uneven confidence of a detector. Nothing uses them unless asked to: as targets they
    flicker.
    Source: the published implementation (the paper does not mention it).
    """
    noise = torch.randn(tuple(shape), generator=generator, device=generator.device)
    return (noise * std + mean).clamp(0.0, 1.0)


# ------------------------------------------------------------------------------------------------ pictures
def keypoints_to_heatmaps(
    keypoints: Float[Tensor, "*batch J xy"],
    size: Size,
    sigma_px: float,
    peaks: Float[Tensor, "..."] | None = None,
    *,
    merge: bool = False,
    video: bool = False,
    out: Float[Tensor, "..."] | None = None,
    shown: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "... height width"]:
    """Draw keypoints as Gaussians: (*batch, J, 2) pixels to (*batch, J, H, W).

    size: (height, width), or one number for a square.
    sigma_px: standard deviation in pixels.
    peaks: (*batch, J), the value at the keypoint; 1 if not given.
    merge: one channel with the maximum over all keypoints, (*batch, 1, H, W), drawn without the J channels in between.
    video: put the channels before the last leading axis: (..., T, J, 2) to (..., J, T, H, W), as 3D convolutions want
        it, without a copy.
    out: where to write, any earlier content is replaced; it is returned. Not possible while gradients are recorded.

    shown: (*batch, J, 2), the keypoints that ``out`` shows: the last ones drawn into it, with the same sigma and merge,
        and nothing changed since. Then only their surroundings are erased, not all of ``out``, which in a loop over
        batches costs a fraction of writing it.

    Raises ``ValueError`` naming the offending sizes.
    Source: section III-A, Eq. 1. Differs: the peak may be below 1.

    >>> keypoints_to_heatmaps(torch.tensor([[1.0, 0.0]]), (2, 3), sigma_px=1.0)
    tensor([[[0.6065, 1.0000, 0.6065],
             [0.3679, 0.6065, 0.3679]]])
    """
    shape = _picture(size)
    points, strengths, lead = _prepare(keypoints, peaks, 2, sigma_px, shape)
    if shown is not None and (out is None or shown.shape != keypoints.shape):
        what = "no out" if out is None else f"keypoints {tuple(keypoints.shape)}"
        raise ValueError(f"shown is given, {tuple(shown.shape)}, with {what}; expected out and equal shapes")
    erased = points[:0] if shown is None else _prepare(shown, None, 2, sigma_px, shape)[0]
    return _draw(
        points,
        strengths,
        (*lead, 1 if merge else points.shape[1], *shape),
        keypoints.dtype,
        video,
        out,
        lambda points, strengths: gaussians(points, strengths, shape, sigma_px, merge),
        lambda kernels, points, strengths, flat, starts: kernels.draw_keypoints(
            points,
            strengths,
            _array(erased),
            flat,
            starts,
            *shape,
            sigma_px,
            CUTOFF_SIGMAS * sigma_px,
            merge,
        ),
    )


def limbs_to_heatmaps(
    keypoints: Float[Tensor, "*batch J xy"],
    limbs: Limbs,
    size: Size,
    sigma_px: float,
    peaks: Float[Tensor, "..."] | None = None,
    *,
    merge: bool = False,
    video: bool = False,
    out: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "... height width"]:
    """Draw limbs as segments with a Gaussian profile: (*batch, J, 2) pixels to (*batch, L, H, W).

    limbs: (L, 2) joint indices. A limb of zero length is drawn as a keypoint.
    peaks: (*batch, J); a limb takes the smaller one of its two ends.
    The other parameters are those of :func:`keypoints_to_heatmaps`; ``merge`` is the maximum over the limbs.

    Raises ``ValueError`` naming the offending sizes or the limb that names no joint.
    Source: the published implementation of section III-A, which draws limbs where the text speaks of keypoint pairs.

    >>> limbs_to_heatmaps(torch.tensor([[1.0, 0.0], [2.0, 0.0]]), [(0, 1)], (2, 4), sigma_px=1.0)
    tensor([[[0.6065, 1.0000, 1.0000, 0.6065],
             [0.3679, 0.6065, 0.6065, 0.3679]]])
    """
    shape = _picture(size)
    points, strengths, lead = _prepare(keypoints, peaks, 2, sigma_px, shape)
    pairs = limb_pairs(limbs, points.shape[1])
    return _draw(
        points,
        strengths,
        (*lead, 1 if merge else len(pairs), *shape),
        keypoints.dtype,
        video,
        out,
        lambda points, strengths: segments(points, strengths, pairs, shape, sigma_px, merge),
        lambda kernels, points, strengths, flat, starts: kernels.draw_limbs(
            points, strengths, pairs, flat, starts, *shape, sigma_px, CUTOFF_SIGMAS * sigma_px, merge
        ),
    )


# ---------------------------------------------------------------------------- projections of volumes
def joints_to_projections(
    positions: Float[Tensor, "*batch J xyz"],
    size: int,
    sigma_px: float,
    peaks: Float[Tensor, "..."] | None = None,
    *,
    depth: Literal["grid", "continuous"] = "grid",
    video: bool = False,
    out: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "... size size"]:
    """Draw joints as a volume seen along x, y and z, without building it: (*batch, J, 3) voxels to (*batch, 3, S, S).

    The channels are the largest value along x (picture YZ: rows y, columns z), along y (XZ: rows z, columns x) and
    along z (XY: rows y, columns x), over all joints; a body stands upright in the first and the last.
    depth: ``"grid"``: exactly the maximum over the S voxels of :func:`keypoints_to_volumes`. The Gaussian is a product
        over the axes, so this is the 2D heatmap times the value at the nearest voxel layer, between exp(-1 / (8
        sigma^2)) (0.80 at sigma 0.75) and 1. ``"continuous"``: the maximum over all real depths, that is the 2D
        heatmap; it does not flicker when a joint passes from layer to layer, nor fade for joints outside the grid's
        depth.
    The other parameters are those of :func:`keypoints_to_heatmaps`.

    Source: section III-A (volumes projected to X-Y, Y-Z, X-Z), by maximum as in the published implementation.
    """
    _check_depth(depth)
    points, strengths, lead = _prepare(positions, peaks, 3, sigma_px, (size, size, size))
    views = torch.stack([points[..., [column, row]] for column, row, _ in VIEWS], dim=1)
    strengths = strengths.unsqueeze(1).expand(views.shape[:-1])
    if depth == "grid":
        along = points[..., [axis for *_, axis in VIEWS]].mT
        layer = along.detach().round().clamp(0, size - 1)
        strengths = strengths * torch.exp((along - layer).square() / (-2 * sigma_px**2))
    return _draw(
        views,
        strengths,
        (*lead, 3, size, size),
        positions.dtype,
        video,
        out,
        lambda points, strengths: (
            gaussians(points.flatten(0, 1), strengths.flatten(0, 1), (size, size), sigma_px, True)
            .unflatten(0, (-1, 3))
            .squeeze(2)
        ),
        lambda kernels, points, strengths, flat, starts: kernels.draw_keypoints(
            points.reshape(-1, *points.shape[2:]),
            strengths.reshape(-1, strengths.shape[2]),
            points.reshape(-1, *points.shape[2:])[:0],
            flat,
            starts.reshape(-1, 1),
            size,
            size,
            sigma_px,
            CUTOFF_SIGMAS * sigma_px,
            True,
        ),
    )


def limbs_to_projections(
    positions: Float[Tensor, "*batch J xyz"],
    limbs: Limbs,
    size: int,
    sigma_px: float,
    peaks: Float[Tensor, "..."] | None = None,
    *,
    depth: Literal["grid", "continuous"] = "grid",
    video: bool = False,
    out: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "... size size"]:
    """Draw limbs as a volume seen along x, y and z, without building it: (*batch, J, 3) voxels to (*batch, 3, S, S).

    Channels and their orientation are those of :func:`joints_to_projections`; the largest value over all limbs counts.
    depth: ``"grid"``: exactly the maximum over the S voxels of :func:`limbs_to_volumes` along the axis of sight. The
        distance to a segment is a convex function of the depth, so its smallest value over the integers lies at one of
        the two layers around its smallest value over the reals, and that one is where the projected segment comes
        nearest to the pixel: two distances a pixel instead of S.
        ``"continuous"``: the maximum over all real depths, that is the 2D limb between the projected ends. It is never
        below the grid's value and, where the nearest point lies inside the grid's depth, at most exp(1 / (8 sigma^2))
        times as large: half a voxel along the line of sight is at right angles to the shortest distance. It does not
        flicker when a limb passes from layer to layer.
    The other parameters are those of :func:`limbs_to_heatmaps`.

    Source: section III-A (volumes projected to X-Y, Y-Z, X-Z), by maximum as in the published implementation.
    Differs: that implementation multiplies a limb's peak in twice.
    """
    _check_depth(depth)
    points, strengths, lead = _prepare(positions, peaks, 3, sigma_px, (size, size, size))
    pairs = limb_pairs(limbs, points.shape[1])
    return _draw(
        points,
        strengths,
        (*lead, 3, size, size),
        positions.dtype,
        video,
        out,
        lambda points, strengths: projected_segments(points, strengths, pairs, size, sigma_px, depth == "grid"),
        lambda kernels, points, strengths, flat, starts: kernels.draw_limb_projections(
            points, strengths, pairs, flat, starts, size, sigma_px, CUTOFF_SIGMAS * sigma_px, depth == "grid"
        ),
    )


# ------------------------------------------------------------------------------------------------ volumes
def keypoints_to_volumes(
    positions: Float[Tensor, "*batch J xyz"],
    size: int | tuple[int, int, int],
    sigma_px: float,
    peaks: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch J depth height width"]:
    """Draw joints as 3D Gaussians: (*batch, J, 3) voxels to (*batch, J, D, H, W), indexed [z, y, x].

    For small sizes: 17 joints at 128 voxels a side take 143 MB a frame; the projections need none of it.
    Parameters as in :func:`keypoints_to_heatmaps`; size is (depth, height, width), or one number for a cube.

    Source: section III-A, Eq. 1 extended by the z dimension.
    """
    shape = (size,) * 3 if isinstance(size, int) else size
    points, strengths, lead = _prepare(positions, peaks, 3, sigma_px, shape)
    volumes = gaussians(points, strengths, shape, sigma_px, False)
    return volumes.reshape(*lead, -1, *shape).to(positions.dtype)


def limbs_to_volumes(
    positions: Float[Tensor, "*batch J xyz"],
    limbs: Limbs,
    size: int | tuple[int, int, int],
    sigma_px: float,
    peaks: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "*batch L depth height width"]:
    """Draw limbs as 3D segments with a Gaussian profile: (*batch, J, 3) voxels to (*batch, L, D, H, W), indexed [z, y,
    x].

    For small sizes, as :func:`keypoints_to_volumes`; parameters as in :func:`limbs_to_heatmaps`.
    """
    shape = (size,) * 3 if isinstance(size, int) else size
    points, strengths, lead = _prepare(positions, peaks, 3, sigma_px, shape)
    pairs = limb_pairs(limbs, points.shape[1])
    volumes = segments(points, strengths, pairs, shape, sigma_px, False)
    return volumes.reshape(*lead, len(pairs), *shape).to(positions.dtype)


# ------------------------------------------------------------------------------------------------ back
def heatmaps_to_keypoints(
    heatmaps: Float[Tensor, "*batch J height width"],
) -> tuple[Float[Tensor, "*batch J 2"], Float[Tensor, "*batch J"]]:
    """Find the keypoint of each heatmap: (*batch, J, H, W) to pixels (*batch, J, 2) and confidence (*batch, J), its
    peak.

    A parabola through the logarithm of three pixels around the maximum, along x and along y. The logarithm of a
    Gaussian is a parabola, so drawn keypoints come back whatever their sigma: within 1e-3 px and 1e-3 of the peak in
    float32 for sigma 0.5 to 4 and keypoints at most half a pixel outside (1e-9 px in float64). Farther ones come back
    half a pixel outside. In maps that are no Gaussians, as a model makes them, the result stays within half a pixel of
    the largest one. An axis of fewer than three pixels is not refined. Channels with no positive value give NaN and
    confidence 0.

    Differentiable with respect to the heatmaps.
    """
    height, width = heatmaps.shape[-2:]
    if height * width == 0:
        raise ValueError(f"heatmaps have shape {tuple(heatmaps.shape)}: no pixels to search")
    values = heatmaps.float() if heatmaps.dtype in (torch.float16, torch.bfloat16) else heatmaps
    flat = values.flatten(-2)
    index = flat.detach().nan_to_num(-math.inf).argmax(dim=-1)
    rows, columns = index // width, index % width
    top = flat.gather(-1, index.unsqueeze(-1)).squeeze(-1)
    shift_x, gain_x = _parabola(flat, columns, width, rows * width, 1)
    shift_y, gain_y = _parabola(flat, rows, height, columns, width)
    keypoints = torch.stack([columns + shift_x, rows + shift_y], dim=-1)
    found = top > 0
    keypoints = keypoints.where(found.unsqueeze(-1), math.nan)
    confidence = (top * torch.exp(gain_x + gain_y)).where(found, 0.0)
    return keypoints.to(heatmaps.dtype), confidence.to(heatmaps.dtype)


def _parabola(flat: Tensor, peak: Tensor, length: int, origin: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Vertex of the parabola through three logarithms along one axis: its shift from the largest pixel and its gain
    over it."""
    if length < 3:
        return torch.zeros_like(flat[..., 0]), torch.zeros_like(flat[..., 0])
    middle = peak.clamp(1, length - 2)
    tiny = torch.finfo(flat.dtype).tiny
    left, center, right = (
        flat.gather(-1, (origin + (middle + k) * step).unsqueeze(-1)).squeeze(-1).clamp(min=tiny).log()
        for k in (-1, 0, 1)
    )
    slope, bend = (right - left) / 2, left - 2 * center + right
    vertex = torch.where(bend < 0, -slope / bend.where(bend < 0, -1.0), 0.0)
    at_peak = (peak - middle).to(flat.dtype)
    shift = (vertex - at_peak).clamp(-0.5, 0.5)
    reached = at_peak + shift
    gain = slope * shift + bend * (reached.square() - at_peak.square()) / 2
    return shift, torch.where(bend < 0, gain, 0.0)


# ---------------------------------------------------------------------------- checks and the choice of a path
def _prepare(
    keypoints: Tensor, peaks: Tensor | None, num_axes: int, sigma_px: float, shape: Sequence[int]
) -> tuple[Tensor, Tensor, torch.Size]:
    """Check, flatten the leading axes, give what is not to be drawn the peak 0: points (N, J, axes), peaks (N, J),
    leading axes."""
    if keypoints.ndim < 2 or keypoints.shape[-1] != num_axes:
        raise ValueError(f"keypoints have shape {tuple(keypoints.shape)}; expected (..., joints, {num_axes})")
    if not keypoints.is_floating_point():
        raise ValueError(f"keypoints are {keypoints.dtype}; expected a floating-point type")
    if not (sigma_px > 0 and math.isfinite(sigma_px)):
        raise ValueError(f"sigma_px is {sigma_px}; expected a positive number of pixels")
    if len(shape) != num_axes or min(shape) < 1:
        raise ValueError(f"size is {tuple(shape)}; expected {num_axes} numbers of at least 1")
    if peaks is not None and peaks.shape != keypoints.shape[:-1]:
        raise ValueError(
            f"peaks have shape {tuple(peaks.shape)}, keypoints {tuple(keypoints.shape)}; expected one peak a keypoint"
        )
    lead = keypoints.shape[:-2]
    points = keypoints if len(lead) == 1 else keypoints.reshape(math.prod(lead), *keypoints.shape[-2:])
    is_plain = peaks is None and points.dtype == torch.float32 and points.device.type == "cpu" and points.numel() > 0
    if is_plain and (kernels := _kernels()) is not None and kernels.are_near(_array(points), _FAR_PX):
        return points, _ones(*points.shape[:2]), lead  # a third of the time for a single frame
    if points.dtype in (torch.float16, torch.bfloat16):
        points = points.float()
    strengths = points.detach().isfinite().all(dim=-1).to(points.dtype)
    if peaks is not None:
        clean = peaks.reshape(strengths.shape).to(points.dtype).nan_to_num(0.0, posinf=0.0, neginf=0.0)
        strengths = strengths * clean.clamp(min=0.0)
    return points.nan_to_num(0.0).clamp(-_FAR_PX, _FAR_PX), strengths, lead


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


@functools.lru_cache(maxsize=16)
def _ones(rows: int, columns: int) -> Tensor:
    """Peaks of 1; shared, so never to be written to, and of use wherever the first call came from: a tensor made in
    inference mode could not take part in gradients later."""
    with torch.inference_mode(False):
        return torch.ones(rows, columns, device="cpu")


def _picture(size: Size) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _check_depth(depth: str) -> None:
    if depth not in ("grid", "continuous"):
        raise ValueError(f"depth is {depth!r}; expected 'grid' or 'continuous'")


def limb_pairs(limbs: Limbs, num_joints: int) -> np.ndarray:
    """Limbs as an (L, 2) array of indices. ``ValueError`` for another shape or a limb that names no joint."""
    pairs = np.asarray(limbs.tolist() if isinstance(limbs, Tensor) else limbs, dtype=np.int64)
    if pairs.size == 0:
        return np.empty((0, 2), dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(f"limbs have shape {pairs.shape}; expected (limbs, 2)")
    if pairs.min() < 0 or pairs.max() >= num_joints:
        wrong = pairs[((pairs < 0) | (pairs >= num_joints)).any(axis=1)][0]
        raise ValueError(f"limb {tuple(wrong.tolist())} is not a pair of joints 0..{num_joints - 1}")
    return np.ascontiguousarray(pairs)


def _draw(
    points: Tensor,
    strengths: Tensor,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    video: bool,
    out: Tensor | None,
    with_torch: Callable[[Tensor, Tensor], Tensor],
    with_kernel: Callable[..., None],
) -> Tensor:
    """Draw into ``shape`` (*batch, C, H, W), by kernel where that is possible, and lay it out as asked."""
    if video and len(shape) < 4:
        raise ValueError(f"video needs a frame axis before the joints; heatmaps have shape {shape}")
    recording = torch.is_grad_enabled() and (points.requires_grad or strengths.requires_grad)
    final = (*shape[:-4], shape[-3], shape[-4], *shape[-2:]) if video else shape
    if out is not None:
        if recording:
            raise ValueError("out is given while gradients are recorded; leave it out, or draw under torch.no_grad()")
        if out.shape != final or out.dtype != dtype or out.device != points.device:
            raise ValueError(
                f"out is {tuple(out.shape)} {out.dtype} on {out.device}; expected {final} {dtype} on {points.device}"
            )
    if recording:
        drawn = with_torch(points, strengths).reshape(shape).to(dtype)
        return drawn.transpose(-4, -3).contiguous() if video else drawn
    if out is None:
        out = _empty(final, dtype, points.device)
    target = out.transpose(-4, -3) if video else out
    kernels = _kernels() if dtype == torch.float32 and out.device.type == "cpu" else None
    span, starts = _layout(shape, target.stride())
    if kernels is not None and starts is not None:
        with_kernel(kernels, _array(points), _array(strengths), target.as_strided((span,), (1,)).numpy(), starts)
    else:
        _draw_in_chunks(points.detach(), strengths.detach(), target, with_torch)
    return out


def _draw_in_chunks(points: Tensor, strengths: Tensor, target: Tensor, with_torch: Callable) -> None:
    """The torch path with a bound on its intermediates: those of one chunk fit a CPU's cache or a part of a GPU's
    memory."""
    count, per_frame = len(points), strengths[:1].numel() * target.shape[-1] * target.shape[-2]
    size = max(1, (2**18 if points.device.type == "cpu" else 2**25) // max(per_frame, 1))
    images = (count, *target.shape[-3:])
    direct = target.is_contiguous()
    drawn = target.view(images) if direct else target.new_empty(images)
    for start in range(0, count, size):
        stop = start + size
        drawn[start:stop] = with_torch(points[start:stop], strengths[start:stop])
    if not direct:
        target.copy_(drawn.view(target.shape))


@functools.cache
def _kernels() -> ModuleType | None:
    """The compiled kernels, or None without numba."""
    try:
        from motionkit.representation import heatmap_kernels
    except ImportError:
        return None
    return heatmap_kernels


@functools.lru_cache(maxsize=64)
def _layout(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[int, np.ndarray | None]:
    """How many elements (*batch, C, H, W) spans in memory, and the offset in it of each of its (N, C) pictures; None
    where the rows of a picture do not follow one another."""
    if strides[-2:] != (shape[-1], 1):
        return 0, None
    starts = np.zeros((), dtype=np.int64)
    for length, stride in zip(shape[:-2], strides[:-2], strict=True):
        starts = starts[..., None] + np.arange(length) * stride
    empty = math.prod(shape) == 0
    span = 0 if empty else 1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    return span, starts.reshape(math.prod(shape[:-3]), shape[-3])


def _empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """New memory. On the CPU it comes from numpy, which asks the system for huge pages: fresh memory is written several
    times faster. Aligned to cache lines."""
    size = math.prod(shape)
    if dtype != torch.float32 or device.type != "cpu" or size < 2**18:
        return torch.empty(shape, dtype=dtype, device=device)
    memory = np.empty(size + 16, dtype=np.float32)
    aligned = -memory.ctypes.data % 64 // 4
    return torch.from_numpy(memory[aligned : aligned + size]).view(shape)
