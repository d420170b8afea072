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

#include "kernels/activation_fits.h"
#include "kernels/common.h"

namespace pointwise {
namespace {

#define POINTWISE_INLINE __attribute__((always_inline)) inline

template <class V>
const Fit<typename V::Number>& fit_of() {
  if constexpr (sizeof(typename V::Number) == 4)
    return fit_f32;
  else
    return fit_f64;
}

// The constant in all lanes. (Specialized for several vectors as one.)
template <class V>
struct Fill {
  static V with(const Constant<typename V::Number>& c) { return V::load(reinterpret_cast<const char*>(c.copies)); }
};

template <class V>
POINTWISE_INLINE V fill(const Constant<typename V::Number>& c) {
  return Fill<V>::with(c);
}

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
POINTWISE_INLINE V polynomial(V x, V square, const Constant<typename V::Number> (&c)[N]) {
  V sum = N % 2 == 0 ? fill<V>(c[N - 1]) : V::fma(fill<V>(c[N - 1]), x, fill<V>(c[N - 2]));
  POINTWISE_UNROLL
  for (int i = (N - 2) / 2 * 2 - 1; i >= 1; i -= 2)
    sum = V::fma(sum, square, V::fma(fill<V>(c[i + 1]), x, fill<V>(c[i])));
  return V::fma(sum, x, fill<V>(c[0]));
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
  const auto& c = fit_of<V>();
  const V magic = fill<V>(c.magic), z = V::fma(x, fill<V>(c.log2e), magic), n = V::sub(z, magic);
  const V r = V::add(V::fma(n, fill<V>(c.minus_ln2_hi), x), V::fma(n, fill<V>(c.minus_ln2_lo), low));
  const V square = V::mul(r, r);
  return {V::exponent(z), V::fma(square, polynomial(r, square, c.exp), r)};
}

// 1 + e^-v, infinity where that is beyond `highest`.
template <class V>
POINTWISE_INLINE V one_plus_exp_minus(V v) {
  const auto& c = fit_of<V>();
  const V lowest = fill<V>(c.lowest), highest = fill<V>(c.highest), x = negative(v);
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
  const Exponential<V> e = exponential(V::max(fill<V>(fit_of<V>().lowest), V::min(V::fill(0), v)));
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
  const auto& c = fit_of<V>();
  const V a = V::abs(v), one = V::fill(1), two = V::fill(2), x = V::mul(V::fill(-2), a);
  if constexpr (sizeof(typename V::Number) == 4) {
    const V y = V::mul(a, a), near = V::fma(a, V::mul(y, polynomial(y, V::mul(y, y), c.tanh)), a);
    const V far = V::sub(one, V::div(two, one_plus_exp_minus(x)));
    return V::copysign(V::select_less(a, V::fill(0.625f), near, far), v);
  } else {
    const Exponential<V> e = exponential(V::max(fill<V>(c.lowest), x));
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

// Two more degrees of a polynomial in x, by one multiply-add: sum (x^2 + c[0]) + c[1]. For that it was adapted, once
// and for all: as long as the odd part of a polynomial has a real root in x^2, that is the next -c[0] (Knuth, The Art
// of Computer Programming 4.6.4, after Eve). Most CPUs do the additions beside multiply-adds. But such sums may cancel:
// so the lowest terms, which count most, are added as they are.
template <class V>
POINTWISE_INLINE V two_degrees(V sum, V square, const Constant<typename V::Number> (&c)[2]) {
  return V::fma(sum, V::add(square, fill<V>(c[0])), fill<V>(c[1]));
}

// p of log2(2 Phi(x)) = x (slope - bend x + p(x)), x <= 0. In float32 it is a polynomial in x + 3 (in x it would have
// terms of 30 that cancel). In float64 that would have 31 terms; a quotient has 10 and 9, for any slope and bend: with
// these the adapted sums cancel least.
template <class V>
POINTWISE_INLINE V phi_rest(V x) {
  const auto& c = fit_of<V>();
  if constexpr (sizeof(typename V::Number) == 4) {
    const V t = V::add(x, V::fill(3));
    return polynomial(t, V::mul(t, t), c.phi);
  } else {
    const auto& p = c.phi_above;
    const auto& q = c.phi_below;
    const V square = V::mul(x, x);
    V above = V::fma(fill<V>(p.start[1]), x, fill<V>(p.start[0]));
    V below = V::fma(fill<V>(q.start[1]), x, V::add(square, fill<V>(q.start[0])));
    above = two_degrees(above, square, p.steps[0]);
    below = two_degrees(below, square, q.steps[0]);
    above = two_degrees(above, square, p.steps[1]);
    below = two_degrees(below, square, q.steps[1]);
    above = two_degrees(above, square, p.steps[2]);
    above = V::fma(above, square, V::fma(fill<V>(p.low[1]), x, fill<V>(p.low[0])));
    below = V::fma(below, square, V::fma(fill<V>(q.low[1]), x, fill<V>(q.low[0])));
    return V::div(above, below);
  }
}

// 2^f = 1 + f exp2_rest(f), for the f of gelu().
template <class V>
POINTWISE_INLINE V exp2_rest(V f) {
  const auto& c = fit_of<V>();
  if constexpr (sizeof(typename V::Number) == 4) {
    return polynomial(f, V::mul(f, f), c.exp2);
  } else {
    const auto& p = c.exp2;
    const V y = V::add(f, fill<V>(c.exp2_shift)), square = V::mul(y, y);
    V sum = V::fma(fill<V>(p.start[2]), square, V::fma(fill<V>(p.start[1]), y, fill<V>(p.start[0])));
    POINTWISE_UNROLL
    for (const auto& two : p.steps) sum = two_degrees(sum, square, two);
    POINTWISE_UNROLL
    for (int i = 2; i >= 0; --i) sum = V::fma(sum, f, fill<V>(p.low[i]));
    return sum;
  }
}

// relu(v) - |v| Phi(-|v|), where Phi(x) = 2^y, and y = -1 + u x + x p(x) for x = -|v|. u = slope - bend x leaves |x p|
// < 0.3: so only u x needs more digits than a number has. What rounding cuts off of u is known (slope has few digits,
// so u less slope is exact) and is added to p. n is u x rounded to an integer, and f = y + 1 - n, |f| < 0.8.
//
// p is fitted as well as the result needs it: ever less beyond -5.5 (float64: -8.5), where 2^-2p |v| is the larger
// bound, and from -phi_far on it is constant. At -phi_end the power of two has no bits and is 0: so -inf gives NaN,
// large negative numbers -0 (relu gives them -0 too, as 0 and -0 would add up to 0).
template <class V>
POINTWISE_INLINE V gelu(V v, V, V) {
  const auto& c = fit_of<V>();
  const V x = V::max(fill<V>(c.minus_phi_end), negative(V::abs(v))), near = V::max(fill<V>(c.minus_phi_far), x);
  const V rest = phi_rest(near);  // first, as a division takes its time
  const V minus_bend = fill<V>(c.minus_phi_bend), slope = fill<V>(c.phi_slope);
  const V u = V::fma(minus_bend, x, slope), cut = V::rest(minus_bend, x, V::sub(u, slope));
  const V magic = fill<V>(c.phi_magic), z = V::fma(u, x, magic), n = V::sub(z, magic);
  const V f = V::fma(near, V::add(rest, cut), V::rest(u, x, n));
  const V factor = V::min(v, x);  // -|v|, but at least -phi_end where v is positive
  const V power = V::fma(f, exp2_rest(f), fill<V>(c.one));
  return V::fma(V::mul(factor, V::exponent(z)), power, V::max(V::fill(-0.0f), v));
}

// v / (1 + e^-y), y = v (c1 + c3 v^2), as (1 + tanh(t)) / 2 = 1 / (1 + e^-2t). All of y is computed with the digits
// that rounding cuts off: its error in the exponent is relative in the result. cube_1_hi has some digits less than a
// number, so that sum - cube_1_hi is exact although the other addend may be the larger one.
template <class V>
POINTWISE_INLINE V gelu_tanh(V v, V, V) {
  const auto& c = fit_of<V>();
  const V end = fill<V>(c.cube_end), minus_end = fill<V>(c.minus_cube_end), c1 = fill<V>(c.cube_1_hi);
  const V c3 = fill<V>(c.cube_3_hi), x = negative(V::max(minus_end, V::min(end, v)));
  const V square = V::mul(x, x), product = V::mul(c3, square), sum = V::add(c1, product);
  V low = V::add(V::sub(product, V::sub(sum, c1)), V::rest(c3, square, product));
  low = V::add(low, V::fma(fill<V>(c.cube_3_lo), square, fill<V>(c.cube_1_lo)));
  low = V::fma(c3, V::rest(x, x, square), low);
  const V y = V::mul(x, sum);
  const V below = exponential(y, V::fma(x, low, V::rest(x, sum, y))).plus_one();
  return V::div(v, V::select_less(v, minus_end, infinity<V>(), below));
}

// (log((1 + z) / (1 - z)) - 2 z) / z^3 of y = z^2 <= 1/9: a polynomial, in float64 a quotient of two: most of a
// division is hidden by the multiply-adds of other vectors.
template <class V>
POINTWISE_INLINE V log_rest(V y) {
  const auto& c = fit_of<V>();
  if constexpr (sizeof(typename V::Number) == 4) {
    return polynomial(y, V::mul(y, y), c.log);
  } else {
    const auto horner = [y](V sum, const auto& c) {
      for (int i = 1; i >= 0; --i) sum = V::fma(sum, y, fill<V>(c[i]));
      return sum;
    };
    const V above = horner(V::fma(fill<V>(c.log_above[3]), y, fill<V>(c.log_above[2])), c.log_above);
    const V below = horner(V::add(y, fill<V>(c.log_below[2])), c.log_below);
    return V::div(above, below);
  }
}

// relu(v) + log(1 + e), e = e^-|v|; log(1 + e) = 2 atanh(z) = 2z + z^3 p(z^2), z = e / (2 + e) <= 1/3.
template <class V>
POINTWISE_INLINE V softplus(V v, V, V) {
  const auto& c = fit_of<V>();
  const V lowest = fill<V>(c.lowest), x = negative(V::abs(v)), zero = V::fill(0);
  const V e = V::select_less(x, lowest, zero, exponential(V::max(lowest, x)).value());
  const V z = V::div(e, V::add(V::fill(2), e)), y = V::mul(z, z);
  return V::add(V::max(zero, v), V::fma(V::mul(z, y), log_rest(y), V::add(z, z)));
}

// v tanh(log(1 + e)) = v n / (n + 2), e = e^v, n = (1 + e)^2 - 1 = e (e + 2). For v > 0 that is v - v q, q = 2 / (n +
// 2); for v < 0 it is v e (1 - q), q = e (e + 1) / (n + 2), with e = scale (1 + rest): in both q < 0.41 and its digits
// count the less.
template <class V>
POINTWISE_INLINE V mish(V v, V, V) {
  const auto& c = fit_of<V>();
  const V lowest = fill<V>(c.lowest), x = V::max(lowest, V::min(fill<V>(c.mish_end), v));
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
