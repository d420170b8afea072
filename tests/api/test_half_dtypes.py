"""Test how float16 and bfloat16 arrays are passed: dtypes that go together, attributes, pickles, errors, tensors."""

import copy
import pickle
from functools import partial

import ml_dtypes
import numpy as np
import pointwise as pw
import pytest

F = np.float32
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
X = np.arange(6, dtype=F).reshape(1, 3, 2)
W = np.array([[1.0, 2.0, -1.0], [0.5, 0.25, 3.0]], F)


def test_every_name_of_a_dtype(half):
    names = [half, half.name, half.type, "e" if half.name == "float16" else half.type]
    for name in names:
        layer = pw.Conv(W, layout="NCW", dtype=name)
        assert layer.dtype == half
        assert layer(X.astype(half)).dtype == half
        assert pw.conv(X, W, layout="NCW", out_dtype=name).dtype == half
        assert pw.Conv(W, layout="NCW", out_dtype=name)(X).dtype == half
        assert pw.mix(X, np.eye(2), out_dtype=name).dtype == half


def test_weights_are_cast_to_the_dtype_of_x(half):
    weight = W / 3
    y = pw.conv(X.astype(half), weight, layout="NCW", out_dtype="float32")
    for given in (weight.astype(half), weight.astype(half).astype(float), weight.tolist(), weight[:, :, np.newaxis]):
        np.testing.assert_array_equal(pw.conv(X.astype(half), given, layout="NCW", out_dtype="float32"), y)
    unrounded = pw.conv(X.astype(half).astype(F), weight, layout="NCW")
    assert (unrounded != y).any()


def test_attributes(half):
    weight, bias = (W / 3).astype(half), np.array([0.1, 2049.0], F)
    for layer in (
        pw.Conv(weight, bias),
        pw.Conv(weight.astype(F), bias.astype(float), dtype=half),
        pw.Conv(np.asfortranarray(weight), bias.tolist()),
    ):
        assert layer.dtype == layer.weight.dtype == half
        assert layer.bias.dtype == F
        assert layer.weight.tobytes() == weight.tobytes()
        assert layer.bias.tobytes() == bias.tobytes()
        assert not layer.weight.flags.writeable
        assert layer.out_dtype is None
        assert repr(layer) == f"Conv(3 -> 2, {half}, layout='NCHW')"
    assert pw.Conv(weight, out_dtype="float32").out_dtype == F
    assert pw.isa() in pw.Conv(weight).explain((1, 3, 8, 8))


@pytest.mark.parametrize("c_in", [1, 2, 3, 17, 256, 257, 513])
def test_weights_of_a_layer_keep_their_bits(c_in, half):
    """Packed weights, in pairs or converted to float32, give back every number, also NaN, subnormals and -0.0."""
    for groups in (1, 2):
        numbers = np.resize(np.arange(0, 65536, 37, dtype=np.uint16), (34, c_in))
        weight = numbers.view(half)
        got = pw.Conv(weight, groups=groups).weight
        nan = numbers & 0x7FFF > (0x7C00 if half == np.float16 else 0x7F80)
        assert (got.view(np.uint16)[~nan] == numbers[~nan]).all()
        with np.errstate(invalid="ignore"):  # of signalling NaN
            assert np.isnan(got[nan]).all()


def test_copies_and_pickles(half):
    layer = pw.Conv((W / 3).astype(half), [0.1, 5], layout="NCW", activation="gelu", out_dtype="float32")
    x = X.astype(half)
    others = [pickle.loads(pickle.dumps(layer, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in (*others, copy.copy(layer), copy.deepcopy(layer)):
        assert other.dtype == half
        assert other.out_dtype == F
        assert other(x).tobytes() == layer(x).tobytes()
    chain = pw.Chain([pw.Conv(W, layout="NCW", out_dtype=half), pw.Conv(W[:, :2].astype(half), layout="NCW")])
    other = pickle.loads(pickle.dumps(chain))
    assert other(X).tobytes() == chain(X).tobytes()
    assert other(X).dtype == half


def test_a_pickle_in_a_fresh_interpreter(python, tmp_path):
    layer, path = pw.Conv(W.astype(BFLOAT16), layout="NCW"), tmp_path / "layer.pickle"
    path.write_bytes(pickle.dumps((layer, X.astype(BFLOAT16), layer(X.astype(BFLOAT16)))))
    script = (
        f"import pickle; layer, x, y = pickle.load(open({str(path)!r}, 'rb')); print((layer(x) == y).all(), y.dtype)"
    )
    assert python(script) == "True bfloat16"


def test_batch_normalization(half, rng):
    weight, bias = rng.standard_normal((4, 3)), rng.standard_normal(4)
    statistics = {"mean": rng.standard_normal(4), "variance": rng.random(4) + 0.5}
    exact, exact_shift = pw.fold_batchnorm(weight.astype(half).astype(float), bias, **statistics)
    folded, shift = pw.fold_batchnorm(weight.astype(half), bias, **statistics)
    assert folded.tobytes() == exact.astype(half).tobytes()
    assert shift.tobytes() == exact_shift.astype(F).tobytes()
    weight = weight.astype(half)
    layer = pw.Conv.from_batchnorm(weight, bias, **statistics, dtype=half, layout="NCW")
    x = X.astype(half)
    assert layer(x).tobytes() == pw.conv(x, folded, shift, layout="NCW").tobytes()


class TestErrors:
    def test_x_of_another_dtype_than_the_layer(self, half):
        layer, module = pw.Conv(W.astype(half), layout="NCW"), "ml_dtypes" if half == BFLOAT16 else "numpy"
        other = BFLOAT16 if half != BFLOAT16 else np.dtype(np.float16)
        for x in (X, X.astype(float), X.astype(np.uint8), X.astype(other)):
            message = rf"^x must have the layer's dtype {half}, got {x.dtype}: pass x\.astype\({module}\.{half}\)"
            with pytest.raises(TypeError, match=message):
                layer(x)
        message = rf"^x must have the layer's dtype float32, got {half}: pass x\.astype\(numpy\.float32\)"
        with pytest.raises(TypeError, match=message):
            pw.Conv(W, layout="NCW")(X.astype(half))

    def test_results_that_x_cannot_give(self, half):
        with pytest.raises(TypeError, match=r"^x must be uint8, int8, uint16 or int16 for out_dtype uint8, got"):
            pw.conv(X.astype(half), W, layout="NCW", out_dtype="uint8")
        x = X.astype(half)
        for call in (partial(pw.conv, x, W, layout="NCW"), partial(pw.mix, x, np.eye(2))):
            with pytest.raises(TypeError, match=r"^out_dtype must be float32, float16 or bfloat16 for x of dtype"):
                call(out_dtype="float64")
        with pytest.raises(TypeError, match=rf"^out_dtype must be float64 for x of dtype float64, got {half}: pass x"):
            pw.conv(X.astype(float), W, layout="NCW", out_dtype=half)
        with pytest.raises(TypeError, match=rf"^out_dtype must be float64 for a layer of dtype float64, got {half}"):
            pw.Conv(W.astype(float), out_dtype=half)
        with pytest.raises(TypeError, match=r"^out must have dtype float64, got"):
            pw.conv(X.astype(float), W, layout="NCW", out=np.empty((1, 2, 2), half))

    def test_residual_and_out(self, half):
        x, out = X.astype(half), np.empty((1, 2, 2), half)
        for other in ("float32", "float64", "bfloat16" if half != BFLOAT16 else "float16", "int16"):
            with pytest.raises(TypeError, match=rf"^residual must have dtype {half}, got {other}"):
                pw.conv(x, W, layout="NCW", residual=np.ones((1, 2, 2), other))
        with pytest.raises(TypeError, match=rf"^residual must have dtype float32, got {half}"):
            pw.conv(x, W, layout="NCW", residual=out, out_dtype="float32")
        with pytest.raises(TypeError, match=rf"^out must have dtype float32, got {half}"):
            pw.conv(x, W, layout="NCW", out=out, out_dtype="float32")
        with pytest.raises(ValueError, match=r"^out must share no element with x"):
            pw.conv(x[:, :2], np.eye(2), layout="NCW", out=x[:, 1:])

    @pytest.mark.parametrize("dtype", ["complex64", "complex128", "U1", object])
    def test_arguments_that_cannot_be_cast(self, dtype, half):
        """NumPy would cast complex numbers to bfloat16, and drop their imaginary parts."""
        x, wrong = X.astype(half), np.ones((2, 3)).astype(dtype)
        expected = rf"must be castable to {half} .*, got"
        for name, call in (
            ("weight", lambda: pw.conv(x, wrong, layout="NCW")),
            ("weight", lambda: pw.Conv(wrong, dtype=half)),
            ("matrix", lambda: pw.mix(x, wrong, axis=1)),
            ("input_scale", lambda: pw.conv(x, W, layout="NCW", input_scale=wrong[:1])),
            ("weight", lambda: pw.conv_grad_input(np.ones((1, 2, 2), half), wrong, x.shape, layout="NCW")),
        ):
            with pytest.raises(TypeError, match=f"^{name} {expected}"):
                call()
        with pytest.raises(TypeError, match=r"^bias must be castable to float32 "):
            pw.conv(x, W, wrong[:, 0], layout="NCW")

    def test_a_failed_call_leaves_out_untouched(self, half):
        out = np.full((1, 2, 2), 7, half)
        with pytest.raises(ValueError, match="weight"):
            pw.conv(X.astype(half), W[:, :2], layout="NCW", out=out)
        assert (out == 7).all()

    def test_masked_arrays_and_byte_order(self, half):
        with pytest.raises(TypeError, match=r"^x must be a plain array, got a MaskedArray: pass x\.filled\(value\)"):
            pw.conv(np.ma.array(X.astype(half)), W, layout="NCW")
        swapped = X.astype(">f2")
        for call in (
            lambda: pw.conv(swapped, W, layout="NCW"),
            lambda: pw.conv(X.astype("<f2"), W, layout="NCW", residual=np.ones((1, 2, 2), ">f2")),
            lambda: pw.conv(X.astype("<f2"), W, layout="NCW", out=np.ones((1, 2, 2), ">f2")),
            lambda: pw.Conv(W, dtype=">f2"),
            lambda: pw.Conv(W, out_dtype=">f2"),
        ):
            with pytest.raises(TypeError, match="must have native byte order, got >f2: pass"):
                call()

    def test_gradients(self, half):
        x, other = X.astype(half), np.dtype("float16" if half == BFLOAT16 else "bfloat16")
        grad = np.ones((1, 2, 2), half)
        with pytest.raises(TypeError, match=rf"^x must have the dtype of grad, {half}, got {other}"):
            pw.conv_grad_weight(grad, X.astype(other), layout="NCW")
        with pytest.raises(TypeError, match=rf"^out must have dtype {half}, got float32"):
            pw.conv_grad_input(grad, W, x.shape, layout="NCW", out=np.empty(x.shape, F))
        with pytest.raises(TypeError, match=rf"^out must have dtype float32, got {half}"):
            pw.conv_grad_weight(grad, x, layout="NCW", out=np.empty((2, 3), half))

    def test_a_chain_whose_layers_do_not_fit(self, half):
        message = rf"^layers must form a chain: layer 1 .*{half}"
        with pytest.raises(ValueError, match=message):
            pw.Chain([pw.Conv(W), pw.Conv(np.ones((1, 2), half))])
        with pytest.raises(ValueError, match=r"^layers must form a chain: layer 1 "):
            pw.Chain([pw.Conv(W.astype(half)), pw.Conv(np.ones((1, 2), F))])


WITHOUT = """
import sys
sys.modules["ml_dtypes"] = None
import numpy as np, pointwise as pw
x, w = np.ones((1, 3, 2), "f4"), np.ones((2, 3))
print(pw.conv(x, w, layout="NCW", out_dtype="float16").dtype, pw.Conv(w, dtype="float16").dtype)
for call in (
    lambda: pw.Conv(w, dtype="bfloat16"),
    lambda: pw.Conv(w, dtype="f4", out_dtype="bfloat16"),
    lambda: pw.conv(x, w, layout="NCW", out_dtype="bfloat16"),
    lambda: pw.mix(x, np.eye(2), out_dtype="bfloat16"),
):
    try:
        call()
    except TypeError as error:
        print(error)
"""


def test_bfloat16_without_ml_dtypes(python):
    lines = python(WITHOUT).splitlines()
    assert lines[0] == "float16 float16"
    expected = "bfloat16 needs ml_dtypes: run pip install ml_dtypes"
    assert lines[1:] == [f"{name} {expected}" for name in ("dtype", "out_dtype", "out_dtype", "out_dtype")]


def test_torch_tensors(half):
    """A tensor of 16 bits and its array share memory. NumPy knows bfloat16 only as a view of integers."""
    torch = pytest.importorskip("torch")
    x = torch.randn(2, 3, 4, 5).to(getattr(torch, half.name))
    weight = torch.randn(6, 3).to(x.dtype)

    def array(tensor):
        return tensor.view(torch.int16).numpy().view(half)

    y = pw.conv(array(x), array(weight))
    exact = torch.einsum("oc,nchw->nohw", weight.float(), x.float()).numpy()
    np.testing.assert_allclose(y.astype(F), exact, rtol=2e-2, atol=2e-2)
    out = torch.empty(2, 6, 4, 5, dtype=x.dtype)
    pw.conv(array(x), array(weight), out=array(out))
    assert array(out).tobytes() == y.tobytes()
    assert torch.from_numpy(y.view(np.int16)).view(x.dtype).equal(out)
