// Quantized products: sums of products of 8-bit integers, which are exact in int32, and their conversion to 8 bits.
//
// For each group, dst[m, n] is the sum over k of (weights[m, k] - weight_zero[m]) * (src[k, n] - src_zero), plus
// bias[m]. If dst has 8 bits, the sum is converted to float32 and multiplied by a factor of the output channel. The
// product is rounded half to even and clipped, then the zero point of dst is added.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "product/integer_packing.h"
#include "product/product.h"

namespace pointwise {

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
