"""What can run a workload: tfc, and the libraries that are installed beside it.

A peer prepares a workload once (compiling it, moving constants) and gives a function without
arguments that runs it and returns a numpy array.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
from models import Workload

Run = Callable[[], Any]


def tfc_(workload: Workload, threads: int) -> Run:
    import tfc

    model = tfc.compile(workload.model, threads=threads)
    inputs = [workload.inputs[s.name] for s in model.inputs]
    return lambda: model(*inputs)


def onnxruntime_(workload: Workload, threads: int) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(
        workload.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, workload.inputs)[0]


def numpy_(workload: Workload, threads: int) -> Run:
    assert workload.arrays is not None, "runs_on says so"
    arrays, given = workload.arrays, workload.constants | workload.inputs
    return lambda: arrays(np, **given)


def torch_(workload: Workload, threads: int) -> Run:
    import torch

    assert workload.arrays is not None, "runs_on says so"
    torch.set_num_threads(threads)
    given = {k: torch.from_numpy(v) for k, v in (workload.constants | workload.inputs).items()}
    arrays = workload.arrays

    def run() -> Any:
        with torch.inference_mode():
            return arrays(torch, **given).numpy()

    return run


def jax_(workload: Workload, threads: int) -> Run:
    import jax
    import jax.numpy as jnp

    assert workload.arrays is not None, "runs_on says so"
    arrays = workload.arrays
    constants = {k: jnp.asarray(v) for k, v in workload.constants.items()}
    inputs = {k: jnp.asarray(v) for k, v in workload.inputs.items()}
    function = jax.jit(lambda given: arrays(jnp, **constants, **given))
    return lambda: np.asarray(function(inputs))


PEERS: dict[str, Callable[[Workload, int], Run]] = {
    "tfc": tfc_,
    "numpy": numpy_,
    "onnxruntime": onnxruntime_,
    "torch": torch_,
    "jax": jax_,
}


def runs_on(name: str, workload: Workload) -> bool:
    """Whether a peer is installed and can run the workload."""
    if importlib.util.find_spec(name) is None:
        return False
    return workload.arrays is not None or name in ("tfc", "onnxruntime")
