"""Branches, loops, checks and messages: what they mean, and that compiled programs do the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from control_programs import random_program
from hypothesis import given, settings
from hypothesis import strategies as st
from xdsl.dialects.builtin import ModuleOp
from xdsl.parser import Parser

import tfc
from tfc import compiler
from tfc.dialects import context, host
from tfc.dialects.tfc.control import shown_value
from tfc.dialects.tfc.state import VariableOp
from tfc.dialects.tfc.types import element_of, tensor_type
from tfc.errors import RunError
from tfc.options import Options
from tfc.passes.explain_fusion import ExplainFusion
from tfc.profiling import profile
from tfc.runtime.interpreter import interpret
from tfc.runtime.program import Program

INTEGERS = [np.dtype(f"{u}int{w}") for u in ("", "u") for w in (8, 16, 32, 64)]

POWERS = """
func.func @main(%n : tensor<i32>, %x : tensor<3xf32>) -> (tensor<4x3xf32>, tensor<3xf32>, !tfc.control) {
  %zero = tfc.constant 0 : tensor<i32>
  %a = tfc.constant splat 0.0 : tensor<4x3xf32>
  %t = tfc.join -> !tfc.control
  %i, %y, %r, %u = tfc.while (%zero, %x, %a, %t) with (%n) :
      (tensor<i32>, tensor<3xf32>, tensor<4x3xf32>, !tfc.control), (tensor<i32>)
      -> (tensor<i32>, tensor<3xf32>, tensor<4x3xf32>, !tfc.control) {
  ^bb0(%i0 : tensor<i32>, %y0 : tensor<3xf32>, %r0 : tensor<4x3xf32>, %t0 : !tfc.control, %n0 : tensor<i32>):
    %p = tfc.compare lt %i0, %n0 : tensor<i32>, tensor<i32> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  } do {
  ^bb0(%i0 : tensor<i32>, %y0 : tensor<3xf32>, %r0 : tensor<4x3xf32>, %t0 : !tfc.control, %n0 : tensor<i32>):
    %one = tfc.constant 1 : tensor<i32>
    %i1 = tfc.add %i0, %one : tensor<i32>, tensor<i32> -> tensor<i32>
    %y1 = tfc.add %y0, %y0 : tensor<3xf32>, tensor<3xf32> -> tensor<3xf32>
    %r1 = tfc.update_row %r0 at %i0 with %y1 : tensor<4x3xf32>, tensor<i32>, tensor<3xf32> -> tensor<4x3xf32>
    %t1 = tfc.print ["i = ", ", y = ", "\\n"] (%i0, %y1) shows 3 after %t0 : (tensor<i32>, tensor<3xf32>), !tfc.control -> !tfc.control
    tfc.yield %i1, %y1, %r1, %t1 : tensor<i32>, tensor<3xf32>, tensor<4x3xf32>, !tfc.control
  }
  %three = tfc.constant 3 : tensor<i32>
  %few = tfc.compare lt %i, %three : tensor<i32>, tensor<i32> -> tensor<i1>
  %z = tfc.if %few (%y) : (tensor<3xf32>) -> tensor<3xf32> {
  ^bb0(%b : tensor<3xf32>):
    tfc.yield %b : tensor<3xf32>
  } else {
  ^bb0(%b : tensor<3xf32>):
    %c = tfc.neg %b : tensor<3xf32> -> tensor<3xf32>
    tfc.yield %c : tensor<3xf32>
  }
  %four = tfc.constant 4 : tensor<i32>
  %right = tfc.compare lt %i, %four : tensor<i32>, tensor<i32> -> tensor<i1>
  %v = tfc.assert %right, ["i is ", " now"] (%i) shows 3 after %u : (tensor<i32>), !tfc.control -> !tfc.control
  func.return %r, %z, %v : tensor<4x3xf32>, tensor<3xf32>, !tfc.control
}
"""
"""A loop with a counter, a value, an array of rows and a message; a branch; and a check after it."""

X = np.array([1, 2, 0.1], np.float32)


def module(text: str) -> ModuleOp:
    parsed = Parser(context(), text).parse_module()
    parsed.verify()
    return parsed


@pytest.mark.parametrize("rounds", [-1, 0, 2, 3])
def test_the_meaning_of_loops_and_branches(rounds: int, capfd: pytest.CaptureFixture[str]) -> None:
    rows, last, _ = interpret(module(POWERS), [np.array(rounds, np.int32), X])
    expected = np.zeros((4, 3), np.float32)
    for k in range(rounds):
        expected[k] = X * 2 ** (k + 1)
    np.testing.assert_array_equal(rows, expected)
    y = X * 2 ** max(rounds, 0)
    np.testing.assert_array_equal(last, y if rounds < 3 else -y)
    shown = ["i = 0, y = [2 4 0.2]\n", "i = 1, y = [4 8 0.4]\n", "i = 2, y = [8 16 0.8]\n"]
    assert capfd.readouterr().err == "".join(shown[: max(rounds, 0)])


@pytest.mark.parametrize(("rounds", "words"), [(4, "i is 4 now"), (5, "an index is out of range")])
def test_a_run_that_must_not_go_on(rounds: int, words: str) -> None:
    with pytest.raises(RunError, match=words):
        interpret(module(POWERS), [np.array(rounds, np.int32), X])


@pytest.mark.parametrize(
    ("value", "summarize", "text"),
    [
        (np.float32(0.1), 3, "0.1"),
        (np.float32(1 / 3), 3, "0.333333343"),
        (np.array(0.1), 3, "0.1"),
        (np.array(2.0**-1074), 3, "4.94065645841247e-324"),
        (np.array([np.nan, -np.inf, -0.0], np.float16), 3, "[nan -inf -0]"),
        (np.arange(7), 3, "[0 1 2 ... 4 5 6]"),
        (np.arange(7), -1, "[0 1 2 3 4 5 6]"),
        (np.arange(6).reshape(3, 2), 1, "[[0 1] ... [4 5]]"),
        (np.zeros((0, 2), np.uint8), 3, "[]"),
        (np.array([True, False]), 3, "[1 0]"),
        (np.array(2**64 - 1, np.uint64), 3, "18446744073709551615"),
    ],
)
def test_how_values_are_shown(value: np.ndarray, summarize: int, text: str) -> None:
    assert shown_value(np.asarray(value), summarize) == text


# Compiled programs.


def compiled(text: str, threads: int = 1) -> Program:
    return compiler.load(compiler.lower(module(text), Options(threads=threads)))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rounds", range(-1, 6))
def test_a_compiled_loop_does_what_it_means(
    rounds: int, threads: int, capfd: pytest.CaptureFixture[str]
) -> None:
    inputs = [np.array(rounds, np.int32), X]
    expected, said = outcome(lambda: interpret(module(POWERS), inputs)), capfd.readouterr().err
    program = compiled(POWERS, threads)
    for _ in range(2):
        found = outcome(lambda: program.run(inputs))
        assert capfd.readouterr().err == said
        if isinstance(expected, str) or isinstance(found, str):
            assert found == expected
        else:
            for x, y in zip(found, expected[:2], strict=True):
                np.testing.assert_array_equal(x, y)


def outcome(run: Callable[[], list[Any]]) -> list[Any] | str:
    try:
        return run()
    except RunError as error:
        return str(error)


SHOWN = [
    np.array([np.nan, -np.inf, -0.0, 1 / 3, 0.1, 6e-8, 65504], np.float16),
    np.array([np.nan, -np.nan, np.inf, 1e30, 3e-39, 0.3], ml_dtypes.bfloat16),
    np.array([[1 / 3, 0.1, 1e-45], [3.4e38, -7, 16777216]], np.float32),
    np.array([1 / 3, 0.1, 2.0**-1074, 1e300, 123456789012345680]),
    np.array([True, False]),
    *(np.array([np.iinfo(t).min, 0, np.iinfo(t).max], t) for t in INTEGERS),
    np.zeros((2, 0), np.float32),
    np.array(5, np.int8),
]


@pytest.mark.parametrize("summarize", [-1, 0, 1, 3])
def test_messages_are_the_same_in_every_way_to_run(summarize: int, capfd: pytest.CaptureFixture[str]) -> None:
    types = [tensor_type(a.shape, element_of(a.dtype)) for a in SHOWN]
    names = [f"%x{k}" for k in range(len(SHOWN))]
    arguments = ", ".join(f"{n} : {t}" for n, t in zip(names, types, strict=True))
    texts = ", ".join('" %d ü "' for _ in range(len(SHOWN) + 1))
    listed = ", ".join(map(str, types))
    text = f"""func.func @main(%p : tensor<i1>, {arguments}) -> !tfc.control {{
      %t = tfc.print [{texts}] ({", ".join(names)}) shows {summarize} : ({listed}) -> !tfc.control
      %u = tfc.assert %p, [{texts}] ({", ".join(names)}) shows {summarize} after %t : ({listed}), !tfc.control -> !tfc.control
      func.return %u : !tfc.control
    }}"""
    inputs = [np.array(False), *SHOWN]
    expected, said = outcome(lambda: interpret(module(text), inputs)), capfd.readouterr().err
    found = outcome(lambda: compiled(text).run(inputs))
    assert capfd.readouterr().err == said
    assert found == expected


@pytest.mark.parametrize("rounds", [2, 4, 5])
def test_an_artifact_does_the_same(rounds: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    compiler.save(compiler.emit(compiler.lower(module(POWERS), Options())), tmp_path / "powers.so")
    inputs = [np.array(rounds, np.int32), X]
    expected, said = outcome(lambda: interpret(module(POWERS), inputs)), capfd.readouterr().err
    model = tfc.load(tmp_path / "powers.so")
    found = outcome(lambda: list(model(*inputs)))
    assert capfd.readouterr().err == said
    if isinstance(expected, str):
        assert found == expected
    else:
        np.testing.assert_array_equal(found[0], expected[0])


# Random programs.


def check_random(seed: int, threads: int, validate: bool = False) -> None:
    """A random program, compiled, does the same as the interpreter: results, variables, messages."""
    program = random_program(seed)
    chance = np.random.default_rng(seed)
    x, y = (chance.standard_normal(s).astype(np.float32) for s in ((3, 4), (4,)))
    inputs = [x, y, np.array(seed % 5, np.int32)]
    names = sorted({op.variable.data for op in program.walk() if isinstance(op, VariableOp)})
    state: dict[str, np.ndarray] = {}
    options = Options(threads=threads, validate_each_pass=validate)
    model = compiler.load(compiler.lower(program.clone(), options))
    kept = {port.name: model.variable(k) for k, port in enumerate(model.manifest.variables)}
    for _ in range(2):
        expected, found = outcome(partial(interpret, program, inputs, state)), outcome(partial(model.run, inputs))
        if isinstance(expected, str) or isinstance(found, str):
            assert expected == found
            return
        for a, b in zip(expected[:3], found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
        for name in names:
            if name in kept and name in state:
                np.testing.assert_allclose(state[name], kept[name], rtol=1e-4, atol=1e-5)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([1, 2]))
def test_random_programs_do_what_they_mean(seed: int, threads: int) -> None:
    check_random(seed, threads)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([1, 2]))
def test_many_random_programs(seed: int, threads: int) -> None:
    check_random(seed, threads)


@pytest.mark.parametrize("seed", range(3))
def test_every_pass_keeps_what_random_programs_mean(seed: int) -> None:
    check_random(seed, 1, validate=True)


# What a turn of a loop does not do.

ARRAY, NUMBER, LINE = "tensor<1000x256xf32>", "tensor<i32>", "tensor<256xf32>"
UPDATE = f"tfc.update_row %a0 at %i with %x1 : {ARRAY}, {NUMBER}, {LINE} -> {ARRAY}"
BODIES = {
    "a row": f"%a2 = {UPDATE}",
    "a row that is read, written, read and written": f"""
    %g = tfc.gather %a0 at %i along 0 batch 0 : {ARRAY}, {NUMBER} -> {LINE}
    %a1 = {UPDATE}
    %h = tfc.gather %a1 at %i along 0 batch 0 : {ARRAY}, {NUMBER} -> {LINE}
    %s = tfc.add %g, %h : {LINE}, {LINE} -> {LINE}
    %a2 = tfc.update_row %a1 at %i with %s : {ARRAY}, {NUMBER}, {LINE} -> {ARRAY}""",
    "a row now and then": f"""
    %three = tfc.constant 3 : {NUMBER}
    %c = tfc.compare lt %i, %three : {NUMBER}, {NUMBER} -> tensor<i1>
    %a2 = tfc.if %c (%a0, %i, %x1) : ({ARRAY}, {NUMBER}, {LINE}) -> {ARRAY} {{
    ^bb0(%b : {ARRAY}, %j : {NUMBER}, %y : {LINE}):
      %u = tfc.update_row %b at %j with %y : {ARRAY}, {NUMBER}, {LINE} -> {ARRAY}
      tfc.yield %u : {ARRAY}
    }} else {{
    ^bb0(%b : {ARRAY}, %j : {NUMBER}, %y : {LINE}):
      tfc.yield %b : {ARRAY}
    }}""",
    "all of it, from elsewhere": f"""
    %t = tfc.reverse %a0 along [0] : {ARRAY} -> {ARRAY}
    %a2 = tfc.update_row %t at %i with %x1 : {ARRAY}, {NUMBER}, {LINE} -> {ARRAY}""",
    "all of it, in place": f"%a2 = tfc.tanh %a0 : {ARRAY} -> {ARRAY}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_a_loop_never_copies_the_array_that_it_carries(body: str) -> None:
    text = f"""func.func @main(%n : {NUMBER}, %x : {LINE}) -> ({ARRAY}, {LINE}) {{
      %zero = tfc.constant 0 : {NUMBER}
      %a = tfc.constant splat 0.5 : {ARRAY}
      %r:3 = tfc.while (%zero, %a, %x) with (%n) :
          ({NUMBER}, {ARRAY}, {LINE}), ({NUMBER}) -> ({NUMBER}, {ARRAY}, {LINE}) {{
      ^bb0(%i : {NUMBER}, %a0 : {ARRAY}, %x0 : {LINE}, %n0 : {NUMBER}):
        %p = tfc.compare lt %i, %n0 : {NUMBER}, {NUMBER} -> tensor<i1>
        tfc.yield %p : tensor<i1>
      }} do {{
      ^bb0(%i : {NUMBER}, %a0 : {ARRAY}, %x0 : {LINE}, %n0 : {NUMBER}):
        %one = tfc.constant 1 : {NUMBER}
        %i1 = tfc.add %i, %one : {NUMBER}, {NUMBER} -> {NUMBER}
        %x1 = tfc.tanh %x0 : {LINE} -> {LINE}
        {body}
        tfc.yield %i1, %a2, %x1 : {NUMBER}, {ARRAY}, {LINE}
      }}
      func.return %r#1, %r#2 : {ARRAY}, {LINE}
    }}"""
    lowered = compiler.lower(module(text), Options())
    (loop,) = (op for op in lowered.program.walk() if isinstance(op, host.WhileOp))
    copied = [op.size for op in loop.walk() if isinstance(op, host.CopyOp)]
    assert all(isinstance(size, int) and size <= 1024 for size in copied), f"{copied} bytes"
    assert lowered.weights.size < 4096, "an array of one number is written, not stored"
    program = compiler.load(lowered)
    for rounds in (0, 5):
        inputs = [np.array(rounds, np.int32), np.linspace(-1, 1, 256).astype(np.float32)]
        for x, y in zip(interpret(module(text), inputs), program.run(inputs), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-6)


BATCH = 'tensor<?x3xf32, #tfc.dims<["batch", ""]>>'
STEPS = 'tensor<?x?x3xf32, #tfc.dims<["time", "batch", ""]>>'
SEQUENCE = f"""func.func @main(%x : {STEPS}, %h : {BATCH}, %n : tensor<i64>) -> ({STEPS}, {BATCH}) {{
  %zero = tfc.constant 0 : tensor<i64>
  %one = tfc.constant 1 : tensor<i64>
  %r:3 = tfc.while (%zero, %h, %x) with (%n) :
      (tensor<i64>, {BATCH}, {STEPS}), (tensor<i64>) -> (tensor<i64>, {BATCH}, {STEPS}) {{
  ^bb0(%i : tensor<i64>, %h0 : {BATCH}, %a : {STEPS}, %n0 : tensor<i64>):
    %p = tfc.compare lt %i, %n0 : tensor<i64>, tensor<i64> -> tensor<i1>
    tfc.yield %p : tensor<i1>
  }} do {{
  ^bb0(%i : tensor<i64>, %h0 : {BATCH}, %a : {STEPS}, %n0 : tensor<i64>):
    %s = tfc.constant 1 : tensor<i64>
    %i1 = tfc.add %i, %s : tensor<i64>, tensor<i64> -> tensor<i64>
    %row = tfc.gather %a at %i along 0 batch 0 : {STEPS}, tensor<i64> -> {BATCH}
    %g = tfc.add %row, %h0 : {BATCH}, {BATCH} -> {BATCH}
    %h1 = tfc.tanh %g : {BATCH} -> {BATCH}
    %a1 = tfc.update_row %a at %i with %h1 : {STEPS}, tensor<i64>, {BATCH} -> {STEPS}
    tfc.yield %i1, %h1, %a1 : tensor<i64>, {BATCH}, {STEPS}
  }}
  func.return %r#2, %r#1 : {STEPS}, {BATCH}
}}"""


@pytest.mark.parametrize("threads", [1, 2])
def test_extents_and_turns_of_the_inputs(threads: int) -> None:
    """One program for every batch, length and number of turns; a row that is not there is an error."""
    program, meaning = compiled(SEQUENCE, threads), module(SEQUENCE)
    for time, batch, turns in ((4, 2, 4), (1, 5, 1), (7, 300, 3), (2, 1, 0), (3, 2, 4)):
        x = np.linspace(-1, 1, time * batch * 3, dtype=np.float32).reshape(time, batch, 3)
        inputs = [x, x[0] / 2, np.array(turns)]
        expected, found = outcome(partial(interpret, meaning, inputs)), outcome(partial(program.run, inputs))
        if isinstance(expected, str) or isinstance(found, str):
            assert str(found).replace("time", "3") == expected
        else:
            for a, b in zip(expected, found, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_profile_counts_turns() -> None:
    inputs = [np.ones((6, 2, 3), np.float32), np.ones((2, 3), np.float32), np.array(5)]
    rows = profile(compiler.lower(module(SEQUENCE), Options()), inputs, 2)
    counts = {row.kernel: row.times for row in rows if row.kernel != "copy"}
    assert sorted(counts.values()) == [5, 5, 6], f"two kernels in each of 5 turns, 6 conditions, got {counts}"
    assert next(r.flops for r in rows if "tanh" in r.operations) == 5 * 2 * 2 * 3


def test_the_kernels_of_a_loop_are_explained() -> None:
    told = ExplainFusion()
    compiler.run_stages(module(SEQUENCE), "optimise,lower", Options(), told)
    names = [line.split(" ")[0] for line in told.lines() if not line.startswith(" ")]
    assert [n.split("_")[0] for n in names] == ["compare", "add", "add"]
