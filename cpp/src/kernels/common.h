// What all code of kernels uses, which is written once over a vector type V.
//
// Included only by kernel files, each compiled with its own -m flags: so everything here, and in what includes this,
// has internal linkage, and nothing of the standard library is called (an inline function compiled with AVX-512 could
// be the one that the linker keeps for everybody).
//
// V is a vector of `lanes` numbers of type V::Number:
//     broadcast(p) load(p) store(p)          one number to all lanes; p is const char* and needs no alignment
//     load(p, mask) store(p, mask)           only the lanes of first(n); the others load as 0 and are not touched
//     stream(p)                              past the caches, where p is a multiple of 64; fence() after the last
//     fill(number)  fma(a, b, c)  add(a, b)  max(a, b) = a > b ? a : b, so b where either is NaN
//     transpose(V (&)[lanes])                lanes x lanes, in place
//     load_square(p, step, V (&)[lanes])     the transpose of what lies in rows `step` bytes apart
#pragma once

#include "kernels/kernel.h"

namespace pointwise {
namespace {

#define POINTWISE_UNROLL _Pragma("GCC unroll 32")

constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <class T>
inline T read(const char* p) {
  T value;
  __builtin_memcpy(&value, p, sizeof(T));
  return value;
}

// What load_square does, where nothing better is known.
template <class V>
inline void load_and_transpose(const char* p, ptrdiff_t step, V (&m)[V::lanes]) {
  POINTWISE_UNROLL
  for (int i = 0; i < V::lanes; ++i) m[i] = V::load(p + i * step);
  V::transpose(m);
}

}  // namespace
}  // namespace pointwise
