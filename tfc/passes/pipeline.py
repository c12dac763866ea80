"""The road of a module through the passes: one table, and what runs it.

    run_pipeline(module, "optimise")                      a stage of the table
    run_pipeline(module, "canonicalize,cse,fold-constants{max-bytes=1000}")

A pipeline is text: names of passes with options, and names of stages, which stand for their
passes. Passes are imported when first asked for.

The module is verified first and last; ``TFC_VERIFY=1`` verifies it after every pass, which
takes three times as long as the passes themselves.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass
from xdsl.utils.arg_spec import ArgSpec, parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError

from tfc.errors import OptionError, nearest

if TYPE_CHECKING:
    from tfc.passes.instrumentation import Instrument

PASSES: dict[str, str] = {
    "check-effects": "tfc.passes.check_effects:CheckEffects",
    "simplify-control": "tfc.passes.simplify_control:SimplifyControl",
    "simplify-shapes": "tfc.passes.simplify_shapes:SimplifyShapes",
    "require-extents": "tfc.passes.require_extents:RequireExtents",
    "canonicalize": "tfc.passes.canonicalize:Canonicalize",
    "fold-constants": "tfc.passes.fold_constants:FoldConstants",
    "cse": "tfc.passes.cse:Cse",
    "prune": "tfc.passes.prune:Prune",
    "hoist": "tfc.passes.hoist:Hoist",
    "place": "tfc.passes.place:Place",
    "insert-transfers": "tfc.passes.insert_transfers:InsertTransfers",
    "decompose": "tfc.passes.decompose:Decompose",
    "sink-transposes": "tfc.passes.sink_transposes:SinkTransposes",
    "find-attention": "tfc.passes.find_attention:FindAttention",
    "pack-contractions": "tfc.passes.pack_contractions:PackContractions",
    "transpose-results": "tfc.passes.transpose_results:TransposeResults",
    "split-reductions": "tfc.passes.split_reductions:SplitReductions",
    "expand-updates": "tfc.passes.expand_updates:ExpandUpdates",
    "skip-initial": "tfc.passes.skip_initial:SkipInitial",
    "limit-memory": "tfc.passes.limit_memory:LimitMemory",
    "order-memory": "tfc.passes.order_memory:OrderMemory",
    "fuse": "tfc.passes.fuse:Fuse",
    "lower-to-kernels": "tfc.codegen.lower_to_kernels:LowerToKernels",
    "assign-buffers": "tfc.passes.assign_buffers:AssignBuffers",
    "check-memory": "tfc.passes.check_memory:CheckMemory",
}
"""Every pass by its name: module and class."""


@dataclass(frozen=True)
class Stage:
    """A stretch of the road."""

    name: str
    passes: str
    holds: str
    """What holds of the module afterwards."""


STAGES: tuple[Stage, ...] = (
    Stage("effects", "check-effects", "accesses to a variable have an order, unless the mode is warn"),
    Stage(
        "shapes",
        "simplify-control,simplify-shapes,require-extents",
        "every extent is a number or a function of named dims; no Dynamic operation is left "
        "whose operand could be known; what is expected of the dims is written down",
    ),
    Stage(
        "simplify",
        "canonicalize,fold-constants,simplify-control,canonicalize,cse,prune",
        "no operation folds; none is dead; no two compute the same",
    ),
    Stage("placement", "place", "every operation has a device"),
    Stage(
        "layout",
        "decompose,canonicalize,fold-constants,sink-transposes,"
        "fold-constants,canonicalize,cse,prune,hoist",
        "only primitives and what a kernel generator wants whole; transposes only where data "
        "enters or leaves a layout",
    ),
    Stage("transfers", "insert-transfers", "every operation uses values of its own device, tfc.recv apart"),
    Stage(
        "fusion",
        "find-attention,pack-contractions,transpose-results,split-reductions,hoist,expand-updates,skip-initial,fuse,"
        "limit-memory,order-memory",
        "every operation is in a fusion, is a view, or is a named kernel",
    ),
    Stage("kernels", "lower-to-kernels", "no tensor type is left in a kernel"),
    Stage(
        "host",
        "assign-buffers,check-memory",
        "every byte has an owner: the arena, a caller, or the weights",
    ),
)

SETS: dict[str, str] = {
    "optimise": "effects,shapes,simplify,placement,layout,transfers",
    "lower": "fusion,kernels,host",
}
"""Names for several stages in a row."""


def run_pipeline(
    module: ModuleOp,
    passes: str | Sequence[ModulePass],
    *,
    context: Context | None = None,
    options: Mapping[str, Any] | None = None,
    instruments: Iterable[Instrument] | None = None,
    verify: str | None = None,
) -> None:
    """Run passes on ``module``, in place.

    Args:
        passes: the text of a pipeline, or the passes themselves.
        options: values for the fields of this name in every pass that has one, where the
            text does not give another: ``{"cpu": "x86-64-v3"}``.
        instruments: who watches; what the environment asks for if left out.
        verify: ``"ends"``, ``"each"`` or ``"never"``; by ``TFC_VERIFY`` if left out.

    Raises:
        OptionError: an unknown pass or option; the nearest names are given.
        RuleError, VerifyException: the module, or what a pass made of it, is not valid.
    """
    steps = parse(passes, options) if isinstance(passes, str) else list(passes)
    if instruments is None:
        from tfc.passes.instrumentation import from_environment

        instruments = from_environment()
    if verify is None:
        verify = "each" if os.environ.get("TFC_VERIFY") == "1" else "ends"
    _Runner(context or _context(), module, list(instruments), verify).run(steps)


@dataclass
class _Runner:
    context: Context
    module: ModuleOp
    instruments: list[Instrument]
    verify: str

    def run(self, steps: Sequence[ModulePass]) -> None:
        for instrument in self.instruments:
            instrument.start(self.context, self.module)
        try:
            if self.verify != "never":
                self._verify()
            for number, step in enumerate(steps, 1):
                self._step(step)
                last = number == len(steps)
                if self.verify == "each" or (self.verify == "ends" and last):
                    self._verify()
        finally:
            for instrument in self.instruments:
                instrument.finish(self.module)

    def _step(self, step: ModulePass) -> None:
        for instrument in self.instruments:
            instrument.before(step, self.module)
        start = time.perf_counter()
        try:
            step.apply(self.context, self.module)
        except Exception as error:
            for instrument in self.instruments:
                instrument.failed(step, error)
            raise
        seconds = time.perf_counter() - start
        for instrument in self.instruments:
            instrument.after(step, self.module, seconds)

    def _verify(self) -> None:
        from tfc.passes.verifying import verify_module

        start = time.perf_counter()
        verify_module(self.module)
        for instrument in self.instruments:
            instrument.verified(self.module, time.perf_counter() - start)


def parse(text: str, options: Mapping[str, Any] | None = None) -> list[ModulePass]:
    """The passes that a pipeline's text names; see `run_pipeline`."""
    try:
        specs = list(parse_pipeline(text))
    except ArgSpecParseError as error:
        raise OptionError(
            f"expected a pipeline like 'cse,fold-constants{{max-bytes=1000}}', got {text!r}",
            help=str(error).strip().splitlines()[-1],
        ) from None
    return [p for spec in specs for p in _expand(spec, options or {})]


def pass_class(name: str) -> type[ModulePass]:
    """The class of the pass ``name``.

    Raises:
        OptionError: there is no such pass, or it is not part of this build.
    """
    if (where := PASSES.get(name)) is None:
        known = [*PASSES, *SETS, *(s.name for s in STAGES)]
        raise OptionError(
            f"unknown pass {name!r}", help=nearest(name, known) or "tfc-opt --list-passes"
        )
    module, cls = where.split(":")
    return getattr(importlib.import_module(module), cls)


def _expand(spec: ArgSpec, options: Mapping[str, Any]) -> list[ModulePass]:
    text = next((s.passes for s in STAGES if s.name == spec.name), None)
    text = SETS.get(spec.name, text)
    if text is None:
        return [_build(pass_class(spec.name), spec, options)]
    if spec.parameters:
        raise OptionError(f"the stage {spec.name!r} takes no options", help=f"it is {text}")
    return parse(text, options)


def _build(cls: type[ModulePass], spec: ArgSpec, options: Mapping[str, Any]) -> ModulePass:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    given = spec.normalize_parameter_names().parameters
    for name in given:
        if name not in fields:
            known = [f.replace("_", "-") for f in fields]
            hint = nearest(name.replace("_", "-"), known)
            listed = f"its options are {', '.join(known)}" if known else "it takes none"
            raise OptionError(
                f"{cls.name!r} has no option {name.replace('_', '-')!r}", help=hint or listed
            )
    try:
        made = cls.from_spec(spec) if given else cls()
    except ValueError as error:
        raise OptionError(f"in {str(spec)!r}: {error}") from None
    wanted = {k: v for k, v in options.items() if k in fields and k not in given}
    return dataclasses.replace(made, **wanted) if wanted else made


def _context() -> Context:
    from tfc.dialects import context

    return context()
