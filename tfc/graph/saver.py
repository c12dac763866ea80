"""``tf.train.Saver``: the values of variables in files, and back.

    saver = tf.train.Saver()
    saver.save(session, "models/net", global_step=7)      models/net-7.index, models/net-7.data-..., models/checkpoint
    saver.restore(session, tf.train.latest_checkpoint("models"))

The files are TensorFlow's (`tfc.checkpoint.bundle`), or one ``.safetensors`` file (`tfc.checkpoint.flat`). Saving and restoring are all or nothing: a process that
is killed leaves the last good checkpoint, one that cannot be restored leaves the variables as they were.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfc.checkpoint.bundle import (
    Bundle,
    Parts,
    remove_bundle,
    replace_bytes,
    shard_count,
    write_bundle,
)
from tfc.checkpoint.flat import SUFFIX, FlatFile, write_flat
from tfc.dialects.tfc.types import Array
from tfc.errors import CheckpointError, GraphError
from tfc.graph.dtypes import DType, as_dtype
from tfc.graph.node import Tensor
from tfc.graph.partitioned import Part, PartitionedVariable
from tfc.graph.shape import TensorShape
from tfc.graph.source import here, quoted
from tfc.graph.variables import Variable, global_variables

_STATE = "checkpoint"


class Saver:
    """Saves and restores variables.

    Checkpoints in any number of data files are read, and one file is written, also where ``sharded`` is asked
    for. Meta graphs are not written: the program is what makes the graph.

    Args:
        var_list: which: variables, or a dict from the names that files shall have; all global variables
            there are now where it is left out. Parts of a variable are saved under the name of the whole.
        reshape: restore a value of another shape with as many elements.
        max_to_keep: how many of the checkpoints that it wrote stay; all where it is 0 or None.
        keep_checkpoint_every_n_hours: of those that would go, one in so many hours stays.
        pad_step_number: write step numbers with eight digits.
        save_relative_paths: write paths into the state file that move with the folder.

    Raises:
        GraphError: what is listed is no variable, or two variables have one name.
    """

    def __init__(
        self,
        var_list: Sequence[Any] | Mapping[str, Any] | None = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        pad_step_number: bool = False,
        save_relative_paths: bool = False,
        **_others: Any,
    ) -> None:
        self._variables = None if var_list is None else _named(var_list)
        if self._variables is None and global_variables():
            self._variables = _named(global_variables())
        self._reshape, self._max = reshape, max_to_keep or 0
        self._hours, self._pad, self._relative = keep_checkpoint_every_n_hours, pad_step_number, save_relative_paths
        self._kept: list[tuple[str, float]] = []
        self._next_kept = time.time() + keep_checkpoint_every_n_hours * 3600

    @property
    def last_checkpoints(self) -> list[str]:
        """The paths of the checkpoints that are kept, the oldest first."""
        return [path for path, _ in self._kept]

    def set_last_checkpoints(self, last_checkpoints: Sequence[str]) -> None:
        """Take these for its own: they go when newer ones come."""
        self._kept = [(path, np.inf) for path in last_checkpoints]

    def set_last_checkpoints_with_time(self, last_checkpoints_with_time: Sequence[tuple[str, float]]) -> None:
        self._kept = list(last_checkpoints_with_time)

    def recover_last_checkpoints(self, checkpoint_paths: Sequence[str]) -> None:
        """Take those of the paths for its own that are still there."""
        there = [p for p in checkpoint_paths if checkpoint_exists(p)]
        self._kept = [(p, os.path.getmtime(f"{p}.index")) for p in there]

    def save(
        self,
        sess: Any,
        save_path: str | os.PathLike[str],
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        **_others: Any,
    ) -> str:
        """Write a checkpoint, with the values of one moment.

        Args:
            save_path: the beginning of the files' names; or the name of one file, which ends with
                ``.safetensors`` and of which the state file says nothing.
            global_step: a number, or a variable or tensor of one, that is added to the names.
            write_state: note the checkpoint in the folder's file ``checkpoint``.

        Returns:
            The beginning of the files' names: what `restore` takes.

        Raises:
            RunError: a variable has no value yet.
            CheckpointError: the files cannot be written.
        """
        path = os.fspath(save_path)
        if global_step is not None:
            is_node = isinstance(global_step, Tensor) or hasattr(global_step, "_as_tensor")
            found: Any = sess.run(global_step) if is_node else global_step
            step = int(found)
            path += f"-{step:08d}" if self._pad else f"-{step}"
        if not os.path.isdir(os.path.dirname(path) or "."):
            raise CheckpointError(f"there is no folder {os.path.dirname(path)} to save in", where=path)
        chosen = self._chosen()
        variables = [v for target in chosen.values() for v in target.variables]
        values = iter(sess.values_of([v.op for v in variables]))
        tensors = {name: target.value(values) for name, target in chosen.items()}
        if path.endswith(SUFFIX):
            write_flat(path, {n: t.whole() if isinstance(t, Parts) else t for n, t in tensors.items()})
            return path
        write_bundle(path, tensors)
        if write_state:
            self._note(path, latest_filename or _STATE)
        return path

    def restore(self, sess: Any, save_path: str | os.PathLike[str] | None) -> None:
        """Give the variables the values of a checkpoint: all of them, or none if one is not right.

        Raises:
            CheckpointError: there is no such checkpoint, it is damaged, or a variable is not in it or
                has another shape or dtype there; the variable's line is named.
        """
        if save_path is None:
            raise CheckpointError("there is no checkpoint to restore, got None", help="latest_checkpoint found none")
        bundle = _opened(os.fspath(save_path))
        values = [
            pair for name, target in self._chosen().items() for pair in target.of_whole(self._value(bundle, name, target))
        ]
        sess.load_all(values)

    def _chosen(self) -> dict[str, _Target]:
        found = self._variables if self._variables is not None else _named(global_variables())
        if not found:
            raise quoted(GraphError("there are no variables to save"), here())
        return found

    def _value(self, bundle: Bundle | FlatFile, name: str, target: _Target) -> Array:
        where, dtype, wanted = target.variables[0].op.made_at, target.variables[0].dtype, target.shape
        try:
            value = bundle.read(name)
        except CheckpointError as error:
            if name in bundle:
                raise
            message = f"the checkpoint {bundle.prefix} has no value for the variable '{name}'"
            raise CheckpointError(message, where=where, help=error.help) from None
        if value.dtype != dtype.numpy:
            message = f"'{name}' is {dtype.name}, and {value.dtype} in the checkpoint {bundle.prefix}"
            raise CheckpointError(message, where=where)
        if value.shape == wanted:
            return value
        same = value.size == np.prod(wanted, dtype=np.int64)
        if self._reshape and same:
            return value.reshape(wanted)
        message = f"the variable '{name}' has the shape {list(wanted)}, and {list(value.shape)} in the checkpoint {bundle.prefix}"
        help = "Saver(reshape=True) takes the elements in their order" if same else ""
        raise CheckpointError(message, where=where, help=help)

    def _note(self, path: str, name: str) -> None:
        """Write the state file, then remove what is not kept any more: never the other way."""
        kept = [(p, t) for p, t in self._kept if p != path]
        kept.append((path, time.time()))
        gone: list[str] = []
        while self._max and len(kept) > self._max:
            old, written = kept.pop(0)
            if written != np.inf and written > self._next_kept:
                self._next_kept += self._hours * 3600  # this one stays for good
            else:
                gone.append(old)
        paths = [p for p, _ in kept]
        update_checkpoint_state(os.path.dirname(path), path, paths, name, self._relative)
        self._kept = kept
        for old in gone:
            remove_bundle(old)


def _opened(path: str) -> Bundle | FlatFile:
    return FlatFile(path) if path.endswith(SUFFIX) else Bundle(path)


@dataclass
class _Target:
    """What one name in a checkpoint stands for: a variable, or parts of one whole."""

    variables: list[Variable]
    parts: list[Part] = field(default_factory=list[Part])

    @property
    def shape(self) -> tuple[int, ...]:
        whole = self.parts[0].full_shape if self.parts else self.variables[0].shape.as_list()
        return tuple(d for d in whole if d is not None)

    def value(self, values: Iterator[Array]) -> Array | Parts:
        """What is saved, of the next ones of ``values``."""
        if not self.parts:
            return next(values)
        return Parts(self.shape, [(tuple(p.var_offset), next(values)) for p in self.parts])

    def of_whole(self, value: Array) -> list[tuple[Variable, Array]]:
        """What each variable gets."""
        if not self.parts:
            return [(self.variables[0], value)]
        return [(v, p.of_value(value)) for v, p in zip(self.variables, self.parts, strict=True)]


def _named(var_list: Any) -> dict[str, _Target]:
    """Variables by the names that files have for them; parts of one whole have one name."""
    given = var_list.items() if isinstance(var_list, Mapping) else [(None, v) for v in var_list]
    found: dict[str, _Target] = {}
    for name, variable in given:
        if isinstance(variable, PartitionedVariable):
            _enter(found, name or variable.name, _Target(*map(list, zip(*variable.parts(), strict=True))))
        elif not isinstance(variable, Variable):
            raise quoted(GraphError(f"expected a variable to save, got {variable!r}"), here())
        elif name is None and variable.part_of is not None:
            whole, part = variable.part_of
            target = found.setdefault(whole, _Target([]))
            target.variables.append(variable)
            target.parts.append(part)
        else:
            _enter(found, name or variable.op.name, _Target([variable]))
    return dict(sorted(found.items()))


def _enter(found: dict[str, _Target], name: str, target: _Target) -> None:
    if found.setdefault(name, target).variables != target.variables:
        raise quoted(GraphError(f"two variables to save have the name '{name}'"), here())


# The state of a folder.


@dataclass
class CheckpointState:
    """What a folder's file ``checkpoint`` says."""

    model_checkpoint_path: str
    all_model_checkpoint_paths: list[str] = field(default_factory=list[str])


def get_checkpoint_state(checkpoint_dir: str | os.PathLike[str], latest_filename: str | None = None) -> CheckpointState | None:
    """The newest checkpoint in a folder and all that are kept, as its state file says; None without one."""
    folder = os.fspath(checkpoint_dir)
    try:
        with open(os.path.join(folder, latest_filename or _STATE), encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    found: dict[str, list[str]] = {}
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and value.strip().startswith('"'):
            path = _unquoted(value.strip())
            path = path if os.path.isabs(path) else os.path.join(folder, path)
            found.setdefault(key.strip(), []).append(path)
    if "model_checkpoint_path" not in found:
        return None
    return CheckpointState(found["model_checkpoint_path"][0], found.get("all_model_checkpoint_paths", []))


def update_checkpoint_state(
    save_dir: str | os.PathLike[str],
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
    save_relative_paths: bool = False,
) -> None:
    """Write the state file of a folder, in one step."""
    folder = os.fspath(save_dir)
    paths = list(all_model_checkpoint_paths or ())
    if model_checkpoint_path not in paths:
        paths.append(model_checkpoint_path)

    def written(path: str) -> str:
        # Relative paths are relative to the folder: a path relative to elsewhere is no help.
        inside = save_relative_paths or not os.path.isabs(path)
        return _quoted(os.path.relpath(path, folder or ".") if inside else path)

    rows = [f"model_checkpoint_path: {written(model_checkpoint_path)}"]
    rows += [f"all_model_checkpoint_paths: {written(p)}" for p in paths]
    replace_bytes(os.path.join(folder, latest_filename or _STATE), ("\n".join(rows) + "\n").encode())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _unquoted(text: str) -> str:
    """A string as protocol buffers' text format writes it: other bytes than ASCII are octal numbers."""
    out, at, body = bytearray(), 0, text[1 : text.rfind('"')]
    plain = {"n": "\n", "t": "\t", "r": "\r"}
    while at < len(body):
        if body[at] != "\\":
            out += body[at].encode()
            at += 1
        elif body[at + 1 : at + 4].isdigit():
            out.append(int(body[at + 1 : at + 4], 8) & 255)
            at += 4
        else:
            out += plain.get(body[at + 1 : at + 2], body[at + 1 : at + 2]).encode()
            at += 2
    return out.decode("utf-8", "surrogateescape")


def latest_checkpoint(checkpoint_dir: str | os.PathLike[str], latest_filename: str | None = None) -> str | None:
    """The newest checkpoint of a folder that is still there, as its state file says; None without one."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None or not checkpoint_exists(state.model_checkpoint_path):
        return None
    return state.model_checkpoint_path


def checkpoint_exists(checkpoint_prefix: str | os.PathLike[str]) -> bool:
    """Whether there is a checkpoint whose files begin so."""
    return shard_count(os.fspath(checkpoint_prefix)) > 0


# Reading without a graph.


class CheckpointReader:
    """What a checkpoint holds, by the names and shapes of its tensors.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """

    def __init__(self, filepattern: str | os.PathLike[str]) -> None:
        self._bundle = _opened(os.fspath(filepattern))

    def has_tensor(self, tensor_str: str) -> bool:
        return tensor_str in self._bundle

    def get_tensor(self, tensor_str: str) -> Any:
        """A value. Raises `CheckpointError` for an unknown name or damaged data."""
        value = self._bundle.read(tensor_str)
        return value if value.ndim else value[()]

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        return {n: list(self._bundle.shape(n)) for n in self._bundle.names}

    def get_variable_to_dtype_map(self) -> dict[str, DType | np.dtype[Any]]:
        """The element types: numpy's ``object`` for strings."""
        kinds = {n: self._bundle.dtype(n) for n in self._bundle.names}
        return {n: as_dtype(k) if k.kind in "fiubV" else k for n, k in kinds.items()}

    def debug_string(self) -> bytes:
        """A line for each tensor."""
        shapes = self.get_variable_to_shape_map().items()
        rows = [f"{n} ({self._bundle.dtype(n)}) {TensorShape(s)}" for n, s in shapes]
        return "\n".join(rows).encode()


NewCheckpointReader = CheckpointReader


def load_checkpoint(ckpt_dir_or_file: str | os.PathLike[str]) -> CheckpointReader:
    """The checkpoint of a path, or the newest one of a folder.

    Raises:
        CheckpointError: there is none.
    """
    path = os.fspath(ckpt_dir_or_file)
    if os.path.isdir(path):
        found = latest_checkpoint(path)
        if found is None:
            raise CheckpointError("the folder has no checkpoint that its state file knows", where=path)
        path = found
    return CheckpointReader(path)


def list_variables(ckpt_dir_or_file: str | os.PathLike[str]) -> list[tuple[str, list[int]]]:
    """Names and shapes of what a checkpoint holds, by name. Raises as `load_checkpoint`."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def load_variable(ckpt_dir_or_file: str | os.PathLike[str], name: str) -> Any:
    """One value of a checkpoint. Raises as `load_checkpoint`, and for an unknown name."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))
