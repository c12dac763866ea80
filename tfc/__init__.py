"""tfc: a compiler for dataflow graphs.

    import tfc as tf                    the graph API, as in TensorFlow 1
    x = tf.placeholder(tf.float32, [None, 784])
    y = tf.nn.relu(tf.matmul(x, w) + b)
    tf.Session().run(y, {x: value})

    import tfc
    model = tfc.compile("model.onnx")   or  tfc.compile(y, feeds=[x])
    model.save("model.so")
    tfc.load("model.so")(value)

Each name is imported from its module when it is first used: ``import tfc`` itself imports nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_NAMES: dict[str, str] = {
    "tfc.model": "Compiled compile load",
    "tfc.options": "Options",
    "tfc.errors": "ArtifactError CheckpointError FeedError GraphError ModelFileError OptionError RunError TfcError",
    "tfc.graph.critical": "CriticalSection",
    "tfc.graph.graph": (
        "Graph GraphKeys add_to_collection add_to_collections colocate_with container "
        "control_dependencies device get_collection "
        "get_collection_ref get_default_graph name_scope reset_default_graph"
    ),
    "tfc.graph.node": "Operation Tensor",
    "tfc.graph.shape": "TensorShape",
    "tfc.graph.session": "ConfigProto InteractiveSession Session get_default_session",
    "tfc.graph.dtypes": (
        "DType as_dtype bfloat16 double float16 float32 float64 half int16 int32 int64 int8 uint16 "
        "uint32 uint64 uint8"
    ),
    "tfc.graph.ops": "constant",
    "tfc.graph.arrays": (
        "bitcast boolean_mask broadcast_to concat ensure_shape expand_dims fill gather group identity "
        "linspace matrix_band_part matrix_transpose no_op one_hot ones ones_like pad placeholder "
        "placeholder_with_default rank reshape reverse sequence_mask shape size split squeeze stack "
        "stop_gradient tile transpose unstack where zeros zeros_like"
    ),
    "tfc.graph.scatter": (
        "count_up_to scatter_add scatter_div scatter_max scatter_min scatter_mul scatter_nd_add "
        "scatter_nd_sub scatter_nd_update scatter_sub scatter_update"
    ),
    "tfc.graph.slicing": "newaxis strided_slice",
    "tfc.graph.clip": "clip_by_average_norm clip_by_global_norm clip_by_norm global_norm",
    "tfc.graph.math": (
        "abs accumulate_n acos acosh add add_n arg_max arg_min argmax argmin asin asinh atan atan2 atanh "
        "bitwise_and bitwise_or bitwise_xor cast ceil clip_by_value cos cosh cumprod cumsum div divide "
        "einsum equal erf erfc exp expm1 floor floordiv floormod greater greater_equal invert is_finite "
        "is_inf is_nan left_shift less less_equal log log1p logical_and logical_not logical_or "
        "logical_xor matmul maximum minimum mod multiply negative not_equal pow realdiv reciprocal "
        "reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_std "
        "reduce_sum reduce_variance right_shift rint round rsqrt saturate_cast sigmoid sign sin sinh "
        "sqrt square squared_difference subtract tan tanh tensordot to_float to_int32 to_int64 truediv "
        "truncatediv truncatemod"
    ),
    "tfc.graph.checks": (
        "Assert Print add_check_numerics_ops assert_equal assert_greater assert_greater_equal assert_integer "
        "assert_less assert_less_equal assert_near assert_negative assert_non_negative assert_non_positive "
        "assert_none_equal assert_positive assert_rank assert_rank_at_least assert_scalar assert_type "
        "check_numerics verify_tensor_all_finite"
    ),
    "tfc.graph.control": "case cond while_loop",
    "tfc.graph.function": "TensorSpec function",
    "tfc.graph.functional": "foldl foldr map_fn scan",
    "tfc.graph.rnn": "reverse_sequence",
    "tfc.graph.sort": "argsort sort",
    "tfc.graph.tensor_array": "TensorArray",
    "tfc.graph.gradients": "AggregationMethod RegisterGradient UnconnectedGradients custom_gradient gradients hessians",
    "tfc.graph.slices": "IndexedSlices IndexedSlicesValue unsorted_segment_sum",
    "tfc.graph.random": (
        "multinomial random_normal random_shuffle random_uniform set_random_seed truncated_normal"
    ),
    "tfc.graph.partitioned": (
        "fixed_size_partitioner min_max_variable_partitioner variable_axis_size_partitioner"
    ),
    "tfc.graph.scopes": (
        "AUTO_REUSE VariableScope get_local_variable get_variable get_variable_scope no_regularizer "
        "variable_scope"
    ),
    "tfc.graph.template": "make_template",
    "tfc.graph.variables": (
        "Variable assign assign_add assign_sub global_variables global_variables_initializer "
        "initialize_all_variables is_variable_initialized local_variables local_variables_initializer "
        "report_uninitialized_variables trainable_variables "
        "variables_initializer"
    ),
}
"""The public names of each module."""

_RENAMED: dict[str, tuple[str, str]] = {
    "bool": ("tfc.graph.dtypes", "bool_"),
    **{
        f"{short}_initializer": ("tfc.graph.initializers", long)
        for short, long in {
            "zeros": "Zeros",
            "ones": "Ones",
            "constant": "Constant",
            "random_uniform": "RandomUniform",
            "random_normal": "RandomNormal",
            "truncated_normal": "TruncatedNormal",
            "uniform_unit_scaling": "UniformUnitScaling",
            "variance_scaling": "VarianceScaling",
            "glorot_uniform": "glorot_uniform",
            "glorot_normal": "glorot_normal",
            "orthogonal": "Orthogonal",
        }.items()
    },
    "convert_to_tensor": ("tfc.graph.ops", "convert"),
    "lin_space": ("tfc.graph.arrays", "linspace"),
    "print": ("tfc.graph.checks", "print_"),
    "range": ("tfc.graph.arrays", "range_"),
    "slice": ("tfc.graph.arrays", "slice_"),
    "tuple": ("tfc.graph.arrays", "tuple_"),
}
"""Public names that Python or numpy has too, and what they are called at home."""

_MODULES = {
    "debugging": "tfc.graph.debugging",
    "errors": "tfc.errors",
    "image": "tfc.graph.image",
    "initializers": "tfc.graph.initializers",
    "layers": "tfc.graph.layers",
    "linalg": "tfc.graph.linalg",
    "math": "tfc.graph.math",
    "nn": "tfc.graph.nn",
    "random": "tfc.graph.random",
    "train": "tfc.graph.train",
}
"""Public modules."""

_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        value: Any = import_module(_MODULES[name])
    else:
        module, at_home = _RENAMED.get(name) or (_HOME.get(name), name)
        if module is None:
            raise AttributeError(f"module 'tfc' has no attribute {name!r}{_suggestion(name)}")
        value = getattr(import_module(module), at_home)
    globals()[name] = value
    return value


def _suggestion(name: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, [*_HOME, *_RENAMED, *_MODULES], n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME, *_RENAMED, *_MODULES})
