"""Keypoints read back from pictures in which all limbs share one channel, as the 2D tokenizers draw them.

A joint cannot be found by its brightest pixel there, since no pixel tells which limb it belongs to. Instead a skeleton
is laid over the picture and its joints are moved until the drawn limbs match.

Two facts make this quick. A drawn limb changes with its two ends only, so each Gauss-Newton step is a small linear
system a frame. And a drawn picture becomes, exactly, the one drawn with a larger sigma when every pixel takes the
largest of its neighbors' values weighted by a Gaussian (`widen`): the fit can start with broad limbs, which pull from
afar, and end with the true ones, and the true keypoints are a perfect match at every width.

Source: own, for the error of keypoints decoded from a reconstruction. The widening is the dilation by a paraboloid of
van den Boomgaard and Smeulders, The morphological structure of images, 1994, taken on the logarithm.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from motionkit.representation.heatmaps import Limbs, limb_pairs, limbs_to_heatmaps

WIDTHS = (8.0, 4.0, 2.0, 1.0)
"""Sigmas of the fit, from coarse to fine, in units of the drawn sigma."""

_DAMPING = 0.1  # keeps joints in place along what the picture does not show, such as a knee of a straight leg
_FLOATS_PER_CHUNK = 2**18  # distances held at a time on a CPU; they stay in its cache


@torch.no_grad()
def fit_keypoints(
    pictures: Float[Tensor, "B 1 T H W"],
    start: Float[Tensor, "B T J 2"],
    limbs: Limbs,
    sigma_px: float,
    *,
    steps: int = 5,
    smoothness: float = 0.1,
) -> Float[Tensor, "B T J 2"]:
    """Move the keypoints ``start`` until their drawing matches ``pictures``, by least squares; pixels.

    pictures: limbs drawn with ``sigma_px`` and merged, or a model's reconstruction of that; clipped to [0, 1]. Limbs
        may be dim: the brightness of each is fitted too. One that is missing tends to shrink onto its neighbor.
    start: where the search begins; finite. It also decides what the picture leaves open: which of two crossing limbs is
        the left one, and where along a straight chain a joint lies.
    steps: Gauss-Newton steps at each of the four `WIDTHS`.
    smoothness: pull of each joint toward the mean of the frames before and after, in squared intensity; 0 fits every
        frame by itself. At the default a joint that the picture shows gives way by a few hundredths of a pixel.

    A frame that shows nothing keeps its start. Windows do not influence each other. Limbs may leave the picture.

    What the error of such keypoints means depends on the start, so all rows of a table need the same. A start at the
    truth flatters: a blank picture would get the error 0. For reconstructions start at `place_pose` of the temporal
    mean pose, which knows the person's proportions and average place but no motion, and show beside the models a blank
    picture (the error of that start) and the true picture (what this fit reads at best). For denoising start at the
    noisy keypoints that were given.

    Raises ``ValueError`` for shapes that do not match, a limb that names no joint, or a start that is not finite.
    """
    _check(pictures, start)
    batch, frames, joints = start.shape[:3]
    pairs = torch.as_tensor(limb_pairs(limbs, joints), device=start.device)
    flat = pictures.flatten(0, 2).float().nan_to_num(0.0).clamp(0, 1)
    found = start.flatten(0, 1).float()
    for width in WIDTHS if len(pairs) else ():
        sigma = width * sigma_px
        stride = max(1, round(sigma))  # broad limbs need fewer pixels
        pixels, values = _near(found, pairs, widen(flat, sigma_px, sigma), sigma, stride)
        for _ in range(steps if pixels.shape[1] else 0):
            matrix, gradient, brightness = _normal_equations(found, pairs, pixels, values, sigma, stride**2)
            pull = smoothness * brightness.square()[:, None]
            gradient = gradient + pull * _off_course(found.unflatten(0, (batch, frames))).flatten(0, 1).flatten(1)
            matrix.diagonal(dim1=-2, dim2=-1).add_(pull + _DAMPING)
            step = -torch.cholesky_solve(gradient[..., None], torch.linalg.cholesky(matrix))[..., 0]
            step = step.unflatten(1, (joints, 2))
            found = found + step * (sigma / step.norm(dim=-1, keepdim=True).clamp_min(sigma))  # at most sigma a step
    return found.unflatten(0, (batch, frames)).to(start.dtype)


@torch.no_grad()
def place_pose(
    pictures: Float[Tensor, "B 1 T H W"], pose: Float[Tensor, "B J 2"], limbs: Limbs, sigma_px: float
) -> Float[Tensor, "B T J 2"]:
    """One pose a window, carried in each frame to where its picture is bright: a start for `fit_keypoints`; pixels.

    The center of the squared brightness of the drawn pose is moved onto that of the picture. Where a picture shows
    nothing the pose stays.
    """
    moved = pose[:, None].expand(-1, pictures.shape[2], -1, -1)
    _check(pictures, moved)
    drawn = limbs_to_heatmaps(pose.float(), limbs, tuple(pictures.shape[-2:]), sigma_px, merge=True)
    here, there = _center(drawn), _center(pictures[:, 0].float().nan_to_num(0.0).clamp(0, 1))
    shift = (there - here).nan_to_num(0.0).to(pose.dtype)
    return moved + shift[:, :, None]


def widen(pictures: Float[Tensor, "*batch H W"], sigma_px: float, wider_px: float) -> Float[Tensor, "*batch H W"]:
    """What was drawn with ``sigma_px``, as if drawn with ``wider_px``: the same peaks, broader.

    Each pixel takes the largest value around it, weighted by a Gaussian with the difference of the variances. For
    ``exp(-d^2 / (2 sigma^2))`` of the distance d to any shape this is exact but for the pixel grid: where a shape
    passes between pixels none has its peak (0.64 for a point amid four pixels drawn with 0.75 px), and the result is
    dimmer there. Noise of small amplitude keeps its amplitude.

    Raises ``ValueError`` if ``wider_px`` is below ``sigma_px``.
    """
    if wider_px < sigma_px:
        raise ValueError(f"wider_px is {wider_px}, below sigma_px {sigma_px}")
    variance = wider_px**2 - sigma_px**2
    reach = math.ceil(3 * math.sqrt(variance))
    for axis in (-2, -1):
        size, wide = pictures.shape[axis], pictures.clone()
        for shift in range(1, min(reach, size - 1) + 1):
            weight = math.exp(-(shift**2) / (2 * variance))
            for source, goal in ((0, shift), (shift, 0)):
                part = wide.narrow(axis, goal, size - shift)
                torch.maximum(part, weight * pictures.narrow(axis, source, size - shift), out=part)
        pictures = wide
    return pictures


def _center(pictures: Float[Tensor, "*batch H W"]) -> Float[Tensor, "*batch 2"]:
    """Center (x, y) of the squared brightness; NaN for an empty picture."""
    height, width = pictures.shape[-2:]
    mass = pictures.square()
    columns, rows = torch.arange(width).to(mass), torch.arange(height).to(mass)
    return torch.stack([mass.sum(-2) @ columns, mass.sum(-1) @ rows], -1) / mass.sum((-2, -1))[..., None]


def _near(
    found: Float[Tensor, "N J 2"], pairs: Int[Tensor, "L 2"], wide: Float[Tensor, "N H W"], sigma: float, stride: int
) -> tuple[Float[Tensor, "N P 2"], Float[Tensor, "N P"]]:
    """Of every ``stride``-th pixel those close enough to a limb to push it, and their values; equally many a frame."""
    rows, columns = (
        torch.arange((size - 1) % stride // 2, size, stride, device=wide.device) for size in wide.shape[-2:]
    )
    wide = wide[:, rows[:, None], columns]
    origin = torch.stack([columns[0], rows[0]])
    drawn = limbs_to_heatmaps(
        (found - origin) / stride, pairs, tuple(wide.shape[-2:]), 1.5 * sigma / stride, merge=True
    )
    is_near = drawn.flatten(1) > 0.04  # within 3.8 sigma
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).flatten(0, 1).to(found)
    chosen = is_near.float().topk(int(is_near.sum(1).max()), dim=1).indices
    return grid[chosen], wide.flatten(1).gather(1, chosen)


def _normal_equations(
    found: Float[Tensor, "N J 2"],
    pairs: Int[Tensor, "L 2"],
    pixels: Float[Tensor, "N P 2"],
    values: Float[Tensor, "N P"],
    sigma: float,
    pixel_area: float,
) -> tuple[Float[Tensor, "N F F"], Float[Tensor, "N F"], Float[Tensor, "N"]]:
    """Matrix and gradient of the squared error in the F = 2 J coordinates, and each frame's mean brightness."""
    per_frame = pixels.shape[1] * len(pairs)
    chunk = max(1, (_FLOATS_PER_CHUNK if found.device.type == "cpu" else 64 * _FLOATS_PER_CHUNK) // per_frame)
    parts = [
        _normal_equations_of_chunk(*arrays, pairs, sigma)
        for arrays in zip(found.split(chunk), pixels.split(chunk), values.split(chunk), strict=True)
    ]
    matrix, gradient, brightness = (torch.cat(part) for part in zip(*parts, strict=True))
    return matrix * pixel_area, gradient * pixel_area, brightness


def _normal_equations_of_chunk(
    found: Tensor, pixels: Tensor, values: Tensor, pairs: Tensor, sigma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """A pixel belongs to its nearest limb. Its value a exp(-d^2 / (2 sigma^2)), with d the vector from the limb's
    nearest point, at share u of the way between the ends, changes with the first end by value / sigma^2 (1 - u) d and
    with the second by value / sigma^2 u d: moving the nearest point along the limb changes nothing. The brightness a
    of each limb is that of least squares."""
    count, joints = found.shape[:2]
    first = found[:, pairs[:, 0]]
    along = found[:, pairs[:, 1]] - first
    per_length = along / along.square().sum(-1, keepdim=True).clamp_min(1e-6)
    share = (per_length @ pixels.mT).sub_((first * per_length).sum(-1, keepdim=True)).clamp_(0, 1)  # (N, L, P)
    x, y = (
        (pixels[:, None, :, axis] - first[..., axis, None]).addcmul_(share, along[..., axis, None], value=-1)
        for axis in (0, 1)
    )
    squared, limb = x.square_().addcmul_(y, y).min(1)
    share = share.gather(1, limb[:, None])[:, 0, :, None]
    of_limb = limb[..., None].expand(-1, -1, 2)
    offset = pixels - first.gather(1, of_limb) - share * along.gather(1, of_limb)
    drawn = torch.exp(squared / (-2 * sigma**2))
    rows = (limb + len(pairs) * torch.arange(count, device=limb.device)[:, None]).flatten()
    shown, full = torch.zeros(2, count * len(pairs), device=rows.device).index_add_(
        1, rows, torch.stack([drawn * values, drawn.square()]).flatten(1)
    )
    brightness = (shown / full.clamp_min(1e-9)).clamp(0, 1)
    drawn = brightness[rows].view_as(drawn) * drawn
    slope = (drawn / sigma**2)[..., None] * offset
    jacobian = torch.cat([(1 - share) * slope, share * slope], -1)  # (N, P, 4): x, y of both ends
    products = jacobian[..., None] * torch.cat([jacobian, (drawn - values)[..., None]], -1)[..., None, :]

    # Sum over the pixels of a limb, then over the limbs that share a joint.
    sums = products.new_zeros(count * len(pairs), 4, 5).index_add_(0, rows, products.flatten(0, 1))
    sums = sums.view(count, len(pairs), 4, 5)
    ends = (2 * pairs[:, :, None] + torch.arange(2, device=pairs.device)).flatten(1)  # (L, 4) coordinates
    size = 2 * joints
    cells = (size * ends[:, :, None] + ends[:, None, :]).flatten()
    matrix = found.new_zeros(count, size**2).index_add_(1, cells, sums[..., :4].flatten(1))
    gradient = found.new_zeros(count, size).index_add_(1, ends.flatten(), sums[..., 4].flatten(1))
    return matrix.view(count, size, size), gradient, brightness.view(count, -1).mean(1)


def _off_course(found: Float[Tensor, "B T J 2"]) -> Float[Tensor, "B T J 2"]:
    """How far each joint is from the middle of its neighbors in time; at the ends, from the line through the next
    two."""
    if found.shape[1] < 3:
        return torch.zeros_like(found)
    bend = found[:, 1:-1] - (found[:, :-2] + found[:, 2:]) / 2
    return torch.cat([-2 * bend[:, :1], bend, -2 * bend[:, -1:]], dim=1)


def _check(pictures: Tensor, start: Tensor) -> None:
    if pictures.ndim != 5 or pictures.shape[1] != 1:
        raise ValueError(f"pictures have shape {tuple(pictures.shape)}; expected (B, 1, T, H, W)")
    if start.ndim != 4 or start.shape[:2] != (pictures.shape[0], pictures.shape[2]) or start.shape[-1] != 2:
        raise ValueError(
            f"keypoints have shape {tuple(start.shape)}, pictures {tuple(pictures.shape)}; "
            "expected (B, T, J, 2) and (B, 1, T, H, W)"
        )
    if not start.isfinite().all():
        raise ValueError(f"the start holds {start[~start.isfinite()][0].item()}; fill such keypoints first")
