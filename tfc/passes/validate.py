"""Find the pass that changed a value.

``--validate-each-pass`` interprets the module before and after every pass on the same
generated inputs: ordinary numbers, and a second time some that are not. At the first difference it stops and says which pass, which result, how
large, and writes the smallest module it finds that shows it:

    error: the pass 'canonicalize' changed result 0 ('y'): largest difference 0.25 at [1, 3]
    help: tfc-opt validate-canonicalize.mlir shows it

A pass that only moves and merges must keep every bit. One that rounds differently says
``EXACT = False`` in its class and is allowed the error of a few operations of the dtype.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, StringAttr, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.gather import GatherOp
from tfc.dialects.tfc.types import (
    Array,
    dtype_of,
    element,
    element_of,
    is_bool,
    is_float,
    shape_of,
)
from tfc.dims import evaluate, names
from tfc.errors import GraphError, TfcError
from tfc.modulefile import write_module
from tfc.passes.instrumentation import Instrument
from tfc.passes.prune import Prune
from tfc.passes.reproducer import HEADER
from tfc.passes.rewriting import Rule, observing
from tfc.runtime.interpreter import argument_names, interpret

TOLERANCE = {"float64": 1e-11, "float32": 2e-4, "float16": 2e-2, "bfloat16": 1e-1}
"""Relative to the largest finite value of a result: sums of a few hundred terms in any order."""

DEFAULT_DIM = 3
"""What a named extent is in generated inputs; small, and no extent that models prefer."""


class ValueChanged(GraphError):
    """A pass changed what a module computes: a bug in tfc, found by `ValidateEachPass`."""


@dataclass
class ValidateEachPass(Instrument):
    """Interprets before and after each pass, and stops at the first that changed a value."""

    seed: int = 0
    directory: Path = field(default_factory=Path.cwd)
    inputs: list[dict[str, Array]] = field(default_factory=list[dict[str, Array]])
    expected: list[dict[str, Array]] = field(default_factory=list[dict[str, Array]])
    previous: ModuleOp | None = None
    context: Context | None = None

    def start(self, ctx: Context, module: ModuleOp) -> None:
        self.context = ctx
        ordinary = generate_inputs(module, self.seed)
        self.inputs = [ordinary, with_specials(ordinary, self.seed)]
        self.expected = [run_main(module, i) for i in self.inputs]

    def before(self, pass_: ModulePass, module: ModuleOp) -> None:
        self.previous = module.clone()

    def after(self, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        if not interpretable(module):
            return
        actual = [run_main(module, i) for i in self.inputs]
        for inputs, x, y in zip(self.inputs, self.expected, actual, strict=True):
            found = difference(x, y, getattr(pass_, "EXACT", True))
            if found is not None:
                self._report(pass_, found, inputs)
        self.expected = actual

    def _report(self, pass_: ModulePass, found: str, inputs: Mapping[str, Array]) -> None:
        assert self.previous is not None, "a pass ends after it starts"
        assert self.context is not None, "a pass ends after the start of the pipeline"
        small = reduce_module(self.previous, pass_, self.context, inputs)
        rules = rules_fired(small, pass_, self.context)
        path = self.directory / f"validate-{pass_.name}.mlir"
        write_module(small, path, f"{HEADER} {pass_.name!r} changed a value\n// pipeline: {pass_}\n")
        by = f" by the rules {', '.join(rules)}" if rules else ""
        raise ValueChanged(
            f"the pass {pass_.name!r} changed {found}{by}",
            help=f"tfc-opt {path} --validate-each-pass shows it in {_count(small)} operations",
        )


def interpretable(module: ModuleOp) -> bool:
    """Whether the module still has a @main in operations with a reference."""
    main = main_function(module)
    return main is not None and all(op.name.split(".")[0] in ("tfc", "func") for op in main.walk())


def main_function(module: ModuleOp) -> FuncOp | None:
    """``@main``, or the only function."""
    functions = [op for op in module.ops if isinstance(op, FuncOp)]
    named = [f for f in functions if f.sym_name.data == "main"]
    return named[0] if named else functions[0] if len(functions) == 1 else None


def run_main(module: ModuleOp, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Interpret ``@main``: its results by name.

    Raises:
        GraphError: there is no such function.
    """
    main = main_function(module)
    if main is None:
        raise GraphError("expected a function @main to run, or only one function")
    return dict(zip(result_names(main), interpret(module, inputs), strict=True))


def result_names(function: FuncOp) -> list[str]:
    """The names of the results, result0, result1, ... where they have none."""
    given = function.res_attrs.data if function.res_attrs is not None else ()
    found: list[str] = []
    for k in range(len(function.function_type.outputs.data)):
        name = given[k].data.get("tfc.name") if k < len(given) else None
        found.append(name.data if isinstance(name, StringAttr) else f"result{k}")
    return found




def generate_inputs(
    module: ModuleOp, seed: int = 0, given: Mapping[str, Array] | None = None
) -> dict[str, Array]:
    """Arrays for the arguments of ``@main``: seeded, and in range where they are indices.

    Named extents are `DEFAULT_DIM`, or what ``given`` arrays say of them.
    """
    main = main_function(module)
    if main is None:
        raise GraphError("expected a function @main to run, or only one function")
    arrays = dict(given or {})
    unknown = arrays.keys() - set(argument_names(main))
    if unknown:
        raise GraphError(f"@main has no argument {min(unknown)!r}, it has {argument_names(main)}")
    sizes = _sizes(main, arrays)
    rng = np.random.default_rng(seed)
    for name, arg in zip(argument_names(main), main.args, strict=True):
        if name not in arrays and isinstance(arg.type, TensorType):
            shape = [evaluate(d, sizes) for d in shape_of(arg)]
            arrays[name] = _array(rng, shape, arg, sizes)
    return arrays


def _sizes(main: FuncOp, given: Mapping[str, Array]) -> dict[str, int]:
    """A number for every named extent."""
    sizes: dict[str, int] = {}
    for name, arg in zip(argument_names(main), main.args, strict=True):
        if not isinstance(arg.type, TensorType):
            continue
        for d, dim in enumerate(shape_of(arg)):
            fed = given[name].shape[d] if name in given and d < given[name].ndim else DEFAULT_DIM
            for n in names(dim):
                sizes[n] = fed if name in given and str(dim) == n else sizes.get(n, DEFAULT_DIM)
    return sizes


def _array(rng: np.random.Generator, shape: Sequence[int], arg: SSAValue, sizes: dict[str, int]) -> Array:
    kind = element(arg)
    dtype = dtype_of(kind)
    if is_bool(kind):
        return rng.integers(0, 2, shape).astype(dtype)
    if not is_float(kind):
        bound = _index_bound(arg, sizes)
        low, high = (0, bound) if bound else (0 if dtype.kind == "u" else -4, 9)
        return rng.integers(low, high, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


SPECIALS = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 1e-40, 1e30)


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


def _index_bound(value: SSAValue, sizes: dict[str, int]) -> int:
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
    f"tfc.{n}" for n in ("cast", "reshape", "transpose", "broadcast", "slice", "select", "concat", "add", "identity")
}


def difference(expected: Mapping[str, Array], actual: Mapping[str, Array], exact: bool) -> str | None:
    """Words for the first result that differs by more than it may, or None."""
    for number, ((name, x), y) in enumerate(zip(expected.items(), actual.values(), strict=True)):
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"result {number} ({name!r}) from {x.dtype}{list(x.shape)} to {y.dtype}{list(y.shape)}"
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
        allowed = tolerance * max(scale, 1e-30)
        with np.errstate(invalid="ignore"):
            near = np.abs(x - y) <= allowed
        wrong = ~(near | (x == y) | (np.isnan(x) & np.isnan(y)))
    if not wrong.any():
        return None
    with np.errstate(all="ignore"):
        sizes = np.where(wrong, np.abs(x.astype(np.float64) - y.astype(np.float64)), 0)
        sizes = np.where(wrong & np.isnan(sizes), np.inf, sizes)
    place = np.unravel_index(int(np.argmax(sizes)), sizes.shape)
    where = [int(i) for i in place]
    return f"{int(wrong.sum())} elements; the largest difference at {where}: {x[place]} became {y[place]}"


def reduce_module(
    module: ModuleOp, pass_: ModulePass, context: Context, inputs: Mapping[str, Array]
) -> ModuleOp:
    """A smaller module on which ``pass_`` still changes a value.

    Bisects for the first operation whose value, made the only result, is changed by the
    pass, and prunes what it does not need. Where no single value shows it, the whole module.
    """
    main = main_function(module)
    assert main is not None, "it has been interpreted"
    count = len(_values(main))
    low, high = 0, count - 1
    best: ModuleOp | None = None
    while low <= high:
        middle = (low + high) // 2
        candidate = _fetching(module, middle)
        if _shows(candidate, pass_, context, inputs):
            best, high = candidate, middle - 1
        else:
            low = middle + 1
    return best or module


def _values(main: FuncOp) -> list[SSAValue]:
    return [r for op in main.body.block.ops for r in op.results if isinstance(r.type, TensorType)]


def _fetching(module: ModuleOp, number: int) -> ModuleOp:
    """A copy whose only result is value ``number``."""
    copy = module.clone()
    main = main_function(copy)
    assert main is not None, "a copy has the same functions"
    value = _values(main)[number]
    last = main.body.block.last_op
    assert isinstance(last, ReturnOp), "the verifier demands it"
    main.body.block.erase_op(last)
    main.body.block.add_op(ReturnOp(value))
    main.res_attrs = None  # pyright: ignore[reportAttributeAccessIssue] # an optional property
    main.update_function_type()
    Prune().apply(Context(), copy)
    return copy


def _shows(module: ModuleOp, pass_: ModulePass, context: Context, inputs: Mapping[str, Array]) -> bool:
    changed = module.clone()
    try:
        expected = run_main(module, inputs)
        pass_.apply(context, changed)
        actual = run_main(changed, inputs)
    except TfcError:
        return False
    return difference(expected, actual, getattr(pass_, "EXACT", True)) is not None


def rules_fired(module: ModuleOp, pass_: ModulePass, context: Context) -> list[str]:
    """The names of the rules that fire when ``pass_`` runs on a copy of ``module``."""
    fired: dict[str, None] = {}

    def note(rule: Rule, op: Operation) -> None:
        fired.setdefault(rule.name)

    with observing(note):
        pass_.apply(context, module.clone())
    return list(fired)


def _count(module: ModuleOp) -> int:
    main = main_function(module)
    return 0 if main is None else len(list(main.body.block.ops))
