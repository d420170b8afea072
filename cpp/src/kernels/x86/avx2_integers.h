// The vector type of the integer kernels for AVX2.
#pragma once

#include <immintrin.h>

#include "kernels/steps.h"
#include "kernels/x86/interleave.h"

namespace pointwise {
namespace {

// A vector of 8 sums. Dot::add(sum, a, b) adds the products of a step.
template <class Dot>
struct Vec256 {
  using Number = int32_t;
  using Mask = __m256i;
  using Floats = __m256;
  static constexpr int lanes = 8, step = 1;
  static constexpr bool has_halves = false;
  using Interleave = InterleaveAvx2;
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
  // Transposes 8 x 8 numbers in three steps, which exchange 1 x 1, 2 x 2 and 4 x 4 squares.
  static void transpose(Vec256 (&m)[lanes]) {
    __m256i a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm256_unpacklo_epi32(m[i].v, m[i + 1].v);
      a[i + 1] = _mm256_unpackhi_epi32(m[i].v, m[i + 1].v);
    }
    for (int i = 0; i < 8; i += 4)
      for (int k = 0; k < 2; ++k) {
        b[i + 2 * k] = _mm256_unpacklo_epi64(a[i + k], a[i + k + 2]);
        b[i + 2 * k + 1] = _mm256_unpackhi_epi64(a[i + k], a[i + k + 2]);
      }
    for (int k = 0; k < 4; ++k) {
      m[k].v = _mm256_permute2x128_si256(b[k], b[k + 4], 0x20);
      m[k + 4].v = _mm256_permute2x128_si256(b[k], b[k + 4], 0x31);
    }
  }

  static Floats floats(float number) { return _mm256_set1_ps(number); }
  static Floats load_floats(const float* p) { return _mm256_loadu_ps(p); }

  // Results are computed as int8 first. For uint8, 128 is subtracted from the zero point. At the end the highest bit is
  // flipped, which adds 128 again.
  class Requantizer {
   public:
    explicit Requantizer(const Rounding& r)
        : high_(_mm256_set1_ps(r.high)),
          zero_words_(_mm256_set1_epi16(static_cast<int16_t>(r.zero - (r.has_sign ? 0 : 128)))),
          low_bytes_(_mm256_set1_epi8(static_cast<char>(static_cast<int>(r.low) + r.zero - (r.has_sign ? 0 : 128)))),
          flip_(_mm256_set1_epi8(r.has_sign ? 0 : static_cast<char>(0x80))) {}

    void one(const char* sums, Floats factor, char* to) const {
      const __m256i bytes =
          packed(rounded(sums, factor), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256());
      _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(bytes));
    }

    void four(const char* sums, Floats f0, Floats f1, Floats f2, Floats f3, char* to) const {
      const __m256i bytes =
          packed(rounded(sums, f0), rounded(sums + 32, f1), rounded(sums + 64, f2), rounded(sums + 96, f3));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bytes);
    }

   private:
    // The conversion to integers turns every number outside the range of int32 into the least int32. This is right for
    // numbers below the range, because they saturate when they are packed. Numbers above the range would become wrong,
    // so the upper bound is applied before the conversion.
    __m256i rounded(const char* sums, Floats factor) const {
      const __m256i loaded = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums));
      return _mm256_cvtps_epi32(_mm256_min_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(loaded), factor), high_));
    }
    __m256i packed(__m256i v0, __m256i v1, __m256i v2, __m256i v3) const {
      const __m256i a = _mm256_adds_epi16(_mm256_packs_epi32(v0, v1), zero_words_);
      const __m256i b = _mm256_adds_epi16(_mm256_packs_epi32(v2, v3), zero_words_);
      const __m256i bytes = _mm256_xor_si256(_mm256_max_epi8(_mm256_packs_epi16(a, b), low_bytes_), flip_);
      return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    }

    const __m256 high_;
    const __m256i zero_words_, low_bytes_, flip_;
  };
};

}  // namespace
}  // namespace pointwise
