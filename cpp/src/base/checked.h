// Arithmetic on sizes that detects overflow of int64.
#pragma once

#include <cstdint>
#include <new>

namespace pointwise {

// Stores the exact sum in `result` and returns true. If int64 cannot hold the sum, returns false and leaves `result`
// unchanged.
inline bool checked_add(int64_t a, int64_t b, int64_t* result) {
  int64_t r;
  if (__builtin_add_overflow(a, b, &r)) return false;
  *result = r;
  return true;
}

// Stores the exact product in `result` and returns true. If int64 cannot hold the product, returns false and leaves
// `result` unchanged.
inline bool checked_multiply(int64_t a, int64_t b, int64_t* result) {
  int64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return false;
  *result = r;
  return true;
}

// Returns count * item, a size in bytes to allocate. Throws std::bad_alloc if it exceeds int64.
inline int64_t allocation_size(int64_t count, int64_t item) {
  int64_t size;
  if (!checked_multiply(count, item, &size)) throw std::bad_alloc();
  return size;
}

// Returns the sum of two sizes in bytes. Throws std::bad_alloc if it exceeds int64.
inline int64_t allocation_sum(int64_t a, int64_t b) {
  int64_t size;
  if (!checked_add(a, b, &size)) throw std::bad_alloc();
  return size;
}

// Returns a / b, rounded up. `a` must not be negative, and `b` must be positive.
inline int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }
// Rounds `a` up to a multiple of `b`. Throws std::bad_alloc if the result exceeds int64.
inline int64_t round_up(int64_t a, int64_t b) { return allocation_size(ceil_div(a, b), b); }

}  // namespace pointwise
