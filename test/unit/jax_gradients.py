"""Write ``jax_gradients.npz``: what jax says of the gradients in ``test_jax_gradients.py``, in f64.

    python test/unit/jax_gradients.py        where jax is installed

Each case has inputs from a seeded generator (`inputs`), and for each input the gradient of the sum of
``sin`` of the results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_suffix(".npz")

SHAPES: dict[str, list[tuple[int, ...]]] = {
    "conv": [(2, 7, 6, 3), (3, 2, 3, 4)],
    "conv_dilated": [(1, 9, 9, 2), (3, 3, 2, 2)],
    "depthwise": [(2, 5, 5, 3), (3, 3, 3, 2)],
    "max_pool": [(2, 6, 6, 2)],
    "avg_pool": [(2, 5, 5, 2)],
    "layer_norm": [(4, 6), (6,), (6,)],
    "cross_entropy": [(5, 4)],
    "gelu": [(4, 5)],
    "gelu_tanh": [(4, 5)],
    "attention": [(2, 5, 4), (2, 5, 4), (2, 5, 4)],
    "lstm": [(6, 2, 3), (3, 12), (3, 12), (12,)],
    "logsumexp": [(3, 7)],
    "cumprod": [(3, 5)],
    "prod": [(3, 4)],
    "embedding": [(6, 3)],
    "elementwise": [(3, 5), (3, 5)],
}
IDS = np.array([[0, 2, 2], [5, 0, 2]])
LABELS = np.array([0, 3, 1, 1, 2])


def inputs(name: str) -> list[Any]:
    """The inputs of a case."""
    rng = np.random.default_rng(sorted(SHAPES).index(name))
    return [rng.standard_normal(s) for s in SHAPES[name]]


def main() -> None:
    import jax
    import jax.numpy as jnp
    from jax import lax

    jax.config.update("jax_enable_x64", True)

    def conv(x: Any, w: Any, strides: Any, padding: Any, dilation: Any = (1, 1), groups: int = 1) -> Any:
        return lax.conv_general_dilated(
            x, w, strides, padding, rhs_dilation=dilation, feature_group_count=groups,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip

    def average(x: Any) -> Any:
        total, count = (
            lax.reduce_window(v, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME") for v in (x, jnp.ones_like(x))
        )
        return total / count

    def norm(x: Any, scale: Any, bias: Any) -> Any:
        d = x - x.mean(-1, keepdims=True)
        return d * lax.rsqrt(jnp.square(d).mean(-1, keepdims=True) + 1e-3) * scale + bias

    def attention(q: Any, k: Any, v: Any) -> Any:
        return jax.nn.softmax(q @ k.swapaxes(1, 2) / 2, -1) @ v

    def lstm(x: Any, w: Any, r: Any, b: Any) -> Any:
        def step(carry: Any, row: Any) -> Any:
            i, f, c, o = jnp.split(row @ w + carry[0] @ r + b, 4, -1)
            cell = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(c)
            state = jax.nn.sigmoid(o) * jnp.tanh(cell)
            return (state, cell), state

        zero = jnp.zeros((2, 3))
        return lax.scan(step, (zero, zero), x)[1]

    def elementwise(x: Any, y: Any) -> Any:
        return jnp.arctan2(x, y) + jnp.tanh(x) * jnp.log1p(y * y) + jnp.maximum(x, y) ** 3 + jnp.expm1(-x * x) * jnp.arcsinh(y)

    functions: dict[str, Any] = {
        "conv": lambda x, w: conv(x, w, (2, 1), "SAME"),
        "conv_dilated": lambda x, w: conv(x, w, (1, 1), "VALID", (2, 3)),
        "depthwise": lambda x, w: conv(x, w.reshape(3, 3, 1, 6), (1, 1), "SAME", groups=3),
        "max_pool": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 2, 1), "SAME"),
        "avg_pool": average,
        "layer_norm": norm,
        "cross_entropy": lambda x: -jnp.take_along_axis(jax.nn.log_softmax(x), LABELS[:, None], 1)[:, 0],
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
        "attention": attention,
        "lstm": lstm,
        "logsumexp": lambda x: jax.nn.logsumexp(x, 1),
        "cumprod": lambda x: jnp.cumprod(x, 1),
        "prod": lambda x: jnp.prod(x.at[0, 1].set(0.0), 1),
        "embedding": lambda x: x[IDS],
        "elementwise": elementwise,
    }
    found: dict[str, Any] = {}
    for name, function in functions.items():
        arrays = inputs(name)
        gradients = jax.grad(lambda *xs, f=function: jnp.sin(f(*xs)).sum(), argnums=tuple(range(len(arrays))))(*arrays)
        found |= {f"{name}_{k}": np.asarray(g) for k, g in enumerate(gradients)}
    np.savez_compressed(FILE, **found)


if __name__ == "__main__":
    main()
