// Packs weights into the panels that kernels read (drawn in kernels/kernel.h).
#pragma once

#include <cstdint>

#include "kernels/kernel.h"
#include "memory/aligned.h"
#include "pointwise/pointwise.h"

namespace pointwise {

// The weights and bias of a layer. Each group has panels, and a bias that is padded with zeros to whole panels. Panels
// of int8 weights hold int8, in the order of other panels. A call converts them to float32. The scales have the form of
// the bias.
// Borrowed weights are packed only during a call. For borrowed weights, this struct stores the bias, but no panels.
struct PackedWeights {
  DType dtype = DType::f32;  // dtype of packed weights
  DType sum = DType::f32;    // dtype of bias and sums
  int item = 0, width = 0;   // `item`: bytes of a sum, and of a step of an output channel; `width`: channels of a panel
  int64_t groups, m, k;      // m output channels and k input channels of one group
  int64_t steps;             // steps of one group: input channels, or pairs of input channels (kernels/kernel.h)
  int64_t panels;            // panels of one group
  bool borrowed;
  bool swapped;            // true if packed channels have the order of place_in_pairs()
  View given;              // borrowed weights of shape (groups * m, k), or null data if the weights are packed
  AlignedBytes memory;     // null if the weights are borrowed and there is no bias: then bias() returns constant zeros
  AlignedBytes converted;  // `given`, if it had to be copied or converted; else null
  Epilogue epilogue;       // epilogue of the layer
  AlignedBytes slopes;     // for prelu: one number for each output channel of all groups; else null
  bool flush_subnormals;   // true if calls of the layer flush subnormals
  char* weights(int64_t group) const;  // first panel of a group; not for borrowed weights
  char* bias(int64_t group) const;
  // For int8 weights. `scales` returns the scales of a group, and `no_bias` returns zeros for all channels of a group.
  bool quantized() const { return is_integer(dtype); }
  char* scales(int64_t group) const { return bias(groups + group); }
  char* no_bias() const { return bias(2 * groups); }
  // Returns the bytes of an input channel, or of a pair of input channels, in a panel.
  int64_t panel_row() const { return quantized() ? width * item_size(dtype) : panel_bytes; }
  // Returns the dtype of the weights that kernels read.
  DType kernel_dtype() const { return quantized() ? sum : dtype; }
};

// Returns the dtype of the packed weights of a layer with k input channels in each group.
DType packed_dtype(const Options& options, int64_t k);

// Packs or borrows weights of shape (groups * m, k). Weights of Options::weight_dtype are not borrowed. The weights may
// have any strides, and `bias` may be null. Weights of 16-bit types are converted to the dtype of the sums, if there
// are no kernels for these weights. `bias` has the dtype of the sums. Rounds the parameters of the activation to the
// dtype of the sums.
PackedWeights pack_weights(const View& weights, const View* bias, const Options& options);
PackedWeights borrow_weights(const View& weights, const View* bias, const Options& options);

// Returns a packed copy of borrowed weights.
PackedWeights pack_borrowed(const PackedWeights& borrowed);

// Packs `channels` output channels of borrowed weights, beginning with `channel` of a group. A panel begins at
// `channel`.
void pack_panels(const PackedWeights& borrowed, int64_t group, int64_t channel, int64_t channels, char* to);

// Returns the epilogue of an activation. Rounds its parameters in the default floating-point state.
Epilogue epilogue_of(const Activation& activation, DType dtype);
// Returns the epilogue that stores sums unchanged.
Epilogue no_epilogue(DType dtype);

// Unpacks the original weights to a C-contiguous array of numbers of `dtype`, or the bias to numbers of the dtype of
// the sums. If the layer flushes subnormals, the array has zeros in place of subnormals of the bias.
void unpack_weights(const PackedWeights& packed, DType dtype, void* to);
void unpack_bias(const PackedWeights& packed, void* to);

}  // namespace pointwise
