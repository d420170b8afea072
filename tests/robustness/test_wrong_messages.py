"""Test that messages are short and printable, even if the refused value is huge or cannot be printed."""

import numpy as np
import pointwise as pw
import pytest

x0, w0 = np.ones((1, 6, 2, 3), np.float32), np.ones((4, 6), np.float32)


def function(**arguments):
    return pw.conv(x0, w0, **arguments)


def layer(**arguments):
    return pw.Conv(w0, **arguments)


deep = ()
for _ in range(50000):
    deep = (deep,)


class Mute:
    def __repr__(self):
        raise KeyError("mine")


class Surrogate:
    def __repr__(self):
        return "\udc80"


VALUES = [
    ("stride", (1,) * 10**6),
    ("stride", (1, 2, 10**5000)),
    ("stride", deep),
    ("padding", (Mute(),) * 3),
    ("padding", [Surrogate()] * 3),
    ("activation", ("relu",) * 10**6),
    ("activation", ("clip", 0, 10**5000)),
    ("activation", "relu" * 10**6),
    ("activation", deep),
    ("activation", Mute()),
    ("activation", Surrogate()),
    ("layout", "NCHW" * 10**6),
    ("dtype", "f4" * 10**6),
    ("dtype", 10**5000),
    ("dtype", {"names": ["a"], "formats": ["f4"], "offsets": [2**70]}),
    ("dtype", deep),
]


@pytest.mark.parametrize("case", range(len(VALUES)))  # by index, because pytest would print the values
def test_messages_of_a_convolution(case):
    name, value = VALUES[case]
    for call in (function, layer) if name != "dtype" else (layer,):
        with pytest.raises((TypeError, ValueError), match=rf"^{name} must|^{name} '") as caught:
            call(**{name: value})
        assert len(str(caught.value)) < 500
        str(caught.value).encode()


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("n", pw.set_num_threads),
        ("n", pw.num_threads),
        ("nbytes", pw.set_memory_limit),
        ("c_out", lambda value: pw.cost((1, 6, 2, 3), value)),
        ("x_shape", lambda value: pw.cost((1, 6, 2, value), 4)),
        ("x_shape", lambda value: pw.Conv(w0).explain((1, 6, 2, value))),
    ],
)
def test_of_numbers_with_very_many_digits(argument, call):
    with pytest.raises(ValueError, match=f"^{argument} must"):
        call(10**5000)
    with pytest.raises(ValueError, match=f"^{argument} must"):
        call(-(10**5000))


def test_what_an_iterator_raises_is_its_own():
    def failing(error):
        yield from ()
        raise error

    with pytest.raises(TypeError, match=r"^stride must be an integer, got str"):
        pw.Chain(pw.Conv(w0, stride="2") for _ in range(2))
    for error in (KeyError("mine"), KeyboardInterrupt("mine"), TypeError("mine")):
        for call in (pw.Chain, pw.Conv(w0).explain):
            with pytest.raises(type(error), match="mine"):
                call(failing(error))
