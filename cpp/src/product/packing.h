// Weights as the kernels want them: panels of panel_width<T>() output channels (drawn in kernels/kernel.h).
#pragma once

#include <cstdint>
#include <variant>

#include "kernels/kernel.h"
#include "memory/aligned.h"
#include "pointwise/pointwise.h"

namespace pointwise {

// The weights of a layer: for each group its panels, and its bias padded with zeros to whole panels. Borrowed weights
// are left where they are, and packed when they are used; only their bias is here.
template <class T>
struct PackedWeights {
  int64_t groups, channels, input_channels;  // of a group
  int64_t panels;                            // of a group
  bool borrowed;
  View given;  // (groups * channels, input_channels); null data unless borrowed
  AlignedBytes memory;
  Epilogue<T> epilogue;                   // of the layer; prepared with its weights
  bool flush_subnormals;                  // of the layer: the floating-point state of its calls
  const T* weights(int64_t group) const;  // group's first panel; not of borrowed weights
  const T* bias(int64_t group) const;
};

// weights: (groups * channels, input_channels), any strides; bias may be null.
template <class T>
PackedWeights<T> pack_weights(const View& weights, const View* bias, int64_t groups);
template <class T>
PackedWeights<T> borrow_weights(const View& weights, const View* bias, int64_t groups);

// All of borrowed weights, packed.
template <class T>
PackedWeights<T> pack_borrowed(const PackedWeights<T>& borrowed);

// Packs the panels of borrowed weights from output channel `channel` of a group on, which begins a panel.
template <class T>
void pack_panels(const PackedWeights<T>& borrowed, int64_t group, int64_t channel, int64_t channels, T* to);

// What kernels are told of an activation. Its parameters are rounded here, in the default floating-point state.
template <class T>
Epilogue<T> epilogue_of(const Activation& activation);

// Those of a layer of either type.
using Weights = std::variant<PackedWeights<float>, PackedWeights<double>>;
Weights pack_weights(const View& weights, const View* bias, const Options& options);
Weights borrow_weights(const View& weights, const View* bias, const Options& options);

// The weights and bias as they were given, C-contiguous; where subnormals are flushed, those of the bias are zeros.
template <class T>
void unpack_weights(const PackedWeights<T>& packed, T* to);
template <class T>
void unpack_bias(const PackedWeights<T>& packed, T* to);

}  // namespace pointwise
