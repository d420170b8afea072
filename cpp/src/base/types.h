// The table of dtypes.
#pragma once

#include <cstdint>

#include "pointwise/pointwise.h"

namespace pointwise {

struct TypeInfo {
  const char* name;  // the name in NumPy
  int item;          // bytes
  bool floating;
  DType sum;  // dtype of the sums; numbers are converted to this dtype before the multiplication
};

// One line for each DType, in the same order.
constexpr TypeInfo type_table[] = {
    {"float32", 4, true, DType::f32}, {"float64", 8, true, DType::f64},  {"uint8", 1, false, DType::f32},
    {"int8", 1, false, DType::f32},   {"uint16", 2, false, DType::f32},  {"int16", 2, false, DType::f32},
    {"float16", 2, true, DType::f32}, {"bfloat16", 2, true, DType::f32}, {"int32", 4, false, DType::i32},
};
constexpr int type_count = sizeof(type_table) / sizeof(type_table[0]);

// Returns true if a number is a DType. Because of the pragma, the compiler reports an error if a DType has no case
// below.
#pragma GCC diagnostic push
#pragma GCC diagnostic error "-Wswitch"
constexpr bool is_dtype(int number) {
  switch (static_cast<DType>(number)) {
    case DType::f32:
    case DType::f64:
    case DType::u8:
    case DType::i8:
    case DType::u16:
    case DType::i16:
    case DType::f16:
    case DType::bf16:
    case DType::i32: return true;
  }
  return false;
}
#pragma GCC diagnostic pop
static_assert(is_dtype(type_count - 1) && !is_dtype(type_count), "type_table has one line for each DType");

constexpr const TypeInfo& info(DType dtype) { return type_table[static_cast<int>(dtype)]; }
constexpr int item_size(DType dtype) { return info(dtype).item; }
constexpr bool is_integer(DType dtype) { return !info(dtype).floating; }

// Returns true if sums over numbers of this dtype take input channels in pairs, the odd channel first: 1, 0, 3, 2 and
// so on. The last channel of an odd number stands alone. This is the order of the dot product of AVX512-BF16.
constexpr bool sums_pairs(DType dtype) { return dtype == DType::bf16; }
// Returns true if sums over numbers of this dtype take subnormal numbers as zeros. The dot product of AVX512-BF16 does.
constexpr bool flushes_subnormals(DType dtype) { return dtype == DType::bf16; }
// Returns the position of an input channel in the order of pairs. `channels` is the number of input channels.
constexpr int64_t place_in_pairs(int64_t channel, int64_t channels) {
  return (channel ^ 1) < channels ? channel ^ 1 : channel;
}

// The dtypes of a product. `x` is the dtype of src, `w` of the weights, `sum` of the accumulators and `y` of dst.
struct Types {
  DType x, w, sum, y;
};
constexpr bool operator==(const Types& a, const Types& b) {
  return a.x == b.x && a.w == b.w && a.sum == b.sum && a.y == b.y;
}
constexpr Types all_f32{DType::f32, DType::f32, DType::f32, DType::f32};
constexpr Types u8_to_f32{DType::u8, DType::f32, DType::f32, DType::f32};
constexpr Types u8_to_u8{DType::u8, DType::f32, DType::f32, DType::u8};
constexpr Types all_f64{DType::f64, DType::f64, DType::f64, DType::f64};
constexpr Types u8_by_i8{DType::u8, DType::i8, DType::i32, DType::i32};
constexpr Types i16_by_i16{DType::i16, DType::i16, DType::i32, DType::i32};

}  // namespace pointwise
