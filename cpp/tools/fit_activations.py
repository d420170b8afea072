"""Fits the polynomials of cpp/src/kernels/activations.h and prints its constants: `python fit_activations.py` (mpmath).

A fit interpolates at Chebyshev nodes, in high precision, then rounds each coefficient to the number type: within a
small factor of the best fit, and no iteration that might end elsewhere. Where the error may be larger at some places
than at others, it is one of least weighted squares, whose coefficients are rounded one by one, from the constant on,
each time followed by a fit of the others. What is printed behind // is the largest error
found on a fine grid, relative to the function that the fit is a part of, as a power of two.
"""

from collections.abc import Callable, Sequence

import mpmath as mp

mp.mp.dps = 80
Function = Callable[[mp.mpf], mp.mpf]


def rounded(number: mp.mpf, bits: int) -> mp.mpf:
    """To so many bits, to nearest."""
    with mp.workprec(bits):
        return +number


def nodes(low: mp.mpf, high: mp.mpf, count: int) -> list[mp.mpf]:
    return [(low + high) / 2 + (high - low) / 2 * mp.cospi(mp.mpf(2 * k + 1) / (2 * count)) for k in range(count)]


def fit(f: Function, at: Sequence[mp.mpf]) -> list[mp.mpf]:
    """The polynomial that equals f at the nodes."""
    rows = [[x**k for k in range(len(at))] for x in at]
    return list(mp.lu_solve(mp.matrix(rows), mp.matrix([f(x) for x in at])))


def value(coefficients: Sequence[mp.mpf], x: mp.mpf) -> mp.mpf:
    return mp.polyval(list(reversed(coefficients)), x)


def literal(number: mp.mpf, bits: int) -> str:
    return mp.nstr(number, 9, min_fixed=-4) + "f" if bits == 24 else mp.nstr(number, 17, min_fixed=-4)


def show(name: str, coefficients: Sequence[mp.mpf], bits: int, error: mp.mpf | None = None) -> None:
    note = "" if error is None else f"  // 2^{mp.nstr(mp.log(error, 2), 3)}"
    print(f"  static constexpr T {name}[] = {{{', '.join(literal(c, bits) for c in coefficients)}}};{note}")


def show_number(name: str, number: mp.mpf, bits: int) -> None:
    print(f"  static constexpr T {name} = {literal(number, bits)};")


def polynomial(name: str, bits: int, degree: int, low: mp.mpf, high: mp.mpf, f: Function, whole: Function) -> None:
    """whole(x) is what the error is relative to: the function as a whole, over the factor of f in it."""
    found = [rounded(c, bits) for c in fit(f, nodes(low, high, degree + 1))]
    grid = nodes(low, high, 500)
    show(name, found, bits, max(abs((value(found, x) - f(x)) / whole(x)) for x in grid))


def weighted(name: str, bits: int, degree: int, at: Sequence[mp.mpf], f: Function, weight: Function) -> None:
    """The least squares of weight(x) (p(x) - f(x)) at those x."""
    weights, left = [weight(x) for x in at], [f(x) for x in at]
    found: list[mp.mpf] = []
    for first in range(degree + 1):
        rows = [[w * x**k for k in range(first, degree + 1)] for x, w in zip(at, weights, strict=True)]
        right = [w * y for y, w in zip(left, weights, strict=True)]
        found.append(rounded(mp.lu_solve(mp.matrix(rows), mp.matrix(right))[0], bits))
        left = [y - found[-1] * x**first for x, y in zip(at, left, strict=True)]
    grid = nodes(min(at), max(at), 500)
    show(name, found, bits, max(abs((value(found, x) - f(x)) * weight(x)) for x in grid))


def gelu_by_powers(bits: int, degree: int, exp2: int) -> None:
    """Phi(-a) = 2^y, y = -1 - slope a - bend a^2 - a p(3 - a). The larger |a p|, the wider the range of exp2."""
    bend, slope, far = mp.mpf("0.65625"), mp.mpf("0.875"), mp.mpf("7.25")
    for name, number in (("phi_bend", bend), ("phi_slope", slope), ("phi_far", far)):
        show_number(name, number, bits)

    def phi(a: mp.mpf) -> mp.mpf:
        return mp.erfc(a / mp.sqrt(2)) / 2

    def rest(a: mp.mpf) -> mp.mpf:
        return mp.log(phi(a), 2) + 1 + slope * a + bend * a**2

    # relative to Phi(-a), and half of that where 2^-2 bits |v| is 2^(1 - bits) of the result
    def weight(a: mp.mpf) -> mp.mpf:
        return a * mp.log(2) / (1 + mp.mpf(2) ** (-bits - 1) / phi(a))

    at = [3 - a for a in nodes(mp.mpf(0), far, 80)]
    weighted("phi", bits, degree, at, lambda t: rest(3 - t) / (t - 3), lambda t: weight(3 - t))
    reach = mp.mpf("0.5") + max(abs(rest(a)) for a in nodes(mp.mpf(0), mp.mpf("6.2"), 80))
    at = nodes(-reach, reach, 60)
    weighted("exp2", bits, exp2, at, lambda f: mp.expm1(f * mp.log(2)) / f, lambda f: abs(f) / 2**f)


def gelu_by_quotient(bits: int, tail: int, far: int) -> None:
    """far: up to where the tail is fitted. Beyond that the error relative to |v| is what counts."""
    # t = (a - 5) / (a + 5): Phi(-a) e^(a^2/2) (a + near) / height - 1, which is small everywhere
    near, height = mp.mpf(51) / 64, rounded(1 / mp.sqrt(2 * mp.pi), bits)

    def of(t: mp.mpf) -> mp.mpf:
        a = 5 * (1 + t) / (1 - t)
        return mp.erfc(a / mp.sqrt(2)) * mp.exp(a * a / 2) / 2 * (a + near) / height - 1

    show_number("tail_height", height, bits)
    polynomial("tail", bits, tail, mp.mpf(-1), mp.mpf(far - 5) / (far + 5), of, lambda t: 1 + of(t))


def log_by_quotient(bits: int, degree: int) -> None:
    """The same as a quotient of two polynomials of that degree, the lower one's highest coefficient 1."""
    count = 2 * degree + 1
    # where an odd Chebyshev polynomial of z vanishes, as the error has its factor z^3
    at = [(mp.cospi(mp.mpf(2 * k + 1) / (4 * count + 4)) / 3) ** 2 for k in range(count)]
    rows = [[y**k for k in range(degree + 1)] + [-log_rest(y) * y**k for k in range(degree)] for y in at]
    found = mp.lu_solve(mp.matrix(rows), mp.matrix([log_rest(y) * y**degree for y in at]))
    above = [rounded(c, bits) for c in found[: degree + 1]]
    below = [rounded(c, bits) for c in found[degree + 1 :]] + [mp.mpf(1)]

    def error(y: mp.mpf) -> mp.mpf:
        return (value(above, y) / value(below, y) - log_rest(y)) * y * mp.sqrt(y) / 2 / mp.atanh(mp.sqrt(y))

    show("log_above", above, bits)
    show("log_below", below[:-1], bits, max(abs(error(y)) for y in nodes(mp.mpf(0), mp.mpf(1) / 9, 500)))


def log_rest(y: mp.mpf) -> mp.mpf:
    """Of y = z^2: (log((1 + z) / (1 - z)) - 2 z) / z^3."""
    return 2 * (mp.atanh(mp.sqrt(y)) / mp.sqrt(y) - 1) / y


def log_near_one(bits: int, degree: int) -> None:
    polynomial(
        "log", bits, degree, mp.mpf(0), mp.mpf(1) / 9, log_rest, lambda y: 2 * mp.atanh(mp.sqrt(y)) / mp.sqrt(y) / y
    )


def tanh_near_zero(bits: int, degree: int) -> None:
    # y = v^2: (tanh(v) - v) / v^3
    polynomial(
        "tanh",
        bits,
        degree,
        mp.mpf(0),
        mp.mpf("0.625") ** 2,
        lambda y: (mp.tanh(mp.sqrt(y)) / mp.sqrt(y) - 1) / y,
        lambda y: mp.tanh(mp.sqrt(y)) / mp.sqrt(y) / y,
    )


def constants(bits: int, hi: int, exp: int, others: Callable[[], None]) -> None:
    """Of one number type: its digits, those of ln2_hi (so that n ln2_hi is exact), degrees of fits, and more fits."""
    show_number("log2e", rounded(1 / mp.log(2), bits), bits)
    ln2_hi = rounded(mp.log(2), hi)
    show_number("ln2_hi", ln2_hi, bits)
    show_number("ln2_lo", rounded(mp.log(2) - ln2_hi, bits), bits)
    # (e^r - 1 - r) / r^2, by Kummer's function, which has no gap at 0
    reach = mp.log(2) / 2 * mp.mpf("1.001")
    polynomial(
        "exp", bits, exp, -reach, reach, lambda r: mp.hyp1f1(1, 3, r) / 2, lambda r: mp.expm1(r) / r**2 if r else mp.inf
    )
    others()
    # 2 sqrt(2 / pi) (v + 0.044715 v^3) = v (cube_1 + cube_3 v^2)
    first, third = 2 * mp.sqrt(2 / mp.pi), 2 * mp.sqrt(2 / mp.pi) * mp.mpf("0.044715")
    for name, number, keep in (("cube_1", first, bits - 4), ("cube_3", third, bits)):
        high = rounded(number, keep)
        show_number(name + "_hi", high, bits)
        show_number(name + "_lo", rounded(number - high, bits), bits)
    print()


def float32_only() -> None:
    """What float64 computes in other ways."""
    tanh_near_zero(24, degree=5)
    log_near_one(24, degree=4)
    gelu_by_powers(24, degree=10, exp2=5)


def float64_only() -> None:
    log_by_quotient(53, degree=3)
    gelu_by_quotient(53, tail=18, far=9)


if __name__ == "__main__":
    constants(24, hi=16, exp=4, others=float32_only)
    constants(53, hi=41, exp=9, others=float64_only)
