// The vector type of the portable kernels: 16 bytes, in the compiler's own vector extension, so that it is SSE2 on any
// x86-64, NEON on ARM and plain scalar code elsewhere. Multiply and add are rounded separately: a fused one would be a
// library call here. (Users are promised the error bound, not the bits, of these kernels.)
#pragma once

#include "block.h"
#include "fma_loop.h"

namespace pointwise {
namespace {

template <class T>
struct PortableVec {
  using Number = T;
  using Mask = int;
  static constexpr int lanes = 16 / static_cast<int>(sizeof(T));
  typedef T Native __attribute__((vector_size(16)));
  Native v;

  static PortableVec fill(T number) { return {number - Native{}}; }
  static PortableVec broadcast(const char* p) { return fill(read<T>(p)); }
  static Mask first(int n) { return n; }
  static PortableVec load(const char* p) { return {read<Native>(p)}; }
  static PortableVec load(const char* p, Mask n) {
    PortableVec r{};
    for (int i = 0; i < n; ++i) r.v[i] = read<T>(p + i * sizeof(T));
    return r;
  }
  void store(char* p) const { __builtin_memcpy(p, &v, sizeof(v)); }
  void store(char* p, Mask n) const { __builtin_memcpy(p, &v, n * sizeof(T)); }
  void stream(char* p) const { store(p); }
  static void fence() {}
  static PortableVec fma(PortableVec a, PortableVec b, PortableVec c) { return {a.v * b.v + c.v}; }
  static PortableVec add(PortableVec a, PortableVec b) { return {a.v + b.v}; }
  static PortableVec max(PortableVec a, PortableVec b) { return {a.v > b.v ? a.v : b.v}; }

  static void transpose(PortableVec (&m)[lanes]) {
    for (int i = 0; i < lanes; ++i)
      for (int j = 0; j < i; ++j) {
        const T t = m[i].v[j];
        m[i].v[j] = m[j].v[i];
        m[j].v[i] = t;
      }
  }
};

}  // namespace
}  // namespace pointwise
