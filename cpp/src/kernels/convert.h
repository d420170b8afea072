// Converts results to integers: rounds half to even, saturates, and turns NaN into 0.
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

// Converts `count` contiguous numbers, at most V::lanes.
template <class V, class Y>
inline void convert_vector(const char* from, int count, Y* to) {
  V::load(from, V::first(count)).template store_integers<Y>(to);
}

// Implements Convert.
template <class V, class Y>
void convert_numbers(const char* from, int64_t count, char* to, ptrdiff_t step) {
  constexpr ptrdiff_t item = sizeof(typename V::Number), to_item = sizeof(Y);
  constexpr int lanes = V::lanes, together = 4;
  for (; step == to_item && count >= lanes; count -= lanes, from += lanes * item, to += lanes * to_item)
    V::load(from).template store_integers<Y>(reinterpret_cast<Y*>(to));
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
             convert_numbers<V, int16_t>}};
  else
    return {};
}
template <class V>
constexpr ConvertTable convert_functions = make_convert_table<V>();

}  // namespace
}  // namespace pointwise
