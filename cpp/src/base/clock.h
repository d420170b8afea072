// The monotonic clock.
#pragma once

#include <time.h>

#include <cstdint>

namespace pointwise {

inline int64_t monotonic_nanoseconds() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * int64_t{1000000000} + t.tv_nsec;
}

}  // namespace pointwise
