// The monotonic clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace pointwise {

inline int64_t monotonic_nanoseconds() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace pointwise
