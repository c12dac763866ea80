"""``tf.train``: optimizers, rates, averages; clusters, and where their variables live."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

from tfc.errors import GraphError
from tfc.graph.averages import ExponentialMovingAverage
from tfc.graph.node import Operation
from tfc.graph.optimizers import (
    AdadeltaOptimizer,
    AdagradOptimizer,
    AdamOptimizer,
    AdamWOptimizer,
    FtrlOptimizer,
    GradientDescentOptimizer,
    MomentumOptimizer,
    Optimizer,
    ProximalAdagradOptimizer,
    ProximalGradientDescentOptimizer,
    RMSPropOptimizer,
)
from tfc.graph.saver import (
    CheckpointReader,
    CheckpointState,
    NewCheckpointReader,
    Saver,
    checkpoint_exists,
    get_checkpoint_state,
    latest_checkpoint,
    list_variables,
    load_checkpoint,
    load_variable,
    update_checkpoint_state,
)
from tfc.graph.schedules import (
    cosine_decay,
    cosine_decay_restarts,
    exponential_decay,
    inverse_time_decay,
    linear_cosine_decay,
    natural_exp_decay,
    piecewise_constant,
    polynomial_decay,
)
from tfc.graph.source import here, quoted
from tfc.graph.steps import (
    assert_global_step,
    create_global_step,
    get_global_step,
    get_or_create_global_step,
    global_step,
)

__all__ = [
    "AdadeltaOptimizer", "AdagradOptimizer", "AdamOptimizer", "AdamWOptimizer", "CheckpointReader",
    "CheckpointState", "ClusterSpec", "ExponentialMovingAverage", "FtrlOptimizer",
    "GradientDescentOptimizer", "MomentumOptimizer", "NewCheckpointReader", "Optimizer",
    "ProximalAdagradOptimizer", "ProximalGradientDescentOptimizer", "RMSPropOptimizer", "Saver", "Server",
    "assert_global_step", "checkpoint_exists", "cosine_decay", "cosine_decay_restarts",
    "create_global_step", "exponential_decay", "get_checkpoint_state", "get_global_step",
    "get_or_create_global_step", "global_step", "inverse_time_decay", "latest_checkpoint",
    "linear_cosine_decay", "list_variables", "load_checkpoint", "load_variable", "natural_exp_decay",
    "piecewise_constant", "polynomial_decay", "replica_device_setter", "update_checkpoint_state",
]  # fmt: skip

PS_OPS = ("Variable", "VariableV2", "VarHandleOp")
"""Kinds of nodes that parameter servers hold."""


class ClusterSpec:
    """The tasks of each job, by address."""

    def __init__(self, cluster: Mapping[str, Any] | ClusterSpec) -> None:
        jobs = cluster.as_dict() if isinstance(cluster, ClusterSpec) else cluster
        self._jobs = {job: list(tasks) for job, tasks in jobs.items()}

    def as_dict(self) -> dict[str, list[str]]:
        return {job: list(tasks) for job, tasks in self._jobs.items()}

    @property
    def jobs(self) -> list[str]:
        return list(self._jobs)

    def num_tasks(self, job_name: str) -> int:
        return len(self._jobs[job_name])


class Server:
    """Something that sessions connect to: those of one server share their variables.

    A server of tfc lives in this process and needs no network; ``target`` is its name.
    """

    def __init__(
        self, server_or_cluster_def: Any, job_name: str = "local", task_index: int = 0, protocol: Any = None,
        config: Any = None, start: bool = True,
    ) -> None:  # fmt: skip
        tasks = ClusterSpec(server_or_cluster_def).as_dict().get(job_name)
        if tasks is None or not 0 <= task_index < len(tasks):
            raise quoted(GraphError(f"the cluster has no task {task_index} of the job '{job_name}'"), here())
        self.server_def = ClusterSpec(server_or_cluster_def)
        self.target = f"grpc://{tasks[task_index]}"
        """What `Session` is given."""

    @staticmethod
    def create_local_server(config: Any = None, start: bool = True) -> Server:
        """A server of its own in this process."""
        return Server({"local": [f"localhost:{next(_ports)}"]})

    def start(self) -> None:
        """Nothing: it is there from the start."""


_ports = count(2222)


def replica_device_setter(
    ps_tasks: int = 0,
    ps_device: str = "/job:ps",
    worker_device: str = "/job:worker",
    merge_devices: bool = True,
    cluster: Any = None,
    ps_ops: Sequence[str] | None = None,
    ps_strategy: Callable[[Operation], int] | None = None,
) -> Callable[[Operation], str] | None:
    """A function for `tf.device`: variables go to the parameter servers in turn, the rest to a worker."""
    if cluster is not None:
        ps_job = ps_device.removeprefix("/job:").split("/")[0]
        ps_tasks = len(ClusterSpec(cluster).as_dict().get(ps_job, ()))
    if ps_tasks == 0:
        return None
    kinds = tuple(PS_OPS if ps_ops is None else ps_ops)
    counter = iter(_turns(ps_tasks))
    choose = ps_strategy or (lambda _op: next(counter))

    def place(op: Operation) -> str:
        if op.type in kinds:
            return ps_device if "/task:" in ps_device else f"{ps_device}/task:{choose(op)}"
        return worker_device

    return place


def _turns(count: int) -> Any:
    while True:
        yield from range(count)
