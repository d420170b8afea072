// Packs weights into the panels that kernels read (drawn in kernels/kernel.h).
#pragma once

#include <cstdint>

#include "kernels/kernel.h"
#include "memory/aligned.h"
#include "pointwise/pointwise.h"

namespace pointwise {

// The weights and bias of a layer. Each group has panels, and a bias that is padded with zeros to whole panels.
// Borrowed weights are packed only during a call. For borrowed weights, this struct stores the bias, but no panels.
struct PackedWeights {
  DType dtype = DType::f32;  // dtype of weights, bias and sums
  int item = 0, width = 0;   // `item`: bytes of a number; `width`: output channels of a panel
  int64_t groups, m, k;      // m output channels and k input channels of one group
  int64_t panels;            // panels of one group
  bool borrowed;
  View given;             // borrowed weights of shape (groups * m, k), or null data if the weights are packed
  AlignedBytes memory;    // null if the weights are borrowed and there is no bias: then bias() returns constant zeros
  Epilogue epilogue;      // epilogue of the layer
  AlignedBytes slopes;    // for prelu: one number for each output channel of all groups; else null
  bool flush_subnormals;  // true if calls of the layer flush subnormals
  char* weights(int64_t group) const;  // first panel of a group; not for borrowed weights
  char* bias(int64_t group) const;
};

// Packs or borrows weights of shape (groups * m, k). The weights may have any strides, and `bias` may be null. Rounds
// the parameters of the activation to the dtype of the weights.
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

// Unpacks the original weights, or the bias, to a C-contiguous array. If the layer flushes subnormals, the array has
// zeros in place of subnormals of the bias.
void unpack_weights(const PackedWeights& packed, void* to);
void unpack_bias(const PackedWeights& packed, void* to);

}  // namespace pointwise
