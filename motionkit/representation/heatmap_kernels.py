"""Heatmaps by compiled loops: float32 on the CPU, one thread, only the pixels near each keypoint. Needs numba.

``flat`` is the memory of all pictures and ``starts[n, c]`` the index in it at which picture (n, c) of ``height *
width`` pixels begins; each picture is cleared and drawn while it is in the cache. The loops release the GIL, so threads
may draw different batches at once. They compile once, at their first use (a few seconds), and are then loaded from the
cache beside this file.

Pixels come in runs of 16, whose length the compiler knows: each becomes a handful of vector instructions, without the
remainder loop in which a row of ten pixels would spend its time. Runs may overlap; the maximum does not mind. Indices
are unsigned because numba tests signed ones for "from the end", pixel by pixel. ``no_type_check`` keeps the shape
checks of the tests out: they cannot be compiled.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from motionkit.representation.heatmap_torch import VIEWS

RUN = 16

_HALF, _ZERO, _ONE = np.float32(0.5), np.float32(0.0), np.float32(1.0)
# 2^f for |f| <= 1/2: interpolation at the Chebyshev nodes of degree 6, relative error 3e-9 before rounding
_C6, _C5, _C4, _C3, _C2, _C1 = (
    np.float32(c)
    for c in (
        0.00015461444724808513,
        0.0013400428177711937,
        0.00961805667843204,
        0.05550327226669895,
        0.24022650922289554,
        0.6931472067028329,
    )
)
_FAST = {"contract", "nsz"}  # fused multiply-add, but no reordering: values do not depend on the machine's vectors


@intrinsic
@no_type_check
def _float_of_bits(context, bits):
    """The float32 whose bits are those of an int32."""

    def generate(context, builder, signature, args):
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(inline="always", fastmath=_FAST)
@no_type_check
def _exp2(y):
    """2^y in float32 for -126 <= y <= 127, to 2 units in the last place."""
    whole = np.floor(y + _HALF)
    f = y - whole
    fraction = _ONE + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
    return fraction * _float_of_bits(np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)))


@njit(inline="always", fastmath=_FAST)
@no_type_check
def _interval(low, high, length):
    """First and last pixel of [low, high] within 0..length-1; last < first if there is none."""
    first = max(0.0, math.ceil(low))
    last = min(length - 1.0, math.floor(high))
    return int(first), int(last)


@njit(cache=True, nogil=True)
@no_type_check
def are_near(points, far):
    """Whether all coordinates of (N, J, axes) are numbers within +-far."""
    for point in points.flat:  # noqa: SIM110 (the compiler knows no generators)
        if not abs(point) <= far:  # so is NaN
            return False
    return True


@njit(cache=True, nogil=True, fastmath=_FAST)
@no_type_check
def draw_keypoints(points, peaks, shown, flat, starts, height, width, sigma, radius, merge):
    """Gaussians: points (N, J, 2) and peaks (N, J) into starts (N, J), or (N, 1) with ``merge``.

    shown: the points (N, J, 2) that the pictures show and that are to be erased; (0, J, 2) to clear all.
    """
    falloff, limit = np.float32(-0.5 / (math.log(2.0) * sigma * sigma)), np.float32(radius * radius)
    across, down = np.empty(width + RUN, np.float32), np.empty(height + RUN, np.float32)
    count = min(RUN, width)
    for n in range(starts.shape[0]):
        if merge and len(shown) == 0:
            _clear(flat, starts[n, 0], height * width)
        for j in range(shown.shape[1] if len(shown) > 0 else 0):
            _erase(flat, starts[n, 0 if merge else j], shown[n, j, 0], shown[n, j, 1], height, width, radius)
        for j in range(points.shape[1]):
            start = starts[n, 0 if merge else j]
            if not merge and len(shown) == 0:
                _clear(flat, start, height * width)
            if not peaks[n, j] > 0:
                continue
            cx, cy = np.float64(points[n, j, 0]), np.float64(points[n, j, 1])
            top, bottom = _interval(cy - radius, cy + radius, height)
            left, right = _interval(cx - radius, cx + radius, width)
            if top > bottom or left > right:
                continue
            span = (right - left + RUN) // RUN * RUN
            left = max(min(left, width - span), 0)
            _bell(across, span, np.float32(left - cx), falloff, limit, _ONE)
            _bell(down, (bottom - top + RUN) // RUN * RUN, np.float32(top - cy), falloff, limit, peaks[n, j])
            for y in range(top, bottom + 1):
                for x in range(0, min(span, width), RUN):
                    x = min(x, width - left - count)
                    _stamp(flat, start + y * width + left + x, across, x, count, down[y - top], merge)


@njit(fastmath=_FAST)
@no_type_check
def _clear(flat, start, length):
    for i in range(np.uint64(start), np.uint64(start + length)):
        flat[i] = _ZERO


@njit(fastmath=_FAST)
@no_type_check
def _erase(flat, start, x, y, height, width, radius):
    cx, cy = np.float64(x), np.float64(y)
    top, bottom = _interval(cy - radius, cy + radius, height)
    left, right = _interval(cx - radius, cx + radius, width)
    for row in range(top, bottom + 1):
        _clear(flat, start + row * width + left, max(right + 1 - left, 0))


@njit(fastmath=_FAST)
@no_type_check
def _bell(values, length, offset, falloff, limit, peak):
    """A 1D Gaussian from ``offset`` on, 0 beyond the limit; ``length`` is a multiple of RUN."""
    for start in range(0, length, RUN):
        first = np.uint64(start)
        for k in range(RUN):
            d = offset + np.float32(start) + np.float32(k)
            value = peak * _exp2(falloff * d * d)
            values[first + np.uint64(k)] = value if d * d <= limit else _ZERO


@njit(fastmath=_FAST)
@no_type_check
def _stamp(flat, start, across, offset, count, level, merge):
    """Write one run of a keypoint's row, over what is there with ``merge``."""
    first, second = np.uint64(start), np.uint64(offset)
    if count < RUN or merge:
        for k in range(count):
            value, i = level * across[second + np.uint64(k)], first + np.uint64(k)
            flat[i] = value if value > flat[i] else flat[i]
    else:
        for k in range(RUN):
            flat[first + np.uint64(k)] = level * across[second + np.uint64(k)]


@njit(cache=True, nogil=True, fastmath=_FAST)
@no_type_check
def draw_limbs(points, peaks, limbs, flat, starts, height, width, sigma, radius, merge):
    """Segments: points (N, J, 2) and peaks (N, J) into starts (N, L), or (N, 1) with ``merge``."""
    falloff = np.float32(-0.5 / (math.log(2.0) * sigma * sigma))
    for n in range(starts.shape[0]):
        if merge:
            _clear(flat, starts[n, 0], height * width)
        for limb in range(limbs.shape[0]):
            start = starts[n, 0 if merge else limb]
            if not merge:
                _clear(flat, start, height * width)
            a, b = limbs[limb, 0], limbs[limb, 1]
            peak = min(peaks[n, a], peaks[n, b])
            if peak > 0:
                ends = points[n, a, 0], points[n, a, 1], points[n, b, 0], points[n, b, 1]
                _stroke(flat, start, height, width, ends, peak, falloff, radius)


@njit(fastmath=_FAST)
@no_type_check
def _stroke(flat, start, height, width, ends, peak, falloff, radius):
    """Draw one segment over what is there. Geometry of a row in float64, of the pixels in a run in float32."""
    ax, ay, bx, by = np.float64(ends[0]), np.float64(ends[1]), np.float64(ends[2]), np.float64(ends[3])
    mx, my = 0.5 * (ax + bx), 0.5 * (ay + by)
    length = math.hypot(bx - ax, by - ay)
    ux, uy = ((bx - ax) / length, (by - ay) / length) if length > 1e-6 else (1.0, 0.0)
    half, limit = np.float32(0.5 * length), np.float32(radius * radius)
    step_along, step_off = np.float32(ux), np.float32(uy)
    # A row crosses the bounding box, cut by the strip around the segment's line.
    box_low, box_high = max(min(ax, bx) - radius, 0.0), min(max(ax, bx) + radius, width - 1.0)
    slope, reach = (ux / uy, radius / abs(uy)) if abs(uy) > 1e-6 else (0.0, 2e6)
    top, bottom = _interval(min(ay, by) - radius, max(ay, by) + radius, height)
    count = min(RUN, width)
    for y in range(top, bottom + 1):
        dy = y - my
        center = mx + dy * slope
        first, last = math.ceil(max(box_low, center - reach)), math.floor(min(box_high, center + reach))
        for x in range(first, last + 1, RUN):
            x = min(x, width - count)
            along, off = np.float32((x - mx) * ux + dy * uy), np.float32((x - mx) * uy - dy * ux)
            _brush(flat, start + y * width + x, count, along, off, step_along, step_off, half, limit, falloff, peak)


@njit(fastmath=_FAST)
@no_type_check
def _brush(flat, start, count, along, off, step_along, step_off, half, limit, falloff, peak):
    """Draw one run of pixels; its length is a constant to the compiler unless the whole picture is narrower."""
    first = np.uint64(start)
    if count == RUN:
        for k in range(RUN):
            value, i = _value(along, off, step_along, step_off, k, half, limit, falloff, peak), first + np.uint64(k)
            flat[i] = value if value > flat[i] else flat[i]
    else:
        for k in range(count):
            value, i = _value(along, off, step_along, step_off, k, half, limit, falloff, peak), first + np.uint64(k)
            flat[i] = value if value > flat[i] else flat[i]


@njit(inline="always", fastmath=_FAST)
@no_type_check
def _value(along, off, step_along, step_off, k, half, limit, falloff, peak):
    """The limb's value at the k-th pixel of a run."""
    s, d = along + np.float32(k) * step_along, off + np.float32(k) * step_off
    beyond = abs(s) - half
    beyond = beyond if beyond > _ZERO else _ZERO
    squared = d * d + beyond * beyond
    value = peak * _exp2(falloff * squared)
    return value if squared <= limit else _ZERO


@njit(cache=True, nogil=True, fastmath=_FAST)
@no_type_check
def draw_limb_projections(points, peaks, limbs, flat, starts, size, sigma, radius, on_grid):
    """Merged segments seen along x, y, z: points (N, J, 3) and peaks (N, J) into starts (N, 3)."""
    falloff = np.float32(-0.5 / (math.log(2.0) * sigma * sigma))
    for n in range(starts.shape[0]):
        for view in range(3):
            column, row, depth = VIEWS[view]
            start = starts[n, view]
            _clear(flat, start, size * size)
            for limb in range(limbs.shape[0]):
                a, b = limbs[limb, 0], limbs[limb, 1]
                peak = min(peaks[n, a], peaks[n, b])
                if peak > 0:
                    ends = points[n, a, column], points[n, a, row], points[n, b, column], points[n, b, row]
                    if on_grid:
                        depths = points[n, a, depth], points[n, b, depth]
                        _stroke_layers(flat, start, size, ends, depths, peak, falloff, radius)
                    else:
                        _stroke(flat, start, size, size, ends, peak, falloff, radius)


@njit(fastmath=_FAST)
@no_type_check
def _stroke_layers(flat, start, size, ends, depths, peak, falloff, radius):
    """As ``_stroke``, with the distance to the segment in space from the nearer one of the two layers around its
    depth."""
    ax, ay, bx, by = np.float64(ends[0]), np.float64(ends[1]), np.float64(ends[2]), np.float64(ends[3])
    mx, my, mz = 0.5 * (ax + bx), 0.5 * (ay + by), 0.5 * (np.float64(depths[0]) + np.float64(depths[1]))
    length, rise = math.hypot(bx - ax, by - ay), np.float64(depths[1]) - np.float64(depths[0])
    ux, uy = ((bx - ax) / length, (by - ay) / length) if length > 1e-6 else (1.0, 0.0)
    flat_length = length if length > 1e-6 else 0.0
    whole = math.hypot(flat_length, rise)
    level, steep = (flat_length / whole, rise / whole) if whole > 1e-6 else (1.0, 0.0)
    climb = rise / flat_length if flat_length > 0.0 else 0.0
    line = (
        np.float32(0.5 * flat_length),
        np.float32(0.5 * whole),
        np.float32(level),
        np.float32(steep),
        np.float32(climb),
        np.float32(mz),
        np.float32(size - 1),
    )
    limit = np.float32(radius * radius)
    step_along, step_off = np.float32(ux), np.float32(uy)
    box_low, box_high = max(min(ax, bx) - radius, 0.0), min(max(ax, bx) + radius, size - 1.0)
    slope, reach = (ux / uy, radius / abs(uy)) if abs(uy) > 1e-6 else (0.0, 2e6)
    top, bottom = _interval(min(ay, by) - radius, max(ay, by) + radius, size)
    count = min(RUN, size)
    for y in range(top, bottom + 1):
        dy = y - my
        center = mx + dy * slope
        first, last = math.ceil(max(box_low, center - reach)), math.floor(min(box_high, center + reach))
        for x in range(first, last + 1, RUN):
            x = min(x, size - count)
            along, off = np.float32((x - mx) * ux + dy * uy), np.float32((x - mx) * uy - dy * ux)
            begin = np.uint64(start + y * size + x)
            if count == RUN:
                for k in range(RUN):
                    s, d = along + np.float32(k) * step_along, off + np.float32(k) * step_off
                    value, i = _layer_value(s, d, line, limit, falloff, peak), begin + np.uint64(k)
                    flat[i] = value if value > flat[i] else flat[i]
            else:
                for k in range(count):
                    s, d = along + np.float32(k) * step_along, off + np.float32(k) * step_off
                    value, i = _layer_value(s, d, line, limit, falloff, peak), begin + np.uint64(k)
                    flat[i] = value if value > flat[i] else flat[i]


@njit(inline="always", fastmath=_FAST)
@no_type_check
def _layer_value(s, d, line, limit, falloff, peak):
    """A limb's value on the nearer one of two layers, at ``s`` along and ``d`` off its projection."""
    half_flat, half, level, steep, climb, middle, top_layer = line
    at = _within(s, -half_flat, half_flat)
    lower = np.floor(middle + at * climb)
    near = _within(lower, _ZERO, top_layer) - middle
    far = _within(lower + _ONE, _ZERO, top_layer) - middle
    first, second = _apart(s, near, half, level, steep), _apart(s, far, half, level, steep)
    squared = d * d + (first if first < second else second)
    value = peak * _exp2(falloff * squared)
    return value if squared <= limit else _ZERO


@njit(inline="always", fastmath=_FAST)
@no_type_check
def _apart(s, z, half, level, steep):
    """Squared distance, in the vertical plane of a segment through the origin, from (s, z) to it."""
    at = _within(s * level + z * steep, -half, half)
    x, y = s - at * level, z - at * steep
    return x * x + y * y


@njit(inline="always", fastmath=_FAST)
@no_type_check
def _within(value, low, high):
    value = value if value > low else low
    return value if value < high else high
