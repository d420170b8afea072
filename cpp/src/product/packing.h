// Weights as the kernels want them: panels of output channels (drawn in kernels/kernel.h).
#pragma once

#include <cstdint>

#include "kernels/kernel.h"
#include "memory/aligned.h"
#include "pointwise/pointwise.h"

namespace pointwise {

// The weights of a layer: for each group its panels, and its bias padded with zeros to whole panels. Borrowed weights
// stay where they are, and are packed when they are used; only their bias is here.
struct PackedWeights {
  DType dtype = DType::f32;  // of weights, bias and sums
  int item = 0, width = 0;   // bytes of a number; output channels of a panel
  int64_t groups, m, k;      // of a group
  int64_t panels;            // of a group
  bool borrowed;
  View given;  // (groups * channels, input_channels); null data unless borrowed
  AlignedBytes memory;
  Epilogue epilogue;                   // of the layer; prepared with its weights
  bool flush_subnormals;               // of the layer: the floating-point state of its calls
  char* weights(int64_t group) const;  // the group's first panel; not of borrowed weights
  char* bias(int64_t group) const;
};

// Packs weights of shape (groups * channels, input_channels) and any strides; bias may be null. The activation's
// parameters are rounded to the dtype.
PackedWeights pack_weights(const View& weights, const View* bias, const Options& options);
PackedWeights borrow_weights(const View& weights, const View* bias, const Options& options);

// Packs all of borrowed weights.
PackedWeights pack_borrowed(const PackedWeights& borrowed);

// Packs the panels of borrowed weights from output channel `channel` of a group on, which begins a panel.
void pack_panels(const PackedWeights& borrowed, int64_t group, int64_t channel, int64_t channels, char* to);

// Returns what kernels are told of an activation. Its parameters are rounded in the default floating-point state.
Epilogue epilogue_of(const Activation& activation, DType dtype);
// The epilogue that stores sums as they are.
Epilogue no_epilogue(DType dtype);

// Copies the weights and the bias as they were given, C-contiguous; if subnormals are flushed, those of the bias are
// zeros.
void unpack_weights(const PackedWeights& packed, void* to);
void unpack_bias(const PackedWeights& packed, void* to);

}  // namespace pointwise
