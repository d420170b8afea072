// The activations of a sum, written once over the vector type V of the number types float and double.
//
// Every instruction set does the same IEEE operations in the same order, so the bits agree; no estimates, no library.
// Errors, over all numbers v of float32 and samples of float64 (bench/activation_errors.cpp measures them): at most 2
// ULP in float32 (4 for gelu, gelu_tanh, softplus and mish), 4 in float64, or 2^-2p |v| where that is more (p = 24 and
// 53 digits): the far tails.
//
// NaN goes through all of them, and so through all helpers: max(a, b) and min(a, b) return b where either is NaN, so
// the constant comes first; a comparison with NaN is false. Infinities and zeros become what the definition literally
// evaluates to: silu(-inf) is -inf * 0, NaN; but finite numbers, however large, give -0 there.
//
// V has, beside what common.h says:
//     sub(a, b)  mul(a, b)  div(a, b)        rounded once each
//     min(a, b) = a < b ? a : b              select_less(a, b, x, y) = a < b ? x : y
//     abs(a)  copysign(a, sign)              by bits
//     rest(a, b, ab)                         a * b - ab, rounded once at most, where ab is near a * b
//     exponent(z)                            the lowest bits of z as the exponent of a power of two: see exponential()
#pragma once

#include "activation_fits.h"
#include "common.h"

namespace pointwise {
namespace {

#define POINTWISE_INLINE __attribute__((always_inline)) inline

template <class V>
using FitOf = Fit<typename V::Number>;

template <class V>
POINTWISE_INLINE V negative(V v) {
  return V::sub(V::fill(-0.0f), v);
}

template <class V>
POINTWISE_INLINE V infinity() {
  return V::fill(__builtin_inff());
}

// c[0] + c[1] x + c[2] x^2 + ... as c[0] + x (c[1] + c[2] x + (c[3] + c[4] x) x^2 + ...), by Horner's rule in x^2: half
// the chain of the rule in x. Where x is small there is one rounding of numbers near c[0], as there.
template <class V, int N>
POINTWISE_INLINE V polynomial(V x, V square, const typename V::Number (&c)[N]) {
  V sum = N % 2 == 0 ? V::fill(c[N - 1]) : V::fma(V::fill(c[N - 1]), x, V::fill(c[N - 2]));
  POINTWISE_UNROLL
  for (int i = (N - 2) / 2 * 2 - 1; i >= 1; i -= 2)
    sum = V::fma(sum, square, V::fma(V::fill(c[i + 1]), x, V::fill(c[i])));
  return V::fma(sum, x, V::fill(c[0]));
}

// e^x = scale * (1 + rest): scale is a power of two, and |rest| < 0.42 is kept apart from 1, with all its digits.
template <class V>
struct Exponential {
  V scale, rest;
  V value() const { return V::fma(scale, rest, scale); }
  V plus_one() const {  // with what is lost of 1 where scale is large
    const V one = V::fill(1), sum = V::add(scale, one), lost = V::sub(one, V::sub(sum, scale));
    return V::add(sum, V::fma(scale, rest, lost));
  }
};

// Of x + low, |low| much smaller than |x|, lowest <= x <= highest. Cody and Waite's reduction: x = n ln 2 + r, where
// n ln2_hi is exact (ln2_hi has few digits). Adding `magic` rounds x log2(e) to the integer n, and leaves n + bias in
// the lowest bits of the sum. rest = e^r - 1 = r + r^2 p(r).
template <class V>
POINTWISE_INLINE Exponential<V> exponential(V x, V low = V::fill(0)) {
  using C = FitOf<V>;
  const V magic = V::fill(C::magic), z = V::fma(x, V::fill(C::log2e), magic), n = V::sub(z, magic);
  const V r = V::add(V::fma(n, V::fill(-C::ln2_hi), x), V::fma(n, V::fill(-C::ln2_lo), low));
  const V square = V::mul(r, r);
  return {V::exponent(z), V::fma(square, polynomial(r, square, C::exp), r)};
}

// 1 + e^-v, infinity where that is beyond `highest`.
template <class V>
POINTWISE_INLINE V one_plus_exp_minus(V v) {
  using C = FitOf<V>;
  const V lowest = V::fill(C::lowest), highest = V::fill(C::highest), x = negative(v);
  const V sum = exponential(V::min(highest, V::max(lowest, x))).plus_one();
  return V::select_less(highest, x, infinity<V>(), sum);
}

template <class V>
POINTWISE_INLINE V clip(V v, V a, V b) {
  return V::min(b, V::max(a, v));
}

template <class V>
POINTWISE_INLINE V relu6(V v, V, V) {
  return clip(v, V::fill(0), V::fill(6));
}

template <class V>
POINTWISE_INLINE V leaky_relu(V v, V a, V) {
  return V::select_less(v, V::fill(0), V::mul(a, v), v);
}

// a (e^v - 1), with a multiplied in before the sum is rounded; where a is 0 the sign is still that of a product.
template <class V>
POINTWISE_INLINE V elu(V v, V a, V) {
  const Exponential<V> e = exponential(V::max(V::fill(FitOf<V>::lowest), V::min(V::fill(0), v)));
  const V below = V::fma(V::mul(a, e.scale), e.rest, V::mul(a, V::sub(e.scale, V::fill(1))));
  return V::select_less(v, V::fill(0), V::copysign(below, negative(a)), v);
}

template <class V>
POINTWISE_INLINE V sigmoid(V v, V, V) {
  return V::div(V::fill(1), one_plus_exp_minus(v));
}

// -m / (m + 2), m = e^-2|v| - 1: near 0 the scale of the power is 1, and m its rest, with all its digits. That is off
// by 2.5 ULP, too much for float32: there 1 - 2 / (1 + e^2|v|), and near 0 an odd polynomial.
template <class V>
POINTWISE_INLINE V tanh(V v, V, V) {
  using C = FitOf<V>;
  const V a = V::abs(v), one = V::fill(1), two = V::fill(2), x = V::mul(V::fill(-2), a);
  if constexpr (sizeof(typename V::Number) == 4) {
    const V y = V::mul(a, a), near = V::fma(a, V::mul(y, polynomial(y, V::mul(y, y), C::tanh)), a);
    const V far = V::sub(one, V::div(two, one_plus_exp_minus(x)));
    return V::copysign(V::select_less(a, V::fill(0.625f), near, far), v);
  } else {
    const Exponential<V> e = exponential(V::max(V::fill(C::lowest), x));
    const V m = V::fma(e.scale, e.rest, V::sub(e.scale, one));
    return V::copysign(V::div(m, V::add(m, two)), v);
  }
}

template <class V>
POINTWISE_INLINE V silu(V v, V, V) {
  return V::div(v, one_plus_exp_minus(v));
}

// Where v + 3 cancels it is exact, and elsewhere 1/2 + v/6 is rounded once. At 3 this is 1, at -3 it is 0.
template <class V>
POINTWISE_INLINE V hardsigmoid(V v, V, V) {
  const V sixth = V::fill(typename V::Number(1) / 6);
  const V low = V::mul(V::add(v, V::fill(3)), sixth), high = V::fma(v, sixth, V::fill(0.5f));
  return clip(V::select_less(v, V::fill(-1.5f), low, high), V::fill(0), V::fill(1));
}

template <class V>
POINTWISE_INLINE V hardswish(V v, V a, V b) {
  return V::mul(v, hardsigmoid(v, a, b));
}

// relu(v) - |v| Phi(-|v|) in float32, where Phi(x) = 2^y, and y = -1 + u x + x p(x) for x = -|v|. u = slope - bend x
// leaves |x p| < 0.3: so only u x needs more digits than a number has, and nothing is divided. What rounding cuts off
// of u is known (slope has few digits, so u less slope is exact) and is added to p. n is u x rounded to an integer, and
// 2^f, f = y + 1 - n, |f| < 0.8, is a polynomial 1 + f (...).
//
// p is a polynomial in x + 3 (in x it would have terms of 30 that cancel), fitted as well as the result needs it: ever
// less beyond -5.5, where 2^-48 |v| is the larger bound, and from -phi_far on x p is constant. At -phi_end the power of
// two has no bits and is 0: so -inf gives NaN, large negative numbers -0.
template <class V>
POINTWISE_INLINE V gelu_by_powers(V v) {
  using C = FitOf<V>;
  const V magic = V::fill(C::magic - 1), minus_bend = V::fill(-C::phi_bend), slope = V::fill(C::phi_slope);
  const V x = V::max(V::fill(-C::phi_end), negative(V::abs(v)));
  const V factor = V::min(v, x);  // -|v|, but at least -phi_end where v is positive
  const V u = V::fma(minus_bend, x, slope), cut = V::rest(minus_bend, x, V::sub(u, slope));
  const V z = V::fma(u, x, magic), n = V::sub(z, magic);
  const V near = V::max(V::fill(-C::phi_far), x), t = V::add(near, V::fill(3));
  const V p = V::add(polynomial(t, V::mul(t, t), C::phi), cut);
  const V f = V::fma(near, p, V::rest(u, x, n)), product = V::mul(factor, V::exponent(z));
  const V sum = V::add(V::max(V::fill(0), v), product);
  return V::copysign(V::fma(V::mul(product, f), polynomial(f, V::mul(f, f), C::exp2), sum), v);
}

// The same in float64, where p above would need 31 terms: Phi(-a) = e^(-a^2/2) R(a), and R(a) = height / (a + near) *
// (1 + p(t)) falls slowly from 1/2 to 0.4/a: with |p| < 0.19 the digits of p hardly count. t = (a - 5) / (a + 5) =
// 2 a / (a + 5) - 1, from one division for both sums. (p is fitted up to where |v| 2^-2p is the larger bound: a = 9.)
//
// a^2 needs more digits than a number has: its error in the exponent is relative in the result. And many roundings in a
// row would add up to 5 ULP: what is cut off of a + near (near has few digits, so a sum less near is exact) and of the
// division by it is known, and goes with all that is small into one sum.
template <class V>
POINTWISE_INLINE V gelu_by_quotient(V v) {
  using C = FitOf<V>;
  const V end = V::fill(C::tail_end), half = V::fill(-0.5f), one = V::fill(1), near = V::fill(51.0f / 64);
  const V factor = V::max(V::min(end, v), negative(v));  // |v|, but at most the end where v is positive
  const V a = V::min(end, factor), square = V::mul(a, a), low = V::rest(a, a, square);
  const Exponential<V> e = exponential(V::mul(half, square), V::mul(half, low));
  const V scaled = V::mul(factor, V::select_less(end, factor, V::fill(0), e.scale));
  const V height = V::fill(C::tail_height), above = V::add(a, near), above_cut = V::sub(a, V::sub(above, near));
  const V below = V::add(a, V::fill(5)), inverse = V::div(one, V::mul(above, below));
  const V t = V::fma(V::mul(V::add(a, a), above), inverse, V::fill(-1));
  const V ratio = V::mul(V::mul(height, below), inverse);  // near height / above: off by a factor of 1 - error
  const V error = V::fma(ratio, above_cut, V::rest(ratio, above, height));
  const V shape = V::fma(error, V::fill(-1 / C::tail_height), polynomial(t, V::mul(t, t), C::tail));
  const V more = V::add(e.rest, V::fma(shape, e.rest, shape)), product = V::mul(scaled, ratio);
  return V::copysign(V::sub(V::max(V::fill(0), v), V::fma(product, more, product)), v);
}

template <class V>
POINTWISE_INLINE V gelu(V v, V, V) {
  if constexpr (sizeof(typename V::Number) == 4)
    return gelu_by_powers(v);
  else
    return gelu_by_quotient(v);
}

// v / (1 + e^-y), y = v (c1 + c3 v^2), as (1 + tanh(t)) / 2 = 1 / (1 + e^-2t). All of y is computed with the digits
// that rounding cuts off: its error in the exponent is relative in the result. cube_1_hi has some digits less than a
// number, so that sum - cube_1_hi is exact although the other addend may be the larger one.
template <class V>
POINTWISE_INLINE V gelu_tanh(V v, V, V) {
  using C = FitOf<V>;
  const V end = V::fill(C::cube_end), minus_end = V::fill(-C::cube_end), c1 = V::fill(C::cube_1_hi);
  const V c3 = V::fill(C::cube_3_hi), x = negative(V::max(minus_end, V::min(end, v)));
  const V square = V::mul(x, x), product = V::mul(c3, square), sum = V::add(c1, product);
  V low = V::add(V::sub(product, V::sub(sum, c1)), V::rest(c3, square, product));
  low = V::add(low, V::fma(V::fill(C::cube_3_lo), square, V::fill(C::cube_1_lo)));
  low = V::fma(c3, V::rest(x, x, square), low);
  const V y = V::mul(x, sum);
  const V below = exponential(y, V::fma(x, low, V::rest(x, sum, y))).plus_one();
  return V::div(v, V::select_less(v, minus_end, infinity<V>(), below));
}

// (log((1 + z) / (1 - z)) - 2 z) / z^3 of y = z^2 <= 1/9: a polynomial, in float64 a quotient of two: most of a
// division is hidden by the multiply-adds of other vectors.
template <class V>
POINTWISE_INLINE V log_rest(V y) {
  using C = FitOf<V>;
  if constexpr (sizeof(typename V::Number) == 4) {
    return polynomial(y, V::mul(y, y), C::log);
  } else {
    const auto horner = [y](V sum, const auto& c) {
      for (int i = 1; i >= 0; --i) sum = V::fma(sum, y, V::fill(c[i]));
      return sum;
    };
    const V above = horner(V::fma(V::fill(C::log_above[3]), y, V::fill(C::log_above[2])), C::log_above);
    const V below = horner(V::add(y, V::fill(C::log_below[2])), C::log_below);
    return V::div(above, below);
  }
}

// relu(v) + log(1 + e), e = e^-|v|; log(1 + e) = 2 atanh(z) = 2z + z^3 p(z^2), z = e / (2 + e) <= 1/3.
template <class V>
POINTWISE_INLINE V softplus(V v, V, V) {
  using C = FitOf<V>;
  const V lowest = V::fill(C::lowest), x = negative(V::abs(v)), zero = V::fill(0);
  const V e = V::select_less(x, lowest, zero, exponential(V::max(lowest, x)).value());
  const V z = V::div(e, V::add(V::fill(2), e)), y = V::mul(z, z);
  return V::add(V::max(zero, v), V::fma(V::mul(z, y), log_rest(y), V::add(z, z)));
}

// v tanh(log(1 + e)) = v n / (n + 2), e = e^v, n = (1 + e)^2 - 1 = e (e + 2). For v > 0 that is v - v q, q = 2 / (n +
// 2); for v < 0 it is v e (1 - q), q = e (e + 1) / (n + 2), with e = scale (1 + rest): in both q < 0.41 and its digits
// count the less.
template <class V>
POINTWISE_INLINE V mish(V v, V, V) {
  using C = FitOf<V>;
  const V lowest = V::fill(C::lowest), x = V::max(lowest, V::min(V::fill(C::mish_end), v));
  const V zero = V::fill(0), minus_two = V::fill(-2);
  const Exponential<V> power = exponential(x);
  const V e = power.value(), scaled = V::mul(v, V::select_less(v, lowest, zero, power.scale));
  const V below = V::fma(e, e, V::sub(V::add(e, e), minus_two));
  const V q = V::div(V::select_less(v, zero, negative(V::fma(e, e, e)), minus_two), below);
  const V rest = V::select_less(v, zero, power.rest, zero), more = V::add(rest, V::fma(q, rest, q));
  return V::copysign(V::fma(V::select_less(v, zero, scaled, x), more, V::select_less(v, zero, scaled, v)), v);
}

}  // namespace
}  // namespace pointwise
