"""Resize and its older form Upsample: each axis is resampled on its own.

An element of the result is a weighted sum of a few elements of the input. Scales are known
when the model is compiled, so places and weights are constants: one gather for each of them.

    nearest: 1 tap     linear: 2 taps     cubic: 4 taps     with antialias: as many as it takes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
from xdsl.ir import SSAValue

from tfc.dialects.tfc.elementwise import AddOp, MulOp
from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.select import SelectOp
from tfc.dialects.tfc.types import Array, element, is_float, shape_of
from tfc.frontend.onnx.node import Node
from tfc.frontend.onnx.table import onnx_op
from tfc.frontend.onnx.values import along, broadcast, cast, constant, like

ROUNDING: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


@onnx_op("Upsample", since=1)
def upsample_by_attribute(node: Node) -> SSAValue:
    return _resample_all(node, list(node.attr("scales")), _SETTINGS_OF_UPSAMPLE)


@onnx_op("Upsample", "Resize", since=9)
def upsample(node: Node) -> SSAValue:
    return _resample_all(node, _scales(node, 1), _SETTINGS_OF_UPSAMPLE)


_SETTINGS_OF_UPSAMPLE = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@onnx_op("Resize", since=11)
def resize(node: Node) -> SSAValue:
    dims = node.shape(0)
    given = node.attr("axes") or list(range(len(dims)))
    axes = [node.normal_axis(a, len(dims)) for a in given]
    scales: list[float] = [1.0] * len(dims)
    sizes: list[int | None] = [None] * len(dims)
    if node.get(3) is not None:
        scales, sizes = _of_sizes(node, axes)
    else:
        for axis, scale in zip(axes, _scales(node, 2), strict=True):
            scales[axis] = scale
    return _resample_all(node, scales, node.attributes, sizes, _regions(node, axes))


def _scales(node: Node, operand: int) -> list[float]:
    array = node.array(operand)
    if array is None:
        node.fail(f"the scales (input number {operand}) must be constant")
    return [float(s) for s in array.reshape(-1)]


def _of_sizes(node: Node, axes: list[int]) -> tuple[list[float], list[int | None]]:
    """A scale for each axis, and a size where it changes; extents that stay may be unknown."""
    dims, wanted = node.shape(0), node.dims(3)
    if wanted is None or len(wanted) != len(axes):
        node.fail(
            f"expected {len(axes)} sizes that are constant or follow from shapes, got {wanted}"
        )
    policy = node.attr("keep_aspect_ratio_policy", "stretch")
    scales: list[float] = [1.0] * len(dims)
    sizes: list[int | None] = [None] * len(dims)
    changed = [
        (a, n, dims[a])
        for a, n in zip(axes, wanted, strict=True)
        if policy != "stretch" or n != dims[a]
    ]
    known = [
        (a, n, d) for a, n, d in changed if isinstance(n, int) and isinstance(d, int) and d > 0
    ]
    if len(known) != len(changed):
        node.fail(f"sizes {wanted} need known extents of the axes {axes}, got {list(dims)}")
    for axis, size, extent in known:
        scales[axis], sizes[axis] = size / extent, size
    if policy != "stretch":
        limit = (min if policy == "not_larger" else max)(scales[a] for a, _, _ in known)
        for axis, _, extent in known:
            scales[axis], sizes[axis] = limit, int(np.floor(limit * extent + 0.5))
    return scales, sizes


def _regions(node: Node, axes: list[int]) -> dict[int, tuple[float, float]]:
    """Start and end of the part that is sampled, for each axis, with tf_crop_and_resize."""
    if node.attr("coordinate_transformation_mode") != "tf_crop_and_resize":
        return {}
    array = node.array(1)
    if array is None or array.size != 2 * len(axes):
        node.fail(f"expected a constant region of {2 * len(axes)} numbers")
    flat = array.reshape(-1)
    return {a: (float(flat[i]), float(flat[i + len(axes)])) for i, a in enumerate(axes)}


def _resample_all(
    node: Node,
    scales: list[float],
    settings: Mapping[str, object],
    sizes: list[int | None] | None = None,
    regions: dict[int, tuple[float, float]] | None = None,
) -> SSAValue:
    dims, x = node.shape(0), node[0]
    if len(scales) != len(dims) or any(not s > 0 for s in scales):
        node.fail(f"expected {len(dims)} scales above 0, got {scales}")
    for axis, (size, scale) in enumerate(zip(dims, scales, strict=True)):
        wanted = None if sizes is None else sizes[axis]
        if wanted is None and scale == 1 and not (regions and axis in regions):
            continue
        if not isinstance(size, int):
            node.fail(f"axis {axis} needs a known extent, got {size}")
        count = int(np.floor(size * scale)) if wanted is None else wanted
        region = (regions or {}).get(axis)
        if count == size and scale == 1 and region in (None, (0.0, 1.0)):
            continue
        x = _resample(node, x, axis, count, scale, settings, region)
    return x


def _positions(
    size: int, count: int, scale: float, mode: str, region: tuple[float, float] | None
) -> Array:
    """Where in the input each element of the result lies."""
    i = np.arange(count, dtype=np.float64)
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        length = scale * size
        return i * 0 if length <= 1 or count == 1 else i * (size - 1) / (length - 1)
    if mode == "tf_crop_and_resize" and region is not None:
        first, last = region
        if count == 1:
            return np.full(1, 0.5 * (first + last) * (size - 1))
        return first * (size - 1) + i * (last - first) * (size - 1) / (scale * size - 1)
    if mode == "pytorch_half_pixel" and count == 1:
        return np.full(1, -0.5)
    x = (i + 0.5) / scale - 0.5
    if mode == "half_pixel_symmetric":  # the centre stays where it is
        adjusted = count / (scale * size)
        return size / 2 * (1 - adjusted) + x
    return x


def _resample(
    node: Node,
    x: SSAValue,
    axis: int,
    count: int,
    scale: float,
    settings: Mapping[str, object],
    region: tuple[float, float] | None,
) -> SSAValue:
    size = shape_of(x)[axis]
    assert isinstance(size, int), "the caller has checked this"
    mode = str(settings.get("coordinate_transformation_mode", "half_pixel"))
    positions = _positions(size, count, scale, mode, region)
    kind = node.attr("mode")
    if kind == "nearest":
        rounding = ROUNDING.get(str(settings.get("nearest_mode", "round_prefer_floor")))
        if rounding is None:
            node.fail(f"unknown nearest_mode {settings.get('nearest_mode')!r}")
        places = np.clip(rounding(positions), 0, size - 1)[:, None]
        weights = np.ones_like(places)
    elif kind in ("linear", "bilinear", "trilinear", "cubic"):
        stretch = max(1.0, 1 / scale) if settings.get("antialias") else 1.0
        places, weights = _taps(
            positions, kind == "cubic", float(node.attr("cubic_coeff_a", -0.75)), stretch
        )
        if settings.get("exclude_outside"):
            weights = weights * ((places >= 0) & (places < size))
        if settings.get("exclude_outside") or settings.get("antialias"):
            weights = weights / weights.sum(1, keepdims=True)
        places = np.clip(places, 0, size - 1)
    else:
        node.fail(f"expected mode nearest, linear or cubic, got {kind!r}")
    result = _weighted(node, x, axis, places, weights)
    if region is None:
        return result
    outside = constant(node.emit, (positions < 0) | (positions > size - 1), np.bool_)
    rank = len(shape_of(result))
    wide = broadcast(node.emit, along(node.emit, outside, axis, rank), shape_of(result))
    fill = like(node.emit, node.attr("extrapolation_value", 0.0), result)
    return node.make(SelectOp(wide, fill, result))


def _taps(positions: Array, cubic: bool, a: float, stretch: float) -> tuple[Array, Array]:
    """The places around each position, and the weight of each: [count, taps]."""
    reach = (2 if cubic else 1) * stretch
    first = np.floor(positions - reach).astype(np.int64) + 1
    places = first[:, None] + np.arange(int(np.ceil(2 * reach)))[None, :]
    far = np.abs(places - positions[:, None]) / stretch
    if cubic:
        near = ((a + 2) * far - (a + 3)) * far * far + 1
        rest = ((a * far - 5 * a) * far + 8 * a) * far - 4 * a
        weights = np.where(far <= 1, near, np.where(far < 2, rest, 0.0))
    else:
        weights = np.maximum(1 - far, 0.0)
    return places, weights


def _weighted(node: Node, x: SSAValue, axis: int, places: Array, weights: Array) -> SSAValue:
    """The sum over taps of gathered elements times their weights."""
    taps = [
        node.make(GatherOp(x, constant(node.emit, places[:, k], np.int64), axis))
        for k in range(places.shape[1])
    ]
    if len(taps) == 1:
        return taps[0]
    kind = element(x)
    if not is_float(kind):
        node.fail(f"expected floating-point elements, got {kind}")
    rank = len(shape_of(x))

    def scaled(k: int) -> SSAValue:
        weight = cast(node.emit, constant(node.emit, weights[:, k], np.float32), kind)
        wide = broadcast(node.emit, along(node.emit, weight, axis, rank), shape_of(taps[k]))
        return node.make(MulOp(taps[k], wide))

    return reduce(lambda p, q: node.make(AddOp(p, q)), [scaled(k) for k in range(len(taps))])
