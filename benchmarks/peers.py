"""What can run a workload: tfc, and the libraries that are installed beside it.

A peer prepares a case once (reading the model file or moving the weights, compiling) and gives a
function without arguments that runs it and returns numpy arrays. Each stands in a process of its own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import training
from form import Array, Workload

Run = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """A workload for one peer.

    Attributes:
        folder: holds ``model.onnx``, and ``unrolled.onnx`` where there is an LSTM.
        notes: what the peer has to say of itself; stands in the results.
    """

    workload: Workload
    folder: Path
    threads: int
    notes: dict[str, Any]

    @cached_property
    def weights(self) -> list[Array]:
        from onnx_form import drawn_weights

        return drawn_weights(self.workload)

    @property
    def model(self) -> str:
        return str(self.folder / "model.onnx")


def tfc_(case: Case) -> Run:
    import tfc

    if case.workload.trains:
        return training.tfc_step(case.workload, case.weights, case.threads)
    try:
        model = tfc.compile(case.model, name="model", threads=case.threads)
    except tfc.TfcError:
        if not (path := case.folder / "unrolled.onnx").exists():
            raise
        model = tfc.compile(path, name="model", threads=case.threads)
        case.notes["note"] = "the loop unrolled in the model file"
    inputs = [case.workload.inputs[s.name] for s in model.inputs]
    return partial(model, *inputs)


def artifact_size(run: Any) -> int:
    """Bytes of the shared library of the model that `tfc_` runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.so"
        run.func.save(path)
        return path.stat().st_size


def onnxruntime_(case: Case) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = case.threads, 1
    session = ort.InferenceSession(case.model, options, providers=["CPUExecutionProvider"])
    return partial(session.run, None, case.workload.inputs)


def openvino_(case: Case) -> Run:
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": case.threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }
    request = ov.Core().compile_model(case.model, "CPU", settings).create_infer_request()
    inputs = case.workload.inputs

    def run() -> list[Array]:
        results = request.infer(inputs, share_inputs=True, share_outputs=True)
        return list(results.values())

    return run


def iree_(case: Case) -> Run:
    import subprocess
    import sys

    import iree.compiler
    import iree.runtime

    text = case.folder / "iree.mlir"
    subprocess.run(
        [sys.executable, "-m", "iree.compiler.tools.import_onnx", case.model, "-o", str(text)],
        check=True,
    )
    flags = ["--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O3"]
    binary = iree.compiler.compile_file(str(text), target_backends=["llvm-cpu"], extra_args=flags)
    config = iree.runtime.Config("local-sync" if case.threads == 1 else "local-task")
    module = iree.runtime.VmModule.copy_buffer(config.vm_instance, binary)
    context = iree.runtime.SystemContext(vm_modules=[module], config=config)
    function = context.modules["module"][case.workload.name]
    device = config.device
    arrays = [iree.runtime.asdevicearray(device, a) for a in case.workload.inputs.values()]

    def run() -> list[Array]:
        results = function(*arrays)
        return [np.asarray(y) for y in (results if isinstance(results, tuple) else (results,))]

    return run


def numpy_(case: Case) -> Run:
    from numpy_form import NumpyForm

    return partial(NumpyForm(drawn=case.weights).run, case.workload, case.workload.inputs)


def torch_(case: Case, *, compiled: bool = False) -> Run:
    import torch
    from torch_form import TorchForm, arguments

    if case.workload.trains:
        return training.torch_step(case.workload, case.weights, case.threads, compiled)
    torch.set_num_threads(case.threads)
    form = TorchForm(case.weights, unroll=compiled)
    inputs, function = arguments(case.workload.inputs), partial(form.run, case.workload)
    if compiled:
        import torch._inductor.config

        torch._inductor.config.freezing = True
        function = frozen(form, function, inputs)

    def run() -> list[Array]:
        with torch.inference_mode() if not compiled else torch.no_grad():
            return [y.numpy() for y in function(inputs)]

    return run


def frozen(form: Any, function: Any, inputs: Any) -> Any:
    """``function`` under ``torch.compile``, its weights the parameters of a module, thus constant."""
    import torch

    with torch.no_grad():
        function(inputs)

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kept = torch.nn.ParameterList(form.kept)

        def forward(self, given: Any) -> Any:
            form.kept = list(self.kept)
            return function(given)

    return torch.compile(Module().eval())


def jax_(case: Case) -> Run:
    from jax_form import compiled

    if case.workload.trains:
        return training.jax_step(case.workload, case.weights, case.threads)
    return compiled(case.workload, case.weights)


@dataclass(frozen=True)
class Peer:
    """A library that runs workloads.

    Attributes:
        package: the module that has to be installed.
        prepare: what makes it run one.
        only: the workloads that it is of use for; None for all.
        draws: whether it takes weights as arrays, not from a file.
        imports: modules that it imports when they are first used; before the clock starts here.
        trains: whether it runs steps of training.
    """

    package: str
    prepare: Callable[[Case], Run]
    only: tuple[str, ...] | None = None
    draws: bool = False
    imports: tuple[str, ...] = ()
    trains: bool = False

    @property
    def version(self) -> str:
        distribution = {"iree.compiler": "iree-base-compiler"}.get(self.package, self.package)
        return importlib.metadata.version(distribution)

    def takes(self, workload: str) -> bool:
        """Whether it is installed and runs the workload."""
        try:
            installed = importlib.util.find_spec(self.package) is not None
        except ModuleNotFoundError:
            installed = False
        if workload.startswith("train") and not self.trains:
            return False
        return installed and (self.only is None or workload.startswith(self.only))


_COMPILER = ("tfc.compiler", "tfc.frontend.onnx.importer", "tfc.runtime.jit")
_SIMPLE = ("matmul", "dense", "mlp", "softmax", "layernorm", "lstm", "tiny")
_WEIGHTS = ("resnet50", "bert", "gpt2")

PEERS: dict[str, Peer] = {
    "tfc": Peer("tfc", tfc_, imports=_COMPILER, trains=True),
    "numpy": Peer("numpy", numpy_, _SIMPLE, draws=True),
    "torch": Peer("torch", torch_, draws=True, trains=True),
    "torch compiled": Peer("torch", partial(torch_, compiled=True), ("train",), draws=True, trains=True),
    "torch frozen": Peer("torch", partial(torch_, compiled=True), _WEIGHTS, draws=True),
    "jax": Peer("jax", jax_, draws=True, trains=True),
    "onnxruntime": Peer("onnxruntime", onnxruntime_),
    "openvino": Peer("openvino", openvino_),
    "iree": Peer("iree.compiler", iree_, ("fusion", "softmax", "layernorm", "tiny")),
}
"""Every peer by its name in the tables."""
