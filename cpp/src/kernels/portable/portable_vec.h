// The vector type of the portable kernels. A vector has 16 bytes and uses the vector extension of the compiler. The
// code compiles to SSE2 on x86-64, to NEON on ARM and to scalar code on other CPUs.
//
// fma() rounds the product and the sum separately, because a fused operation would be a library call on some CPUs. So
// these kernels keep the error bound, but may give other bits than AVX2 and AVX-512.
#pragma once

#include "kernels/activation_table.h"
#include "kernels/block.h"
#include "kernels/convert.h"
#include "kernels/fma_loop.h"
#include "kernels/pack.h"
#include "kernels/prelu.h"
#include "kernels/unpacked.h"

namespace pointwise {
namespace {

// The unsigned integer type with as many bits as T.
template <class T>
struct WordOf;
template <>
struct WordOf<float> {
  using Type = uint32_t;
  static constexpr int digits = 23;  // stored digits of the significand
};
template <>
struct WordOf<double> {
  using Type = uint64_t;
  static constexpr int digits = 52;
};

template <class T>
struct PortableVec {
  using Number = T;
  using Word = typename WordOf<T>::Type;
  using Mask = int;
  static constexpr int lanes = 16 / static_cast<int>(sizeof(T)), step = 1;
  static constexpr bool has_halves = false;
  typedef T Native __attribute__((vector_size(16)));
  typedef Word Words __attribute__((vector_size(16)));
  Native v;

  static PortableVec fill(T number) { return {number - Native{}}; }
  static PortableVec broadcast(const char* p) { return fill(read<T>(p)); }
  static Mask first(int n) { return n; }
  static PortableVec load(const char* p) { return {read<Native>(p)}; }
  static PortableVec load(const char* p, Mask n) {
    PortableVec r{};
    for (int i = 0; i < n; ++i) r.v[i] = read<T>(p + i * sizeof(T));
    return r;
  }
  template <class X>
  static PortableVec convert(const X* p) {
    PortableVec r{};
    for (int i = 0; i < lanes; ++i) r.v[i] = to_number<T>(read<X>(reinterpret_cast<const char*>(p + i)));
    return r;
  }
  template <class Y>
  void store_as(Y* p) const {
    using Range = RangeOf<T, Y>;
    constexpr T shift = static_cast<T>(Word(3) << (WordOf<T>::digits - 1));  // adding it rounds to an integer
    for (int i = 0; i < lanes; ++i) {
      const T number = v[i] != v[i] ? 0 : v[i] < Range::low ? Range::low : v[i] > Range::high ? Range::high : v[i];
      p[i] = static_cast<Y>(number + shift - shift);
    }
  }
  void store_as(Float16* p) const {
    for (int i = 0; i < lanes; ++i) p[i].bits = float16_bits(v[i]);
  }
  void store_as(BFloat16* p) const {
    for (int i = 0; i < lanes; ++i) p[i].bits = bfloat16_bits(v[i]);
  }
  static PortableVec swap_pairs(PortableVec a) {
    PortableVec r{};
    for (int i = 0; i < lanes; ++i) r.v[i] = a.v[i ^ 1];
    return r;
  }
  void store(char* p) const { __builtin_memcpy(p, &v, sizeof(v)); }
  void store(char* p, Mask n) const { __builtin_memcpy(p, &v, n * sizeof(T)); }
  void stream(char* p) const { store(p); }
  static void fence() {}
  static PortableVec fma(PortableVec a, PortableVec b, PortableVec c) { return {a.v * b.v + c.v}; }
  static PortableVec add(PortableVec a, PortableVec b) { return {a.v + b.v}; }
  static PortableVec max(PortableVec a, PortableVec b) { return {a.v > b.v ? a.v : b.v}; }

  static PortableVec sub(PortableVec a, PortableVec b) { return {a.v - b.v}; }
  static PortableVec mul(PortableVec a, PortableVec b) { return {a.v * b.v}; }
  static PortableVec div(PortableVec a, PortableVec b) { return {a.v / b.v}; }
  static PortableVec min(PortableVec a, PortableVec b) { return {a.v < b.v ? a.v : b.v}; }
  static PortableVec select_less(PortableVec a, PortableVec b, PortableVec x, PortableVec y) {
    return {a.v < b.v ? x.v : y.v};
  }
  static constexpr Word sign_bit = Word(1) << (8 * sizeof(T) - 1);
  static PortableVec abs(PortableVec a) { return {(Native)((Words)a.v & ~sign_bit)}; }
  static PortableVec copysign(PortableVec a, PortableVec sign) {
    return {(Native)((Words)abs(a).v | ((Words)sign.v & sign_bit))};
  }
  static PortableVec exponent(PortableVec z) { return {(Native)((Words)z.v << WordOf<T>::digits)}; }

  // rest(a, b, ab) returns a * b - ab, see activations.h. It uses Dekker's product: upper_half() splits each factor
  // into two numbers with half of the digits. The products of such numbers are exact.
  static Native upper_half(Native a) {
    const Native c = a * static_cast<T>((Word(1) << (WordOf<T>::digits + 2) / 2) + 1);
    return c - (c - a);
  }
  static PortableVec rest(PortableVec a, PortableVec b, PortableVec ab) {
    const Native a1 = upper_half(a.v), a2 = a.v - a1, b1 = upper_half(b.v), b2 = b.v - b1;
    return {a1 * b1 - ab.v + a1 * b2 + a2 * b1 + a2 * b2};
  }

  static void transpose(PortableVec (&m)[lanes]) {
    for (int i = 0; i < lanes; ++i)
      for (int j = 0; j < i; ++j) {
        const T t = m[i].v[j];
        m[i].v[j] = m[j].v[i];
        m[j].v[i] = t;
      }
  }
  static void load_square(const char* p, ptrdiff_t step, PortableVec (&m)[lanes]) { load_and_transpose(p, step, m); }
};

}  // namespace
}  // namespace pointwise
