// Quantized products: sums of products of 8-bit integers, which are exact in int32, and their conversion to 8 bits.
//
// For each group, dst[m, n] is the sum over k of (weights[m, k] - weight_zero[m]) * (src[k, n] - src_zero), plus
// bias[m]. If dst has 8 bits, the sum is converted to float32 and multiplied by a factor of the output channel. The
// product is rounded half to even and clipped, then the zero point of dst is added.
//
// src and weights are stored in panels of steps (kernels/integers.h). The zero point of src is folded into the bias:
// each sum starts from bias[m] - src_zero * (sum of the weights of m).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/integers.h"
#include "memory/aligned.h"
#include "product/product.h"

namespace pointwise {

// The weights of a quantized layer, packed into panels.
struct PackedIntegers {
  Step step;
  DType src, dst;                            // u8 or i8; dst may also be i32
  int64_t groups, m, k;                      // m output channels and k input channels of one group
  int64_t steps, panels;                     // steps of a sum, and panels of one group
  AlignedBytes memory;                       // panels of all groups, then `starts` and `factors` of all groups
  Rounding rounding;                         // for dst of 8 bits
  const char* weights(int64_t group) const;  // first panel of a group
  // The numbers from which the sums of a group start, up to a whole panel. `padding` selects the numbers for pixels in
  // the padding.
  const int32_t* starts(int64_t group, bool padding) const;
  const float* factors(int64_t group) const;  // one for each output channel, up to a whole panel
};

// The numbers that pack_integers() takes. Vectors have one number for each output channel of all groups.
struct IntegerParameters {
  DType src, dst;
  int64_t groups;
  int src_zero;
  std::vector<int> weight_zeros;
  std::vector<int32_t> bias;
  std::vector<float> factors;  // empty if dst is i32
  Rounding rounding;
};

// Packs weights of u8 or i8, of shape (groups * m, k) and with any strides.
PackedIntegers pack_integers(const View& weights, const IntegerParameters& parameters);

// The least and the greatest sum of an output channel, over all src of a dtype.
struct SumRange {
  int64_t least, greatest;
};
SumRange sum_range(const View& weights, const IntegerParameters& parameters, int64_t channel);

// Computes layers in sequence, on at most `threads` threads: each layer reads the result of the layer before. `product`
// is the product of a layer with one group, the src of the first layer and the dst of the last layer. It must have no
// padding. May throw std::bad_alloc, but only before the first write to dst.
void run_integer_chain(const Product& product, const std::vector<const PackedIntegers*>& layers, const char* src,
                       char* dst, int threads);
// Describes in words how run_integer_chain() computes the layers.
std::string explain_integer_chain(const Product& product, const std::vector<const PackedIntegers*>& layers,
                                  int threads);

// Computes a product on at most `threads` threads. The types of the product must be those of the weights. May throw
// std::bad_alloc, but only before the first write to dst.
void run_integers(const Product& product, const PackedIntegers& weights, const char* src, char* dst, int threads);
// Describes in words how run_integers() computes the product.
std::string explain_integers(const Product& product, const PackedIntegers& weights, int threads);

}  // namespace pointwise
