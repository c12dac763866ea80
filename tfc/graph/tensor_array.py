"""``tf.TensorArray``: an array of tensors of one type, which a loop reads and writes by number.

    a = tf.TensorArray(tf.float32, size=3)
    a = a.write(0, x).write(1, y)           each write gives the array that has it
    a.read(1), a.stack()

An array is one tensor with a row for each element; elements that nobody wrote are zeros. As a loop
variable or a branch's result it is carried like a tensor, and written in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfc.errors import GraphError
from tfc.graph import nest
from tfc.graph.dtypes import DType, as_dtype, int32
from tfc.graph.node import Tensor
from tfc.graph.ops import convert, name_scope, single
from tfc.graph.shape import TensorShape
from tfc.graph.source import here, quoted


class TensorArray:
    """An array of tensors of one element type and one shape.

    Args:
        dtype: the element type.
        size: how many elements there are.
        element_shape: their shape; the first write says it where it is left out or not wholly known.
        clear_after_read, tensor_array_name, infer_shape, colocate_with_first_write_call: not needed.
        dynamic_size: not supported: code is made for arrays of a fixed size.
        flow: the tensor that holds the elements, of an array that exists.
    """

    def __init__(
        self,
        dtype: Any,
        size: Any = None,
        dynamic_size: bool | None = None,
        clear_after_read: bool | None = None,
        tensor_array_name: str | None = None,
        handle: Any = None,
        flow: Any = None,
        infer_shape: bool = True,
        element_shape: Any = None,
        colocate_with_first_write_call: bool = True,
        name: str | None = None,
    ) -> None:
        self.dtype: DType = as_dtype(dtype)
        if flow is not None:
            self.flow: Tensor = flow
            return
        if dynamic_size:
            message = "'tfc.TensorArray': an array that grows (dynamic_size=True) is not supported"
            raise quoted(GraphError(message, help="size=... with the most elements that there can be"), here())
        if size is None:
            raise quoted(GraphError("'tfc.TensorArray': expected a size, got none"), here())
        with name_scope(name, "TensorArray", [size]) as scope:
            count = convert(size, int32 if not isinstance(size, Tensor) else None, name="size")
            shape = TensorShape(element_shape)
            self.flow = single("TensorArrayV3", [count], scope, dtype=self.dtype, element_shape=shape)

    @property
    def element_shape(self) -> TensorShape:
        """What is known of the elements' shape."""
        dims = self.flow.shape.dims
        return TensorShape(None if dims is None else list(dims[1:]))

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with ``value`` in place ``index``; a place that is not there is an error of the run."""
        with name_scope(name, "TensorArrayWrite", [self.flow, index, value]) as scope:
            return self._with("TensorArrayWriteV3", scope, _integer(index), convert(value, self._preferred(value)))

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """The element in place ``index``; a place that is not there is an error of the run."""
        with name_scope(name, "TensorArrayRead", [self.flow, index]) as scope:
            return single("TensorArrayReadV3", [self.flow, _integer(index)], scope)

    def stack(self, name: str | None = None) -> Tensor:
        """All elements along a new first axis."""
        with name_scope(name, "TensorArrayStack", [self.flow]) as scope:
            return single("TensorArrayStack", [self.flow], scope)

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """The elements in the places ``indices`` along a new first axis."""
        with name_scope(name, "TensorArrayGather", [self.flow, indices]) as scope:
            return single("TensorArrayGatherV3", [self.flow, _integer(indices)], scope)

    def concat(self, name: str | None = None) -> Tensor:
        """All elements one after another along their first axis."""
        with name_scope(name, "TensorArrayConcat", [self.flow]) as scope:
            return single("TensorArrayConcatV3", [self.flow], scope)

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """The array whose elements are the rows of ``value``."""
        with name_scope(name, "TensorArrayUnstack", [self.flow, value]) as scope:
            return self._with("TensorArrayUnstack", scope, convert(value, self.dtype))

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """The array with the rows of ``value`` in the places ``indices``."""
        with name_scope(name, "TensorArrayScatter", [self.flow, indices, value]) as scope:
            return self._with("TensorArrayScatterV3", scope, _integer(indices), convert(value, self.dtype))

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """The array whose elements are parts of ``value`` along its first axis, all of one length."""
        with name_scope(name, "TensorArraySplit", [self.flow, value, lengths]) as scope:
            return self._with("TensorArraySplit", scope, convert(value, self.dtype), _integer(lengths))

    def size(self, name: str | None = None) -> Tensor:
        """How many elements there are."""
        with name_scope(name, "TensorArraySize", [self.flow]) as scope:
            return single("TensorArraySizeV3", [self.flow], scope)

    def identity(self) -> TensorArray:
        """The array after the control dependencies around."""
        return self._with("Identity", None)

    def close(self, name: str | None = None) -> Any:
        """A node that does nothing: arrays need no closing."""
        from tfc.graph.arrays import no_op

        return no_op(name)

    def _with(self, type_: str, name: str | None, *inputs: Tensor) -> TensorArray:
        return TensorArray(self.dtype, flow=single(type_, [self.flow, *inputs], name))

    def _preferred(self, value: Any) -> DType | None:
        return None if isinstance(value, Tensor) or hasattr(value, "_as_tensor") else self.dtype

    def __repr__(self) -> str:
        return f"<tf.TensorArray '{self.flow.name}' element_shape={self.element_shape} dtype={self.dtype.name}>"


def _integer(value: Any) -> Tensor:
    t = convert(value, preferred=int32)
    if not t.dtype.is_integer:
        raise quoted(GraphError(f"'tfc.TensorArray': expected integers as places, got {t.dtype.name}"), here())
    return t


def arrays_to_tensors(structure: Any) -> list[Tensor]:
    """The leaves of a structure, of arrays the tensors that hold their elements."""
    return [leaf.flow if isinstance(leaf, TensorArray) else leaf for leaf in nest.flatten(structure)]


def tensors_to_arrays(structure: Any, tensors: Sequence[Tensor]) -> Any:
    """``tensors`` in the form of ``structure``, arrays where it has arrays."""
    pairs = zip(nest.flatten(structure), tensors, strict=True)
    leaves = [TensorArray(like.dtype, flow=t) if isinstance(like, TensorArray) else t for like, t in pairs]
    return nest.pack(structure, leaves)
