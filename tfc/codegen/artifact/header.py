"""The C header of a compiled model, in C99 that is C++ too.

    mlp_model *model;                          mlp_args args = {0};
    mlp_create(&model, 0);                     args.x = x;  args.y = y;
    mlp_call(model, &args);                    mlp_destroy(model);

`render` prints it from the manifest alone, so equal models give equal headers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tfc import dims
from tfc.codegen.artifact.manifest import C_TYPES, Manifest, Port
from tfc.dims import Atom, Dim

_LISTED_ERRORS = 64
"""Error codes that the header lists; `NAME_error` knows them all."""


def render(manifest: Manifest) -> str:
    """The header's text."""
    guard = f"TFC_MODEL_{manifest.name}_H"
    blocks = [
        _introduction(manifest),
        f"#ifndef {guard}\n#define {guard}",
        "#include <stdint.h>",
        '#ifdef __cplusplus\nextern "C" {\n#endif',
        _constants(manifest),
        *(_port_macros(manifest, p) for p in _ports(manifest)),
        _functions(manifest),
        _arguments(manifest),
        *_gpu(manifest),
        *_variables(manifest),
        "#ifdef __cplusplus\n}\n#endif",
        f"#endif /* {guard} */",
    ]
    return "\n\n".join(blocks) + "\n"


def c_expression(dim: Dim, names: Mapping[str, str]) -> str:
    """``dim`` in C, where ``names`` gives the C text of each named dim."""
    if isinstance(dim, int):
        return f"INT64_C({dim})" if abs(dim) >= 1 << 31 else str(dim)
    terms: list[str] = []
    for monomial, coefficient in dim.terms:
        factors = [_atom(a, names) for a in monomial]
        if coefficient != 1 or not factors:
            factors.insert(0, f"INT64_C({coefficient})")
        terms.append(" * ".join(factors))
    return " + ".join(terms)


def _atom(atom: Atom, names: Mapping[str, str]) -> str:
    if atom.function == "name":
        return names[str(atom.args[0])]
    x, y = (f"({c_expression(a, names)})" for a in atom.args if not isinstance(a, str))
    if atom.function == "max":
        return f"({x} > {y} ? {x} : {y})"
    return f"({x} {'/' if atom.function == 'floordiv' else '%'} {y})"  # extents are not negative


def _ports(manifest: Manifest) -> Iterator[Port]:
    yield from (*manifest.inputs, *manifest.outputs, *manifest.variables)


def _introduction(manifest: Manifest) -> str:
    name = manifest.name
    lines = [
        f'/* The compiled model "{name}": its C interface, written by tfc.',
        " *",
        f" *     {name}_model *model;",
        f" *     {name}_args args = {{0}};",
        f" *     int error = {name}_create(&model, 0);",
    ]
    for port in (*manifest.inputs, *manifest.outputs):
        lines.append(f" *     args.{port.identifier} = ...;  {_describe(port)}")
    lines += [f" *     args.{d.identifier} = ...;" for d in manifest.dims]
    lines += [
        f" *     if (!error) error = {name}_call(model, &args);",
        f" *     if (error) puts({name}_error(error));",
        f" *     {name}_destroy(model);",
        " *",
        " * Tensors are dense, row-major, and belong to the caller; one may lie at any address that",
        " * suits its C type. float16 and bfloat16 elements are passed as their bits (uint16_t), bool",
        " * as one byte that is 0 or 1. A handle is used by one thread at a time; several handles are",
        " * independent of each other. Link with -lm -lpthread where the model is an object file.",
        " *",
        f" * Made for {manifest.target.triple}, {manifest.target.cpu}"
        + (f" ({', '.join(manifest.target.features)})." if manifest.target.features else "."),
        *_gpu_introduction(manifest),
        " */",
    ]
    return "\n".join(lines)


def _gpu_introduction(manifest: Manifest) -> Iterator[str]:
    if (gpu := manifest.gpu) is not None:
        yield f" * Runs on an NVIDIA GPU, {gpu.cpu} or later: {manifest.name}_create opens the CUDA driver (libcuda.so.1)."
        yield " * Nothing of CUDA is linked. The tensors of a run are in the host's memory all the same, unless"
        yield f" * {manifest.name}_run_device is called."


def _constants(manifest: Manifest) -> str:
    name, arena = manifest.name, manifest.arena_size
    rows = [
        f"#define {name}_ABI {manifest.abi}",
        f"#define {name}_INPUTS {len(manifest.inputs)}",
        f"#define {name}_OUTPUTS {len(manifest.outputs)}",
        f"#define {name}_VARIABLES {len(manifest.variables)}",
        f"#define {name}_DIMS {len(manifest.dims)}",
        f"#define {name}_THREADS {manifest.threads} /* where {name}_create is asked for 0 */",
        f"#define {name}_WEIGHTS_SIZE {c_expression(manifest.weights_size, {})} /* bytes */",
        _macro(manifest, f"{name}_ARENA_SIZE", arena)
        + " /* bytes of scratch memory of a handle */",
    ]
    if manifest.gpu is not None:
        size = _macro(manifest, f"{name}_GPU_ARENA_SIZE", manifest.gpu.arena_size)
        rows.append(f"{size} /* bytes of scratch memory on the GPU */")
    return "\n".join(rows)


def _port_macros(manifest: Manifest, port: Port) -> str:
    prefix = f"{manifest.name}_{port.identifier}"
    names = {d.name: f"(int64_t)({d.identifier})" for d in manifest.dims}
    extents = ", ".join(c_expression(d, names) for d in port.shape) or "1"
    rows = [f"/* {_describe(port)} */", f"#define {prefix}_RANK {len(port.shape)}"]
    rows.append(f"#define {_head(manifest, f'{prefix}_SHAPE', port.shape)} {{{extents}}}")
    rows.append(_macro(manifest, f"{prefix}_ELEMENTS", dims.product(port.shape)))
    return "\n".join(rows)


def _macro(manifest: Manifest, macro: str, value: Dim) -> str:
    names = {d.name: f"(int64_t)({d.identifier})" for d in manifest.dims}
    return f"#define {_head(manifest, macro, [value])} ({c_expression(value, names)})"


def _head(manifest: Manifest, macro: str, values: Sequence[Dim]) -> str:
    """``macro``, with the named dims as parameters where ``values`` depend on any."""
    if all(isinstance(v, int) for v in values):
        return macro
    used: set[str] = set().union(*(dims.names(v) for v in values))
    return f"{macro}({', '.join(d.identifier for d in manifest.dims if d.name in used)})"


def _functions(manifest: Manifest) -> str:
    name = manifest.name
    order = ", ".join(d.identifier for d in manifest.dims) or "none: may be 0"
    return f"""/* The state of one instance: scratch memory, variables, a number of threads. */
typedef struct {name}_model {name}_model;

/* The version of this interface in the library; {name}_ABI is that of this header. */
int {name}_abi(void);

/* What a nonzero result means, with the line of the graph or the node that it comes from.
 * The text is constant. */
const char *{name}_error(int code);
{_error_list(manifest)}
/* The error of the instance's last run in full, where a check of the graph failed that shows values; else null.
 * It is there until the next run. */
const char *{name}_message({name}_model *model);

/* Make an instance that runs on `threads` threads (0: the model's default). Fails where the
 * processor lacks an instruction set that the code uses, and where memory runs out. */
int {name}_create({name}_model **out, int threads);
void {name}_destroy({name}_model *model);

/* Bytes of scratch memory that an instance holds after a run with these dims. */
int64_t {name}_arena_size(const int64_t *dims);

/* Run the model. Inputs and outputs stand in declared order; dims: {order}. */
int {name}_run({name}_model *model, const void *const *inputs, void *const *outputs, const int64_t *dims);

/* A parallel loop of the caller's: calls task(args, lo, hi) for parts of 0 <= i < n, each i in one part, on any
 * threads, best at least `grain` at a time, and returns when all are done. */
typedef void {name}_task(void *args, int64_t lo, int64_t hi);
typedef void {name}_parallel_for(void *pool, {name}_task *task, void *args, int64_t n, int64_t grain);

/* Use threads of yours from now on, those of `pool`; with parallel_for = 0 the instance's own again. Results
 * are the same. Create the instance with 1 thread, so that it starts none. */
int {name}_use_pool({name}_model *model, {name}_parallel_for *parallel_for, void *pool);

/* The storage of variable `i`; it belongs to the instance. */
void *{name}_variable({name}_model *model, int i);

/* The description of the model in JSON. */
extern const char {name}_manifest[];"""


def _error_list(manifest: Manifest) -> str:
    listed = manifest.errors[:_LISTED_ERRORS]
    if not listed:
        return ""
    rows = [
        f" * {e.code}: {f'{_comment(e.where)}: ' if e.where else ''}{_comment(e.text)}"
        for e in listed
    ]
    if len(listed) < len(manifest.errors):
        rows.append(f" * and {len(manifest.errors) - len(listed)} more")
    return "\n/* Error codes:\n" + "\n".join(rows) + "\n */\n"


def _arguments(manifest: Manifest) -> str:
    """The struct with a named member per argument, and the function that takes it."""
    name = manifest.name
    rows: list[str] = []
    body: list[str] = []
    for i, dim in enumerate(manifest.dims):
        port = manifest.inputs[dim.input]
        rows.append(f"    int64_t {dim.identifier}; /* extent {dim.axis} of {port.identifier} */")
        body.append(f"    dims[{i}] = args->{dim.identifier};")
    for array, const, ports in (
        ("inputs", "const ", manifest.inputs),
        ("outputs", "", manifest.outputs),
    ):
        for i, port in enumerate(ports):
            c_type = C_TYPES[port.dtype]
            rows.append(f"    {const}{c_type} *{port.identifier}; /* {_describe(port)} */")
            body.append(f"    {array}[{i}] = args->{port.identifier};")
    # Empty structs and arrays are no C99.
    fields = "\n".join(rows) or "    int unused;"
    return f"""/* The arguments of one run. */
typedef struct {name}_args {{
{fields}
}} {name}_args;

/* {name}_run with named arguments. */
static inline int {name}_call({name}_model *model, const {name}_args *args)
{{
    const void *inputs[{max(1, len(manifest.inputs))}] = {{0}};
    void *outputs[{max(1, len(manifest.outputs))}] = {{0}};
    int64_t dims[{max(1, len(manifest.dims))}] = {{0}};
    (void)args;
{chr(10).join(body)}
    return {name}_run(model, inputs, outputs, dims);
}}"""


def _gpu(manifest: Manifest) -> Iterator[str]:
    """What a model on a GPU has beside the rest."""
    if manifest.gpu is None:
        return
    name = manifest.name
    yield f"""/* {name}_run with inputs and outputs in device memory, at multiples of 16 bytes, begun on `stream` (a CUstream).
 * It is not waited for, unless the model may report errors of its data; with stream = 0 it is begun on a stream of the
 * instance's, and waited for. The context of the instance's GPU is the primary one, and current afterwards. */
int {name}_run_device({name}_model *model, const void *const *inputs, void *const *outputs, const int64_t *dims, void *stream);

/* Before the first instance is made: a table of the driver's functions to be used instead of libcuda.so.1. */
int {name}_use_driver(void *const *table);"""
    if manifest.variables:
        yield f"""/* Copy variable `i` to `memory` on the host, or from there. */
int {name}_read({name}_model *model, int i, void *memory);
int {name}_write({name}_model *model, int i, const void *memory);"""


def _variables(manifest: Manifest) -> Iterator[str]:
    name = manifest.name
    if manifest.stateful:
        yield f"""/* Give all variables their initial values again; those of a new instance have them. */
int {name}_init({name}_model *model);

/* One step: a run, which may change variables. */
static inline int {name}_step({name}_model *model, const {name}_args *args)
{{
    return {name}_call(model, args);
}}

/* Write the variables to a checkpoint whose files begin with `path`: a TensorFlow bundle, which Python reads.
 * Atomic: if the process is killed, the checkpoint that was there before is whole. */
int {name}_save({name}_model *model, const char *path);

/* Read the variables from a checkpoint of just these variables; all of them, or none if it is not whole. */
int {name}_restore({name}_model *model, const char *path);"""
    if manifest.variables:
        yield f"""/* Keep variable `i` in `storage` of yours from now on; nothing is copied. Instances that are
 * given the same storage share the variable. */
int {name}_bind_variable({name}_model *model, int i, void *storage);"""
    for i, port in enumerate(manifest.variables):
        c_type = C_TYPES[port.dtype]
        where = ", in device memory" if port.memory else ""
        yield f"""/* The variable {_describe(port)}{where}. */
static inline {c_type} *{name}_variable_{port.identifier}({name}_model *model)
{{
    return ({c_type} *){name}_variable(model, {i});
}}"""


def _describe(port: Port) -> str:
    shape = ", ".join(map(str, port.shape))
    return _comment(f'"{port.name}": {port.dtype}[{shape}]')


def _comment(text: str) -> str:
    """``text`` with nothing in it that ends a comment or that a compiler warns of."""
    printable = "".join(c if c.isprintable() else "?" for c in text)
    return printable.replace("*/", "* /").replace("/*", "/ *").replace("??/", "?? /")
