"""Fit the polynomials of cpp/src/kernels/activations.h and print the constants of activation_fits.h.

Usage: `python fit_activations.py`. It needs mpmath.

A fit interpolates at Chebyshev nodes in high precision, then rounds each coefficient to the number type. The error is
at most a small factor above the least possible error. Interpolation has no iterations that could end at a worse fit.

If the allowed error varies, the fit minimizes weighted squares. Its coefficients are rounded one by one, beginning with
the constant term. After each rounding, the remaining coefficients are fitted again.

Some polynomials have adapted form (Knuth, The Art of Computer Programming 4.6.4). First the roots in this form are
rounded. Then the other coefficients are fitted again, because the polynomial is linear in these coefficients.

A comment after // is an error, as a power of two. It is the largest relative error, on a fine grid, that the polynomial
causes in its mathematical function, such as e^x.
"""

from collections.abc import Callable, Sequence

import mpmath as mp

mp.mp.dps = 80
Function = Callable[[mp.mpf], mp.mpf]


def rounded(number: mp.mpf, bits: int) -> mp.mpf:
    """Round to nearest, to this number of bits."""
    with mp.workprec(bits):
        return +number


def nodes(low: mp.mpf, high: mp.mpf, count: int) -> list[mp.mpf]:
    return [(low + high) / 2 + (high - low) / 2 * mp.cospi(mp.mpf(2 * k + 1) / (2 * count)) for k in range(count)]


def fit(f: Function, at: Sequence[mp.mpf]) -> list[mp.mpf]:
    """Return the polynomial that equals f at the nodes."""
    rows = [[x**k for k in range(len(at))] for x in at]
    return list(mp.lu_solve(mp.matrix(rows), mp.matrix([f(x) for x in at])))


def value(coefficients: Sequence[mp.mpf], x: mp.mpf) -> mp.mpf:
    return mp.polyval(list(reversed(coefficients)), x)


def literal(number: mp.mpf, bits: int) -> str:
    return mp.nstr(number, 9, min_fixed=-4) + "f" if bits == 24 else mp.nstr(number, 17, min_fixed=-4)


def listed(numbers: Sequence[mp.mpf], bits: int) -> str:
    return f"{{{', '.join(literal(number, bits) for number in numbers)}}}"


def note_of(error: mp.mpf | None) -> str:
    return "" if error is None else f"  // 2^{mp.nstr(mp.log(error, 2), 3)}"


def show(name: str, coefficients: Sequence[mp.mpf], bits: int, error: mp.mpf | None = None) -> None:
    print(f"  C {name}[{len(coefficients)}] = {listed(coefficients, bits)};{note_of(error)}")


def show_number(name: str, number: mp.mpf, bits: int) -> None:
    print(f"  C {name} = {literal(number, bits)};")


def polynomial(name: str, bits: int, degree: int, low: mp.mpf, high: mp.mpf, f: Function, whole: Function) -> None:
    """Fit f and print the fit, with its largest error relative to ``whole``.

    A larger function contains f times a factor. ``whole`` is the larger function divided by this factor.
    """
    found = [rounded(c, bits) for c in fit(f, nodes(low, high, degree + 1))]
    grid = nodes(low, high, 500)
    show(name, found, bits, max(abs((value(found, x) - f(x)) / whole(x)) for x in grid))


def least_squares(
    terms: Sequence[Function], at: Sequence[mp.mpf], values: Sequence[mp.mpf], weights: Sequence[mp.mpf]
) -> list[mp.mpf]:
    """Return the factors of the terms, from a weighted least-squares fit.

    The fit minimizes the sum of squares of weight * (sum of factor * term - value) at the points ``at``.
    """
    rows = [[weight * term(x) for term in terms] for x, weight in zip(at, weights, strict=True)]
    right = [weight * value for value, weight in zip(values, weights, strict=True)]
    return list(mp.lu_solve(mp.matrix(rows), mp.matrix(right)))


def rounded_least_squares(
    terms: Sequence[Function], bits: int, at: Sequence[mp.mpf], values: Sequence[mp.mpf], weights: Sequence[mp.mpf]
) -> list[mp.mpf]:
    """Return factors like least_squares(), but round each factor before the remaining factors are fitted again."""
    found: list[mp.mpf] = []
    left = list(values)
    for first, term in enumerate(terms):
        found.append(rounded(least_squares(terms[first:], at, left, weights)[0], bits))
        left = [y - found[-1] * term(x) for x, y in zip(at, left, strict=True)]
    return found


def total(factors: Sequence[mp.mpf], terms: Sequence[Function], x: mp.mpf) -> mp.mpf:
    return mp.fsum(factor * term(x) for factor, term in zip(factors, terms, strict=True))


def powers(degree: int) -> list[Function]:
    return [lambda x, k=k: x**k for k in range(degree + 1)]


def weighted(name: str, bits: int, degree: int, at: Sequence[mp.mpf], f: Function, weight: Function) -> None:
    """Fit a polynomial p and print it. Minimizes the squares of weight(x) (p(x) - f(x)) at the points ``at``."""
    found = rounded_least_squares(powers(degree), bits, at, [f(x) for x in at], [weight(x) for x in at])
    grid = nodes(min(at), max(at), 500)
    show(name, found, bits, max(abs((value(found, x) - f(x)) * weight(x)) for x in grid))


Attempt = Callable[[list[mp.mpf]], tuple[list[mp.mpf], list[mp.mpf]]]


def least_largest(attempt: Attempt, weights: Sequence[mp.mpf], rounds: int = 12) -> tuple[mp.mpf, list[mp.mpf]]:
    """Return the least largest error and its fit. ``attempt(weights)`` returns the errors and the fit of least squares.

    Uses Lawson's iteration: the weight grows where the error is large.
    """
    best = (mp.inf, [mp.mpf(0)])
    extra = [mp.mpf(1)] * len(weights)
    for _ in range(rounds):
        errors, found = attempt([w * e for w, e in zip(weights, extra, strict=True)])
        errors = [abs(error) * w for error, w in zip(errors, weights, strict=True)]
        largest = max(errors)
        best = min(best, (largest, found))
        extra = [e * mp.sqrt(error / largest + mp.mpf("0.02")) for e, error in zip(extra, errors, strict=True)]
    return best


def quotient(
    above: int, below: int, at: Sequence[mp.mpf], values: Sequence[mp.mpf], weights: Sequence[mp.mpf]
) -> tuple[list[mp.mpf], list[mp.mpf]]:
    """Return polynomials of degrees ``above`` and ``below`` whose quotient approximates the values.

    The highest coefficient of the denominator is 1.
    """
    exact = dict(zip(at, values, strict=True))
    terms = powers(above) + [lambda x, k=k: -exact[x] * x**k for k in range(1, below + 1)]
    divisors = [mp.mpf(1)] * len(at)  # denominators of the last round: the fit is linear after a multiplication by them

    def attempt(weights: list[mp.mpf]) -> tuple[list[mp.mpf], list[mp.mpf]]:
        found = least_squares(terms, at, values, [w / d for w, d in zip(weights, divisors, strict=True)])
        lower = [mp.mpf(1), *found[above + 1 :]]
        divisors[:] = [abs(value(lower, x)) for x in at]
        return [value(found[: above + 1], x) / value(lower, x) - exact[x] for x in at], found

    _, found = least_largest(attempt, weights)
    lower = [mp.mpf(1), *found[above + 1 :]]
    return [c / lower[-1] for c in found[: above + 1]], [c / lower[-1] for c in lower]


def shifted(coefficients: Sequence[mp.mpf], by: mp.mpf) -> list[mp.mpf]:
    """Return the coefficients of the same polynomial in x + by."""
    return [
        mp.fsum(c * mp.binomial(j, k) * (-by) ** (j - k) for j, c in enumerate(coefficients) if j >= k)
        for k in range(len(coefficients))
    ]


class Adapted:
    """A polynomial in adapted form, which two_degrees() in activations.h explains.

    It is a polynomial in x + shift, except for its ``low`` lowest terms.
    """

    def __init__(self, coefficients: Sequence[mp.mpf], bits: int, low: int, shift: mp.mpf) -> None:
        high = shifted(coefficients[low:], shift)
        roots = mp.polyroots(list(reversed(high[1::2])), maxsteps=1000, extraprec=600)
        assert all(abs(mp.im(root)) < mp.mpf(10) ** -30 for root in roots), "the odd part has complex roots"
        # With this order, the last step divides by the smallest root, and the sums cancel the fewest digits.
        self.roots = [rounded(mp.re(root), bits) for root in sorted(roots, key=abs)]
        self.low, self.shift, self.bits = low, shift, bits
        self.start = len(high) - 2 * len(roots)

    def terms(self) -> list[Function]:
        """Return the functions that the coefficients multiply.

        The order is: the lowest terms, the terms that are added after each step (the last step first), the terms of
        the start.
        """

        def after(steps: int, power: int) -> Function:
            return lambda x: (
                x**self.low
                * (x + self.shift) ** power
                * mp.fprod((x + self.shift) ** 2 - root for root in self.roots[:steps])
            )

        steps = [after(k, 0) for k in range(len(self.roots))]
        return powers(self.low - 1) + steps + [after(len(self.roots), k) for k in range(self.start)]

    def show(self, name: str, found: Sequence[mp.mpf], error: mp.mpf | None = None) -> None:
        count = len(self.roots)
        added, start = found[self.low : self.low + count], found[self.low + count :]
        steps = [listed((-root, term), self.bits) for root, term in zip(self.roots, added, strict=True)]
        print(f"  Adapted<double, {len(start)}, {count}, {self.low}> {name} = {{")
        print(f"      {listed(start, self.bits)},")
        print(f"      {{{', '.join(reversed(steps))}}},")
        print(f"      {listed(found[: self.low], self.bits)}}};{note_of(error)}")


def gelu_by_powers(bits: int, degree: int, exp2: int) -> None:
    """Fit p of Phi(-a) = 2^y, y = -1 - slope a - bend a^2 - a p(3 - a), and exp2.

    If |a p| is larger, exp2 needs a wider range.
    """
    bend, slope, far = mp.mpf("0.65625"), mp.mpf("0.875"), mp.mpf("7.25")
    for name, number in (("minus_phi_bend", -bend), ("phi_slope", slope), ("minus_phi_far", -far)):
        show_number(name, number, bits)

    def rest(a: mp.mpf) -> mp.mpf:
        return mp.log(phi(a), 2) + 1 + slope * a + bend * a**2

    # The error is relative to Phi(-a). The weight of an error is half if 2^(-2 bits) |v| is 2^(1 - bits) of the result.
    def weight(a: mp.mpf) -> mp.mpf:
        return a * mp.log(2) / (1 + mp.mpf(2) ** (-bits - 1) / phi(a))

    at = [3 - a for a in nodes(mp.mpf(0), far, 80)]
    weighted("phi", bits, degree, at, lambda t: rest(3 - t) / (t - 3), lambda t: weight(3 - t))
    reach = mp.mpf("0.5") + max(abs(rest(a)) for a in nodes(mp.mpf(0), mp.mpf("6.2"), 80))
    at = nodes(-reach, reach, 60)
    weighted("exp2", bits, exp2, at, lambda f: mp.expm1(f * mp.log(2)) / f, lambda f: abs(f) / 2**f)


def phi(a: mp.mpf) -> mp.mpf:
    """Return Phi(-a), the distribution function of the standard normal distribution at -a."""
    return mp.erfc(a / mp.sqrt(2)) / 2


def gelu_by_quotient(bits: int, far: mp.mpf, above: int, below: int, exp2: int) -> None:
    """Fit Phi(-a) for float64: p is a quotient of two polynomials in x = -a, fitted up to a = far."""
    bend, slope = mp.mpf("0.6796875"), mp.mpf("0.75")

    def rest(x: mp.mpf) -> mp.mpf:
        return (mp.log(phi(-x), 2) + 1) / x - slope + bend * x

    # The error is relative to Phi(-a). The weight of an error is half if 2^(-2 bits) |v| is 2^(3 - bits) of the result.
    def weight(x: mp.mpf) -> mp.mpf:
        return -x * mp.log(2) / (1 + mp.mpf(2) ** (-bits - 3) / phi(-x))

    at = nodes(-far, mp.mpf(0), 120)
    values, weights = [rest(x) for x in at], [weight(x) for x in at]
    p, q = quotient(above, below, at, values, weights)
    lower, upper = Adapted(q, bits, low=2, shift=mp.mpf(0)), Adapted(p, bits, low=2, shift=mp.mpf(0))
    *terms, highest = lower.terms()  # the factor of the highest stays 1
    wanted = [value(q, x) for x in at]
    q = rounded_least_squares(
        terms, bits, at, [y - highest(x) for x, y in zip(at, wanted, strict=True)], [1 / y for y in wanted]
    )
    divisors = [total(q, terms, x) + highest(x) for x in at]
    products = [y * d for y, d in zip(values, divisors, strict=True)]

    def attempt(weights: list[mp.mpf]) -> tuple[list[mp.mpf], list[mp.mpf]]:
        scaled = [w / d for w, d in zip(weights, divisors, strict=True)]
        found = rounded_least_squares(upper.terms(), bits, at, products, scaled)
        return [total(found, upper.terms(), x) / d - y for x, d, y in zip(at, divisors, values, strict=True)], found

    error, p = least_largest(attempt, weights)
    show_number("minus_phi_bend", -bend, bits)
    show_number("phi_slope", slope, bits)
    upper.show("phi_above", p)
    lower.show("phi_below", q, error)

    at = nodes(mp.mpf("-0.8"), mp.mpf("0.6"), 80)
    values, weights = [mp.expm1(f * mp.log(2)) / f for f in at], [abs(f) / 2**f for f in at]
    form = Adapted(least_squares(powers(exp2), at, values, weights), bits, low=3, shift=mp.mpf("6.75"))
    found = rounded_least_squares(form.terms(), bits, at, values, weights)
    grid = nodes(min(at), max(at), 500)
    show_number("exp2_shift", form.shift, bits)
    form.show("exp2", found, max(abs(total(found, form.terms(), f) * f + 1 - 2**f) / 2**f for f in grid))
    # At a = end the power of two is 2^(1 - 1023).
    end = mp.findroot(lambda a: (slope + bend * a) * a - 1022, 38)
    show_number("minus_phi_end", -mp.ceil(64 * end) / 64, bits)


def log_by_quotient(bits: int, degree: int) -> None:
    """Fit log_rest as a quotient of two polynomials of this degree. The denominator's highest coefficient is 1."""
    count = 2 * degree + 1
    # The roots of an odd Chebyshev polynomial of z, because the error has a factor z^3.
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
    """Return (log((1 + z) / (1 - z)) - 2 z) / z^3 for y = z^2."""
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
    """Print the constants of a number type with ``bits`` digits.

    ln2_hi has ``hi`` digits, so that n ln2_hi is exact. The fit of exp has degree ``exp``. ``others`` prints the fits
    that only this type has.
    """
    show_number("log2e", rounded(1 / mp.log(2), bits), bits)
    ln2_hi = rounded(mp.log(2), hi)
    show_number("minus_ln2_hi", -ln2_hi, bits)
    show_number("minus_ln2_lo", -rounded(mp.log(2) - ln2_hi, bits), bits)
    # (e^r - 1 - r) / r^2, by Kummer's function, which is defined at 0
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
    """Print the fits whose form differs between float32 and float64."""
    tanh_near_zero(24, degree=5)
    log_near_one(24, degree=4)
    gelu_by_powers(24, degree=10, exp2=5)


def float64_only() -> None:
    log_by_quotient(53, degree=3)
    gelu_by_quotient(53, far=mp.mpf("8.6"), above=9, below=8, exp2=11)


if __name__ == "__main__":
    constants(24, hi=16, exp=4, others=float32_only)
    constants(53, hi=41, exp=9, others=float64_only)
