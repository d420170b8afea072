// Counts the cost of a convolution.
#include "base/checked.h"
#include "base/types.h"
#include "convolution/validate.h"

namespace pointwise {
namespace {

// Returns the number of elements.
int64_t product(const Shape& shape) {
  int64_t n = 1;
  for (int i = 0; i < shape.rank; ++i)
    if (shape[i] == 0) return 0;
  for (int i = 0; i < shape.rank; ++i)
    if (!checked_multiply(n, shape[i], &n))
      throw Error(Argument::src, "must be small enough that every count fits int64, got shape " + to_string(shape));
  return n;
}

}  // namespace

Cost cost(const Shape& src_shape, int64_t c_out, const Options& options, bool has_bias) {
  const Layout& layout = parse_layout(options.layout);
  const Window window = validate_window(options, layout);
  if (c_out < 0) throw Error(Argument::weights, "must have at least 0 output channels, got " + std::to_string(c_out));
  validate_groups(options.groups, c_out);
  validate_weight_dtype(options);
  const int64_t c_in = src_shape.rank == layout.rank ? src_shape[layout.channels] : 0;
  Cost cost;
  cost.output_shape = validate_src(src_shape, layout, window, c_in, c_out, options.groups);
  if (c_in % options.groups != 0)
    throw Error(Argument::groups,
                "must divide the " + std::to_string(c_in) + " input channels, got " + std::to_string(options.groups));
  const int64_t per_group = c_in / options.groups;

  // Counts only the pixels of src that are read.
  Shape read = src_shape;
  for (int i = 0; i < layout.spatial; ++i) {
    const int axis = layout.spatial_axis[i];
    read[axis] = inside(src_shape[axis], window.stride[i], window.padding[i]).count;
  }
  const int64_t outputs = product(cost.output_shape), inputs = product(read);
  const DType sum = info(options.dtype).sum;
  const int64_t item = item_size(is_integer(options.dtype) ? sum : options.dtype);
  const int64_t bias_bytes = has_bias ? item_size(sum) : 0;
  int64_t others, read_bytes, added;
  const int64_t weight_item = options.weight_dtype ? item_size(*options.weight_dtype) : item;
  const int64_t scale_bytes = options.weight_dtype ? item_size(sum) : 0;
  int64_t weights;
  if (!checked_multiply(c_out, per_group, &cost.params) || !checked_multiply(cost.params, weight_item, &weights) ||
      !checked_add(cost.params, has_bias ? c_out : 0, &cost.params) ||
      !checked_multiply(outputs, per_group, &cost.macs) || !checked_multiply(cost.macs, 2, &cost.flops) ||
      !checked_multiply(outputs, item, &others) || !checked_add(others, weights, &others) ||
      !checked_multiply(inputs, item_size(options.dtype), &read_bytes) ||
      !checked_multiply(c_out, bias_bytes + scale_bytes, &added) || !checked_add(others, read_bytes, &cost.bytes) ||
      !checked_add(cost.bytes, added, &cost.bytes))
    throw Error(Argument::src, "must be small enough that every count fits int64, got shape " + to_string(src_shape));
  return cost;
}

}  // namespace pointwise
