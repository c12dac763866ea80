"""A request made runnable: compiled for this machine, or interpreted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from xdsl.ir import Attribute

from tfc.dialects.tfc.state import VariableOp
from tfc.dialects.tfc.types import Array, dtype_of, element, shape_of
from tfc.graph.specialise import Extract, output_types

if TYPE_CHECKING:
    from tfc.graph.session import ConfigProto
    from tfc.runtime.program import Program


class Runnable:
    """A program: the outputs for its inputs, both in order.

    Args:
        run: gives arrays.
        scalars: which outputs are of rank 0, and given as numpy's scalars, as TensorFlow does.
        native: the program as an object with a native call (`tfc.runtime.program.Program`).
    """

    def __init__(
        self,
        run: Callable[[Sequence[Array]], Sequence[Any]],
        scalars: Sequence[int],
        native: Program | None = None,
    ) -> None:
        self._run, self.scalars, self._native = run, tuple(scalars), native

    def __call__(self, fed: Sequence[Array]) -> Sequence[Any]:
        return self.unwrapped(self._run(fed))

    def unwrapped(self, values: Any) -> Any:
        for k in self.scalars:
            values[k] = values[k][()]
        return values

    @property
    def call(self) -> Callable[..., Any]:
        """The native call: the output, a tuple of several, or NotImplemented."""
        return self._native.call if self._native else no_call


def no_call(*_fed: Any) -> Any:
    """Of a program that has no native call."""
    return NotImplemented


Storage: TypeAlias = Callable[[str, tuple[int, ...], "np.dtype[Any]", str], Any]
"""The array that holds the variable of a name, shape and dtype, in a memory (see `tfc.graph.stores`)."""


def compiled(found: Extract, storage: Storage, config: ConfigProto) -> Runnable:
    """Machine code for this process, whose variables are the session's arrays."""
    from tfc.compiler import compile_module
    from tfc.options import Options, this_gpu
    from tfc.runtime import program as runtime

    place(found, config)
    threads = max(config.intra_op_parallelism_threads, 1)
    options = Options(
        threads=threads,
        check_effects=config.check_effects,
        memory_limit=config.memory_limit,
        placement=config.placement,
        gpu=this_gpu() if config.placement.gpus else None,
    )
    program, _ = compile_module(found.module, options)
    for k, port in enumerate(program.manifest.variables):
        shape = tuple(d for d in port.shape if isinstance(d, int))
        program.bind_variable(k, storage(port.name, shape, runtime.dtype_of(port.dtype), port.memory))
    scalars = [k for k, port in enumerate(program.manifest.outputs) if not port.shape]
    return Runnable(program.run, scalars, program)


def interpreted(found: Extract, storage: Storage, config: ConfigProto) -> Runnable:
    """The same by the operations' meaning in numpy."""
    from tfc.passes.check_effects import check
    from tfc.runtime.interpreter import interpret

    check(found.module, config.check_effects)
    place(found, config)
    held = {
        op.variable.data: storage(op.variable.data, *_static(op.content), "")
        for op in found.module.walk()
        if isinstance(op, VariableOp)
    }

    def run(fed: Sequence[Array]) -> Sequence[Any]:
        now = dict(held)
        values = [np.array(v) for v in interpret(found.module, fed, now)]
        for name, array in held.items():
            if now[name] is not array:
                array[...] = now[name]
        return values

    return Runnable(run, [k for k, (shape, _) in enumerate(output_types(found.module)) if not shape])


def _static(content: Attribute) -> tuple[tuple[int, ...], np.dtype[Any]]:
    return tuple(d for d in shape_of(content) if isinstance(d, int)), dtype_of(element(content))


def place(found: Extract, config: ConfigProto) -> None:
    """Give each operation a device, where the graph asks for any or the session wants to know."""
    if not config.log_device_placement and not any(op.device for op in found.nodes):
        return
    from tfc.dialects import context
    from tfc.passes.place import Place

    there = config.placement
    Place(
        cpus=there.cpus,
        gpus=there.gpus,
        prefer=there.prefer,
        soft=there.soft,
        costs=there.costs,
        explain=config.log_device_placement,
    ).apply(context(), found.module)
