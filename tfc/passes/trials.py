"""Running a function on generated inputs, and saying whether two runs gave the same.

    for trial in trials(module, seed=0):
        expected = trial.run(module)
        ...
        words = difference(expected, trial.run(module), exact=True)

Inputs are small numbers, in range where they are indices; a second trial of each function has
special values among them. Variables start with generated values, and what they hold
afterwards is compared like a result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.ir import Attribute, Operation, SSAValue

from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.packed import ContractOp
from tfc.dialects.tfc.state import VariableOp
from tfc.dialects.tfc.types import (
    UNKNOWN_DIM,
    Array,
    dtype_of,
    element,
    element_of,
    is_bool,
    is_float,
    shape_of,
)
from tfc.dims import Dim, evaluate, names, product
from tfc.errors import GraphError
from tfc.passes.count_work import flops
from tfc.runtime.interpreter import argument_names, interpret

TOLERANCE = {"float64": 1e-11, "float32": 2e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Relative to the largest finite value of a result: sums of a few hundred terms in any order."""

DEFAULT_DIM = 3
"""What a named extent is in generated inputs; small, and no extent that models prefer."""

SPECIALS = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 1e-40, 1e18)
"""The square of the largest is a number in f32: past that, a product is infinite or not as it is fused with a sum."""

MOST_ELEMENTS, MOST_PRODUCTS = 1 << 27, 1 << 29
"""A function with a larger value or sum of products is not run: numpy would take minutes, or all memory."""

MOST_TURNS = 1000
"""A loop that made-up inputs keep going is given up."""

_UNKNOWN = next(iter(names(UNKNOWN_DIM)))


@dataclass(frozen=True)
class Trial:
    """A function of a module by its name, and what to run it on."""

    function: str
    inputs: Mapping[str, Array]
    variables: Mapping[str, Array]

    def run(self, module: ModuleOp) -> dict[str, Array]:
        """The results by name, and the variables afterwards.

        Raises:
            TfcError: what the interpreter finds wrong.
        """
        function = next(f for f in functions(module) if f.sym_name.data == self.function)
        return run_function(function, self.inputs, dict(self.variables))


def trials(module: ModuleOp, seed: int = 0) -> list[Trial]:
    """Two trials for each function that can be run: ordinary inputs, and special ones."""
    found: list[Trial] = []
    for function in functions(module):
        if is_runnable(function):
            inputs, variables = generate_inputs(function, seed), _variables(function, seed)
            name = function.sym_name.data
            found.append(Trial(name, inputs, variables))
            found.append(Trial(name, with_specials(inputs, seed), variables))
    return found


def functions(module: ModuleOp) -> list[FuncOp]:
    """The functions of a module that have a body."""
    return [op for op in module.ops if isinstance(op, FuncOp) and op.body.blocks]


def main_function(module: ModuleOp) -> FuncOp:
    """``@main``, or the only function.

    Raises:
        GraphError: there is none.
    """
    found = functions(module)
    for function in found:
        if function.sym_name.data == "main" or len(found) == 1:
            return function
    raise GraphError("expected a function @main to run, or only one function")


def is_runnable(function: FuncOp) -> bool:
    """Whether all of it has a reference, from arrays of known sizes to arrays."""
    types = [*function.function_type.inputs, *function.function_type.outputs]
    if not all(isinstance(t, TensorType) for t in types):
        return False
    if any(_UNKNOWN in names(d) for a in function.args for d in shape_of(a)):
        return False
    return all(op.name in ("func.func", "func.return") or _runs(op) for op in function.walk())


def _runs(op: Operation) -> bool:
    small = all(_number(product(shape_of(r.type))) <= MOST_ELEMENTS for r in op.results if isinstance(r.type, TensorType))
    return op.name.startswith("tfc.") and small and (not isinstance(op, ContractOp) or _number(flops(op)) <= 2 * MOST_PRODUCTS)


def _number(size: Dim) -> int:
    return evaluate(size, dict.fromkeys(names(size), DEFAULT_DIM))


def run_function(
    function: FuncOp, inputs: Mapping[str, Array], variables: dict[str, Array] | None = None
) -> dict[str, Array]:
    """Interpret one function: its results by name, and the ``variables`` that it was given."""
    module = function.parent_op()
    if not isinstance(module, ModuleOp) or len(functions(module)) > 1:
        module = ModuleOp([function.clone()])
    state = {} if variables is None else variables
    with np.errstate(all="ignore"):  # special values are there on purpose
        found = interpret(module, inputs, state, MOST_TURNS)
    results = dict(zip(result_names(function), found, strict=True))
    return results | {f"variable {k}": v for k, v in state.items()}


def result_names(function: FuncOp) -> list[str]:
    """The names of the results, result0, result1, ... where they have none."""
    given = function.res_attrs.data if function.res_attrs is not None else ()
    found: list[str] = []
    for k in range(len(function.function_type.outputs.data)):
        name = given[k].data.get("tfc.name") if k < len(given) else None
        found.append(name.data if isinstance(name, StringAttr) else f"result{k}")
    return found


def generate_inputs(
    function: FuncOp, seed: int = 0, given: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """Arrays for the arguments: seeded, and in range where they are indices.

    Args:
        given: arrays for some of them. Named extents are what these say, else `DEFAULT_DIM`.

    Raises:
        GraphError: ``given`` has a name that is no argument's.
    """
    arrays = dict(given or {})
    unknown = arrays.keys() - set(argument_names(function))
    if unknown:
        raise GraphError(f"expected a name of {argument_names(function)}, got {min(unknown)!r}")
    sizes = _sizes(function, arrays)
    rng = np.random.default_rng(seed)
    for name, arg in zip(argument_names(function), function.args, strict=True):
        if name not in arrays and isinstance(arg.type, TensorType):
            arrays[name] = _array(rng, arg.type, sizes, _index_bound(arg, sizes))
    return arrays


def _variables(function: FuncOp, seed: int) -> dict[str, Array]:
    rng = np.random.default_rng(seed + 1)
    contents = {o.variable.data: o.content for o in function.walk() if isinstance(o, VariableOp)}
    return {name: _array(rng, content, {}, 0) for name, content in sorted(contents.items())}


def with_specials(inputs: Mapping[str, Array], seed: int = 0) -> dict[str, Array]:
    """The same inputs with a tenth of the floats, at least one, replaced by special values."""
    rng = np.random.default_rng(seed)
    found: dict[str, Array] = {}
    for name, array in inputs.items():
        found[name] = array = array.copy()
        if array.size and is_float(element_of(array.dtype)):
            places = rng.integers(0, array.size, max(array.size // 10, 1))
            with np.errstate(over="ignore"):
                array.flat[places] = rng.choice(SPECIALS, places.size).astype(array.dtype)
    return found


def _sizes(function: FuncOp, given: Mapping[str, Array]) -> dict[str, int]:
    """A number for every named extent."""
    sizes: dict[str, int] = {}
    for name, dims in _extents(function):
        fed = given[name].shape if name in given else ()
        for k, dim in enumerate(dims):
            for n in names(dim):
                known = fed[k] if k < len(fed) and str(dim) == n else sizes.get(n, DEFAULT_DIM)
                sizes[n] = known
    return sizes


def _extents(function: FuncOp) -> Iterator[tuple[str, Sequence[Dim]]]:
    for name, arg in zip(argument_names(function), function.args, strict=True):
        if isinstance(arg.type, TensorType):
            yield name, shape_of(arg)


def _array(
    rng: np.random.Generator, type_: Attribute, sizes: Mapping[str, int], bound: int
) -> Array:
    shape = [evaluate(d, sizes) for d in shape_of(type_)]
    kind = element(type_)
    dtype = dtype_of(kind)
    if is_bool(kind):
        return rng.integers(0, 2, shape).astype(dtype)
    if is_float(kind):
        return rng.standard_normal(shape).astype(dtype)
    low = 0 if bound or dtype.kind == "u" else -4
    return rng.integers(low, bound or 9, shape).astype(dtype)


def _index_bound(value: SSAValue, sizes: Mapping[str, int]) -> int:
    """The least extent that ``value`` indexes by gather, through casts and moves; 0 if none."""
    bounds: list[int] = []
    seen = {value}
    pending = [value]
    while pending:
        for use in pending.pop().uses:
            op = use.operation
            if isinstance(op, GatherOp) and use.index == 1:
                bounds.append(evaluate(shape_of(op.x)[op.axis.value.data], sizes))
            elif op.name in _PASSES_INDICES and op.results[0] not in seen:
                seen.add(op.results[0])
                pending.append(op.results[0])
    return min(bounds, default=0)


_PASSES_INDICES = {
    f"tfc.{name}"
    for name in (
        "add",
        "broadcast",
        "cast",
        "concat",
        "identity",
        "reshape",
        "select",
        "slice",
        "transpose",
    )
}


def difference(
    expected: Mapping[str, Array], actual: Mapping[str, Array], exact: bool
) -> str | None:
    """Words for the first result that differs by more than it may, or None."""
    pairs = zip(expected.items(), actual.values(), strict=True)
    for number, ((name, x), y) in enumerate(pairs):
        if x.shape != y.shape or x.dtype != y.dtype:
            was, now = (f"{a.dtype}{list(a.shape)}" for a in (x, y))
            return f"result {number} ({name!r}) from {was} to {now}"
        words = _difference(x, y, exact)
        if words:
            return f"result {number} ({name!r}): {words}"
    return None


def _difference(x: Array, y: Array, exact: bool) -> str | None:
    if x.dtype.kind in "biu":
        wrong = x != y
    else:
        # -0.0 and 0.0 count as equal: a maximum of the two may be either.
        tolerance = 0.0 if exact else TOLERANCE[x.dtype.name]
        x, y = x.astype(np.float64), y.astype(np.float64)
        finite = np.abs(x[np.isfinite(x)])
        scale = float(finite.max()) if finite.size else 0.0
        with np.errstate(invalid="ignore"):
            near = np.abs(x - y) <= tolerance * max(scale, 1e-30)
        wrong = ~(near | (x == y) | (np.isnan(x) & np.isnan(y)))
    if not wrong.any():
        return None
    with np.errstate(all="ignore"):
        sizes = np.where(wrong, np.abs(x.astype(np.float64) - y.astype(np.float64)), 0)
        sizes = np.where(wrong & np.isnan(sizes), np.inf, sizes)
    place = np.unravel_index(int(np.argmax(sizes)), sizes.shape)
    where = [int(i) for i in place]
    return (
        f"{int(wrong.sum())} elements; the largest difference at {where}: "
        f"{x[place]} became {y[place]}"
    )
