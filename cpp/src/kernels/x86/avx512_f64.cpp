// Kernels for AVX-512, float64. A tile uses up to 28 of the 32 vector registers as accumulators.
#include <immintrin.h>

#include "kernels/activation_table.h"
#include "kernels/block.h"
#include "kernels/convert.h"
#include "kernels/diagonal.h"
#include "kernels/fma_loop.h"
#include "kernels/long_rows.h"
#include "kernels/pack.h"
#include "kernels/prelu.h"
#include "kernels/quads.h"
#include "kernels/unpacked.h"

namespace pointwise {
namespace {

struct Vec {
  using Number = double;
  using Mask = __mmask8;
  static constexpr int lanes = 8, step = 1;
  __m512d v;

  static Vec fill(double number) { return {_mm512_set1_pd(number)}; }
  static Vec broadcast(const char* p) { return {_mm512_set1_pd(read<double>(p))}; }
  static Mask first(int n) { return static_cast<Mask>((1u << n) - 1); }
  static Vec load(const char* p) { return {_mm512_loadu_pd(p)}; }
  static Vec load(const char* p, Mask mask) { return {_mm512_maskz_loadu_pd(mask, p)}; }
  void store(char* p) const { _mm512_storeu_pd(p, v); }
  void store(char* p, Mask mask) const { _mm512_mask_storeu_pd(p, mask, v); }
  void stream(char* p) const { _mm512_stream_pd(reinterpret_cast<double*>(p), v); }
  static void fence() { _mm_sfence(); }
  void keep_in_register() { asm("" : "+v"(v)); }
  static Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  static constexpr bool has_halves = true;
  // Implements fma_half() as in avx512_f32.cpp, which explains the asm statement.
  static Vec fma_half(const char* p, Vec b, Vec c) {
    asm volatile("" ::: "memory");
    const auto half = [](Vec v) { return _mm512_castpd512_pd256(v.v); };
    return {_mm512_castpd256_pd512(_mm256_fmadd_pd(_mm256_set1_pd(read<double>(p)), half(b), half(c)))};
  }
  static Vec add(Vec a, Vec b) { return {_mm512_add_pd(a.v, b.v)}; }
  static Vec max(Vec a, Vec b) { return {_mm512_max_pd(a.v, b.v)}; }

  static Vec sub(Vec a, Vec b) { return {_mm512_sub_pd(a.v, b.v)}; }
  static Vec mul(Vec a, Vec b) { return {_mm512_mul_pd(a.v, b.v)}; }
  static Vec div(Vec a, Vec b) { return {_mm512_div_pd(a.v, b.v)}; }
  static Vec min(Vec a, Vec b) { return {_mm512_min_pd(a.v, b.v)}; }
  static Vec rest(Vec a, Vec b, Vec ab) { return {_mm512_fmsub_pd(a.v, b.v, ab.v)}; }
  static Vec select_less(Vec a, Vec b, Vec x, Vec y) {
    return {_mm512_mask_blend_pd(_mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
  }
  static Vec abs(Vec a) { return {_mm512_andnot_pd(fill(-0.0f).v, a.v)}; }
  static Vec copysign(Vec a, Vec sign) { return {_mm512_or_pd(abs(a).v, _mm512_and_pd(fill(-0.0f).v, sign.v))}; }
  static Vec exponent(Vec z) { return {_mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(z.v), 52))}; }

  // Transposes 8 x 8 numbers in three steps, which exchange 1 x 1, 2 x 2 and 4 x 4 squares.
  static void transpose(Vec (&m)[8]) {
    __m512d a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
      a[i] = _mm512_unpacklo_pd(m[i].v, m[i + 1].v);
      a[i + 1] = _mm512_unpackhi_pd(m[i].v, m[i + 1].v);
    }
    for (int i = 0; i < 8; i += 4)
      for (int k = 0; k < 2; ++k) {
        b[i + k] = _mm512_shuffle_f64x2(a[i + k], a[i + k + 2], 0x88);
        b[i + k + 2] = _mm512_shuffle_f64x2(a[i + k], a[i + k + 2], 0xdd);
      }
    for (int k = 0; k < 4; ++k) {
      m[k].v = _mm512_shuffle_f64x2(b[k], b[k + 4], 0x88);
      m[k + 4].v = _mm512_shuffle_f64x2(b[k], b[k + 4], 0xdd);
    }
  }
  static void load_square(const char* p, ptrdiff_t step, Vec (&m)[lanes]) { load_and_transpose(p, step, m); }

  // Loads the quads of 8 pixels. Register i first holds the quads of pixels i, i + 2, i + 4 and i + 6. Then squares of
  // 2 x 2 numbers are transposed.
  static void load_quads(const char* const (&first)[4], ptrdiff_t step, Vec (&m)[2]) {
    __m512d a[2];
    POINTWISE_UNROLL
    for (int i = 0; i < 2; ++i) {
      const auto quad = [&](int group) {
        return _mm_loadu_pd(reinterpret_cast<const double*>(first[group] + i * step));
      };
      a[i] = _mm512_castpd128_pd512(quad(0));
      a[i] = _mm512_mask_broadcast_f64x2(a[i], 0x0c, quad(1));
      a[i] = _mm512_mask_broadcast_f64x2(a[i], 0x30, quad(2));
      a[i] = _mm512_mask_broadcast_f64x2(a[i], 0xc0, quad(3));
    }
    m[0].v = _mm512_unpacklo_pd(a[0], a[1]);
    m[1].v = _mm512_unpackhi_pd(a[0], a[1]);
  }
};

constexpr KernelRow rows[] = {
    {"gemm_f64_8x24_channels_avx512", all_f64, Rows::channels, Reads::pixels, 8, 3, 8, run_channel_rows<Vec, 8, 3>},
    {"gemm_f64_6x32_pixels_avx512", all_f64, Rows::pixels, Reads::any, 6, 4, 8, run_pixel_rows<Vec, 6, 4>},
    {"gemm_f64_8x24_pixels_avx512", all_f64, Rows::pixels, Reads::any, 8, 3, 8, run_pixel_rows<Vec, 8, 3>},
    {"gemm_f64_12x16_pixels_avx512", all_f64, Rows::pixels, Reads::any, 12, 2, 8, run_pixel_rows<Vec, 12, 2>},
    {"gemm_f64_28x8_pixels_avx512", all_f64, Rows::pixels, Reads::any, 28, 1, 8, run_pixel_rows<Vec, 28, 1>},
    {"gemm_f64_2x64_pixels_avx512", all_f64, Rows::pixels, Reads::any, 2, 8, 8, run_pixel_rows<Vec, 2, 8>},
    {"gemm_f64_8x8_quads_avx512", all_f64, Rows::channels, Reads::channels, 8, 1, 8, run_quads<Vec>, 1, quads_refuse,
     quads_cycles},
    {"gemm_f64_8x24_long_avx512", all_f64, Rows::channels, Reads::pixels, 8, 3, 8, run_long_rows<Vec, 8, 24>, 1,
     long_rows_refuse, long_rows_cycles, long_rows_room},
    {"gemm_f64_16x8_diagonal_avx512", all_f64, Rows::pixels, Reads::own, 16, 1, 8, run_diagonal<Vec>, 1, nullptr,
     diagonal_cycles},
};

}  // namespace

const KernelTable avx512_f64 = {all_of(rows),       pack_functions<Vec>,     convert_functions<Vec>,
                                scale_numbers<Vec>, pack_weights_panel<Vec>, multiply_unpacked<Vec>,
                                activations<Vec>,   fma_loop<Vec>,           prelu_numbers<Vec>};

}  // namespace pointwise
