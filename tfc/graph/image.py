"""``tf.image``: resizing."""

from __future__ import annotations

from typing import Any

from tfc.graph.dtypes import int32
from tfc.graph.node import Tensor
from tfc.graph.ops import convert, name_scope, single


def resize_bilinear(
    images: Any, size: Any, align_corners: bool = False, name: str | None = None,
    half_pixel_centers: bool = False,
) -> Tensor:  # fmt: skip
    """``images: [n, h, w, c]`` at another size, each value between its four neighbours."""
    with name_scope(name, "ResizeBilinear", [images]) as scope:
        x, sizes = convert(images, name="images"), convert(size, int32, name="size")
        corners = {"align_corners": align_corners, "half_pixel_centers": half_pixel_centers}
        return single("ResizeBilinear", [x, sizes], scope, **corners)
