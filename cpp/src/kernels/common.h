// The interface of the vector type V, and helpers for kernel code. V is a template parameter of all kernel code.
//
// Only kernel files include this header, and each kernel file is compiled with its own -m flags. So all code in this
// header, and in headers that include it, has internal linkage and calls no function of the standard library. Otherwise
// the linker could keep an inline function that was compiled for AVX-512, and CPUs without AVX-512 would call this
// function.
//
// V is a vector of `lanes` numbers of type V::Number. Pointers are char* and need no alignment, except in stream():
//
// clang-format off
//     fill(number)  broadcast(p)             sets all lanes to the number, or to the number at p
//     load(p)  store(p)                      all lanes
//     load(p, mask)  store(p, mask)          the first n lanes, mask = first(n); load() zeroes other lanes
//     stream(p)                              non-temporal store; p is a multiple of 64. Call fence() after the last one
//     add(a, b)  fma(a, b, c) = a * b + c
//     max(a, b) = a > b ? a : b              so the result is b if a or b is NaN
//     transpose(V (&)[lanes])                transposes lanes x lanes numbers in place
//     load_square(p, step, V (&)[lanes])     loads `lanes` rows, `step` bytes apart, and transposes them
//     has_halves                             true if V has fma_half()
//     fma_half(p, b, c)                      a * b + c in the lower half, a = number at p; upper half undefined
// clang-format on
//
// activations.h, halves.h, pairs.h, quads.h and long_rows.h need further functions of V, and list them.
#pragma once

#include "kernels/kernel.h"

namespace pointwise {
namespace {

#define POINTWISE_UNROLL _Pragma("GCC unroll 32")
#define POINTWISE_INLINE __attribute__((always_inline)) inline

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// True if the numbers of V are floating-point numbers. Integers have no activations.
template <class V>
constexpr bool is_floating = static_cast<typename V::Number>(0.5) != 0;

// The least number of a type: -infinity, or the least int32_t.
template <class T>
constexpr T least_number = -__builtin_huge_val();
template <>
constexpr int32_t least_number<int32_t> = INT32_MIN;

template <class T>
inline T read(const char* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(T));
  return value;
}

// Implements V::load_square for types without a faster implementation.
template <class V>
inline void load_and_transpose(const char* p, ptrdiff_t step, V (&m)[V::lanes]) {
  POINTWISE_UNROLL
  for (int i = 0; i < V::lanes; ++i) m[i] = V::load(p + i * step);
  V::transpose(m);
}

}  // namespace
}  // namespace pointwise
