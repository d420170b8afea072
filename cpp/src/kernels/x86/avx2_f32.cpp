// Kernels for AVX2 and FMA, float32. A tile uses up to 12 of the 16 vector registers as accumulators.
#include <immintrin.h>

#include "kernels/activation_table.h"
#include "kernels/block.h"
#include "kernels/convert.h"
#include "kernels/diagonal.h"
#include "kernels/fma_loop.h"
#include "kernels/int8_weights.h"
#include "kernels/long_rows.h"
#include "kernels/pack.h"
#include "kernels/planes.h"
#include "kernels/prelu.h"
#include "kernels/quads.h"
#include "kernels/unpacked.h"
#include "kernels/x86/avx2_planes.h"

namespace pointwise {
namespace {

struct Vec {
  using Number = float;
  using Mask = __m256i;
  static constexpr int lanes = 8, step = 1;
  static constexpr bool has_halves = false;
  __m256 v;

  static Vec fill(float number) { return {_mm256_set1_ps(number)}; }
  static Vec broadcast(const char* p) { return {_mm256_set1_ps(read<float>(p))}; }
  static Mask first(int n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Vec load(const char* p) { return {_mm256_loadu_ps(reinterpret_cast<const float*>(p))}; }
  static Vec load(const char* p, Mask mask) { return {_mm256_maskload_ps(reinterpret_cast<const float*>(p), mask)}; }
  // Load and convert one vector of integers.
  static Vec convert(const uint8_t* p) { return converted(_mm256_cvtepu8_epi32(bytes8(p))); }
  static Vec convert(const int8_t* p) { return converted(_mm256_cvtepi8_epi32(bytes8(p))); }
  static Vec convert(const uint16_t* p) { return converted(_mm256_cvtepu16_epi32(bytes16(p))); }
  static Vec convert(const int16_t* p) { return converted(_mm256_cvtepi16_epi32(bytes16(p))); }
  static Vec convert(const Float16* p) { return {_mm256_cvtph_ps(bytes16(p))}; }
  static Vec convert(const BFloat16* p) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bytes16(p)), 16))};
  }
  static Vec converted(__m256i numbers) { return {_mm256_cvtepi32_ps(numbers)}; }
  static __m128i bytes8(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
  static __m128i bytes16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
  template <class Y>
  void store_as(Y* p) const {
    using Range = RangeOf<float, Y>;
    const Vec most = min(fill(Range::high), *this);  // NaN stays NaN, and becomes the least int32_t
    const __m256 number = _mm256_and_ps(max(most, fill(Range::low)).v, _mm256_cmp_ps(v, v, _CMP_ORD_Q));
    // Packing with saturation turns negative numbers into 0, if Y is unsigned.
    const __m256i wide = _mm256_cvtps_epi32(Range::has_sign ? number : most.v);
    const __m128i low = _mm256_castsi256_si128(wide), high = _mm256_extracti128_si256(wide, 1);
    __m128i* const to = reinterpret_cast<__m128i*>(p);
    if constexpr (sizeof(Y) == 2) {
      _mm_storeu_si128(to, Range::has_sign ? _mm_packs_epi32(low, high) : _mm_packus_epi32(low, high));
    } else {
      const __m128i words = _mm_packs_epi32(low, high);
      _mm_storel_epi64(to, Range::has_sign ? _mm_packs_epi16(words, words) : _mm_packus_epi16(words, words));
    }
  }
  void store_as(Float16* p) const { store16(p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
  void store_as(BFloat16* p) const {
    const __m256i bits = _mm256_castps_si256(v), upper = _mm256_srli_epi32(bits, 16);
    const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_srli_epi32(_mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff)), 16);
    const __m256i nan = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
    const __m256i chosen = _mm256_blendv_epi8(rounded, nan, _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
    store16(p, _mm_packus_epi32(_mm256_castsi256_si128(chosen), _mm256_extracti128_si256(chosen, 1)));
  }
  static void store16(void* p, __m128i bytes) { _mm_storeu_si128(static_cast<__m128i*>(p), bytes); }
  static Vec swap_pairs(Vec a) { return {_mm256_permute_ps(a.v, 0xb1)}; }
  void store(char* p) const { _mm256_storeu_ps(reinterpret_cast<float*>(p), v); }
  void store(char* p, Mask mask) const { _mm256_maskstore_ps(reinterpret_cast<float*>(p), mask, v); }
  void stream(char* p) const { _mm256_stream_ps(reinterpret_cast<float*>(p), v); }
  static void fence() { _mm_sfence(); }
  void keep_in_register() { asm("" : "+x"(v)); }
  static Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  static Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }

  static Vec sub(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  static Vec mul(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  static Vec div(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  static Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }
  static Vec rest(Vec a, Vec b, Vec ab) { return {_mm256_fmsub_ps(a.v, b.v, ab.v)}; }
  static Vec select_less(Vec a, Vec b, Vec x, Vec y) {
    return {_mm256_blendv_ps(y.v, x.v, _mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))};
  }
  static Vec abs(Vec a) { return {_mm256_andnot_ps(fill(-0.0f).v, a.v)}; }
  static Vec copysign(Vec a, Vec sign) { return {_mm256_or_ps(abs(a).v, _mm256_and_ps(fill(-0.0f).v, sign.v))}; }
  static Vec exponent(Vec z) { return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(z.v), 23))}; }

  // Transposes 8 x 8 numbers in three steps, which exchange 1 x 1, 2 x 2 and 4 x 4 squares.
  static void transpose(Vec (&m)[8]) {
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm256_unpacklo_ps(m[i].v, m[i + 1].v);
      a[i + 1] = _mm256_unpackhi_ps(m[i].v, m[i + 1].v);
    }
    for (int i = 0; i < 8; i += 4)
      for (int k = 0; k < 2; ++k) {
        b[i + 2 * k] = _mm256_shuffle_ps(a[i + k], a[i + k + 2], 0x44);
        b[i + 2 * k + 1] = _mm256_shuffle_ps(a[i + k], a[i + k + 2], 0xee);
      }
    for (int k = 0; k < 4; ++k) {
      m[k].v = _mm256_permute2f128_ps(b[k], b[k + 4], 0x20);
      m[k + 4].v = _mm256_permute2f128_ps(b[k], b[k + 4], 0x31);
    }
  }

  // Loads half of row r and half of row r + 4 into one register. So each number is in its final half of a register from
  // the start, and 16 shuffles suffice instead of 24.
  static void load_square(const char* p, ptrdiff_t step, Vec (&m)[8]) {
    POINTWISE_UNROLL
    for (int half = 0; half < 2; ++half) {
      __m256 a[4], b[4];
      POINTWISE_UNROLL
      for (int r = 0; r < 4; ++r) {
        const char* row = p + r * step + half * 16;
        a[r] = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(reinterpret_cast<const float*>(row))),
                                    _mm_loadu_ps(reinterpret_cast<const float*>(row + 4 * step)), 1);
      }
      for (int r = 0; r < 4; r += 2) {
        b[r] = _mm256_unpacklo_ps(a[r], a[r + 1]);
        b[r + 1] = _mm256_unpackhi_ps(a[r], a[r + 1]);
      }
      for (int k = 0; k < 2; ++k) {
        m[4 * half + 2 * k].v = _mm256_shuffle_ps(b[k], b[k + 2], 0x44);
        m[4 * half + 2 * k + 1].v = _mm256_shuffle_ps(b[k], b[k + 2], 0xee);
      }
    }
  }

  // Loads the quads of 8 pixels. Register i first holds the quads of pixels i and i + 4. Then squares of 4 x 4 numbers
  // are transposed.
  static void load_quads(const char* const (&first)[2], ptrdiff_t step, Vec (&m)[4]) {
    __m256 a[4], b[4];
    POINTWISE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const auto quad = [&](int group) {
        return _mm_loadu_ps(reinterpret_cast<const float*>(first[group] + i * step));
      };
      a[i] = _mm256_insertf128_ps(_mm256_castps128_ps256(quad(0)), quad(1), 1);
    }
    b[0] = _mm256_unpacklo_ps(a[0], a[1]);
    b[1] = _mm256_unpackhi_ps(a[0], a[1]);
    b[2] = _mm256_unpacklo_ps(a[2], a[3]);
    b[3] = _mm256_unpackhi_ps(a[2], a[3]);
    POINTWISE_UNROLL
    for (int k = 0; k < 2; ++k) {
      const __m256d lower = _mm256_castps_pd(b[k]), upper = _mm256_castps_pd(b[k + 2]);
      m[2 * k].v = _mm256_castpd_ps(_mm256_unpacklo_pd(lower, upper));
      m[2 * k + 1].v = _mm256_castpd_ps(_mm256_unpackhi_pd(lower, upper));
    }
  }

  // Converts byte `c` of each lane.
  static Vec convert_byte(Vec bytes, int c) {
    constexpr int zeros = static_cast<int>(0x80808000u);
    const __m128i order = _mm_setr_epi32(zeros + c, zeros + 4 + c, zeros + 8 + c, zeros + 12 + c);
    return {_mm256_cvtepi32_ps(_mm256_shuffle_epi8(_mm256_castps_si256(bytes.v), _mm256_broadcastsi128_si256(order)))};
  }

  template <int K>
  static void load_planes(const float* p, Vec (&to)[K]) {
    load_float_planes(p, to);
  }
  template <int K>
  static void load_planes(const uint8_t* p, Vec (&to)[K]) {
    load_byte_planes(p, to);
  }
  template <int K>
  static void store_planes(const Vec (&from)[K], float* p) {
    store_float_planes(from, p);
  }
  template <int K>
  static void store_planes(const Vec (&from)[K], uint8_t* p) {
    store_byte_planes(from, p);
  }
};

constexpr KernelRow rows[] = {
    {"gemm_f32_4x24_channels_avx2", all_f32, Rows::channels, Reads::pixels, 4, 3, 8, run_channel_rows<Vec, 4, 3>},
    {"gemm_f32_6x16_pixels_avx2", all_f32, Rows::pixels, Reads::any, 6, 2, 8, run_pixel_rows<Vec, 6, 2>},
    {"gemm_f32_12x8_pixels_avx2", all_f32, Rows::pixels, Reads::any, 12, 1, 8, run_pixel_rows<Vec, 12, 1>},
    {"gemm_f32_1x64_pixels_avx2", all_f32, Rows::pixels, Reads::any, 1, 8, 8, run_pixel_rows<Vec, 1, 8>},
    {"gemm_f32_8x8_quads_avx2", all_f32, Rows::channels, Reads::channels, 8, 1, 8, run_quads<Vec>, 1, quads_refuse,
     quads_cycles},
    {"gemm_u8_6x8_quads_avx2", u8_to_f32, Rows::channels, Reads::channels, 6, 1, 8, run_byte_quads<Vec>, 1,
     byte_quads_refuse, byte_quads_cycles},
    {"gemm_f32_6x16_long_avx2", all_f32, Rows::channels, Reads::pixels, 6, 2, 8, run_long_rows<Vec, 6, 12>, 1,
     long_rows_refuse, long_rows_cycles, long_rows_room},
    {"gemm_f32_12x8_planes_avx2", all_f32, Rows::pixels, Reads::any, 12, 1, 8, run_planes<Vec, 12, 1>, 16,
     planes_refuse, planes_cycles, nullptr, true},
    {"gemm_u8_12x8_planes_avx2", u8_to_f32, Rows::pixels, Reads::any, 12, 1, 8, run_planes_of<Vec, uint8_t, float>, 16,
     planes_refuse, byte_planes_cycles, nullptr, true},
    {"gemm_u8u8_12x8_planes_avx2", u8_to_u8, Rows::pixels, Reads::any, 12, 1, 8, run_planes_of<Vec, uint8_t, uint8_t>,
     16, planes_refuse, byte_planes_cycles, nullptr, true},
    {"gemm_f32_16x8_diagonal_avx2", all_f32, Rows::pixels, Reads::own, 16, 1, 8, run_diagonal<Vec>, 1, nullptr,
     diagonal_cycles},
};

}  // namespace

const KernelTable avx2_f32 = {all_of(rows),
                              pack_functions<Vec>,
                              convert_functions<Vec>,
                              scale_numbers<Vec>,
                              pack_weights_panel<Vec>,
                              multiply_unpacked<Vec>,
                              activations<Vec>,
                              fma_loop<Vec>,
                              prelu_numbers<Vec>,
                              1,
                              nullptr,
                              multiply_int8<Vec>,
                              scale_sums<Vec>};

}  // namespace pointwise
