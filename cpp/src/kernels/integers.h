// The contract between the driver of quantized products (product/integers.cpp) and the kernels for int32 sums.
//
// These kernels follow kernel.h, with the following differences:
//
// - Here an input channel of kernel.h is a step: 4 bytes of x, and 4 bytes of each output channel in a panel. So
//   a panel holds 16 output channels. Block::input_channels counts steps. There are two kinds of steps:
//
// clang-format off
//     bytes    4 input channels    x is uint8    weights are int8
//     words    2 input channels    x is int16    weights are int16
// clang-format on
//
// - A sum is computed modulo 2^32. So its order does not matter, and no intermediate result saturates.
// - There is no residual and no activation.
#pragma once

#include "kernels/kernel.h"

namespace pointwise {

constexpr int step_bytes = 4;

enum class Step { bytes, words };
constexpr int channels_of(Step step) { return step == Step::bytes ? 4 : 2; }

// The kernels for one kind of steps.
struct StepKernels {
  KernelRow channels, pixels;  // `run` is null if the instruction set has no kernels for these steps

  // The packing functions for x of uint8 (index 0) and of int8 (index 1). If the steps are `bytes`, 128 is added to
  // int8.
  //
  // Packs contiguous channels of one pixel. Fills the last step with zeros.
  void (*pack_pixel[2])(const char* x, int64_t channels, char* to);
  // Packs contiguous pixels of the channels of one step. Pointer i points to the first pixel of channel i.
  void (*pack_step[2])(const char* const* x, int64_t pixels, char* to);
};

// The bounds of a result before the zero point is added, the zero point of the result, and its dtype.
struct Rounding {
  float low, high;
  int32_t zero;
  bool has_sign;  // true for int8, false for uint8
};

// Rows of sums in the workspace, and rows of results. Rows are `sums_row` and `to_row` bytes apart. Each row has
// `count` contiguous numbers. If `by_row` is true, the sums of row r have the factor factors[r]. Otherwise sum i of
// each row has factors[i].
struct SumRows {
  const char* sums;
  ptrdiff_t sums_row;
  int64_t rows, count;
  const float* factors;
  bool by_row;
  char* to;
  ptrdiff_t to_row;
};

// The functions of one instruction set for sums of int32. A kernel file exports this table and nothing else.
struct IntegerKernels {
  StepKernels bytes, words;
  // Turns sums into bytes: converts them to float32, multiplies by the factors, rounds half to even, clips and adds the
  // zero point. Reads whole vectors of sums and factors. Writes `count` bytes of each row.
  void (*requantize)(const SumRows& rows, const Rounding& rounding);

  const StepKernels& of(Step step) const { return step == Step::bytes ? bytes : words; }
};

extern const IntegerKernels portable_i32;
#if defined(__x86_64__)
extern const IntegerKernels avx2_i32;
extern const IntegerKernels avx512_i32;
extern const IntegerKernels avx512vnni_i32;
#if defined(POINTWISE_AVX_VNNI)
extern const IntegerKernels avx2vnni_i32;
#endif
#endif

}  // namespace pointwise
