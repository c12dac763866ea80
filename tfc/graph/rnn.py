"""Recurrent networks: ``tf.nn.dynamic_rnn``, ``tf.nn.static_rnn`` and both directions.

    outputs, state = tf.nn.dynamic_rnn(tf.nn.rnn_cell.LSTMCell(128), x, sequence_length=n, dtype=tf.float32)

``x`` is ``[batch, time, n]``. After the end of a sequence outputs are zeros and the state stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tfc.errors import GraphError
from tfc.graph import nest
from tfc.graph.arrays import gather, range_, reshape, reverse, shape, stack, transpose, where
from tfc.graph.control import while_loop
from tfc.graph.dtypes import int32
from tfc.graph.math import cast, less
from tfc.graph.node import Tensor
from tfc.graph.ops import constant, convert, name_scope
from tfc.graph.rnn_cell import LinearCell, RNNCell
from tfc.graph.scopes import variable_scope
from tfc.graph.source import here, quoted
from tfc.graph.tensor_array import TensorArray


def dynamic_rnn(
    cell: RNNCell,
    inputs: Any,
    sequence_length: Any = None,
    initial_state: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, Any]:
    """The outputs of a cell in all steps, ``[batch, time, output_size]``, and its last state.

    Args:
        inputs: ``[batch, time, ...]``, or ``[time, batch, ...]`` if ``time_major``; or a structure of such.
        sequence_length: ``[batch]`` integers: from then on outputs are zeros and the state stays.
        initial_state: the first state; zeros of ``dtype`` where left out.

    Raises:
        GraphError: inputs of a low rank, neither an initial state nor a dtype, or a sequence length of another
            type or rank.

    Source: TensorFlow 1's ``tf.nn.dynamic_rnn``.
    """
    with variable_scope(scope or "rnn"):
        xs = nest.map_structure(convert, inputs)
        for x in nest.flatten(xs):
            if x.shape.ndims is not None and x.shape.ndims < 3:
                message = f"'tfc.dynamic_rnn': expected inputs [batch, time, ...], got '{x.name}' {x.shape} from {x.op.made_at}"
                raise quoted(GraphError(message), here())
        if not time_major:
            xs = nest.map_structure(_exchanged, xs)
        outputs, state = _walk(cell, xs, _lengths(sequence_length), initial_state, dtype)
        return outputs if time_major else nest.map_structure(_exchanged, outputs), state


def _walk(cell: RNNCell, xs: Any, lengths: Tensor | None, initial: Any, dtype: Any) -> tuple[Any, Any]:
    """The outputs ``[time, batch, ...]`` and the last state of a cell."""
    first = nest.flatten(xs)[0]
    steps, batch = _extent(first, 0), _extent(first, 1)
    state = _first_state(cell, initial, batch, dtype, "dynamic_rnn")
    run: Callable[..., Any] = cell
    if isinstance(cell, LinearCell) and isinstance(xs, Tensor) and xs.shape.ndims == 3:
        # The gates' share of all inputs is one product, before the loop.
        x = cell.built(xs)
        flat = cell.project(reshape(x, stack([-1, x.shape.as_list()[-1] or -1])))
        xs, run = reshape(flat, stack([steps, batch, flat.shape.as_list()[-1] or -1])), cell.step
    rows = nest.map_structure(lambda x: TensorArray(x.dtype, size=steps).unstack(x), xs)
    kinds = nest.map_structure(lambda _: nest.flatten(state)[0].dtype, cell.output_size)
    made = nest.map_structure(lambda kind: TensorArray(kind, size=steps), kinds)

    def body(t: Tensor, old: Any, arrays: Any) -> Any:
        x = nest.map_structure(lambda r: r.read(t), rows)
        output, new = run(x, old)
        output = nest.pack(cell.output_size, nest.flatten(output))
        new = nest.pack(state, nest.flatten(new))
        if lengths is not None:
            going = less(t, lengths)
            output = nest.map_structure(lambda v: where(going, v, v * 0), output)
            new = nest.map_structure(lambda v, was: where(going, v, was), new, old)
        return t + 1, new, nest.map_structure(lambda a, v: a.write(t, v), arrays, output)

    _, last, made = while_loop(lambda t, *_: t < steps, body, (constant(0, int32, name="time"), state, made))
    return nest.map_structure(lambda a: a.stack(), made), last


def _extent(x: Tensor, axis: int) -> Any:
    known = None if x.shape.ndims is None else x.shape.as_list()[axis]
    return shape(x)[axis] if known is None else known


def _exchanged(x: Tensor) -> Tensor:
    """``x`` with its first two axes exchanged."""
    if x.shape.ndims is None:
        raise quoted(GraphError(f"expected a tensor of known rank, got '{x.name}' from {x.op.made_at}"), here())
    return transpose(x, [1, 0, *range(2, x.shape.ndims)])


def _lengths(given: Any) -> Tensor | None:
    if given is None:
        return None
    t = convert(given, name="sequence_length")
    if not t.dtype.is_integer or t.shape.ndims not in (None, 1):
        message = f"expected sequence_length as a vector of integers, got {t.dtype.name} {t.shape} from {t.op.made_at}"
        raise quoted(GraphError(message), here())
    return cast(t, int32)


def _first_state(cell: RNNCell, initial: Any, batch: Any, dtype: Any, what: str) -> Any:
    if initial is not None:
        nest.check_same(cell.state_size, initial, f"'tfc.{what}': the cell's state_size and initial_state")
        return nest.map_structure(convert, initial)
    if dtype is None:
        help = "dynamic_rnn(cell, x, dtype=tf.float32) begins with zeros"
        raise quoted(GraphError(f"'tfc.{what}': expected an initial_state or a dtype", help=help), here())
    return cell.zero_state(batch, dtype)


def static_rnn(
    cell: RNNCell,
    inputs: Sequence[Any],
    initial_state: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any]:
    """The outputs of a cell for a list of inputs ``[batch, n]``, and its last state: nodes for each step.

    Source: TensorFlow 1's ``tf.nn.static_rnn``.
    """
    if not isinstance(inputs, list | tuple) or not inputs:
        help = "tf.unstack(x, axis=1) gives the steps of x; tf.nn.dynamic_rnn takes them at once"
        raise quoted(GraphError(f"'tfc.static_rnn': expected a list of inputs, got {inputs!r}", help=help), here())
    with variable_scope(scope or "rnn") as within:
        steps = [nest.map_structure(convert, x) for x in inputs]
        state = _first_state(cell, initial_state, _extent(nest.flatten(steps[0])[0], 0), dtype, "static_rnn")
        lengths, outputs = _lengths(sequence_length), list[Any]()
        for t, x in enumerate(steps):
            if t:
                within.reuse_variables()
            output, new = cell(x, state)
            if lengths is not None:
                going = less(t, lengths)
                output = nest.map_structure(lambda v, go=going: where(go, v, v * 0), output)
                new = nest.map_structure(lambda v, was, go=going: where(go, v, was), new, state)
            outputs.append(output)
            state = new
        return outputs, state


def reverse_sequence(
    input: Any,
    seq_lengths: Any = None,
    seq_axis: int | None = None,
    batch_axis: int | None = None,
    name: str | None = None,
    seq_dim: int | None = None,
    batch_dim: int | None = None,
) -> Tensor:
    """The first ``seq_lengths[b]`` elements along ``seq_axis`` in the opposite order, of each batch entry ``b``."""
    along, of = (seq_dim if seq_axis is None else seq_axis), (batch_dim if batch_axis is None else batch_axis)
    with name_scope(name, "ReverseSequence", [input, seq_lengths]):
        x, lengths, of = convert(input), convert(seq_lengths), of or 0
        if along is None or x.shape.ndims is None or not 0 <= along < x.shape.ndims or along == of:
            raise quoted(GraphError("'tfc.reverse_sequence': expected a seq_axis other than the batch_axis"), here())
        order = [of, along, *(k for k in range(x.shape.ndims) if k not in (of, along))]
        moved = transpose(x, order)
        place = range_(_extent(moved, 1))
        n = reshape(cast(lengths, int32), [-1, 1])
        turned = gather(moved, where(place < n, n - 1 - place, place + n * 0), axis=1, batch_dims=1)
        return transpose(turned, [order.index(k) for k in range(len(order))])


def bidirectional_dynamic_rnn(
    cell_fw: RNNCell,
    cell_bw: RNNCell,
    inputs: Any,
    sequence_length: Any = None,
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    parallel_iterations: int | None = None,
    swap_memory: bool = False,
    time_major: bool = False,
    scope: Any = None,
) -> tuple[Any, Any]:
    """`dynamic_rnn` forwards and backwards: the pair of outputs and the pair of last states.

    Source: TensorFlow 1's ``tf.nn.bidirectional_dynamic_rnn``.
    """
    axis = 0 if time_major else 1

    def turned(x: Any) -> Any:
        if sequence_length is None:
            return reverse(x, [axis])
        return reverse_sequence(x, sequence_length, axis, 1 - axis)

    options: dict[str, Any] = {"sequence_length": sequence_length, "dtype": dtype, "time_major": time_major}
    with variable_scope(scope or "bidirectional_rnn"):
        forward, state = dynamic_rnn(cell_fw, inputs, initial_state=initial_state_fw, scope="fw", **options)
        with variable_scope("bw") as within:
            back = nest.map_structure(turned, inputs)
            backward, last = dynamic_rnn(cell_bw, back, initial_state=initial_state_bw, scope=within, **options)
            return (forward, nest.map_structure(turned, backward)), (state, last)


def static_bidirectional_rnn(
    cell_fw: RNNCell,
    cell_bw: RNNCell,
    inputs: Sequence[Any],
    initial_state_fw: Any = None,
    initial_state_bw: Any = None,
    dtype: Any = None,
    sequence_length: Any = None,
    scope: Any = None,
) -> tuple[list[Any], Any, Any]:
    """`static_rnn` forwards and backwards: both outputs side by side for each step, and both last states.

    Source: TensorFlow 1's ``tf.nn.static_bidirectional_rnn``.
    """
    from tfc.graph.arrays import concat, unstack

    def turned(steps: Sequence[Any]) -> list[Any]:
        if sequence_length is None:
            return list(reversed(steps))
        return unstack(reverse_sequence(stack(steps), sequence_length, 0, 1))

    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as within:
            forward, state = static_rnn(cell_fw, inputs, initial_state_fw, dtype, sequence_length, within)
        with variable_scope("bw") as within:
            backward, last = static_rnn(cell_bw, turned(inputs), initial_state_bw, dtype, sequence_length, within)
        return [concat(pair, 1) for pair in zip(forward, turned(backward), strict=True)], state, last

