#include "base/numbers.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

namespace pointwise {
namespace {

template <class T>
double read(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return static_cast<double>(value);
}

template <class T>
void write(void* to, double value) {
  if (std::numeric_limits<T>::is_integer) {
    constexpr double low = static_cast<double>(std::numeric_limits<T>::lowest());
    constexpr double high = static_cast<double>(std::numeric_limits<T>::max());
    value = std::isnan(value) ? 0 : std::nearbyint(std::clamp(value, low, high));
  }
  const T number = static_cast<T>(value);
  std::memcpy(to, &number, sizeof(T));
}

struct Functions {
  double (*read)(const void*);
  void (*write)(void*, double);
  double smallest_normal;
};

template <class T>
constexpr Functions functions_of = {
    read<T>, write<T>, std::numeric_limits<T>::is_integer ? 0 : static_cast<double>(std::numeric_limits<T>::min())};

// One entry for each DType, in the same order.
constexpr Functions functions[type_count] = {functions_of<float>,  functions_of<double>,   functions_of<uint8_t>,
                                             functions_of<int8_t>, functions_of<uint16_t>, functions_of<int16_t>,
                                             functions_of<int32_t>};

}  // namespace

double read_number(DType dtype, const void* from) { return functions[static_cast<int>(dtype)].read(from); }
void write_number(DType dtype, void* to, double value) { functions[static_cast<int>(dtype)].write(to, value); }
double smallest_normal(DType dtype) { return functions[static_cast<int>(dtype)].smallest_normal; }

}  // namespace pointwise
