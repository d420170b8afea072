// Arithmetic on shapes that says so when it leaves int64.
#pragma once

#include <cstdint>
#include <new>

namespace pointwise {

// False, and `result` unchanged, where the exact sum, or product, is not an int64.
inline bool checked_add(int64_t a, int64_t b, int64_t* result) {
  int64_t r;
  if (__builtin_add_overflow(a, b, &r)) return false;
  *result = r;
  return true;
}

inline bool checked_multiply(int64_t a, int64_t b, int64_t* result) {
  int64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return false;
  *result = r;
  return true;
}

// A size in bytes that is to be allocated: std::bad_alloc where it is beyond int64.
inline int64_t allocation_size(int64_t count, int64_t item) {
  int64_t size;
  if (!checked_multiply(count, item, &size)) throw std::bad_alloc();
  return size;
}

// A sum of such sizes.
inline int64_t allocation_sum(int64_t a, int64_t b) {
  int64_t size;
  if (!checked_add(a, b, &size)) throw std::bad_alloc();
  return size;
}

// Of whole numbers that are not negative.
inline int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }
// std::bad_alloc where it is beyond int64.
inline int64_t round_up(int64_t a, int64_t b) { return allocation_size(ceil_div(a, b), b); }

}  // namespace pointwise
