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
