"""Run the fuzz target of the Python functions on saved and random inputs, without a fuzzer."""

import pathlib

import hypothesis.strategies as st
import numpy as np
import pytest
import python_target
from hypothesis import given, settings

corpus = pathlib.Path(__file__).parents[1] / "fuzz" / "corpus" / "python.hex"
lines = [line for line in corpus.read_text().splitlines() if not line.startswith("#")]


def test_kept_inputs():
    assert len(lines) >= 100
    for line in lines:
        try:
            python_target.one_input(bytes.fromhex(line))
        except BaseException as error:
            error.add_note(f"input {line}") if hasattr(error, "add_note") else print(line)
            raise


@settings(max_examples=1000)
@given(st.binary(max_size=100))
def test_drawn_inputs(data):
    python_target.one_input(data)


@settings(max_examples=500)
@given(st.sampled_from(python_target.QUANTIZED), st.binary(max_size=60))
def test_drawn_quantized_inputs(first, data):
    python_target.one_input(bytes([first]) + data)


def test_most_quantized_inputs_are_valid():
    """Random quantized inputs reach the comparison with exact integers, for every function."""
    rng, valid = np.random.default_rng(0), {}
    for _ in range(300):
        data = rng.bytes(60)
        given = python_target.drawn_quantized(python_target.Bytes(data[1:]))
        call = (python_target.as_qconv, python_target.as_qlayer, python_target.as_conv_integer)[data[0] % 3]
        try:
            y = call(given)
        except python_target.DOCUMENTED:
            continue
        valid[call] = valid.get(call, 0) + (y.size > 0)
    assert len(valid) == 3
    assert min(valid.values()) >= 5


@pytest.mark.parametrize("name", ["qconv", "conv_integer"])
def test_the_target_finds_a_wrong_integer(monkeypatch, name):
    right = getattr(python_target.pw, name)

    def off(*positional, **named):
        y = right(*positional, **named)
        if y.size > 0:
            y[(-1,) * y.ndim] ^= 1
        return y

    monkeypatch.setattr(python_target.pw, name, off)
    rng, found = np.random.default_rng(1), 0
    for _ in range(100):
        data = bytes([python_target.QUANTIZED[0], 0 if name == "qconv" else 2]) + rng.bytes(60)
        try:
            python_target.one_input(data)
        except AssertionError:
            found += 1
    assert found >= 5


def test_the_target_finds_what_is_wrong(monkeypatch):
    """The target finds a wrong number, a failed call that wrote to `out`, and a message that names no argument."""
    conv = python_target.pw.conv
    plain = bytes(40)  # arguments that fit
    python_target.one_input(plain)

    def off(**given):
        y = conv(**given)
        y += 1
        return y

    def late(**given):
        given["out"] += 1
        raise ValueError("x must be another")

    def unnamed(**given):
        raise ValueError("no good")

    cases = [line for line in lines if writes(bytes.fromhex(line))]
    for wrong, data in (
        (off, bytes([0, 4, 0, 0, 0, 2, 2, 1, 1, 1, 1])),
        (late, bytes.fromhex(cases[0])),
        (unnamed, plain),
    ):
        monkeypatch.setattr(python_target.pw, "conv", wrong)
        with pytest.raises(AssertionError):
            python_target.one_input(data)
        monkeypatch.undo()


def writes(data):
    """Return True if the input calls the function with a writable `out`."""
    data = python_target.Bytes(data)
    if data.below(3) != 0:
        return False
    out = python_target.drawn(data).get("out")
    return type(out) is np.ndarray and out.size > 0 and out.flags.writeable and out.dtype == np.float32
