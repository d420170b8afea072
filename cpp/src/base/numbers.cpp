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

// The formats of 16-bit floating-point numbers: bits of the significand, counting the leading 1, and exponents of the
// smallest and largest normal number.
struct Float16Format {
  static constexpr int digits = 11, least = -14, most = 15;
};
struct BFloat16Format {
  static constexpr int digits = 8, least = -126, most = 127;
};

template <class F>
double read16(const void* from) {
  uint16_t bits;
  std::memcpy(&bits, from, sizeof(bits));
  constexpr int stored = F::digits - 1;
  const int exponent = bits >> stored & (0x7fff >> stored), significand = bits & ((1 << stored) - 1);
  double value = exponent == 0 ? std::ldexp(significand, F::least - stored)
                               : std::ldexp(significand + (1 << stored), exponent - 1 + F::least - stored);
  if (exponent == 0x7fff >> stored)
    value = significand == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  return bits & 0x8000 ? -value : value;
}

template <class F>
void write16(void* to, double value) {
  constexpr int stored = F::digits - 1;
  constexpr uint16_t infinity = 0x7fff >> stored << stored;
  uint16_t bits = infinity;
  const double size = std::abs(value);
  if (std::isnan(value)) {
    bits = infinity | 1 << (stored - 1);
  } else if (size < std::ldexp(1, F::most + 1)) {
    // Rounds the number to units of its last digit. If the rounded number needs one more digit, the addition below
    // increases the exponent, which is right.
    const int exponent = size < std::ldexp(1, F::least) ? F::least : std::ilogb(size);
    const int units = static_cast<int>(std::nearbyint(std::ldexp(size, stored - exponent)));
    bits = static_cast<uint16_t>(units + ((exponent - F::least) << stored));
  }
  if (std::signbit(value)) bits |= 0x8000;
  std::memcpy(to, &bits, sizeof(bits));
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
constexpr Functions functions[type_count] = {functions_of<float>,
                                             functions_of<double>,
                                             functions_of<uint8_t>,
                                             functions_of<int8_t>,
                                             functions_of<uint16_t>,
                                             functions_of<int16_t>,
                                             {read16<Float16Format>, write16<Float16Format>, 0x1p-14},
                                             {read16<BFloat16Format>, write16<BFloat16Format>, 0x1p-126},
                                             functions_of<int32_t>};

}  // namespace

double read_number(DType dtype, const void* from) { return functions[static_cast<int>(dtype)].read(from); }
void write_number(DType dtype, void* to, double value) { functions[static_cast<int>(dtype)].write(to, value); }
double smallest_normal(DType dtype) { return functions[static_cast<int>(dtype)].smallest_normal; }

}  // namespace pointwise
