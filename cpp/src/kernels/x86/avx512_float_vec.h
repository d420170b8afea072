// The vector type of the AVX-512 kernels whose sums are float32.
#pragma once

#include <immintrin.h>

#include "kernels/convert.h"

namespace pointwise {
namespace {

// A vector of 16 numbers of float32. Operands of a tile have 32 bits for a step: one number of float32, or `Step`
// numbers of a shorter type.
template <int Step>
struct FloatVec {
  using Vec = FloatVec;
  using Number = float;
  using Mask = __mmask16;
  static constexpr int lanes = 16, step = Step;
  __m512 v;

  static Vec fill(float number) { return {_mm512_set1_ps(number)}; }
  static Vec broadcast(const char* p) { return {_mm512_set1_ps(read<float>(p))}; }
  static Mask first(int n) { return static_cast<Mask>((1u << n) - 1); }
  static Vec load(const char* p) { return {_mm512_loadu_ps(p)}; }
  static Vec load(const char* p, Mask mask) { return {_mm512_maskz_loadu_ps(mask, p)}; }
  // Load and convert one vector of integers.
  static Vec convert(const uint8_t* p) { return converted(_mm512_cvtepu8_epi32(bytes16(p))); }
  static Vec convert(const int8_t* p) { return converted(_mm512_cvtepi8_epi32(bytes16(p))); }
  static Vec convert(const uint16_t* p) { return converted(_mm512_cvtepu16_epi32(bytes32(p))); }
  static Vec convert(const int16_t* p) { return converted(_mm512_cvtepi16_epi32(bytes32(p))); }
  static Vec convert(const Float16* p) { return {_mm512_cvtph_ps(bytes32(p))}; }
  static Vec convert(const BFloat16* p) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bytes32(p)), 16))};
  }
  static Vec converted(__m512i numbers) { return {_mm512_cvtepi32_ps(numbers)}; }
  static __m128i bytes16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
  static __m256i bytes32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
  template <class Y>
  void store_as(Y* p) const {
    using Range = RangeOf<float, Y>;
    const __m512 most = min(fill(Range::high), *this).v;  // NaN stays NaN, and becomes the least int32_t
    const __m512i wide = Range::has_sign ? _mm512_maskz_cvtps_epi32(_mm512_cmp_ps_mask(v, v, _CMP_ORD_Q),
                                                                    max({most}, fill(Range::low)).v)
                                         : _mm512_max_epi32(_mm512_cvtps_epi32(most), _mm512_setzero_si512());
    if constexpr (sizeof(Y) == 2)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(wide));
    else
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(wide));
  }
  void store_as(Float16* p) const { store32(p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
  void store_as(BFloat16* p) const { store32(p, _mm512_cvtepi32_epi16(rounded_bits(*this))); }
  // Returns numbers of bfloat16, each in the lower half of a lane.
  static __m512i rounded_bits(Vec a) {
    const __m512i bits = _mm512_castps_si512(a.v), upper = _mm512_srli_epi32(bits, 16);
    const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff)), 16);
    const __m512i nan = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
    return _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q), nan);
  }
  static void store32(void* p, __m256i bytes) { _mm256_storeu_si256(static_cast<__m256i*>(p), bytes); }
  static Vec swap_pairs(Vec a) { return {_mm512_permute_ps(a.v, 0xb1)}; }
  using Index = __m512i;
  static Index index(const int32_t* numbers) { return _mm512_loadu_si512(numbers); }
  static Vec permute(Vec a, Index index) { return {_mm512_permutexvar_ps(index, a.v)}; }
  void store(char* p) const { _mm512_storeu_ps(p, v); }
  void store(char* p, Mask mask) const { _mm512_mask_storeu_ps(p, mask, v); }
  void stream(char* p) const { _mm512_stream_ps(reinterpret_cast<float*>(p), v); }
  static void fence() { _mm_sfence(); }
  void keep_in_register() { asm("" : "+v"(v)); }
  static Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static constexpr bool has_halves = Step == 1;
  // Returns (number at p) * b + c in the lower half. The upper half is undefined.
  //
  // The empty asm statement makes this multiply-add load the number from memory again. Without the statement, the
  // compiler would load the number once, into a register that multiply-adds of whole vectors also use. Then each
  // multiply-add of a half vector would take longer. (Zen 4, 96 -> 24 channels at 56x56 in NHWC: 127 us with the
  // statement, 143 us without.)
  static Vec fma_half(const char* p, Vec b, Vec c) {
    asm volatile("" ::: "memory");
    const auto half = [](Vec v) { return _mm512_castps512_ps256(v.v); };
    return {_mm512_castps256_ps512(_mm256_fmadd_ps(_mm256_set1_ps(read<float>(p)), half(b), half(c)))};
  }
  static Vec add(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  static Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }

  static Vec sub(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  static Vec mul(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static Vec div(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  static Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }
  static Vec rest(Vec a, Vec b, Vec ab) { return {_mm512_fmsub_ps(a.v, b.v, ab.v)}; }
  static Vec select_less(Vec a, Vec b, Vec x, Vec y) {
    return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
  }
  static Vec abs(Vec a) { return {_mm512_andnot_ps(fill(-0.0f).v, a.v)}; }
  static Vec copysign(Vec a, Vec sign) { return {_mm512_or_ps(abs(a).v, _mm512_and_ps(fill(-0.0f).v, sign.v))}; }
  static Vec exponent(Vec z) { return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(z.v), 23))}; }

  struct Half {
    using Number = float;
    static constexpr int lanes = 8;
    __m256 v;
    static __mmask8 first(int n) { return static_cast<__mmask8>((1u << n) - 1); }
    static Half broadcast(const char* p) { return {_mm256_set1_ps(read<float>(p))}; }
    static Half load(const char* p) { return {_mm256_loadu_ps(reinterpret_cast<const float*>(p))}; }
    void store(char* p) const { _mm256_storeu_ps(reinterpret_cast<float*>(p), v); }
    void store(char* p, __mmask8 mask) const { _mm256_mask_storeu_ps(p, mask, v); }
    static Half fill(float number) { return {_mm256_set1_ps(number)}; }
    static Half add(Half a, Half b) { return {_mm256_add_ps(a.v, b.v)}; }
    static Half max(Half a, Half b) { return {_mm256_max_ps(a.v, b.v)}; }
    static Half fma(Half a, Half b, Half c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  };
  static Vec widen(Half half) { return {_mm512_zextps256_ps512(half.v)}; }
  static Vec twice(const char* p) {
    return {_mm512_broadcast_f32x8(_mm256_loadu_ps(reinterpret_cast<const float*>(p)))};
  }
  static Vec join(Vec a, Vec b) { return {_mm512_mask_mov_ps(a.v, 0xff00, b.v)}; }
  void store_lower(char* p, __mmask8 mask) const { _mm512_mask_storeu_ps(p, mask, v); }
  // Extracts the upper half to a register first. The instruction that extracts directly to memory faults if any of the
  // 32 bytes is not writable, even a byte that the mask excludes.
  void store_upper(char* p, __mmask8 mask) const {
    __m256 upper = _mm512_extractf32x8_ps(v, 1);
    asm("" : "+v"(upper));
    _mm256_mask_storeu_ps(p, mask, upper);
  }
  static Vec load_halves(const char* p, const char* q, __mmask8 mask) {
    return {_mm512_insertf32x8(_mm512_maskz_loadu_ps(mask, p), _mm256_maskz_loadu_ps(mask, q), 1)};
  }

  // Transposes 16 x 16 numbers in four steps, which exchange 1 x 1, 2 x 2, 4 x 4 and 8 x 8 squares.
  static void transpose(Vec (&m)[16]) {
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
      a[i] = _mm512_unpacklo_ps(m[i].v, m[i + 1].v);
      a[i + 1] = _mm512_unpackhi_ps(m[i].v, m[i + 1].v);
    }
    for (int i = 0; i < 16; i += 4)
      for (int k = 0; k < 2; ++k) {
        const __m512d lo = _mm512_castps_pd(a[i + k]), hi = _mm512_castps_pd(a[i + k + 2]);
        b[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo, hi));
        b[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo, hi));
      }
    for (int i = 0; i < 16; i += 8)
      for (int k = 0; k < 4; ++k) {
        a[i + k] = _mm512_shuffle_f32x4(b[i + k], b[i + k + 4], 0x88);
        a[i + k + 4] = _mm512_shuffle_f32x4(b[i + k], b[i + k + 4], 0xdd);
      }
    for (int k = 0; k < 8; ++k) {
      m[k].v = _mm512_shuffle_f32x4(a[k], a[k + 8], 0x88);
      m[k + 8].v = _mm512_shuffle_f32x4(a[k], a[k + 8], 0xdd);
    }
  }

  // Loads half of row r and half of row r + 8 into one register. Then fewer numbers must move to the other half of a
  // register, so 48 shuffles suffice instead of 64.
  static void load_square(const char* p, ptrdiff_t step, Vec (&m)[16]) {
    const __m512i lower = _mm512_set_epi32(27, 26, 25, 24, 11, 10, 9, 8, 19, 18, 17, 16, 3, 2, 1, 0);
    const __m512i upper = _mm512_set_epi32(31, 30, 29, 28, 15, 14, 13, 12, 23, 22, 21, 20, 7, 6, 5, 4);
    POINTWISE_UNROLL
    for (int half = 0; half < 2; ++half) {
      // For r = 0 and 4, c[r + k] has numbers k and k + 4 of rows r to r + 3 and of rows r + 8 to r + 11.
      __m512 a[8], b[8], c[8];
      POINTWISE_UNROLL
      for (int r = 0; r < 8; ++r) {
        const char* row = p + r * step + half * 32;
        a[r] = _mm512_castps256_ps512(_mm256_loadu_ps(reinterpret_cast<const float*>(row)));
        a[r] =
            _mm512_mask_broadcast_f32x8(a[r], 0xff00, _mm256_loadu_ps(reinterpret_cast<const float*>(row + 8 * step)));
      }
      POINTWISE_UNROLL
      for (int r = 0; r < 8; r += 2) {
        b[r] = _mm512_unpacklo_ps(a[r], a[r + 1]);
        b[r + 1] = _mm512_unpackhi_ps(a[r], a[r + 1]);
      }
      POINTWISE_UNROLL
      for (int r = 0; r < 8; r += 4)
        for (int k = 0; k < 2; ++k) {
          const __m512d lo = _mm512_castps_pd(b[r + k]), hi = _mm512_castps_pd(b[r + k + 2]);
          c[r + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(lo, hi));
          c[r + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(lo, hi));
        }
      POINTWISE_UNROLL
      for (int k = 0; k < 4; ++k) {
        m[8 * half + k].v = _mm512_permutex2var_ps(c[k], lower, c[k + 4]);
        m[8 * half + k + 4].v = _mm512_permutex2var_ps(c[k], upper, c[k + 4]);
      }
    }
  }

  // Loads the quads of 16 pixels. Register i first holds the quads of pixels i, i + 4, i + 8 and i + 12. Then squares
  // of 4 x 4 numbers are transposed.
  static void load_quads(const char* const (&first)[4], ptrdiff_t step, Vec (&m)[4]) {
    __m512 a[4], b[4];
    POINTWISE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const auto quad = [&](int group) {
        return _mm_loadu_ps(reinterpret_cast<const float*>(first[group] + i * step));
      };
      a[i] = _mm512_castps128_ps512(quad(0));
      a[i] = _mm512_mask_broadcast_f32x4(a[i], 0x00f0, quad(1));
      a[i] = _mm512_mask_broadcast_f32x4(a[i], 0x0f00, quad(2));
      a[i] = _mm512_mask_broadcast_f32x4(a[i], 0xf000, quad(3));
    }
    b[0] = _mm512_unpacklo_ps(a[0], a[1]);
    b[1] = _mm512_unpackhi_ps(a[0], a[1]);
    b[2] = _mm512_unpacklo_ps(a[2], a[3]);
    b[3] = _mm512_unpackhi_ps(a[2], a[3]);
    POINTWISE_UNROLL
    for (int k = 0; k < 2; ++k) {
      const __m512d lower = _mm512_castps_pd(b[k]), upper = _mm512_castps_pd(b[k + 2]);
      m[2 * k].v = _mm512_castpd_ps(_mm512_unpacklo_pd(lower, upper));
      m[2 * k + 1].v = _mm512_castpd_ps(_mm512_unpackhi_pd(lower, upper));
    }
  }
  // Converts byte `c` of each lane.
  static Vec convert_byte(Vec bytes, int c) {
    constexpr int zeros = static_cast<int>(0x80808000u);
    const __m128i order = _mm_setr_epi32(zeros + c, zeros + 4 + c, zeros + 8 + c, zeros + 12 + c);
    return {_mm512_cvtepi32_ps(_mm512_shuffle_epi8(_mm512_castps_si512(bytes.v), _mm512_broadcast_i32x4(order)))};
  }
};

}  // namespace
}  // namespace pointwise
