// Computes the activations of sums. Each activation is a template for any vector type V (common.h) of float or double.
//
// AVX2 and AVX-512 do the same IEEE operations in the same order, so they give the same bits. The code uses no
// estimates and no library functions. The largest errors are 2 ULP in float32 (4 for gelu, gelu_tanh, softplus and
// mish) and 4 ULP in float64. Let v be the sum. An absolute error below 2^-48 |v| in float32, or 2^-106 |v| in float64,
// does not count. This exception matters only if the result is much smaller than |v|. bench/activation_errors.cpp
// measures the errors of all float32 numbers and of samples in float64.
//
// Each activation of NaN is NaN, so each function below must keep NaN. max(a, b) and min(a, b) return b if a or b is
// NaN, so the constant comes first. A comparison with NaN is false. For infinities and zeros, results follow the
// formulas in pointwise.h literally. For example, silu(-inf) is -inf * 0, which is NaN. For finite numbers far below
// zero, silu gives -0.
//
// V needs these functions in addition to those in common.h:
//     sub(a, b)  mul(a, b)  div(a, b)        rounded once each
//     min(a, b) = a < b ? a : b              select_less(a, b, x, y) = a < b ? x : y
//     abs(a)  copysign(a, sign)              operations on bits
//     rest(a, b, near)                       a * b - near, rounded at most once; `near` must be close to a * b
//     exponent(z)                            a power of two; its biased exponent is in the lowest bits of z
#pragma once

#include "kernels/activation_fits.h"
#include "kernels/common.h"

namespace pointwise {
namespace {

// Returns the constants of V's number type.
template <class V>
const Fit<typename V::Number>& fit_of() {
  if constexpr (sizeof(typename V::Number) == 4)
    return fit_f32;
  else
    return fit_f64;
}

// Loads a constant into all lanes. activation_table.h has a specialization for bundles.
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

// Returns c[0] + c[1] x + c[2] x^2 + ..., computed as c[0] + x (c[1] + c[2] x + (c[3] + c[4] x) x^2 + ...).
//
// Horner's rule in x^2 needs half as many dependent steps as Horner's rule in x. For small x both rules are equally
// accurate, because only the last operation rounds a number near c[0].
template <class V, int N>
POINTWISE_INLINE V polynomial(V x, V square, const Constant<typename V::Number> (&c)[N]) {
  V sum = N % 2 == 0 ? fill<V>(c[N - 1]) : V::fma(fill<V>(c[N - 1]), x, fill<V>(c[N - 2]));
  POINTWISE_UNROLL
  for (int i = (N - 2) / 2 * 2 - 1; i >= 1; i -= 2)
    sum = V::fma(sum, square, V::fma(fill<V>(c[i + 1]), x, fill<V>(c[i])));
  return V::fma(sum, x, fill<V>(c[0]));
}

// A power e^x = scale * (1 + rest), where scale is a power of two and |rest| < 0.42. The struct stores `rest` instead
// of 1 + `rest`, so that `rest` keeps all of its digits.
template <class V>
struct Exponential {
  V scale, rest;
  V value() const { return V::fma(scale, rest, scale); }
  // Returns 1 + e^x. If `scale` is large, the rounding of scale + 1 loses a part of the 1. `lost` is this part.
  V plus_one() const {
    const V one = V::fill(1), sum = V::add(scale, one), lost = V::sub(one, V::sub(sum, scale));
    return V::add(sum, V::fma(scale, rest, lost));
  }
};

// Returns e^(x + low) for lowest <= x <= highest and |low| much smaller than |x|.
//
// Uses the reduction of Cody and Waite, x = n ln 2 + r. The product n * ln2_hi is exact, because ln2_hi has few digits.
// The addition of `magic` rounds x log2(e) to the integer n. The lowest bits of this sum are n plus the bias of
// exponents. Exponential::rest is e^r - 1, computed as r + r^2 p(r).
template <class V>
POINTWISE_INLINE Exponential<V> exponential(V x, V low = V::fill(0)) {
  const auto& c = fit_of<V>();
  const V magic = fill<V>(c.magic), z = V::fma(x, fill<V>(c.log2e), magic), n = V::sub(z, magic);
  const V r = V::add(V::fma(n, fill<V>(c.minus_ln2_hi), x), V::fma(n, fill<V>(c.minus_ln2_lo), low));
  const V square = V::mul(r, r);
  return {V::exponent(z), V::fma(square, polynomial(r, square, c.exp), r)};
}

// Returns 1 + e^-v, or infinity if -v is above `highest`.
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

// Returns a * (e^v - 1) if v < 0, else v. Multiplies the scale of the power by the parameter `a` before the last
// addition, so that only this addition rounds the result. If `a` is 0 and v is negative, the result is -0.
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

// In float64, computes tanh |v| as -m / (m + 2) with m = e^(-2|v|) - 1. Near 0 the scale of the power is 1, so m equals
// Exponential::rest and has all digits. The error of this formula is 2.5 ULP, which is too much for float32. In
// float32, computes an odd polynomial near 0, and 1 - 2 / (1 + e^(2|v|)) for larger |v|.
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

// For v below -1.5, computes (v + 3) / 6. There 1/2 + v/6 would cancel digits, but v + 3 is exact near -3. For other v,
// computes 1/2 + v/6 with one multiply-add. The result is exactly 1 at v = 3 and exactly 0 at v = -3.
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

// Adds two degrees to a polynomial in x by one multiply-add: returns sum * (square + c[0]) + c[1] with square = x^2.
//
// The polynomial must be in adapted form (Knuth, The Art of Computer Programming, section 4.6.4). Let its odd part be x
// g(x^2), and let r be a real root of g. Then c[0] is -r. Most CPUs execute the additions of c[0] in parallel with
// multiply-adds. But adapted sums may cancel digits. So the lowest terms, which matter most, are not adapted.
template <class V>
POINTWISE_INLINE V two_degrees(V sum, V square, const Constant<typename V::Number> (&c)[2]) {
  return V::fma(sum, V::add(square, fill<V>(c[0])), fill<V>(c[1]));
}

// Returns p(x) for x <= 0. This equation defines p: log2(2 Phi(x)) = x (slope - bend x + p(x)).
//
// For float32, p is a polynomial in x + 3. A polynomial in x would have terms as large as 30, which cancel. For
// float64, a polynomial would have 31 terms. So p is a quotient of polynomials with 10 and 9 terms. `slope` and `bend`
// are chosen so that the adapted sums cancel as few digits as possible.
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

// Returns (2^f - 1) / f, where f is the variable f in the comment on gelu().
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

// Computes relu(v) - |v| Phi(-|v|). Phi(x) = 2^y with y = -1 + u x + x p(x), x = -|v| and u = slope - bend x.
//
// |x p(x)| < 0.3, so one float or double can hold x p(x). But u x is larger, and needs more digits. The rounding error
// of u is known, because `slope` has few digits and u - slope is exact. This error is added to p. The power is computed
// from two numbers:
//
//     n                u x, rounded to an integer
//     f = y + 1 - n    |f| < 0.8
//
// The fit of p is only as accurate as necessary. For x below -5.5 (float64: -8.5) the absolute error limit applies, so
// the fit is less accurate. For x below -phi_far, p is constant. At -phi_end all bits of the power of two are 0, so the
// power is 0. Hence -inf gives NaN, and finite numbers far below zero give -0. For these numbers relu(v) is computed as
// -0, because the sum of 0 and -0 would be 0.
template <class V>
POINTWISE_INLINE V gelu(V v, V, V) {
  const auto& c = fit_of<V>();
  const V x = V::max(fill<V>(c.minus_phi_end), negative(V::abs(v))), near = V::max(fill<V>(c.minus_phi_far), x);
  const V rest = phi_rest(near);  // first, because its division has a long latency
  const V minus_bend = fill<V>(c.minus_phi_bend), slope = fill<V>(c.phi_slope);
  const V u = V::fma(minus_bend, x, slope), cut = V::rest(minus_bend, x, V::sub(u, slope));
  const V magic = fill<V>(c.phi_magic), z = V::fma(u, x, magic), n = V::sub(z, magic);
  const V f = V::fma(near, V::add(rest, cut), V::rest(u, x, n));
  const V factor = V::min(v, x);  // v if v is negative, else x
  const V power = V::fma(f, exp2_rest(f), fill<V>(c.one));
  return V::fma(V::mul(factor, V::exponent(z)), power, V::max(V::fill(-0.0f), v));
}

// Computes v / (1 + e^-y) with y = v (c1 + c3 v^2), because (1 + tanh(t)) / 2 = 1 / (1 + e^-2t).
//
// An absolute error of the exponent y is a relative error of the result. So y is computed as a sum of two numbers. The
// second number is the rounding error of the first number. The constant c1 has fewer digits than its type can hold. So
// `sum` - c1 is exact, even if `product` is larger than c1.
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

// Returns (log((1 + z) / (1 - z)) - 2 z) / z^3, where y = z^2 is at most 1/9. Computes a polynomial in float32, and a
// quotient of two polynomials in float64. The multiply-adds of other vectors hide most of the division.
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

// Computes relu(v) + log(1 + e) with e = exp(-|v|). Let z = e / (2 + e), which is at most 1/3. Then
// log(1 + e) = 2 atanh(z) = 2 z + z^3 p(z^2), and log_rest() computes p.
template <class V>
POINTWISE_INLINE V softplus(V v, V, V) {
  const auto& c = fit_of<V>();
  const V lowest = fill<V>(c.lowest), x = negative(V::abs(v)), zero = V::fill(0);
  const V e = V::select_less(x, lowest, zero, exponential(V::max(lowest, x)).value());
  const V z = V::div(e, V::add(V::fill(2), e)), y = V::mul(z, z);
  return V::add(V::max(zero, v), V::fma(V::mul(z, y), log_rest(y), V::add(z, z)));
}

// Computes v tanh(log(1 + e)) = v n / (n + 2) with e = exp(v) and n = (1 + e)^2 - 1 = e (e + 2).
//
// For v > 0 the result is v - v q with q = 2 / (n + 2). For v < 0 the result is v e (1 - q) with q = e (e + 1) / (n +
// 2) and e = scale (1 + rest). In both cases q < 0.41. So the relative error of the result is at most 0.7 times the
// relative error of q.
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
