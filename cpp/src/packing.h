// Weights as the kernels want them: panels of panel_width<T>() output channels (drawn in kernels/kernel.h).
#pragma once

#include <cstdint>
#include <memory>
#include <variant>

#include "kernels/kernel.h"
#include "pointwise/pointwise.h"

namespace pointwise {

// 64-byte aligned memory. Throws std::bad_alloc.
struct FreeAligned {
  void operator()(void* p) const;
};
using AlignedBytes = std::unique_ptr<char, FreeAligned>;
AlignedBytes allocate_aligned(int64_t bytes);

// The packed weights of a layer: for each group its panels, and its bias padded with zeros to whole panels.
template <class T>
struct PackedWeights {
  int64_t groups, channels, input_channels;  // of a group
  int64_t panels;                            // of a group
  AlignedBytes memory;
  const T* weights(int64_t group) const;  // group's first panel
  const T* bias(int64_t group) const;
};

// weights: (groups * channels, input_channels), any strides; bias may be null.
template <class T>
PackedWeights<T> pack_weights(const View& weights, const View* bias, int64_t groups);

// Those of a layer of either type.
using Weights = std::variant<PackedWeights<float>, PackedWeights<double>>;
Weights pack_weights(const View& weights, const View* bias, const Options& options);

// What was packed, C-contiguous.
template <class T>
void unpack_weights(const PackedWeights<T>& packed, T* to);
template <class T>
void unpack_bias(const PackedWeights<T>& packed, T* to);

}  // namespace pointwise
