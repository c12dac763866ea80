"""What ``--explain-placement`` prints: where each operation runs, what else it could have, and what decided.

    estimated for a run: 312 us; 43.1 ms as far as possible on CPU:0, 315 us as far as possible on GPU:0
    'dense/MatMul' (tfc.dot): /job:localhost/replica:0/task:0/device:GPU:0 (39.8 us on GPU:0, 21.5 ms on CPU:0; chosen by costs)

It asks `tfc.passes.place` before that pass runs.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from tfc.passes.instrumentation import Instrument
from tfc.passes.place import Place


@dataclass
class ExplainPlacement(Instrument):
    """Tell where operations run, and why."""

    def before(self, pass_: ModulePass, module: ModuleOp) -> None:
        if isinstance(pass_, Place):
            sys.stderr.writelines(f"{line}\n" for line in pass_.explained(module))
