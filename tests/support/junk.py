"""Strategies of hypothesis for nonsensical arguments, and the exceptions that a call may raise for such arguments."""

import hypothesis.strategies as st
import numpy as np
import reference


def swapped(array):
    return array.astype(array.dtype.newbyteorder(">" if np.little_endian else "<"))


# Junk, with some sensible values. Sizes are small, or too large for any memory.
whole = st.one_of(st.integers(-3, 12), st.sampled_from([2**31, 2**50, 2**62, 2**63 - 1, 2**63, -(2**63), 10**40]))
junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        whole,
        st.floats(),
        st.complex_numbers(),
        st.text(max_size=5),
        st.binary(max_size=5),
        st.sampled_from(
            [np.int8(2), np.float32(1), np.ones(2, int), np.ones((2, 2)), np.datetime64("NaT"), np.array(3)]
        ),
        st.sampled_from([Ellipsis, NotImplemented, slice(None), range(2), object(), lambda: 1, type]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.text(max_size=2), inner, max_size=2),
    ),
    max_leaves=6,
)
shapes = st.lists(st.integers(0, 7), max_size=6)
dtypes = st.sampled_from(["f4", "f4", "f8"]) | st.sampled_from(
    ["f2", ">f4", ">f8", "i1", "u8", "?", "c8", "O", "U2", "S3", "M8[s]", "m8[ns]", "V4", "g", "f4,i2"]
)
odd_arrays = st.builds(lambda shape, dtype: np.zeros(shape, dtype), shapes, dtypes)
layouts = st.one_of(st.sampled_from(reference.LAYOUTS), st.sampled_from(["NCHW", "NC"]), junk)
windows = st.one_of(whole, st.tuples(whole, whole), st.lists(whole, max_size=3), junk)
activations = st.one_of(
    st.sampled_from([None, "relu", "gelu", ("clip", 0, 1), ("prelu", [0.5] * 4)]),
    junk,
    st.tuples(st.sampled_from(["relu", "elu", "prelu"]), junk | odd_arrays),
)
parameters = {
    "layout": layouts,
    "stride": windows,
    "padding": windows,
    "groups": st.one_of(st.just(1), st.just(2), whole, junk),
    "activation": activations,
}
DOCUMENTED = (ValueError, TypeError, NotImplementedError, MemoryError)


def only(chosen):
    """Return a strategy that draws some of these keywords."""
    return st.fixed_dictionaries({}, optional=chosen)


def documented(error):
    """Check that an exception has a message. Only a MemoryError of Python may have none."""
    assert str(error) or isinstance(error, MemoryError)
