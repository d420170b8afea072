// The vector type of the integer kernels for AVX-512.
#pragma once

#include <immintrin.h>

#include "kernels/steps.h"
#include "kernels/x86/interleave.h"

namespace pointwise {
namespace {

// A vector of 16 sums. Dot::add(sum, a, b) adds the products of a step.
template <class Dot>
struct Vec512 {
  using Number = int32_t;
  using Mask = __mmask16;
  using Floats = __m512;
  static constexpr int lanes = 16, step = 1;
  static constexpr bool has_halves = false;
  using Interleave = InterleaveAvx2;
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
  // Transposes 16 x 16 numbers in four steps, which exchange 1 x 1, 2 x 2, 4 x 4 and 8 x 8 squares.
  static void transpose(Vec512 (&m)[lanes]) {
    __m512i a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
      a[i] = _mm512_unpacklo_epi32(m[i].v, m[i + 1].v);
      a[i + 1] = _mm512_unpackhi_epi32(m[i].v, m[i + 1].v);
    }
    for (int i = 0; i < 16; i += 4)
      for (int k = 0; k < 2; ++k) {
        b[i + 2 * k] = _mm512_unpacklo_epi64(a[i + k], a[i + k + 2]);
        b[i + 2 * k + 1] = _mm512_unpackhi_epi64(a[i + k], a[i + k + 2]);
      }
    for (int i = 0; i < 16; i += 8)
      for (int k = 0; k < 4; ++k) {
        a[i + k] = _mm512_shuffle_i32x4(b[i + k], b[i + k + 4], 0x88);
        a[i + k + 4] = _mm512_shuffle_i32x4(b[i + k], b[i + k + 4], 0xdd);
      }
    for (int k = 0; k < 8; ++k) {
      m[k].v = _mm512_shuffle_i32x4(a[k], a[k + 8], 0x88);
      m[k + 8].v = _mm512_shuffle_i32x4(a[k], a[k + 8], 0xdd);
    }
  }

  static Floats floats(float number) { return _mm512_set1_ps(number); }
  static Floats load_floats(const float* p) { return _mm512_loadu_ps(p); }

  // `one` computes in int32. `four` computes results as int8 first: for uint8, it subtracts 128 from the zero point,
  // and at the end flips the highest bit of each byte, which adds 128 again.
  class Requantizer {
   public:
    explicit Requantizer(const Rounding& r)
        : low_(_mm512_set1_ps(r.low)),
          high_(_mm512_set1_ps(r.high)),
          zero_(_mm512_set1_epi32(r.zero)),
          zero_words_(_mm512_set1_epi16(static_cast<int16_t>(r.zero - (r.has_sign ? 0 : 128)))),
          low_bytes_(_mm512_set1_epi8(static_cast<char>(static_cast<int>(r.low) + r.zero - (r.has_sign ? 0 : 128)))),
          flip_(_mm512_set1_epi8(r.has_sign ? 0 : static_cast<char>(0x80))) {}

    void one(const char* sums, Floats factor, char* to) const {
      const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums)), factor);
      const __m512i rounded = _mm512_cvtps_epi32(_mm512_max_ps(_mm512_min_ps(product, high_), low_));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_add_epi32(rounded, zero_)));
    }

    // The conversion to integers turns every number outside the range of int32 into the least int32. This is right for
    // numbers below the range, because they saturate when they are packed. Numbers above the range would become wrong,
    // so the upper bound is applied before the conversion.
    void four(const char* sums, Floats f0, Floats f1, Floats f2, Floats f3, char* to) const {
      const auto rounded = [&](int i, Floats factor) {
        const __m512 product = _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_loadu_si512(sums + 64 * i)), factor);
        return _mm512_cvtps_epi32(_mm512_min_ps(product, high_));
      };
      const __m512i a = _mm512_adds_epi16(_mm512_packs_epi32(rounded(0, f0), rounded(1, f1)), zero_words_);
      const __m512i b = _mm512_adds_epi16(_mm512_packs_epi32(rounded(2, f2), rounded(3, f3)), zero_words_);
      const __m512i bytes = _mm512_xor_si512(_mm512_max_epi8(_mm512_packs_epi16(a, b), low_bytes_), flip_);
      const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      _mm512_storeu_si512(to, _mm512_permutexvar_epi32(order, bytes));
    }

   private:
    const __m512 low_, high_;
    const __m512i zero_, zero_words_, low_bytes_, flip_;
  };
};

}  // namespace
}  // namespace pointwise
