// Converts results to another type. V::store_as(Y*) rounds half to even. Integers are saturated, and NaN becomes 0. For
// 16-bit floating-point numbers, NaN stays NaN, and numbers beyond the largest one become infinite.
#pragma once

#include "kernels/common.h"

namespace pointwise {
namespace {

// The range of an integer type, in the type of the sums.
template <class T, class Y>
struct RangeOf {
  static constexpr bool has_sign = static_cast<Y>(-1) < 0;
  static constexpr int bits = 8 * static_cast<int>(sizeof(Y)) - has_sign;
  static constexpr T low = has_sign ? -static_cast<T>(1 << bits) : 0, high = static_cast<T>((1 << bits) - 1);
};

// Returns the bits of a float as Float16. Rounds half to even, in every floating-point state.
inline uint16_t float16_bits(float number) {
  uint32_t bits;
  __builtin_memcpy(&bits, &number, sizeof(bits));
  const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);  // NaN
  if (size >= 0x47800000) return static_cast<uint16_t>(sign | 0x7c00);
  // Normal results lose 13 of 24 binary digits. Subnormal results lose more. If 25 digits are lost, the result is 0.
  const int exponent = static_cast<int>(size >> 23), lost = exponent >= 113 ? 13 : exponent < 102 ? 25 : 126 - exponent;
  const uint32_t digits = exponent >= 113 ? size - (112u << 23) : (size & 0x7fffff) | 0x800000;
  const uint32_t kept = digits >> lost, rest = digits & ((1u << lost) - 1), half = 1u << (lost - 1);
  return static_cast<uint16_t>(sign | (kept + (rest > half || (rest == half && kept & 1))));
}
// Returns the bits of a float as BFloat16. Rounds half to even, in every floating-point state.
inline uint16_t bfloat16_bits(float number) {
  uint32_t bits;
  __builtin_memcpy(&bits, &number, sizeof(bits));
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);  // NaN
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Converts `count` contiguous numbers, at most V::lanes.
template <class V, class Y>
inline void convert_vector(const char* from, int count, Y* to) {
  V::load(from, V::first(count)).store_as(to);
}

// Implements Convert.
template <class V, class Y>
void convert_numbers(const char* from, int64_t count, char* to, ptrdiff_t step) {
  constexpr ptrdiff_t item = sizeof(typename V::Number), to_item = sizeof(Y);
  constexpr int lanes = V::lanes, together = 4;
  for (; step == to_item && count >= lanes; count -= lanes, from += lanes * item, to += lanes * to_item)
    V::load(from).store_as(reinterpret_cast<Y*>(to));
  Y numbers[together * lanes];
  while (count > 0) {
    const int some = static_cast<int>(smaller(count, together * lanes));
    for (int i = 0; i < some; i += lanes)
      convert_vector<V, Y>(from + i * item, static_cast<int>(smaller(lanes, some - i)), numbers + i);
    for (int i = 0; i < some; ++i, to += step) __builtin_memcpy(to, numbers + i, sizeof(Y));
    from += some * item;
    count -= some;
  }
}

// Returns the table for KernelTable::convert, in the order of DType.
template <class V>
constexpr ConvertTable make_convert_table() {
  if constexpr (sizeof(typename V::Number) == 4)
    return {{nullptr, nullptr, convert_numbers<V, uint8_t>, convert_numbers<V, int8_t>, convert_numbers<V, uint16_t>,
             convert_numbers<V, int16_t>, convert_numbers<V, Float16>, convert_numbers<V, BFloat16>}};
  else
    return {};
}
template <class V>
constexpr ConvertTable convert_functions = make_convert_table<V>();

}  // namespace
}  // namespace pointwise
