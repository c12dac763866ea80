"""``tf.layers``: layers that make their own variables.

    h = tf.layers.dense(x, 100, tf.nn.relu)         dense/kernel, dense/bias
    layer = tf.layers.Dense(10); layer(h)           the same with an object, whose calls share its variables

Variables come from `tf.get_variable` in a scope named after the layer, so scopes decide about reuse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from tfc.errors import GraphError
from tfc.graph import nn
from tfc.graph.arrays import reshape, shape, stack, where
from tfc.graph.averages import assign_moving_average
from tfc.graph.dtypes import bool_
from tfc.graph.graph import GraphKeys
from tfc.graph.initializers import Ones, Zeros
from tfc.graph.math import cast, matmul, tensordot
from tfc.graph.node import Operation, Tensor
from tfc.graph.ops import convert, is_tensor
from tfc.graph.scopes import VariableScope, get_variable, variable_scope
from tfc.graph.source import here, quoted
from tfc.graph.variables import Variable

Activation = Callable[[Tensor], Tensor] | None


class Layer:
    """What all layers share: a variable scope, opened by the first call and entered again by others.

    Args:
        name: the name of the scope; the layer's own, made unique, where left out.
        trainable: whether optimizers change the variables.
        activity_regularizer: a function of the result whose value is collected as a loss.
    """

    BASE: ClassVar[str] = "layer"

    def __init__(
        self, trainable: bool = True, name: str | None = None, dtype: Any = None, activity_regularizer: Any = None,
        _reuse: Any = None, _scope: Any = None,
    ) -> None:  # fmt: skip
        self.trainable, self.dtype = trainable, dtype
        self._name, self._reuse, self._regularizer = _scope or name, _reuse, activity_regularizer
        self._scope: VariableScope | None = None
        self._variables: list[Variable] = []
        self._updates: list[Operation] = []
        self._losses: list[Tensor] = []

    def build(self, extents: Sequence[int | None]) -> None:
        """Make the variables for inputs of these extents."""

    def call(self, inputs: Tensor, **named: Any) -> Tensor:
        """The result."""
        raise NotImplementedError

    def __call__(self, inputs: Any, **named: Any) -> Tensor:
        x = convert(inputs, name="inputs")
        if self._scope is None:
            entered = variable_scope(self._name, self.BASE, [x], reuse=self._reuse)
        else:
            entered = variable_scope(self._scope, values=[x])
        with entered as scope:
            if self._scope is None:
                if x.shape.dims is None:
                    raise quoted(GraphError(f"'{scope.name}': expected inputs of known rank, got '{x.name}'"), here())
                self.dtype = self.dtype or x.dtype
                self.build([d if isinstance(d, int) else None for d in x.shape.as_list()])
                self._scope = scope
            result = self.call(x, **named)
            if self._regularizer is not None:
                loss = self._regularizer(result)
                self._losses.append(loss)
                x.graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
        return result

    apply = __call__

    def add_weight(
        self, name: str, extents: Sequence[int], initializer: Any = None, regularizer: Any = None,
        constraint: Any = None, trainable: bool = True,
    ) -> Any:  # fmt: skip
        """A variable of the layer."""
        made = get_variable(
            name, extents, self.dtype, initializer, regularizer, trainable and self.trainable, constraint=constraint
        )
        self._variables.append(made)
        return made

    @property
    def name(self) -> str:
        """The name of its scope, once it has been called."""
        return self._scope.name.rpartition("/")[2] if self._scope else self._name or self.BASE

    scope_name = name

    @property
    def variables(self) -> list[Variable]:
        return list(self._variables)

    weights = variables

    @property
    def trainable_variables(self) -> list[Variable]:
        return [v for v in self._variables if v.trainable]

    trainable_weights = trainable_variables

    @property
    def non_trainable_variables(self) -> list[Variable]:
        return [v for v in self._variables if not v.trainable]

    @property
    def updates(self) -> list[Operation]:
        """What has to run in each step of a training."""
        return list(self._updates)

    @property
    def losses(self) -> list[Tensor]:
        """The values of its activity regularizer."""
        return list(self._losses)


def _known(layer: Layer, extents: Sequence[int | None], axis: int) -> int:
    size = extents[axis] if -len(extents) <= axis < len(extents) else None
    if size is None:
        message = f"'{layer.name}': expected inputs with a known extent along axis {axis}, got {list(extents)}"
        raise quoted(GraphError(message, help="x.set_shape([...]) gives it"), here())
    return size


class _Linear(Layer):
    """A layer with a kernel, a bias and an activation.

    Args:
        activation: a function of the result; none where left out.
        use_bias: whether a variable is added to each unit or channel.
        kernel_initializer: of the kernel; the scope's, or `glorot_uniform`, where left out.
    """

    def __init__(
        self, activation: Activation = None, use_bias: bool = True, kernel_initializer: Any = None,
        bias_initializer: Any = None, kernel_regularizer: Any = None, bias_regularizer: Any = None,
        activity_regularizer: Any = None, kernel_constraint: Any = None, bias_constraint: Any = None,
        trainable: bool = True, name: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(trainable, name, activity_regularizer=activity_regularizer, **options)
        self.activation, self.use_bias = activation, use_bias
        self._kernel = kernel_initializer, kernel_regularizer, kernel_constraint
        bias = Zeros() if bias_initializer is None else bias_initializer
        self._bias: Any = (bias, bias_regularizer, bias_constraint)
        self.kernel: Any = None
        self.bias: Any = None

    def weights_of(self, kernel: Sequence[int], units: int) -> None:
        """Make kernel and bias."""
        self.kernel = self.add_weight("kernel", kernel, *self._kernel)
        self.make_bias(units)

    def make_bias(self, units: int) -> None:
        if self.use_bias:
            self.bias = self.add_weight("bias", [units], *self._bias)

    def finished(self, y: Tensor, data_format: str = "NHWC") -> Tensor:
        """The result with bias and activation."""
        if self.bias is not None:
            y = nn.bias_add(y, self.bias, data_format)
        return y if self.activation is None else self.activation(y)


class Dense(_Linear):
    """``activation(x . kernel + bias)`` along the last dim. Options as of `_Linear`."""

    BASE = "dense"

    def __init__(self, units: int, activation: Activation = None, use_bias: bool = True, *more: Any, **options: Any) -> None:
        super().__init__(activation, use_bias, *more, **options)
        self.units = _positive(units, "units")

    def build(self, extents: Sequence[int | None]) -> None:
        self.weights_of([_known(self, extents, -1), self.units], self.units)

    def call(self, inputs: Tensor, **named: Any) -> Tensor:
        rank = inputs.shape.ndims or 0
        y = matmul(inputs, self.kernel) if rank == 2 else tensordot(inputs, self.kernel, [[rank - 1], [0]])
        return self.finished(y)


class _Conv(_Linear):
    """A convolution along ``RANK`` dims.

    Args:
        filters: how many channels it makes.
        kernel_size, strides, dilation_rate: a number, or one for each dim.
        padding: ``valid`` or ``same``.
        data_format: ``channels_last`` or ``channels_first``.
    """

    RANK: ClassVar[int] = 2

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
        data_format: str = "channels_last", dilation_rate: Any = 1, *more: Any, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(*more, **options)
        self.filters = _positive(filters, "filters")
        self.kernel_size, self.strides, self.dilation = (
            _each(v, self.RANK, n)
            for v, n in ((kernel_size, "kernel_size"), (strides, "strides"), (dilation_rate, "dilation_rate"))
        )
        self.padding, self.layout = _padding(padding), _layout(data_format, self.RANK)
        self.first = data_format == "channels_first"

    def channels(self, extents: Sequence[int | None]) -> int:
        if len(extents) != self.RANK + 2:
            message = f"'{self.name}': expected inputs of rank {self.RANK + 2}, got {list(extents)}"
            raise quoted(GraphError(message), here())
        return _known(self, extents, 1 if self.first else -1)

    def build(self, extents: Sequence[int | None]) -> None:
        self.weights_of([*self.kernel_size, self.channels(extents), self.filters], self.filters)

    def call(self, inputs: Tensor, **named: Any) -> Tensor:
        function = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}[self.RANK]
        y = function(
            inputs, self.kernel, self.strides, self.padding, data_format=self.layout, dilations=self.dilation
        )
        return self.finished(y, "NCHW" if self.first else "NHWC")


class Conv1D(_Conv):
    """Convolution of ``[n, w, c]``. Options as of `Conv2D`."""

    BASE, RANK = "conv1d", 1


class Conv2D(_Conv):
    """Convolution of ``[n, h, w, c]``, with bias and activation."""

    BASE = "conv2d"


class Conv3D(_Conv):
    """Convolution of ``[n, d, h, w, c]``. Options as of `Conv2D`."""

    BASE, RANK = "conv3d", 3


class SeparableConv2D(_Conv):
    """A convolution of each channel alone, and one of 1 by 1. Options as of `Conv2D`.

    Args:
        depth_multiplier: how many channels each becomes in the first.
    """

    BASE = "separable_conv2d"

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
        data_format: str = "channels_last", dilation_rate: Any = 1, depth_multiplier: int = 1,
        activation: Activation = None, use_bias: bool = True, depthwise_initializer: Any = None,
        pointwise_initializer: Any = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias, **options
        )
        self._multiplier = depth_multiplier
        self._initializers = depthwise_initializer, pointwise_initializer
        self._kernels: tuple[Any, Any] = (None, None)

    def build(self, extents: Sequence[int | None]) -> None:
        channels, multiplier = self.channels(extents), self._multiplier
        each = self.add_weight("depthwise_kernel", [*self.kernel_size, channels, multiplier], self._initializers[0])
        mix = self.add_weight("pointwise_kernel", [1, 1, channels * multiplier, self.filters], self._initializers[1])
        self._kernels = each, mix
        self.make_bias(self.filters)

    def call(self, inputs: Tensor, **named: Any) -> Tensor:
        each, mix = self._kernels
        y = nn.separable_conv2d(
            inputs, each, mix, self.strides, self.padding, self.dilation, data_format=self.layout
        )
        return self.finished(y, "NCHW" if self.first else "NHWC")


class Conv2DTranspose(_Conv):
    """The transpose of `Conv2D`: what that makes smaller, this makes larger."""

    BASE = "conv2d_transpose"

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
        data_format: str = "channels_last", *more: Any, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(filters, kernel_size, strides, padding, data_format, 1, *more, **options)

    def build(self, extents: Sequence[int | None]) -> None:
        self.weights_of([*self.kernel_size, self.filters, self.channels(extents)], self.filters)

    def call(self, inputs: Tensor, **named: Any) -> Tensor:
        sizes, known = shape(inputs), inputs.shape.as_list()
        spatial = (2, 3) if self.first else (1, 2)
        made: list[Any] = []
        for d, k, s in zip(spatial, self.kernel_size, self.strides, strict=True):
            extent: Any = known[d] if known[d] is not None else sizes[d]
            made.append(extent * s + max(k - s, 0) if self.padding == "VALID" else extent * s)
        batch: Any = known[0] if known[0] is not None else sizes[0]
        full = [batch, self.filters, *made] if self.first else [batch, *made, self.filters]
        wanted: Any = stack(full) if any(is_tensor(n) for n in full) else full
        y = nn.conv2d_transpose(inputs, self.kernel, wanted, self.strides, self.padding, self.layout)
        return self.finished(y, "NCHW" if self.first else "NHWC")


class BatchNormalization(Layer):
    """Inputs made to mean 0 and variance 1 along all dims but ``axis``, then scaled and shifted.

    When training, mean and variance are those of the batch, and moving averages of both follow them: by nodes
    in the collection ``UPDATE_OPS``, which have to run with the training. Else the averages are used.

    Source: Ioffe, Szegedy, "Batch normalization", 2015.
    """

    BASE = "batch_normalization"

    def __init__(
        self, axis: int = -1, momentum: float = 0.99, epsilon: float = 1e-3, center: bool = True, scale: bool = True,
        beta_initializer: Any = None, gamma_initializer: Any = None, moving_mean_initializer: Any = None,
        moving_variance_initializer: Any = None, beta_regularizer: Any = None, gamma_regularizer: Any = None,
        beta_constraint: Any = None, gamma_constraint: Any = None, trainable: bool = True, name: str | None = None,
        **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(trainable, name, **{k: v for k, v in options.items() if k in ("_reuse", "_scope", "dtype")})
        unknown = set(options) - {"_reuse", "_scope", "dtype", "fused", "virtual_batch_size"}
        if unknown:
            raise quoted(GraphError(f"'batch_normalization': {', '.join(sorted(unknown))} is not supported"), here())
        self.axis, self.momentum, self.epsilon = int(axis), momentum, epsilon
        self._parts: dict[str, tuple[bool, Any, Any, Any, Any]] = {
            "gamma": (scale, Ones(), gamma_initializer, gamma_regularizer, gamma_constraint),
            "beta": (center, Zeros(), beta_initializer, beta_regularizer, beta_constraint),
            "moving_mean": (True, Zeros(), moving_mean_initializer, None, None),
            "moving_variance": (True, Ones(), moving_variance_initializer, None, None),
        }
        self._made: dict[str, Any] = {}

    def build(self, extents: Sequence[int | None]) -> None:
        size = _known(self, extents, self.axis)
        for name, (wanted, default, given, regularizer, constraint) in self._parts.items():
            first = default if given is None else given
            if wanted:
                trained = not name.startswith("moving")
                self._made[name] = self.add_weight(name, [size], first, regularizer, constraint, trained)

    def call(self, inputs: Tensor, **named: Any) -> Tensor:
        training = named.get("training", False)
        extents = inputs.shape.as_list()
        axis = self.axis % len(extents)
        others = [d for d in range(len(extents)) if d != axis]
        means = self._made["moving_mean"], self._made["moving_variance"]
        if isinstance(training, bool) and not training:
            mean, variance = (convert(v) for v in means)
        else:
            mean, variance = nn.moments(inputs, others)
            self._follow(inputs, others, (mean, variance), training)
            if not isinstance(training, bool):
                mean, variance = (where(training, x, v) for x, v in zip((mean, variance), means, strict=True))
        row = [1] * len(extents)
        row[axis] = -1
        values = [mean, variance, self._made.get("beta"), self._made.get("gamma")]
        if axis != len(extents) - 1:
            values = [None if v is None else reshape(v, row) for v in values]
        return nn.batch_normalization(inputs, *values, self.epsilon)

    def _follow(self, inputs: Tensor, others: Sequence[int], batch: Sequence[Tensor], training: Any) -> None:
        """Make the nodes that move the averages toward the batch."""
        mean, variance = batch
        if len(others) == 3:  # as TensorFlow's kernel for images: the variance of all, guessed from the sample
            count = 1
            sizes = shape(inputs)
            for d in others:
                count = count * cast(sizes[d], inputs.dtype)
            variance = variance * (count / (count - 1))
        decay: Any = self.momentum
        if not isinstance(training, bool):
            decay = where(convert(training, bool_), convert(decay, inputs.dtype), convert(1.0, inputs.dtype))
        pairs = zip(("moving_mean", "moving_variance"), (mean, variance), strict=True)
        moves = [assign_moving_average(self._made[n], value, decay).op for n, value in pairs]
        self._updates += moves
        for move in moves:
            inputs.graph.add_to_collection(GraphKeys.UPDATE_OPS, move)


class Dropout(Layer):
    """When training, a share ``rate`` of the elements is 0 and the others are enlarged."""

    BASE = "dropout"

    def __init__(self, rate: Any = 0.5, noise_shape: Any = None, seed: Any = None, name: str | None = None, **options: Any) -> None:
        super().__init__(name=name, **options)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def call(self, inputs: Tensor, **named: Any) -> Tensor:
        training = named.get("training", False)
        if isinstance(training, bool):
            return nn.dropout(inputs, noise_shape=self.noise_shape, seed=self.seed, rate=self.rate) if training else inputs
        kept = nn.dropout(inputs, noise_shape=self.noise_shape, seed=self.seed, rate=self.rate)
        return where(training, kept, inputs)


class Flatten(Layer):
    """All dims but the first as one."""

    BASE = "flatten"

    def call(self, inputs: Tensor, **named: Any) -> Tensor:
        extents = inputs.shape.as_list()[1:]
        total = 1
        for d in extents:
            total = -1 if d is None or total < 0 else total * d
        return reshape(inputs, [-1, total] if total >= 0 else stack([shape(inputs)[0], -1]))


class _Pooling(Layer):
    """The maximum or mean of windows.

    Args:
        pool_size, strides: a number, or one for each dim.
        padding: ``valid`` or ``same``.
    """

    FUNCTION: ClassVar[str] = ""
    RANK: ClassVar[int] = 2

    def __init__(
        self, pool_size: Any, strides: Any, padding: str = "valid", data_format: str = "channels_last",
        name: str | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(name=name, **options)
        self.size, self.strides = _each(pool_size, self.RANK, "pool_size"), _each(strides, self.RANK, "strides")
        self.padding, self.layout = _padding(padding), _layout(data_format, 2)
        self.first = data_format == "channels_first"

    def call(self, inputs: Tensor, **named: Any) -> Tensor:
        function = getattr(nn, self.FUNCTION)
        if self.RANK == 2:
            return function(inputs, self.size, self.strides, self.padding, self.layout)
        from tfc.graph.arrays import expand_dims, squeeze

        axis = 2 if self.first else 1
        wide = expand_dims(inputs, axis)
        y = function(wide, (1, *self.size), (1, *self.strides), self.padding, self.layout)
        return squeeze(y, [axis])


class MaxPooling2D(_Pooling):
    """The maximum of windows of ``[n, h, w, c]``."""

    BASE, FUNCTION = "max_pooling2d", "max_pool"


class AveragePooling2D(_Pooling):
    """The mean of windows of ``[n, h, w, c]``."""

    BASE, FUNCTION = "average_pooling2d", "avg_pool"


class MaxPooling1D(_Pooling):
    """The maximum of windows of ``[n, w, c]``."""

    BASE, FUNCTION, RANK = "max_pooling1d", "max_pool", 1


class AveragePooling1D(_Pooling):
    """The mean of windows of ``[n, w, c]``."""

    BASE, FUNCTION, RANK = "average_pooling1d", "avg_pool", 1


def _positive(value: Any, name: str) -> int:
    if not isinstance(value, int) or value < 1:
        raise quoted(GraphError(f"expected {name} of at least 1, got {value!r}"), here())
    return value


def _each(value: Any, rank: int, name: str) -> tuple[int, ...]:
    """A number, or one for each dim, as one for each dim."""
    values = (value,) * rank if isinstance(value, int) else tuple(int(v) for v in value)
    values = values * rank if len(values) == 1 else values
    if len(values) != rank or min(values) < 1:
        raise quoted(GraphError(f"expected as {name} one number of at least 1, or {rank}, got {value!r}"), here())
    return values


def _padding(padding: Any) -> str:
    if str(padding).upper() not in ("SAME", "VALID"):
        raise quoted(GraphError(f"expected the padding 'same' or 'valid', got {padding!r}"), here())
    return str(padding).upper()


def _layout(data_format: str, rank: int) -> str:
    layouts = {"channels_last": ("NWC", "NHWC", "NDHWC"), "channels_first": ("NCW", "NCHW", "NCDHW")}
    if data_format not in layouts:
        raise quoted(GraphError(f"expected channels_last or channels_first, got {data_format!r}"), here())
    return layouts[data_format][rank - 1]


def _function(layer: type[Layer]) -> Callable[..., Tensor]:
    """The function that makes a layer and calls it once."""

    def apply(inputs: Any, *arguments: Any, name: str | None = None, reuse: Any = None, **options: Any) -> Tensor:
        named = {"training": options.pop("training")} if "training" in options else {}
        return layer(*arguments, name=name, _reuse=reuse, **options)(inputs, **named)

    apply.__doc__ = f"{layer.__doc__}\n\n    Calls a new `{layer.__name__}`; ``reuse`` is that of its scope."
    return apply


dense, flatten, dropout = _function(Dense), _function(Flatten), _function(Dropout)
conv1d, conv2d, conv3d = _function(Conv1D), _function(Conv2D), _function(Conv3D)
separable_conv2d, conv2d_transpose = _function(SeparableConv2D), _function(Conv2DTranspose)
batch_normalization = _function(BatchNormalization)
max_pooling1d, max_pooling2d = _function(MaxPooling1D), _function(MaxPooling2D)
average_pooling1d, average_pooling2d = _function(AveragePooling1D), _function(AveragePooling2D)
