// The vector type of the integer kernels for AVX2.
#pragma once

#include <immintrin.h>

#include "kernels/steps.h"

namespace pointwise {
namespace {

// A vector of 8 sums. Dot::add(sum, a, b) adds the products of a step.
template <class Dot>
struct Vec256 {
  using Number = int32_t;
  using Mask = __m256i;
  using Floats = __m256;
  static constexpr int lanes = 8;
  static constexpr bool has_halves = false;
  __m256i v;

  static Vec256 fill(int32_t number) { return {_mm256_set1_epi32(number)}; }
  static Vec256 broadcast(const char* p) { return {_mm256_set1_epi32(read<int32_t>(p))}; }
  static Mask first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Vec256 load(const char* p) { return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))}; }
  static Vec256 load(const char* p, Mask mask) {
    return {_mm256_maskload_epi32(reinterpret_cast<const int*>(p), mask)};
  }
  void store(char* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  void store(char* p, Mask mask) const { _mm256_maskstore_epi32(reinterpret_cast<int*>(p), mask, v); }
  void stream(char* p) const { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), v); }
  static void fence() { _mm_sfence(); }
  static Vec256 fma(Vec256 a, Vec256 b, Vec256 c) { return {Dot::add(c.v, a.v, b.v)}; }
  static Vec256 add(Vec256 a, Vec256 b) { return {_mm256_add_epi32(a.v, b.v)}; }
  static Vec256 max(Vec256 a, Vec256 b) { return {_mm256_max_epi32(a.v, b.v)}; }
  static void transpose(Vec256 (&m)[lanes]) { transpose_in_memory(m); }

  static Floats floats(float number) { return _mm256_set1_ps(number); }
  static Floats load_floats(const float* p) { return _mm256_loadu_ps(p); }
  void requantize(Floats factor, Floats low, Floats high, Vec256 zero, char* to) const {
    const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(v), factor);
    const __m256i rounded = _mm256_cvtps_epi32(_mm256_max_ps(_mm256_min_ps(product, high), low));
    // The lowest bytes of the results are 0 to 255, so packing does not saturate.
    const __m256i bytes = _mm256_and_si256(_mm256_add_epi32(rounded, zero.v), _mm256_set1_epi32(0xff));
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(words, words));
  }
};

}  // namespace
}  // namespace pointwise
