"""`QConv.explain` and `Chain.explain` name the kernels, the pieces and the threads of a call of quantized layers."""

import numpy as np
import pointwise as pw
import pytest

SIZES = (96, 64)


def layer(layout="NHWC", c_in=SIZES[0], c_out=SIZES[1], *, x_zero=None, weight=None, **how):
    x_zero = np.uint8(3) if x_zero is None else x_zero
    weight = np.ones((c_out, c_in // how.get("groups", 1)), np.int8) if weight is None else weight
    return pw.QConv(0.5, x_zero, weight, 0.1, np.zeros((), weight.dtype)[()], 0.25, np.uint8(0), layout=layout, **how)


def shape(layout, n=1, c=SIZES[0], h=14, w=14):
    return tuple({"N": n, "C": c, "H": h, "W": w}[axis] for axis in layout)


def lines(made, x_shape):
    return [line.strip() for line in made.explain(x_shape).splitlines()]


@pytest.mark.integers
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_every_kernel_is_named(layout):
    """One kernel is chosen. Every other kernel of the instruction set has a reason."""
    found = lines(layer(layout), shape(layout))
    assert found[0].startswith(f"isa {pw.isa()}; L2 cache ")
    assert found[1] == "product: 1 group(s) of 196 pixels, 96 -> 64 channels"
    kernel = found[2].removeprefix("kernel ").partition(",")[0]
    dots = pw.isa().endswith(("_vnni", "_bf16"))
    kind = "bytes" if dots else "words"
    assert kernel.startswith(f"gemm_{kind}_")
    if layout == "NHWC":
        assert "_pixels_" in kernel
        assert found[2].endswith("source in place" if dots else "source packed by pixels")
    others = [line for line in found if line.startswith("not gemm_")]
    assert len(others) == (3 if dots else 1)
    assert all(": " in line and kernel not in line for line in others)


@pytest.mark.integers
def test_the_reasons():
    """Wide weights need words. Strides and groups change where x is read in place."""
    wide = np.full((64, 96), 200, np.uint8)
    text = layer(weight=wide).explain(shape("NHWC"))
    assert "kernel gemm_words_" in text
    dots = pw.isa().endswith(("_vnni", "_bf16"))
    assert ("the weights less their zero points do not fit int8" in text) == dots
    assert "source packed by pixels" in layer(x_zero=np.int8(3)).explain(shape("NHWC"))
    assert "source packed by pixels" in layer(c_in=90).explain(shape("NHWC", c=90))
    nchw = layer("NCHW").explain(shape("NCHW"))
    assert f"source packed by {4 if dots else 2} channels" in nchw
    padded = layer(padding=1, stride=2).explain(shape("NHWC"))
    assert "padding: " in padded
    assert "4 group(s)" in layer(groups=4).explain(shape("NHWC"))
    assert "empty result" in layer().explain(shape("NHWC", n=0))


def test_threads_and_pieces():
    with pw.num_threads(2):
        assert "; 2 of 2 thread(s)" in layer().explain(shape("NHWC", h=224, w=224))
        assert "1 of 2 thread(s) (more threads would not be faster)" in layer().explain(shape("NHWC", h=1, w=1))


def chain_of_two(layout="NHWC"):
    second = pw.QConv(
        0.25, np.uint8(0), np.ones((10, SIZES[1]), np.int8), 0.1, np.int8(0), 0.5, np.uint8(0), layout=layout
    )
    return pw.Chain([layer(layout), second])


@pytest.mark.integers
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_chain(layout):
    """The strips come first. Then each layer has the kernel that it has for a strip."""
    with pw.num_threads(1):
        found = lines(chain_of_two(layout), shape(layout, h=112, w=112))
    assert found[0].startswith(f"isa {pw.isa()}; L2 cache ")
    strips, _, most = found[1].partition(" strip(s) of at most ")
    most = int(most.split()[0])
    assert int(strips) * most >= 112 * 112 > (int(strips) - 1) * most
    assert [line for line in found if line.startswith("layer ")] == ["layer 0, for a strip:", "layer 1, for a strip:"]
    sizes = [line for line in found if line.startswith("product: ")]
    assert sizes == [
        f"product: 1 group(s) of {most} pixels, 96 -> 64 channels",
        f"product: 1 group(s) of {most} pixels, 64 -> 10 channels",
    ]
    assert len([line for line in found if line.startswith("kernel gemm_")]) == 2


def test_chain_threads_and_messages():
    chain = chain_of_two()
    with pw.num_threads(2):
        assert "; 2 of 2 thread(s)" in chain.explain(shape("NHWC", h=224, w=224))
    assert "empty result" in chain.explain(shape("NHWC", n=0))
    with pytest.raises(ValueError, match=r"^x"):
        chain.explain((1, 14, 14, 95))
    with pytest.raises(TypeError, match=r"^x_shape must"):
        chain.explain(5)


@pytest.mark.parametrize(
    ("x_shape", "error", "message"),
    [
        ((1, 14, 14), ValueError, "^x"),
        ((1, 14, 14, 95), ValueError, "^x"),
        ((1, 14, 14, 9.5), TypeError, "^x_shape must"),
        (5, TypeError, "^x_shape must"),
    ],
)
def test_messages(x_shape, error, message):
    with pytest.raises(error, match=message):
        layer().explain(x_shape)
