"""Products of bytes: exact, whatever their signs, zero points and extents."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

import tfc
from tfc.codegen.cpu.targets import Target
from tfc.compiler import load, lower
from tfc.dialects.tfc.constant import ConstantOp
from tfc.dialects.tfc.contraction import ConvolutionOp, DotOp
from tfc.dialects.tfc.elementwise import AddOp, CastOp, SubOp
from tfc.dialects.tfc.fusion import FusionOp
from tfc.dialects.tfc.packed import ContractOp
from tfc.dialects.tfc.shape import BroadcastOp
from tfc.dialects.tfc.types import Array, LiteralAttr, element_of, tensor_type
from tfc.options import Options
from tfc.passes.pipeline import run_pipeline

CPUS = ["native", "x86-64", "x86-64-v3"]
I32 = element_of(np.int32)


def centred(make: Any, x: Array, zero: int | None, w: Array, shift: int) -> ModuleOp:
    """``make(x - zero, w - shift)`` in i32 of an input ``x`` and a constant ``w``."""
    block = Block(arg_types=[tensor_type(x.shape, element_of(x.dtype))])
    wide = CastOp(block.args[0], I32)
    operations: list[Any] = [wide]
    left: SSAValue = wide.result
    if zero is not None:
        number = ConstantOp(LiteralAttr.of(np.asarray(zero, np.int32)))
        spread = BroadcastOp(number.results[0], x.shape, [])
        operations += [number, spread, SubOp(left, spread.results[0])]
        left = operations[-1].results[0]
    weights = ConstantOp(LiteralAttr.of(w.astype(np.int32) - np.int32(shift)))
    operations += [weights, make(left, weights.results[0])]
    result = operations[-1].results[0]
    block.add_ops([*operations, ReturnOp(result)])
    return ModuleOp([FuncOp("main", ([*block.arg_types], [result.type]), Region(block))])


def check(make: Any, x: Array, zero: int | None, w: Array, shift: int, cpu: str = "native") -> None:
    """The kernel against numpy, bit for bit."""
    module = centred(make, x, zero, w, shift)
    op = next(o for o in module.walk() if isinstance(o, DotOp | ConvolutionOp))
    want = op.reference(x.astype(np.int32) - np.int32(zero or 0), w.astype(np.int32) - np.int32(shift))
    lowered = lower(module, Options(name="model", cpu=cpu))
    (got,) = load(lowered).run([x])
    np.testing.assert_array_equal(got, want)


def drawn(seed: int, dtype: Any, *shape: int) -> Array:
    """All numbers of the type, the extremes among the first."""
    limits = np.iinfo(dtype)
    values = np.random.default_rng(seed).integers(limits.min, limits.max + 1, shape).astype(dtype)
    values.reshape(-1)[:2] = limits.max, limits.min
    return values


@pytest.mark.parametrize("cpu", CPUS)
@pytest.mark.parametrize("dx", [np.uint8, np.int8])
@pytest.mark.parametrize(("zero", "shift"), [(None, 0), (3, 0), (200, 100)])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 7, 3), (19, 130, 67)])
def test_matmul_of_bytes(m: int, k: int, n: int, zero: int | None, shift: int, dx: Any, cpu: str) -> None:
    w = drawn(1, np.uint8 if shift else np.int8, k, n)
    check(lambda a, b: DotOp(a, b, [], [], [1], [0]), drawn(2, dx, m, k), zero, w, shift, cpu)


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_convolution_of_bytes(data: st.DataObject) -> None:
    """Padding stands for 0, which is the zero point; groups and channels of any number."""
    draw = data.draw
    groups, inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 20))
    pads, strides = draw(st.tuples(*[st.integers(0, 2)] * 4)), draw(st.tuples(*[st.integers(1, 2)] * 2))
    dx, dw = draw(st.sampled_from([np.uint8, np.int8])), draw(st.sampled_from([np.uint8, np.int8]))
    zero = draw(st.one_of(st.none(), st.integers(np.iinfo(dx).min, np.iinfo(dx).max)))
    shift = draw(st.integers(0, 255)) if dw is np.uint8 else 0
    x, w = drawn(3, dx, 2, 5, 6, groups * inputs), drawn(4, dw, 3, 2, inputs, groups * outputs)
    check(
        lambda a, b: ConvolutionOp(a, b, strides, [1, 1], pads[:2], pads[2:], groups), x, zero, w, shift
    )  # fmt: skip


def test_products_of_bytes_are_tiles() -> None:
    """Where the right operand is constant; other integers stay in the nest."""
    for w, packs in ((drawn(1, np.int8, 20, 40), True), (np.full((20, 40), 1000, np.int32), False)):
        w = w.copy()
        w[0, 0] = -100
        module = centred(lambda a, b: DotOp(a, b, [], [], [1], [0]), drawn(2, np.uint8, 8, 20), 7, w, 0)
        run_pipeline(module, "pack-contractions,fuse")
        assert packs == any(isinstance(o, ContractOp) for o in module.walk())
        assert any(isinstance(o, FusionOp) for o in module.walk())


def model(nodes: list[onnx.NodeProto], stored: dict[str, Array], x: Array, kinds: list[int]) -> onnx.ModelProto:
    """A model of one input ``x`` and outputs ``y0``, ``y1``, ... of these types."""
    one = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
    outputs = [helper.make_tensor_value_info(f"y{k}", kind, None) for k, kind in enumerate(kinds)]
    constants = [numpy_helper.from_array(a, n) for n, a in stored.items()]
    made = helper.make_model(
        helper.make_graph(nodes, "g", [one], outputs, constants), opset_imports=[helper.make_opsetid("", 17)]
    )
    made.ir_version = 8
    return made


def agrees(made: onnx.ModelProto, x: Array) -> None:
    """tfc against the reference of the format, bit for bit."""
    want = ReferenceEvaluator(made).run(None, {"x": x})
    got = tfc.compile(made)(x)
    got = got if isinstance(got, tuple | list) else [got]
    for a, b in zip(got, want, strict=True):
        np.testing.assert_array_equal(np.asarray(a), b)


def test_dynamically_quantised_matmul() -> None:
    """The zero point of x is computed by the model itself."""
    x = np.random.default_rng(0).normal(0.3, 2, (9, 50)).astype(np.float32)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("MatMulInteger", ["q", "w", "z"], ["y0"]),
    ]
    agrees(model(nodes, {"w": drawn(5, np.int8, 50, 33)}, x, [6]), x)


@pytest.mark.parametrize("dx", [np.uint8, np.int8])
def test_quantised_layers(dx: Any) -> None:
    """QLinearConv with scales of its channels, then QLinearMatMul."""
    x = drawn(6, dx, 2, 3, 8, 9)
    one = lambda v, t=np.float32: np.asarray(v, t)  # noqa: E731
    stored = {
        "xs": one(0.02), "xz": one(5, dx), "w": drawn(7, np.int8, 10, 3, 3, 3), "b": np.arange(10, dtype=np.int32) * 50,
        "ws": np.linspace(0.01, 0.03, 10, dtype=np.float32), "wz": np.zeros(10, np.int8),
        "ys": one(0.5), "yz": one(9, dx), "v": drawn(8, np.int8, 7, 12), "vs": one(0.01), "vz": one(0, np.int8),
        "zs": one(0.3), "zz": one(1, dx),
    }  # fmt: skip
    nodes = [
        helper.make_node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["h"], pads=[1] * 4),
        helper.make_node("MaxPool", ["h"], ["p"], kernel_shape=[2, 3], strides=[2, 1]),
        helper.make_node("QLinearMatMul", ["p", "ys", "yz", "v", "vs", "vz", "zs", "zz"], ["y0"]),
    ]
    agrees(model(nodes, stored, x, [helper.np_dtype_to_tensor_dtype(np.dtype(dx))]), x)


def test_the_host_is_known() -> None:
    assert Target.parse(cpu="icelake-server").dots_bytes
    assert Target.parse(cpu="alderlake").dots_bytes
    assert not Target.parse(cpu="x86-64-v4").dots_bytes


def test_sums_beside_products() -> None:
    """A bias and a residual are part of the kernel."""
    x, w = drawn(9, np.uint8, 12, 32), drawn(10, np.int8, 32, 48)
    module = centred(lambda a, b: DotOp(a, b, [], [], [1], [0]), x, 4, w, 0)
    (main,) = module.ops
    assert isinstance(main, FuncOp)
    last = main.body.block.last_op
    assert isinstance(last, ReturnOp)
    bias = ConstantOp(LiteralAttr.of(np.arange(48, dtype=np.int32)))
    wide = BroadcastOp(bias.results[0], (12, 48), [1])
    total = AddOp(last.operands[0], wide.results[0])
    main.body.block.insert_ops_before([bias, wide, total], last)
    last.operands[0] = total.results[0]
    (got,) = load(lower(module, Options(name="model"))).run([x])
    np.testing.assert_array_equal(got, (x.astype(np.int32) - 4) @ w.astype(np.int32) + np.arange(48))
