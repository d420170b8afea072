// Checks the arguments of a convolution. After these checks, only an allocation can fail.
#pragma once

#include <array>
#include <string>

#include "base/types.h"
#include "pointwise/pointwise.h"

namespace pointwise {

// The positions of the axes of a layout. batch is -1 if the layout is unbatched.
struct Layout {
  const char* name;
  int rank, batch, channels, spatial;  // spatial is the number of spatial axes
  std::array<int, max_spatial> spatial_axis;
};

// Returns the layout with this name. Throws Error if there is no such layout.
const Layout& parse_layout(const std::string& name);
std::string layout_names();

// Stride and padding, with one entry per spatial axis.
struct Window {
  std::array<int64_t, max_spatial> stride, padding;
};
// Returns the window. Throws Error if stride or padding is wrong.
Window validate_window(const Options& options, const Layout& layout);
// Rounds the activation's parameters to the dtype. Throws Error unless the rounded parameters are valid. `c_out` is the
// number of output channels.
void validate_activation(const Activation& activation, DType dtype, int64_t c_out);
// Throws Error unless the groups divide the output channels.
void validate_groups(int64_t groups, int64_t c_out);
// Returns the number of input channels of all groups. Throws Error if the shape of the weights is wrong or `groups` is
// wrong.
int64_t validate_weights(const Shape& weights, int64_t groups);

// Returns the output size along one axis: floor((size + 2 padding - 1) / stride) + 1, or 0 if size + 2 padding is 0.
int64_t output_size(int64_t size, int64_t stride, int64_t padding);

// The output positions along one axis that read the image. There are `count` positions, the first of which is `begin`.
// Position `begin` reads position `source` of the image. Each following position reads one stride further.
struct Inside {
  int64_t begin, count, source;
};
Inside inside(int64_t size, int64_t stride, int64_t padding);

// Returns the shape of dst for a src of this shape. Throws Error if the shape of src is wrong. c_in and c_out are the
// channels of all groups.
Shape validate_src(const Shape& src_shape, const Layout& layout, const Window& window, int64_t c_in, int64_t c_out,
                   int64_t groups);

// Throws Error unless the size of the array in bytes fits int64. As in NumPy, axes of length 0 do not count. After this
// check, no product of sizes of the array overflows, even if the array repeats its elements.
void validate_bytes(Argument argument, const Shape& shape, DType dtype);

[[noreturn]] void throw_dtype(Argument argument, const View& array, DType expected);
// Throws Error unless an array has this dtype.
inline void validate_dtype(Argument argument, const View& array, DType expected) {
  if (array.dtype != expected) throw_dtype(argument, array, expected);
}
// Returns true if a layer of the dtype `layer` may give results of the dtype `dst` for src of the dtype `src`.
bool may_give(DType layer, DType src, DType dst);
// Throws Error unless options.dst_dtype fits options.dtype.
void validate_dst_dtype(const Options& options);
// Throws Error unless options.weight_dtype and options.weight_scales fit options.dtype and `c_out` output channels.
void validate_weight_scales(const Options& options, int64_t c_out);
// Throws Error unless options.weight_dtype fits options.dtype.
void validate_weight_dtype(const Options& options);
// Returns true if every call with these options gives integers.
bool makes_integers(const Options& options);

// Throws Error unless a layer with these options accepts src of this dtype.
void validate_src_dtype(const Options& options, const View& src);
// Throws Error unless a layer with these options accepts dst and residual (or null) of these dtypes, for src of the
// dtype `src`.
void validate_result_dtypes(const Options& options, DType src, const View& dst, const View* residual);

// Throws Error unless the bias has one number for each output channel.
void validate_bias(const Shape& bias, const Shape& weights, int64_t groups);

// Throws Error unless an array has the expected shape.
void validate_shape(Argument argument, const Shape& shape, const Shape& expected);

}  // namespace pointwise
