"""A model as a function of Python's interpreter: the LLVM IR of ``NAME_dispatch``.

    text = emit_host(...) + dispatch_llvm("mlp")

`dispatch.ll` says how it works; `tfc.runtime.dispatch` makes the table that it goes by, whose words
`WORDS` names.
"""

from __future__ import annotations

from importlib.resources import files
from string import Template

WORDS = (
    "inputs", "outputs", "array_type", "empty", "acquire", "release", "failure",
    "vectorcall", "incref", "decref", "new_tuple", "set_item", "save_thread", "restore_thread",
    "new_integer", "model", "dims", "input_rows", "output_rows", "variables", "spans", "unusual",
)  # fmt: skip
"""The words of a table, in order.

``input_rows`` has four words for each input: dtype, rank, address of the extents, bytes; ``output_rows``
two for each output, the arguments of ``empty``: shape and dtype; ``spans`` two for each
variable: where its memory begins and ends.
"""


def dispatch_llvm(name: str) -> str:
    """The function for the model ``name``, to be put behind its C interface."""
    text = files("tfc.codegen").joinpath("dispatch.ll").read_text("utf-8")
    return Template(text).substitute(name=name)
