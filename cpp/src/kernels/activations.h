// The activations of a sum, written once over the vector type V of the number types float and double.
//
// As of tile.h: included only by kernel files, internal linkage, nothing of the standard library. Every instruction set
// does the same IEEE operations in the same order, so the bits agree; no estimates, no library. Errors, over all
// numbers v of float32 and samples of float64 (bench/activation_errors.cpp measures them): at most 2 ULP in float32 (4
// for gelu, gelu_tanh, softplus and mish), 4 in float64, or 2^-2p |v| where that is more (p = 24 and 53 digits): the
// far tails. gelu of the portable kernels, whose multiply-adds are rounded twice: 6.
//
// NaN goes through all of them, and so through all helpers: max(a, b) and min(a, b) return b where either is NaN, so
// the constant comes first; a comparison with NaN is false. Infinities and zeros become what the definition literally
// evaluates to: silu(-inf) is -inf * 0, NaN; but finite numbers, however large, give -0 there.
//
// V has, beside what tile.h says:
//     sub(a, b)  mul(a, b)  div(a, b)        rounded once each
//     min(a, b) = a < b ? a : b              select_less(a, b, x, y) = a < b ? x : y
//     abs(a)  copysign(a, sign)              by bits
//     rest(a, b, ab)                         a * b - ab, rounded once at most, where ab is near a * b
//     exponent(z)                            the lowest bits of z as the exponent of a power of two: see exponential()
#pragma once

#include "tile.h"

namespace pointwise {
namespace {

#define POINTWISE_INLINE __attribute__((always_inline)) inline

// Constants of each number type. The digits are of cpp/tools/fit_activations.py; in the comments, the largest error of
// a fit relative to the function it is a part of.
template <class T>
struct Fit;

template <>
struct Fit<float> {
  using T = float;
  static constexpr T magic = 12582912 + 127;            // 1.5 * 2^23 + the exponent's bias
  static constexpr T lowest = -87.3f, highest = 88.0f;  // e^x is a normal number
  static constexpr T log2e = 1.44269502f, ln2_hi = 0.693145752f, ln2_lo = 1.42860677e-6f;
  static constexpr T exp[] = {0.5f, 0.166665763f, 0.0416665524f, 0.00836323295f, 0.00139262504f};  // 2^-25.3
  static constexpr T tanh[] = {-0.333333343f, 0.133333042f,    -0.0539592579f,
                               0.0217689183f, -0.00834394526f, 0.00229274482f};                             // 2^-27.8
  static constexpr T log[] = {0.666666687f, 0.399997056f, 0.28592357f, 0.217065752f, 0.232243299f};         // 2^-30.0
  static constexpr T tail_above[] = {0.734375f, 0.600594342f, 0.23835662f, 0.0495960489f, 0.00461584283f};  // 2^-27.3
  static constexpr T tail_below[] = {1.46875f, 2.37308168f, 1.63578236f, 0.608453631f, 0.12435437f, 0.0115692103f};
  static constexpr T cube_1_hi = 1.59576988f, cube_1_lo = -7.60596436e-7f;
  static constexpr T cube_3_hi = 0.0713548139f, cube_3_lo = 2.39883247e-9f;
  static constexpr T tail_end = 13, cube_end = 9.9f;  // from here on gelu and gelu_tanh of -v are 0: as e^x at lowest
  static constexpr T mish_end = 20;                   // from here on mish is v
};

template <>
struct Fit<double> {
  using T = double;
  static constexpr T magic = 6755399441055744 + 1023;  // 1.5 * 2^52 + the exponent's bias
  static constexpr T lowest = -708, highest = 709;
  static constexpr T log2e = 1.4426950408889634, ln2_hi = 0.6931471805601177, ln2_lo = -1.7239444525614835e-13;
  static constexpr T exp[] = {0.50000000000000011,   0.16666666666666669,   0.041666666666623824,
                              0.008333333333330039,  0.0013888888917367081, 1.9841269863171557e-4,
                              2.4801521057868204e-5, 2.7557268276905696e-6, 2.7620201591031547e-7,
                              2.5100472505694996e-8};  // 2^-54.4
  static constexpr T tanh[] = {-0.33333333333333331,   0.13333333333333042,    -0.053968253967896992,
                               0.021869488519008305,   -0.0088632351032408782, 0.0035921217511549622,
                               -0.0014557754120478055, 5.8966065777570434e-4,  -2.375906496055562e-4,
                               9.2571161295567687e-5,  -3.1201101425797402e-5, 6.485163482793113e-6};  // 2^-56.8
  static constexpr T log[] = {0.66666666666666663, 0.39999999999999525,  0.28571428571600099, 0.22222222198236771,
                              0.18181819897962714, 0.1538454396486055,   0.13335178631449257, 0.11734279061303197,
                              0.10845178394880015, 0.074921437955507666, 0.15630577800922851};  // 2^-58.7
  static constexpr T tail_above[] = {0.765625,
                                     1.014416653346653,
                                     0.67020055304344728,
                                     0.27802279795271823,
                                     0.078149603744296192,
                                     0.015153332849025461,
                                     0.0019779389954236934,
                                     1.5945725665066036e-4,
                                     6.1312151591494457e-6};  // 2^-55.1
  static constexpr T tail_below[] = {1.53125,
                                     3.2505940404226954,
                                     3.1683749043778953,
                                     1.8659995726433189,
                                     0.73409068753224371,
                                     0.20081877209912932,
                                     0.038383496887999781,
                                     0.0049733255630316628,
                                     3.9970009060921063e-4,
                                     1.5368677015028168e-5};
  static constexpr T cube_1_hi = 1.5957691216057306, cube_1_lo = 1.2235151683392209e-16;
  static constexpr T cube_3_hi = 0.071354816272600249, cube_3_lo = -6.175149918155315e-19;
  static constexpr T tail_end = 37.5, cube_end = 21;
  static constexpr T mish_end = 40;
};

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

// The polynomial c[0] + c[1] x + c[2] x^2 + ... without its first term, over x: (c[1] + c[2] x) + (c[3] + c[4] x) x^2 +
// ... by Horner's rule in x^2, which has half the chain of the rule in x. Where x is large and all terms have one sign
// it has half the error too.
template <class V, int N>
POINTWISE_INLINE V upper_terms(V x, V square, const typename V::Number (&c)[N]) {
  V sum = N % 2 == 0 ? V::fill(c[N - 1]) : V::fma(V::fill(c[N - 1]), x, V::fill(c[N - 2]));
  POINTWISE_UNROLL
  for (int i = (N - 2) / 2 * 2 - 1; i >= 1; i -= 2)
    sum = V::fma(sum, square, V::fma(V::fill(c[i + 1]), x, V::fill(c[i])));
  return sum;
}

// All of it. Where x is small there is one rounding of numbers near c[0], as by Horner's rule in x.
template <class V, int N>
POINTWISE_INLINE V polynomial(V x, V square, const typename V::Number (&c)[N]) {
  return V::fma(upper_terms(x, square, c), x, V::fill(c[0]));
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
  V minus_one() const { return V::fma(scale, rest, V::sub(scale, V::fill(1))); }
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

template <class V>
POINTWISE_INLINE V elu(V v, V a, V) {
  const V below = exponential(V::max(V::fill(FitOf<V>::lowest), V::min(V::fill(0), v))).minus_one();
  return V::select_less(v, V::fill(0), V::mul(a, below), v);
}

template <class V>
POINTWISE_INLINE V sigmoid(V v, V, V) {
  return V::div(V::fill(1), one_plus_exp_minus(v));
}

// An odd polynomial near 0, where 1 - 2 / (1 + e^2|v|) has lost the digits.
template <class V>
POINTWISE_INLINE V tanh(V v, V, V) {
  const V a = V::abs(v), y = V::mul(a, a);
  const V near = V::fma(a, V::mul(y, polynomial(y, V::mul(y, y), FitOf<V>::tanh)), a);
  const V far = V::sub(V::fill(1), V::div(V::fill(2), one_plus_exp_minus(V::mul(V::fill(-2), a))));
  return V::copysign(V::select_less(a, V::fill(0.625f), near, far), v);
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

// relu(v) - |v| Phi(-|v|), where Phi(-a) = e^(-a^2/2) R(a). R falls slowly from 1/2, as 0.4/a in the end, and is a
// quotient of polynomials with positive coefficients: nothing cancels. (It is fitted up to where |v| 2^-2p is the
// larger bound: a = 6 and 9.) a^2 needs more digits than a number has: its error in the exponent is relative in the
// result.
//
// So many roundings in a row would add up to 4 to 5 ULP. What the last one cuts off of either polynomial is known: the
// coefficient c[0] has few digits, so that a sum less c[0] is exact; and so is the rest of the division.
template <class V>
POINTWISE_INLINE V gelu(V v, V, V) {
  using C = FitOf<V>;
  const V end = V::fill(C::tail_end), half = V::fill(-0.5f);
  const V factor = V::max(V::min(end, v), negative(v));  // |v|, but at most the end where v is positive
  const V a = V::min(end, factor), square = V::mul(a, a), low = V::rest(a, a, square);
  const Exponential<V> e = exponential(V::mul(half, square), V::mul(half, low));
  const V scaled = V::mul(factor, V::select_less(end, factor, V::fill(0), e.scale));
  const V above_0 = V::fill(C::tail_above[0]), above_1 = upper_terms(a, square, C::tail_above);
  const V below_0 = V::fill(C::tail_below[0]), below_1 = upper_terms(a, square, C::tail_below);
  const V above = V::fma(a, above_1, above_0), below = V::fma(a, below_1, below_0);
  const V above_cut = V::rest(a, above_1, V::sub(above, above_0));
  const V below_cut = V::rest(a, below_1, V::sub(below, below_0));
  const V inverse = V::div(V::fill(-1), below), ratio = V::mul(above, inverse);
  const V cut = V::add(V::rest(ratio, below, negative(above)), V::fma(ratio, below_cut, above_cut));
  const V correction = V::mul(scaled, V::fma(e.rest, ratio, V::mul(cut, inverse)));
  return V::copysign(V::add(V::max(V::fill(0), v), V::fma(scaled, ratio, correction)), v);
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

// relu(v) + log(1 + e), e = e^-|v|; log(1 + e) = 2 atanh(z) = 2z + z^3 p(z^2), z = e / (2 + e) <= 1/3.
template <class V>
POINTWISE_INLINE V softplus(V v, V, V) {
  using C = FitOf<V>;
  const V lowest = V::fill(C::lowest), x = negative(V::abs(v)), zero = V::fill(0);
  const V e = V::select_less(x, lowest, zero, exponential(V::max(lowest, x)).value());
  const V z = V::div(e, V::add(V::fill(2), e)), y = V::mul(z, z);
  return V::add(V::max(zero, v), V::fma(V::mul(z, y), polynomial(y, V::mul(y, y), C::log), V::add(z, z)));
}

// v n / (n + 2), n = (1 + e^v)^2 - 1 = e^v (e^v + 2).
template <class V>
POINTWISE_INLINE V mish(V v, V, V) {
  using C = FitOf<V>;
  const V lowest = V::fill(C::lowest), x = V::max(lowest, V::min(V::fill(C::mish_end), v));
  const V e = V::select_less(v, lowest, V::fill(0), exponential(x).value());
  const V n = V::fma(e, e, V::add(e, e));
  return V::mul(v, V::div(n, V::add(n, V::fill(2))));
}

// K vectors as one, operation by operation: so the chains of operations of K vectors fill each other's waiting. (The
// CPU overlaps whole vectors by itself, but its schedulers hold few of them.)
template <class V, int K>
struct Group {
  using Number = typename V::Number;
  V v[K];

  template <class F>
  static POINTWISE_INLINE Group map(F f) {
    Group r;
    POINTWISE_UNROLL
    for (int k = 0; k < K; ++k) r.v[k] = f(k);
    return r;
  }
  static Group load(const char* p) {
    return map([&](int k) { return V::load(p + k * sizeof(V)); });
  }
  void store(char* p) const {
    POINTWISE_UNROLL
    for (int k = 0; k < K; ++k) v[k].store(p + k * sizeof(V));
  }
  static Group fill(Number number) {
    return map([&](int) { return V::fill(number); });
  }
#define POINTWISE_GROUP_1(f)                         \
  static Group f(const Group& a) {                   \
    return map([&](int k) { return V::f(a.v[k]); }); \
  }
#define POINTWISE_GROUP_2(f)                                 \
  static Group f(const Group& a, const Group& b) {           \
    return map([&](int k) { return V::f(a.v[k], b.v[k]); }); \
  }
#define POINTWISE_GROUP_3(f)                                         \
  static Group f(const Group& a, const Group& b, const Group& c) {   \
    return map([&](int k) { return V::f(a.v[k], b.v[k], c.v[k]); }); \
  }
  POINTWISE_GROUP_1(abs)
  POINTWISE_GROUP_1(exponent)
  POINTWISE_GROUP_2(add)
  POINTWISE_GROUP_2(sub)
  POINTWISE_GROUP_2(mul)
  POINTWISE_GROUP_2(div)
  POINTWISE_GROUP_2(min)
  POINTWISE_GROUP_2(max)
  POINTWISE_GROUP_2(copysign)
  POINTWISE_GROUP_3(fma)
  POINTWISE_GROUP_3(rest)
#undef POINTWISE_GROUP_1
#undef POINTWISE_GROUP_2
#undef POINTWISE_GROUP_3
  static Group select_less(const Group& a, const Group& b, const Group& x, const Group& y) {
    return map([&](int k) { return V::select_less(a.v[k], b.v[k], x.v[k], y.v[k]); });
  }
};

// As many as the registers hold.
template <class V>
using GroupOf = Group<V, sizeof(V) == 64 ? 4 : 2>;

// The function, of one vector and of a group.
template <class V, class G, V (*one)(V, V, V), G (*many)(G, G, G)>
void each(const typename V::Number* parameters, char* numbers, int64_t vectors) {
  constexpr int together = sizeof(G) / sizeof(V);
  const V a = V::fill(parameters[0]), b = V::fill(parameters[1]);
  const G as = G::fill(parameters[0]), bs = G::fill(parameters[1]);
  for (; vectors >= together; vectors -= together, numbers += sizeof(G)) many(G::load(numbers), as, bs).store(numbers);
  for (; vectors > 0; --vectors, numbers += sizeof(V)) one(V::load(numbers), a, b).store(numbers);
}

// See KernelTable::activations.
template <class V>
constexpr Activate<typename V::Number> activations[activation_kinds] = {
    nullptr,
    nullptr,
    each<V, GroupOf<V>, relu6<V>, relu6<GroupOf<V>>>,
    each<V, GroupOf<V>, clip<V>, clip<GroupOf<V>>>,
    each<V, GroupOf<V>, leaky_relu<V>, leaky_relu<GroupOf<V>>>,
    each<V, GroupOf<V>, elu<V>, elu<GroupOf<V>>>,
    each<V, GroupOf<V>, sigmoid<V>, sigmoid<GroupOf<V>>>,
    each<V, GroupOf<V>, tanh<V>, tanh<GroupOf<V>>>,
    each<V, GroupOf<V>, silu<V>, silu<GroupOf<V>>>,
    each<V, GroupOf<V>, hardsigmoid<V>, hardsigmoid<GroupOf<V>>>,
    each<V, GroupOf<V>, hardswish<V>, hardswish<GroupOf<V>>>,
    each<V, GroupOf<V>, gelu<V>, gelu<GroupOf<V>>>,
    each<V, GroupOf<V>, gelu_tanh<V>, gelu_tanh<GroupOf<V>>>,
    each<V, GroupOf<V>, softplus<V>, softplus<GroupOf<V>>>,
    each<V, GroupOf<V>, mish<V>, mish<GroupOf<V>>>};

}  // namespace
}  // namespace pointwise
