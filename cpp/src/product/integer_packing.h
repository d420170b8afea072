// The weights of a quantized layer, packed into panels.
//
// Panels consist of steps (kernels/integers.h). The zero point of src is folded into the bias: each sum starts from
// bias[m] - src_zero * (sum of the weights of m).
#pragma once

#include <cstdint>
#include <vector>

#include "base/types.h"
#include "kernels/integers.h"
#include "memory/aligned.h"

namespace pointwise {

constexpr int64_t panel_channels = panel_width<int32_t>();  // number of output channels of a panel

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

}  // namespace pointwise
