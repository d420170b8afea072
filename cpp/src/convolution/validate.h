// Convolution words: what the arguments say, checked once. Below this file only memory can fail.
#pragma once

#include <array>
#include <string>

#include "base/types.h"
#include "pointwise/pointwise.h"

namespace pointwise {

// Where the axes of a layout are. batch is -1 in an unbatched one.
struct Layout {
  const char* name;
  int rank, batch, channels, spatial;  // spatial: how many spatial axes
  std::array<int, max_spatial> spatial_axis;
};

const Layout& parse_layout(const std::string& name);
std::string layout_names();

// Options with one entry per spatial axis.
struct Window {
  std::array<int64_t, max_spatial> stride, padding;
};
Window validate_window(const Options& options, const Layout& layout);
// That an activation's parameters are numbers of the dtype that mean something.
void validate_activation(const Activation& activation, DType dtype);
void validate_groups(int64_t groups, int64_t c_out);
// The input channels of all groups, from the shape of the weights.
int64_t validate_weights(const Shape& weights, int64_t groups);

// Output size along one axis: floor((d + 2 padding - 1) / stride) + 1, or 0 where d + 2 padding is 0.
int64_t output_size(int64_t size, int64_t stride, int64_t padding);

// Output positions along one axis that read the image: `count` of them from `begin` on. The first reads position
// `source`, each next one a stride further.
struct Inside {
  int64_t begin, count, source;
};
Inside inside(int64_t size, int64_t stride, int64_t padding);

// The shape of dst for a src of this shape, in the layout's order of axes.
Shape validate_src(const Shape& src_shape, const Layout& layout, const Window& window, int64_t c_in, int64_t c_out);

// That the bytes of an array are an int64, axes of length 0 left out, as NumPy has it: however an array repeats its
// elements, no product of its sizes overflows below.
void validate_bytes(Argument argument, const Shape& shape, DType dtype);

[[noreturn]] void throw_dtype(Argument argument, const View& array, DType expected);
// Throws unless an array has this dtype.
inline void validate_dtype(Argument argument, const View& array, DType expected) {
  if (array.dtype != expected) throw_dtype(argument, array, expected);
}
// Throws unless src has a dtype that a layer of this dtype takes: the same, or for float32 an integer one.
inline void validate_src_dtype(const View& src, DType layer) {
  if (src.dtype != layer && (info(src.dtype).floating || info(src.dtype).sum != layer))
    throw_dtype(Argument::src, src, layer);
}

// That an array has the shape that it should have.
void validate_shape(Argument argument, const Shape& shape, const Shape& expected);

}  // namespace pointwise
