"""Test results on any x86-64 CPU.

The mark `any_cpu` selects tests that are fast enough for an emulator of an older CPU:

    emulator="qemu-x86_64 -cpu Nehalem"
    POINTWISE_TEST_EMULATOR=$emulator $emulator .venv/bin/python -m pytest -n 0 -m any_cpu

This file has tests that are not in other files. Together, all tests with the mark use each kernel of the instruction
set.
"""

import re

import definitions
import numpy as np
import pointwise as pw
import pytest
import reference
from children import EMULATOR

pytestmark = pytest.mark.any_cpu

# Instruction sets of the emulated CPUs, the best first.
ISAS = {"Nehalem": ["portable"], "Haswell": ["avx2", "portable"]}
ACTIVATIONS = [{"clip": ("clip", -1.5, 2.5)}.get(name, name) for name in definitions.NAMES]
ACTIVATIONS += [("leaky_relu", 0.25), ("elu", 0.75)]
CPU = re.search(r"-cpu (\w+)", " ".join(EMULATOR))


@pytest.mark.skipif(CPU is None or CPU[1] not in ISAS, reason=f"for emulated CPUs: {', '.join(ISAS)}")
def test_instruction_sets_of_the_emulated_cpu(python):
    assert pw.show_config("dicts")["isas"] == ISAS[CPU[1]]
    assert pw.isa() == ISAS[CPU[1]][0]
    assert python("import pointwise; print(pointwise.isa())", POINTWISE_ISA=None) == ISAS[CPU[1]][0]


@pytest.mark.parametrize("layout", reference.LAYOUTS)
@pytest.mark.parametrize("c_out", [1, 5, 8, 17, 24, 40, 70])
def test_exact_integers(layout, c_out, dtype, integers):
    """Integer sums are exact for counts of channels and pixels that end within a vector or a tile."""
    for c_in, width in [(1, 1), (3, 37), (20, 14), (65, 9)]:
        sizes = {"N": 2, "C": c_in, "D": 2, "H": 3, "W": width}
        x, weight = integers([sizes[axis] for axis in layout], dtype), integers((c_out, c_in), dtype)
        bias, how = integers(c_out, dtype), {"layout": layout, "stride": 1 + width % 2}
        value, _ = reference.exact(x, weight, bias, **how)
        residual = integers(value.shape, dtype)
        expected = reference.relu(value + residual).astype(dtype)
        y = pw.conv(x, weight, bias, residual=residual, activation="relu", **how)
        reference.assert_same_bits(y, expected)
        layer = pw.Conv(weight, bias, activation="relu", **how)
        reference.assert_same_bits(layer(x, residual), expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("c_in", "c_out", "groups"), [(0, 3, 1), (1, 17, 1), (513, 9, 1), (12, 40, 3)])
def test_bound(layout, c_in, c_out, groups, dtype, rng):
    x = rng.standard_normal((2, c_in * groups, 5, 7) if layout == "NCHW" else (2, 5, 7, c_in * groups)).astype(dtype)
    weight = rng.standard_normal((c_out * groups, c_in)).astype(dtype)
    bias = rng.standard_normal(c_out * groups).astype(dtype)
    how = {"layout": layout, "groups": groups, "stride": 2, "padding": 1}
    value, bound = reference.exact(x, weight, bias, **how)
    reference.assert_within_bound(pw.conv(x, weight, bias, **how), value, bound)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=definitions.label)
def test_activations(activation, dtype, rng):
    """Activations are accurate enough to exclude any other function. Other tests check the full accuracy."""
    x = np.concatenate([rng.uniform(-20, 20, 500), rng.uniform(-1, 1, 100), [0.0, -0.0]]).astype(dtype)[:, None]
    weight = np.ones((21, 1), dtype)
    expected = definitions.exact(activation, x).astype(np.float64)
    y = pw.conv(x, weight, layout="NC", activation=activation)
    tolerance = 2.0**-20 if dtype == np.float32 else 1e-10
    np.testing.assert_allclose(y, np.broadcast_to(expected, y.shape), rtol=tolerance, atol=tolerance / 4)
    assert np.isnan(pw.conv(np.full((3, 1), np.nan, dtype), weight, layout="NC", activation=activation)).all()


def test_a_chain_is_its_layers(dtype, rng):
    x = rng.standard_normal((2, 9, 7, 11)).astype(dtype)
    weights = [rng.standard_normal(shape).astype(dtype) for shape in ((40, 9), (5, 40))]
    layers = [pw.Conv(weight, activation=name) for weight, name in zip(weights, ("gelu", "relu"), strict=True)]
    reference.assert_same_bits(pw.Chain(layers)(x), layers[1](layers[0](x)))


def test_a_scaled_input(dtype, integers):
    x, weight, scale = integers((2, 19, 5, 7), dtype), integers((33, 19), dtype), integers((2, 19), dtype)
    value, _ = reference.exact(x * scale[:, :, None, None], weight)
    reference.assert_same_bits(pw.conv(x, weight, input_scale=scale), value.astype(dtype) + dtype.type(0))
