// The one table of number types.
#pragma once

#include <cstdint>

#include "pointwise/pointwise.h"

namespace pointwise {

struct TypeInfo {
  const char* name;  // as NumPy writes it
  int item;          // bytes
  bool floating;
  DType sum;  // the type that sums of it have, and that it is converted to before it is multiplied
};

constexpr TypeInfo type_table[] = {
    {"float32", 4, true, DType::f32}, {"float64", 8, true, DType::f64}, {"uint8", 1, false, DType::f32},
    {"int8", 1, false, DType::f32},   {"uint16", 2, false, DType::f32}, {"int16", 2, false, DType::f32},
};
constexpr int type_count = sizeof(type_table) / sizeof(type_table[0]);
static_assert(type_count == static_cast<int>(DType::i16) + 1, "a row for each type");

constexpr const TypeInfo& info(DType dtype) { return type_table[static_cast<int>(dtype)]; }
constexpr int item_size(DType dtype) { return info(dtype).item; }

// The types of a product: of the pixels, the weights, the sums and the result.
struct Types {
  DType x, w, sum, y;
};
constexpr bool operator==(const Types& a, const Types& b) {
  return a.x == b.x && a.w == b.w && a.sum == b.sum && a.y == b.y;
}
constexpr Types all_f32{DType::f32, DType::f32, DType::f32, DType::f32};
constexpr Types all_f64{DType::f64, DType::f64, DType::f64, DType::f64};

}  // namespace pointwise
