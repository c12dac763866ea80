"""Find the pass that changed a value.

``--validate-each-pass`` interprets every function of the module before and after each pass
on the same generated inputs (`tfc.passes.trials`). At the first difference it stops and says
which pass, which result, how large, and writes the smallest module it finds that shows it:

    error: the pass 'canonicalize' changed result 0 ('y') of @main: 1 elements; the largest
    difference at [1, 3]: 0.25 became 0.5, by the rules drop-slice
    help: tfc-opt validate-canonicalize.mlir --validate-each-pass shows it in 3 operations

A pass that only moves and merges must keep every bit. One that rounds differently says
``EXACT = False`` in its class and is allowed the error of a few operations of the dtype.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp, TensorType
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Operation, SSAValue
from xdsl.passes import ModulePass

from tfc.dialects.tfc.types import Array
from tfc.errors import GraphError
from tfc.modulefile import write_module
from tfc.passes.instrumentation import Instrument
from tfc.passes.prune import Prune
from tfc.passes.reproducer import HEADER
from tfc.passes.rewriting import Rule, observing
from tfc.passes.trials import Trial, difference, functions, is_runnable, trials


class ValueChanged(GraphError):
    """A pass changed what a module computes: a bug in tfc, found by `ValidateEachPass`."""


@dataclass
class ValidateEachPass(Instrument):
    """Interprets before and after each pass, and stops at the first that changed a value."""

    seed: int = 0
    directory: Path = field(default_factory=Path.cwd)
    expected: list[tuple[Trial, dict[str, Array]]] = field(
        default_factory=list[tuple[Trial, dict[str, Array]]]
    )
    signature: Sequence[str] | None = None
    previous: ModuleOp | None = None
    context: Context | None = None

    def start(self, ctx: Context, module: ModuleOp) -> None:
        self.context, self.signature, self.expected = ctx, None, []

    def _begin(self, module: ModuleOp) -> None:
        self.signature = _signature(module)
        self.expected = []
        for trial in trials(module, self.seed):
            try:
                self.expected.append((trial, trial.run(module)))
            except Exception:  # a program need not work on inputs that are made up
                continue

    def before(self, pass_: ModulePass, module: ModuleOp) -> None:
        if self.signature is None:  # not before: now the module has been verified
            self._begin(module)
        self.previous = module.clone() if self.expected else None

    def after(self, pass_: ModulePass, module: ModuleOp, seconds: float) -> None:
        if self.signature != _signature(module):  # other arguments: nothing to compare with
            self._begin(module)
            return
        left = {f.sym_name.data for f in functions(module) if is_runnable(f)}
        self.expected = [(t, x) for t, x in self.expected if t.function in left]
        for number, (trial, expected) in enumerate(self.expected):
            actual, words = compare(trial, expected, module, pass_)
            if words is not None:
                raise self._changed(pass_, trial, words)
            self.expected[number] = trial, actual

    def _changed(self, pass_: ModulePass, trial: Trial, words: str) -> ValueChanged:
        assert self.previous is not None, "a pass ends after it starts"
        assert self.context is not None, "a pass ends after the start of the pipeline"
        small = reduce_module(self.previous, pass_, self.context, trial)
        rules = rules_fired(small, pass_, self.context)
        path = self.directory / f"validate-{pass_.name}.mlir"
        write_module(
            small, path, f"{HEADER} {pass_.name!r} changed a value\n// pipeline: {pass_}\n"
        )
        by = f", by the rules {', '.join(rules)}" if rules else ""
        count = sum(len(list(f.body.block.ops)) for f in functions(small))
        return ValueChanged(
            f"the pass {pass_.name!r} changed @{trial.function}: {words}{by}",
            help=f"tfc-opt {path} --validate-each-pass shows it in {count} operations",
        )


def compare(
    trial: Trial, expected: dict[str, Array], module: ModuleOp, pass_: ModulePass
) -> tuple[dict[str, Array], str | None]:
    """What the module gives now, and words for a difference."""
    try:
        actual = trial.run(module)
    except Exception as error:  # whatever the pass broke
        return {}, f"it cannot be run any more: {error}"
    return actual, difference(expected, actual, getattr(pass_, "EXACT", True))


def _signature(module: ModuleOp) -> list[str]:
    return [f"{f.sym_name.data} {f.function_type.inputs}" for f in functions(module)]


def reduce_module(module: ModuleOp, pass_: ModulePass, context: Context, trial: Trial) -> ModuleOp:
    """A smaller module on which ``pass_`` still changes a value.

    Bisects for the first operation whose value, made the only result, is changed by the
    pass, and prunes what it does not need. Where no single value shows it, the whole function.
    """
    function = next(f for f in functions(module) if f.sym_name.data == trial.function)
    low, high = 0, len(_values(function)) - 1
    best: ModuleOp | None = None
    while low <= high:
        middle = (low + high) // 2
        candidate = _fetching(function, middle)
        if _shows(candidate, pass_, context, trial):
            best, high = candidate, middle - 1
        else:
            low = middle + 1
    return best or ModuleOp([function.clone()])


def _values(function: FuncOp) -> list[SSAValue]:
    return [
        r for op in function.body.block.ops for r in op.results if isinstance(r.type, TensorType)
    ]


def _fetching(function: FuncOp, number: int) -> ModuleOp:
    """A copy whose only result is value ``number``."""
    copy = function.clone()
    block = copy.body.block
    value = _values(copy)[number]
    assert isinstance(block.last_op, ReturnOp), "the verifier demands it"
    block.erase_op(block.last_op)
    block.add_op(ReturnOp(value))
    copy.properties.pop("res_attrs", None)
    copy.update_function_type()
    module = ModuleOp([copy])
    Prune().apply(Context(), module)
    return module


def _shows(module: ModuleOp, pass_: ModulePass, context: Context, trial: Trial) -> bool:
    changed = module.clone()
    try:
        expected = trial.run(module)
        pass_.apply(context, changed)
        return compare(trial, expected, changed, pass_)[1] is not None
    except Exception:  # it shows something else
        return False


def rules_fired(module: ModuleOp, pass_: ModulePass, context: Context) -> list[str]:
    """The names of the rules that fire when ``pass_`` runs on a copy of ``module``."""
    fired: dict[str, None] = {}

    def note(rule: Rule, op: Operation) -> None:
        fired.setdefault(rule.name)

    with observing(note):
        pass_.apply(context, module.clone())
    return list(fired)
