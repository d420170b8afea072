// Reads the bytes of an input as numbers. After the last byte, all bytes are 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace pointwise_fuzz {

// Ends the process if `condition` does not hold, in release builds, too. A fuzzer reports the end as a failure.
#define POINTWISE_HOLDS(condition)                                                        \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (0)

class Bytes {
 public:
  Bytes(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  uint8_t byte() { return at_ == end_ ? 0 : *at_++; }
  bool flag() { return byte() & 1; }
  // Returns a number in [low, high]. This range may have at most 65536 values.
  int64_t small(int64_t low, int64_t high) {
    const int64_t count = high - low + 1, value = byte() | (count > 256 ? byte() << 8 : 0);
    return low + value % count;
  }
  // Returns any int64. Most of these numbers are small, or so large that sums of them overflow.
  int64_t any() {
    constexpr int64_t most = std::numeric_limits<int64_t>::max();
    const int way = byte();
    if (way < 160) return way % 20 - 3;
    if (way < 200) return (int64_t{1} << (way - 160) * 3 / 2) + way % 3 - 1;
    if (way < 210) return most - way % 5;
    if (way < 216) return -most + way % 3 - 1;
    if (way < 226) return most / 2 + way % 5 - 2;
    if (way < 236) return most / 4 + way % 5 - 2;
    return bits();
  }
  int64_t bits() {
    uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value |= uint64_t{byte()} << 8 * i;
    return static_cast<int64_t>(value);
  }

 private:
  const uint8_t *at_, *end_;
};

}  // namespace pointwise_fuzz
