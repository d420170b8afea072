// The interface of the vector type V, and helpers for kernel code. V is a template parameter of all kernel code.
//
// Only kernel files include this header, and each kernel file is compiled with its own -m flags. So all code in this
// header, and in headers that include it, has internal linkage and calls no function of the standard library. Otherwise
// the linker could keep an inline function that was compiled for AVX-512, and CPUs without AVX-512 would call this
// function.
//
// V is a vector of `lanes` numbers of type V::Number. For each step, a tile multiplies `step` input channels: 1, or 2
// for pairs of bfloat16 (dot.h). Integer kernels count a step as one input channel (integers.h). Pointers are char* and
// need no alignment, except in stream():
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
//     convert(const X*)                      loads and converts `lanes` numbers of another type
//     store_as(Y*)                           converts and stores all lanes, see convert.h
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
// Ends a row of a tile. With Clang, the next row loads its factor only after this point. Otherwise Clang loads the
// factor too early. AVX2 tiles need all registers, so one sum would stay on the stack. (Clang 19: float32 and float64
// tiles. Clang 14: int8 tiles.)
#ifdef __clang__
#define POINTWISE_END_ROW asm volatile("" ::: "memory")
#else
#define POINTWISE_END_ROW static_cast<void>(0)
#endif

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

// 16-bit floating-point numbers in memory.
struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// Returns a number as float. Does not depend on the floating-point state: subnormal numbers of Float16 are normal in
// float.
inline float to_float(Float16 number) {
  const uint32_t sign = (number.bits & 0x8000u) << 16, size = number.bits & 0x7fffu;
  uint32_t bits = (size << 13) + (112u << 23);
  if (size >= 0x7c00) bits += 112u << 23;  // infinity or NaN
  float value;
  if (size < 0x400) value = static_cast<float>(static_cast<int>(size)) * 0x1p-24f;
  if (size < 0x400) __builtin_memcpy(&bits, &value, sizeof(bits));
  bits |= sign;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}
inline float to_float(BFloat16 number) {
  const uint32_t bits = static_cast<uint32_t>(number.bits) << 16;
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}
// Returns an integer or a number of the type of the sums as T.
template <class T, class X>
inline T to_number(X number) {
  return static_cast<T>(number);
}
template <class T>
inline T to_number(Float16 number) {
  return to_float(number);
}
template <class T>
inline T to_number(BFloat16 number) {
  return to_float(number);
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
