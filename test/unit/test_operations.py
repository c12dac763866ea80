"""Every operation on its samples: its rules against each other and against numpy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elements import element, some_elements
from xdsl.builder import Builder
from xdsl.dialects import func
from xdsl.dialects.builtin import FileLineColLoc, IntAttr, ModuleOp, StringAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.rewriter import InsertPoint
from xdsl.traits import MemoryEffect

from tfc.dialects import context
from tfc.dialects.tfc import Tfc
from tfc.dialects.tfc.base import OPERATIONS, Sample, TensorOp, ints
from tfc.dialects.tfc.dynamic import DynamicOp
from tfc.dialects.tfc.shape import TransposeOp
from tfc.dialects.tfc.state import StateOp
from tfc.dialects.tfc.table import refreshed
from tfc.dialects.tfc.types import Array, dtype_of, element_of, is_static, shape_of, tensor_type
from tfc.dialects.tfc.types import element as element_type
from tfc.dims import Dim, symbol
from tfc.location import named as named_location
from tfc.rules import RuleError
from tfc.runtime.interpreter import interpret

ROUNDING = {np.dtype(np.float16): 2e-3, np.dtype(np.float32): 1e-6, np.dtype(np.float64): 1e-12}
"""Relative error of a few operations that round; bfloat16, with 8 bits, is the default below."""

GENERATED = ("tfc.contract",)
"""Operations that a code generator takes whole: neither primitive nor composite."""

STATIC = ("tfc.random_uniform",)
"""Composites whose result does not depend on the extents of operands."""

SAMPLED = sorted(n for n, op in OPERATIONS.items() if not issubclass(op, StateOp))


def module_of(
    sample: Sample, types: Sequence[Attribute] | None = None
) -> tuple[ModuleOp, TensorOp]:
    """``@main`` that applies the operation of a sample to arguments of ``types``, and that operation."""
    types = types or [tensor_type(a.shape, element_of(a.dtype)) for a in sample.args]
    block = Block(arg_types=types)
    op = sample.make(*block.args)
    block.add_ops([op, func.ReturnOp(*op.results)])
    function = func.FuncOp("main", (types, [r.type for r in op.results]), Region(block))
    return ModuleOp([function]), op


def program_of(
    samples: Sequence[Sample], types: Sequence[Attribute] | None = None
) -> tuple[ModuleOp, list[Array], list[Array]]:
    """``@main`` with all of ``samples``, on arguments of ``types``; the arguments, and the references."""
    arrays = [np.array(a, order="C") for s in samples for a in s.args]
    types = types or [tensor_type(a.shape, element_of(a.dtype)) for a in arrays]
    block = Block(arg_types=types)
    arguments, want = list(block.args), list[Array]()
    results: list[SSAValue] = []
    for sample in samples:
        own, arguments = arguments[: len(sample.args)], arguments[len(sample.args) :]
        op = sample.make(*own)
        block.add_op(op)
        want += reference(module_of(sample)[1], sample)
        results += op.results
    block.add_op(func.ReturnOp(*results))
    function = func.FuncOp("main", (types, [r.type for r in results]), Region(block))
    return ModuleOp([function]), arrays, want


def close(got: Array, want: Array, tolerance: float, where: str) -> None:
    """Equal dtypes, shapes and specials; floats within the rounding of the dtype."""
    assert got.dtype == want.dtype, where
    assert got.shape == want.shape, where
    if want.dtype.kind in "biu":
        np.testing.assert_array_equal(got, want, where)
        return
    bound = max(tolerance, ROUNDING.get(want.dtype, 3e-2))
    x, y = got.astype(np.float64), want.astype(np.float64)
    size = np.abs(y[np.isfinite(y)]).max(initial=0.0)
    np.testing.assert_allclose(x, y, rtol=bound, atol=bound * min(max(size, 0.01), 10.0), err_msg=where)


def reference(op: TensorOp, sample: Sample) -> list[Array]:
    with np.errstate(all="ignore"):
        found = op.reference(*sample.args)
    return [np.asarray(a) for a in (found if isinstance(found, tuple) else [found])]


def text(op: Operation) -> str:
    stream = StringIO()
    Printer(stream=stream).print_op(op)
    return stream.getvalue()


def test_the_dialect_has_them_all() -> None:
    assert set(OPERATIONS.values()) <= set(Tfc.operations)
    assert len(OPERATIONS) > 100


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_declares_effects(name: str) -> None:
    assert any(isinstance(t, MemoryEffect) for t in OPERATIONS[name].traits)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_is_primitive_or_composite(name: str) -> None:
    op = OPERATIONS[name]
    neither = issubclass(op, StateOp | DynamicOp) or name in GENERATED
    assert op.is_primitive() + op.is_composite() == (0 if neither else 1)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_documents_itself(name: str) -> None:
    doc = OPERATIONS[name].__doc__ or ""
    assert doc.strip(), "a docstring says what the operation means"
    if name not in GENERATED and not issubclass(OPERATIONS[name], StateOp):
        assert "Source:" in doc


@pytest.mark.parametrize("name", SAMPLED)
def test_type_is_that_of_the_reference(name: str) -> None:
    samples = OPERATIONS[name].samples()
    assert samples, "an operation is tested on its samples"
    for sample in samples:
        module, op = module_of(sample)
        module.verify()
        for result, array in zip(op.results, reference(op, sample), strict=True):
            assert dtype_of(element_type(result)) == array.dtype, text(op)
            if is_static(shape_of(result)):
                assert shape_of(result) == array.shape, text(op)


@pytest.mark.parametrize("name", SAMPLED)
def test_print_parse_print(name: str) -> None:
    for sample in OPERATIONS[name].samples():
        module, _ = module_of(sample)
        once = text(module)
        parsed = Parser(context(), once).parse_module()
        parsed.verify()
        assert text(parsed) == once
        generic = StringIO()
        Printer(stream=generic, print_generic_format=True).print_op(module)
        assert text(Parser(context(), generic.getvalue()).parse_module()) == once


@pytest.mark.parametrize("name", SAMPLED)
def test_interpreted_is_the_reference(name: str) -> None:
    for sample in OPERATIONS[name].samples():
        module, op = module_of(sample)
        with np.errstate(all="ignore"):
            found = interpret(module, list(sample.args))
        for got, want in zip(found, reference(op, sample), strict=True):
            np.testing.assert_array_equal(comparable(got), comparable(want))


def comparable(x: Array) -> Array:
    """bfloat16 in a type whose NaNs numpy knows."""
    return x if x.dtype.kind in "biuf" else x.astype(np.float32)


def decomposed(op: TensorOp, most: int = 8) -> None:
    """Replace ``op`` by its decomposition, and that of what it consists of."""
    built: list[Operation] = []
    builder = Builder(InsertPoint.before(op))

    def emit(new: Operation) -> SSAValue:
        built.append(builder.insert(new))
        return new.results[0]

    values = op.decompose(emit)
    for result, value in zip(op.results, values, strict=True):
        result.replace_all_uses_with(value)
    op.detach()
    op.erase()
    assert most, "a decomposition comes to an end"
    for new in built:
        if isinstance(new, TensorOp) and type(new).is_composite():
            decomposed(new, most - 1)


@pytest.mark.parametrize("name", [n for n in SAMPLED if OPERATIONS[n].is_composite()])
def test_decomposition_is_the_reference(name: str) -> None:
    for sample in OPERATIONS[name].samples():
        module, op = module_of(sample)
        types = [r.type for r in op.results]
        want, shown = reference(op, sample), text(op)
        decomposed(op)
        module.verify()
        last = next(o for o in module.walk() if isinstance(o, func.ReturnOp))
        assert [o.type for o in last.operands] == types, shown
        with np.errstate(all="ignore"):
            found = interpret(module, list(sample.args))
        for got, array in zip(found, want, strict=True):
            close(got, array, sample.tolerance, shown)


def named(sample: Sample, every: bool) -> Sequence[Attribute]:
    """The types of a sample's arguments with names for extents: all, or those of the first dim."""
    first = sample.args[0].shape[:1]

    def dim(n: int) -> Dim:
        return symbol(f"n{n}") if n > 1 and (every or n in first) else n

    return [tensor_type([dim(n) for n in a.shape], element_of(a.dtype)) for a in sample.args]


def built_on_names(sample: Sample) -> tuple[ModuleOp, TensorOp] | None:
    """`module_of` on the most general types that the operation's constraints allow; None for none."""
    for every in (True, False):
        try:
            module, op = module_of(sample, named(sample, every))
            module.verify()
        except (RuleError, AssertionError):
            continue
        return module, op
    return None


@pytest.mark.parametrize("name", [n for n in SAMPLED if OPERATIONS[n].is_composite()])
def test_decomposition_on_named_dims(name: str) -> None:
    tried = 0
    for sample in OPERATIONS[name].samples():
        if not sample.args or sample.args[0].ndim == 0 or (found := built_on_names(sample)) is None:
            continue
        module, op = found
        want, shown = reference(module_of(sample)[1], sample), text(op)
        types = [r.type for r in op.results]
        decomposed(op)
        module.verify()
        last = next(o for o in module.walk() if isinstance(o, func.ReturnOp))
        assert [o.type for o in last.operands] == types, shown
        with np.errstate(all="ignore"):
            results = interpret(module, list(sample.args))
        for got, array in zip(results, want, strict=True):
            close(got, array, sample.tolerance, shown)
        tried += 1
    assert tried or name in STATIC, "a sample with named dims"


@pytest.mark.parametrize("name", [n for n in SAMPLED if OPERATIONS[n].is_primitive()])
def test_element_is_the_reference(name: str) -> None:
    for sample in OPERATIONS[name].samples():
        _, op = module_of(sample)
        if name == "tfc.constant" and not op.value.data.is_splat:  # pyright: ignore
            continue  # data, which a kernel reads as an operand
        (want,) = reference(op, sample)
        places = some_elements(op)
        with np.errstate(all="ignore"):
            found = [tensor_element(element(op, sample.args, p), want.dtype) for p in places]
        picked = np.array([want[p] for p in places], want.dtype)
        close(np.array(found, want.dtype), picked, sample.tolerance, f"{text(op)} at {places}")


def tensor_element(x: Any, kind: np.dtype[Any]) -> Any:
    """A kernel value as an element of a tensor: unsigned bits, f32 rounded to f16."""
    return (x.view(kind) if kind.kind == "u" else x).astype(kind)


def labels(cls: type) -> set[str]:
    """The labels of constraints that the docstring of a class states."""
    return set(re.findall(r"\((C\d)\)", vars(cls).get("__doc__") or ""))


def test_each_constraint_is_broken_once() -> None:
    """``test/lit/dialects/tfc`` has a function ``<op>_cn`` for each label of an operation's docstring."""
    folder = Path(__file__).parents[1] / "lit" / "dialects" / "tfc"
    broken = set(re.findall(r"func\.func @(\w+)", "\n".join(f.read_text() for f in folder.glob("*-invalid.mlir"))))
    for name, op in OPERATIONS.items():
        wanted = {f"{name[4:]}_{label.lower()}" for label in labels(op)}
        assert wanted <= broken, f"{sorted(wanted - broken)} are missing in {folder}"


def test_an_error_shows_where() -> None:
    """A constraint that is broken names the line of the user's that made the operation."""
    x = Block(arg_types=[tensor_type([2, 3], element_of(np.float32))]).args[0]
    op = TransposeOp(x, [1, 0])
    op.location = named_location("dense/turn", FileLineColLoc(StringAttr("model.py"), IntAttr(7), IntAttr(1)))
    op.properties["perm"] = ints([0, 0])
    with pytest.raises(RuleError, match=r"model\.py:7 \(dense/turn\): error: 'tfc.transpose' \(C1\): expected .*"):
        op.verify()


def test_the_table_of_operations_is_fresh() -> None:
    root = Path(__file__).parents[2]
    for page in (root / "docs" / "operations.md", root / "README.md"):
        assert refreshed(page.read_text()) == page.read_text(), "run tools/op-table"
    page = (root / "docs" / "operations.md").read_text()
    assert all(f"| `{name}` |" in page for name in OPERATIONS)
