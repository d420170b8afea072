// The vector type of the integer kernels for AVX-512.
#pragma once

#include <immintrin.h>

#include "kernels/steps.h"

namespace pointwise {
namespace {

// A vector of 16 sums. Dot::add(sum, a, b) adds the products of a step.
template <class Dot>
struct Vec512 {
  using Number = int32_t;
  using Mask = __mmask16;
  using Floats = __m512;
  static constexpr int lanes = 16;
  static constexpr bool has_halves = false;
  __m512i v;

  static Vec512 fill(int32_t number) { return {_mm512_set1_epi32(number)}; }
  static Vec512 broadcast(const char* p) { return {_mm512_set1_epi32(read<int32_t>(p))}; }
  static Mask first(int n) { return static_cast<Mask>((1u << n) - 1); }
  static Vec512 load(const char* p) { return {_mm512_loadu_si512(p)}; }
  static Vec512 load(const char* p, Mask mask) { return {_mm512_maskz_loadu_epi32(mask, p)}; }
  void store(char* p) const { _mm512_storeu_si512(p, v); }
  void store(char* p, Mask mask) const { _mm512_mask_storeu_epi32(p, mask, v); }
  void stream(char* p) const { _mm512_stream_si512(reinterpret_cast<__m512i*>(p), v); }
  static void fence() { _mm_sfence(); }
  static Vec512 fma(Vec512 a, Vec512 b, Vec512 c) { return {Dot::add(c.v, a.v, b.v)}; }
  static Vec512 add(Vec512 a, Vec512 b) { return {_mm512_add_epi32(a.v, b.v)}; }
  static Vec512 max(Vec512 a, Vec512 b) { return {_mm512_max_epi32(a.v, b.v)}; }
  static void transpose(Vec512 (&m)[lanes]) { transpose_in_memory(m); }

  static Floats floats(float number) { return _mm512_set1_ps(number); }
  static Floats load_floats(const float* p) { return _mm512_loadu_ps(p); }
  void requantize(Floats factor, Floats low, Floats high, Vec512 zero, char* to) const {
    const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(v), factor);
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_max_ps(_mm512_min_ps(product, high), low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_add_epi32(rounded, zero.v)));
  }
};

}  // namespace
}  // namespace pointwise
