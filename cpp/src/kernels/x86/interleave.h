// Interleaves the numbers of channels for pack_step, with AVX2.
#pragma once

#include <immintrin.h>

#include "kernels/common.h"

namespace pointwise {
namespace {

struct InterleaveAvx2 {
  static constexpr int64_t pixels = 32;

  // Interleaves the bytes of four channels. `flip` is applied to each step.
  static void bytes(const char* a, const char* b, const char* c, const char* d, uint32_t flip, char* to) {
    const __m256i flips = _mm256_set1_epi32(static_cast<int>(flip));
    const auto load = [&](const char* p) {
      return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), flips);
    };
    const __m256i va = load(a), vb = load(b), vc = load(c), vd = load(d);
    const __m256i lower_ab = _mm256_unpacklo_epi8(va, vb), upper_ab = _mm256_unpackhi_epi8(va, vb);
    const __m256i lower_cd = _mm256_unpacklo_epi8(vc, vd), upper_cd = _mm256_unpackhi_epi8(vc, vd);
    store(_mm256_unpacklo_epi16(lower_ab, lower_cd), to, 64);
    store(_mm256_unpackhi_epi16(lower_ab, lower_cd), to + 16, 64);
    store(_mm256_unpacklo_epi16(upper_ab, upper_cd), to + 32, 64);
    store(_mm256_unpackhi_epi16(upper_ab, upper_cd), to + 48, 64);
  }

  // Converts the numbers of two channels to words and interleaves them.
  template <class X>
  static void words(const X* a, const X* b, char* to) {
    for (int i = 0; i < pixels; i += 16, to += 64) {
      const __m256i va = word(a + i), vb = word(b + i);
      store(_mm256_unpacklo_epi16(va, vb), to, 32);
      store(_mm256_unpackhi_epi16(va, vb), to + 16, 32);
    }
  }

 private:
  static __m256i word(const uint8_t* p) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static __m256i word(const int8_t* p) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  // Stores the halves of a vector `step` bytes apart.
  static void store(__m256i v, char* to, ptrdiff_t step) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(v));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + step), _mm256_extracti128_si256(v, 1));
  }
};

}  // namespace
}  // namespace pointwise
