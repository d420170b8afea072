// The table of dtypes.
#pragma once

#include <cstdint>

#include "pointwise/pointwise.h"

namespace pointwise {

struct TypeInfo {
  const char* name;  // as NumPy writes it
  int item;          // bytes
  bool floating;
  DType sum;  // dtype of sums; numbers are converted to it before they are multiplied
};

constexpr TypeInfo type_table[] = {
    {"float32", 4, true, DType::f32}, {"float64", 8, true, DType::f64}, {"uint8", 1, false, DType::f32},
    {"int8", 1, false, DType::f32},   {"uint16", 2, false, DType::f32}, {"int16", 2, false, DType::f32},
};
constexpr int type_count = sizeof(type_table) / sizeof(type_table[0]);
static_assert(type_count == static_cast<int>(DType::i16) + 1, "a row for each type");

constexpr const TypeInfo& info(DType dtype) { return type_table[static_cast<int>(dtype)]; }
constexpr int item_size(DType dtype) { return info(dtype).item; }

// The dtypes of a product: x is src, w the weights, y is dst.
struct Types {
  DType x, w, sum, y;
};
constexpr bool operator==(const Types& a, const Types& b) {
  return a.x == b.x && a.w == b.w && a.sum == b.sum && a.y == b.y;
}
constexpr Types all_f32{DType::f32, DType::f32, DType::f32, DType::f32};
constexpr Types all_f64{DType::f64, DType::f64, DType::f64, DType::f64};

}  // namespace pointwise
