"""The host program: which kernels run on which bytes, in which order.

    host.program @mlp attributes {dims = ["batch"], inputs = [#host.port<"x", tensor<...>>], ...} {
      %x = host.input 0 : memref<?xf32>
      %w = host.constant #tfc.literal<"blob 5f3a..." : tensor<784x100xf32>> at 0 : memref<78400xf32>
      %t = host.buffer "400*batch" at "0" : memref<?xf32>
      %y = host.output 0 : memref<?xf32>
      host.launch @dot_1 reads(%x, %w) writes(%t) : ...
      host.launch @relu_2 reads(%t) writes(%y) : ...
    }

Every byte has an owner: the caller (inputs, outputs), the model's weights (constants), the
model's handle (variables), or the arena (buffers). Sizes and offsets are in bytes and may
be expressions over ``dims``. The operations run in the order of the text; ``assign-buffers``
gives buffers their place in the arena.

Buffers, constants and variables lie in the host's memory, which all CPUs share, or in that of a device:

      %a = host.buffer "400" on "GPU:0" at "0" : memref<100xf32>
      host.copy %x to %a, "400" : ...                     from the host's memory to the device's
      host.launch @exp_3 reads(%a) writes(%b) : ...       runs on GPU:0

A device has an arena of its own (``arenas`` of the program). The caller's inputs and outputs are in the host's
memory, or all the way on a device; whatever the host looks at itself (predicates, rows' numbers,
messages) is in the host's memory.

Branches and loops have regions that see all buffers:

    host.while {                               host.if %p : memref<1xi1> {
      host.launch @less reads(%i, %n)            host.launch @f reads(%x) writes(%y) ...
          writes(%more) ...                    } else {
    } more %more : memref<1xi1> do {             host.copy %x to %y, "400" ...
      host.launch @step ...                    }
    }

Buffers are typed as the kernels see them: flat, signless (see `tfc.dialects.kernel`). The ports
keep the types of the graph.
"""

from __future__ import annotations

from xdsl.ir import Dialect

from tfc.dialects.host.buffers import (
    HOST,
    Buffer,
    BufferOp,
    ConstantOp,
    InputOp,
    OutputOp,
    PlacedOp,
    PortAttr,
    PortOp,
    RowOp,
    VariableOp,
    ViewOp,
    buffer_of,
    kernel_element,
    memory_of,
    port,
    tensor_bytes,
)
from tfc.dialects.host.messages import AssertOp, MessageOp, PrintOp
from tfc.dialects.host.program import ProgramOp, device_weights
from tfc.dialects.host.steps import CopyOp, IfOp, LaunchOp, SwapOp, WhileOp

__all__ = [
    "HOST",
    "AssertOp",
    "Buffer",
    "BufferOp",
    "ConstantOp",
    "CopyOp",
    "Host",
    "IfOp",
    "InputOp",
    "LaunchOp",
    "MessageOp",
    "OutputOp",
    "PlacedOp",
    "PortAttr",
    "PortOp",
    "PrintOp",
    "ProgramOp",
    "RowOp",
    "SwapOp",
    "VariableOp",
    "ViewOp",
    "WhileOp",
    "buffer_of",
    "device_weights",
    "kernel_element",
    "memory_of",
    "port",
    "tensor_bytes",
]

Host = Dialect(
    "host",
    [
        ProgramOp, InputOp, OutputOp, VariableOp, ConstantOp, BufferOp, ViewOp, LaunchOp, CopyOp,
        RowOp, SwapOp, IfOp, WhileOp, PrintOp, AssertOp,
    ],
    [PortAttr],
)  # fmt: skip
