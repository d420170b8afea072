#include "convolution/validate.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "base/checked.h"
#include "base/float_environment.h"
#include "base/numbers.h"

namespace pointwise {
namespace {

constexpr Layout layouts[] = {
    {"NCHW", 4, 0, 1, 2, {2, 3, 0}},  {"NHWC", 4, 0, 3, 2, {1, 2, 0}},  {"NCW", 3, 0, 1, 1, {2, 0, 0}},
    {"NWC", 3, 0, 2, 1, {1, 0, 0}},   {"NCDHW", 5, 0, 1, 3, {2, 3, 4}}, {"NDHWC", 5, 0, 4, 3, {1, 2, 3}},
    {"NC", 2, 0, 1, 0, {0, 0, 0}},    {"CHW", 3, -1, 0, 2, {1, 2, 0}},  {"HWC", 3, -1, 2, 2, {0, 1, 0}},
    {"CW", 2, -1, 0, 1, {1, 0, 0}},   {"WC", 2, -1, 1, 1, {0, 0, 0}},   {"CDHW", 4, -1, 0, 3, {1, 2, 3}},
    {"DHWC", 4, -1, 3, 3, {0, 1, 2}}, {"C", 1, -1, 0, 0, {0, 0, 0}},
};

const char* name_of(Argument argument) {
  switch (argument) {
    case Argument::src: return "src";
    case Argument::weights: return "weights";
    case Argument::bias: return "bias";
    case Argument::residual: return "residual";
    case Argument::dst: return "dst";
    case Argument::layout: return "layout";
    case Argument::stride: return "stride";
    case Argument::padding: return "padding";
    case Argument::groups: return "groups";
    case Argument::activation: return "activation";
    case Argument::dtype: return "dtype";
    case Argument::dst_dtype: return "dst_dtype";
    case Argument::input_scale: return "input_scale";
    case Argument::layers: return "layers";
    case Argument::grad: return "grad";
    case Argument::src_scale: return "src_scale";
    case Argument::src_zero: return "src_zero";
    case Argument::weight_scales: return "weight_scales";
    case Argument::weight_zeros: return "weight_zeros";
    case Argument::dst_scale: return "dst_scale";
    case Argument::dst_zero: return "dst_zero";
    case Argument::seconds: return "seconds";
    case Argument::weight_dtype: return "weight_dtype";
  }
  return "";
}

std::string number_text(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

std::string tuple_text(const int64_t* values, size_t count) {
  std::string text = "(";
  for (size_t i = 0; i < count; ++i) text += (i ? ", " : "") + std::to_string(values[i]);
  return text + (count == 1 ? ",)" : ")");
}

// Returns one value for each spatial axis. Throws Error if a value is less than `least`. Entries beyond the spatial
// axes are `otherwise`.
std::array<int64_t, max_spatial> per_axis(Argument argument, const std::vector<int64_t>& values, int64_t least,
                                          int64_t otherwise, const Layout& layout) {
  const int count = static_cast<int>(values.size());
  if (count != 1 && count != layout.spatial)
    throw Error(argument, "must be one integer, or one for each of the " + std::to_string(layout.spatial) +
                              " spatial axes of " + layout.name + ", got " + tuple_text(values.data(), values.size()));
  for (const int64_t value : values)
    if (value < least)
      throw Error(argument, "must be at least " + std::to_string(least) + ", got " +
                                (count == 1 ? std::to_string(value) : tuple_text(values.data(), values.size())));
  std::array<int64_t, max_spatial> result{};
  result.fill(otherwise);
  for (int i = 0; i < layout.spatial; ++i) result[i] = values[count == 1 ? 0 : i];
  return result;
}

// Describes the weights, for the message about an array that does not fit the weights.
std::string weights_text(const Shape& weights, int64_t groups) {
  return " for weight shape " + to_string(weights) + (groups == 1 ? "" : " and groups " + std::to_string(groups));
}

// End of a message. The remedy is Python code.
constexpr const char* transposed = "; the weight seems to be transposed: pass weight.swapaxes(0, 1)";

// Returns the end of the message for a src that does not fit the layout. Names another layout, if the channels of this
// layout fit.
std::string layout_remedy(const Shape& src, const Layout& layout, int64_t c_in) {
  const auto fits = [&](const Layout& other) { return other.rank == src.rank && src[other.channels] == c_in; };
  const auto pass = [](const char* name) { return "; pass layout=\"" + std::string(name) + "\""; };
  for (const Layout& other : layouts)
    if (fits(other) && other.rank == layout.rank && (other.batch < 0) == (layout.batch < 0)) return pass(other.name);
  for (const char* name : {"C", "NC", "CW", "HWC", "CHW", "NCW", "NHWC", "NCHW", "CDHW", "NDHWC", "NCDHW"})
    if (const Layout& other = parse_layout(name); fits(other)) return pass(name);
  return "";
}

// Returns the end of the message for a src whose number of channels does not fit the weights. `channels` is this
// number. If the shapes suggest a mistake, the text names the mistake. An affine matrix of colours has an additional
// column, which is a bias.
std::string channels_remedy(int64_t channels, const Shape& weights, int64_t groups) {
  constexpr int64_t most_colours = 4;
  if (groups != 1) {
    if (weights[1] != channels) return "";
    const std::string part = to_string(Shape{weights[0], channels / groups});
    return "; the weight seems to hold all input channels: pass groups=1" +
           (channels % groups == 0 ? ", or a weight of shape " + part : "");
  }
  if (weights[0] != channels) return "";
  if (channels >= 2 && channels <= most_colours && weights[1] == channels + 1) {
    const std::string c = std::to_string(channels);
    return "; the weight seems to be an affine matrix: pass weight[:, :" + c + "] and bias=weight[:, " + c + "]";
  }
  return transposed;
}

}  // namespace

Error::Error(Argument argument, const std::string& detail)
    : std::invalid_argument(std::string(name_of(argument)) + " " + detail), argument_(argument), detail_(detail) {}

Shape::Shape(std::initializer_list<int64_t> sizes) : rank(static_cast<int>(sizes.size())) {
  if (sizes.size() > max_rank)
    throw std::length_error("a shape must have at most 5 axes, got " + std::to_string(sizes.size()));
  std::copy(sizes.begin(), sizes.end(), size.begin());
}

std::string to_string(const Shape& shape) { return tuple_text(shape.size.data(), shape.rank); }

View::View(const void* data_, DType dtype_, const Shape& shape_)
    : data(const_cast<void*>(data_)), dtype(dtype_), shape(shape_) {
  int64_t bytes = item_size(dtype);
  for (int i = shape.rank - 1; i >= 0; --i) {
    strides[i] = bytes;
    bytes = allocation_size(bytes, shape[i] > 0 ? shape[i] : 1);
  }
}

const Layout& parse_layout(const std::string& name) {
  for (const Layout& layout : layouts)
    if (name == layout.name) return layout;
  throw Error(Argument::layout, "must be one of " + layout_names() + ", got \"" + name + "\"");
}

int spatial_axes(const std::string& layout) { return parse_layout(layout).spatial; }

std::string layout_names() {
  std::string names;
  for (const Layout& layout : layouts) names += (names.empty() ? "" : ", ") + std::string(layout.name);
  return names;
}

Window validate_window(const Options& options, const Layout& layout) {
  return {per_axis(Argument::stride, options.stride, 1, 1, layout),
          per_axis(Argument::padding, options.padding, 0, 0, layout)};
}

void validate_groups(int64_t groups, int64_t c_out) {
  if (groups < 1) throw Error(Argument::groups, "must be at least 1, got " + std::to_string(groups));
  if (c_out % groups != 0)
    throw Error(Argument::groups,
                "must divide the " + std::to_string(c_out) + " output channels, got " + std::to_string(groups));
}

int64_t validate_weights(const Shape& weights, int64_t groups) {
  if (weights.rank != 2 || weights[0] < 0 || weights[1] < 0)
    throw Error(Argument::weights,
                "must have shape (output channels, input channels / groups), got " + to_string(weights));
  validate_groups(groups, weights[0]);
  int64_t c_in;
  if (!checked_multiply(weights[1], groups, &c_in))
    throw Error(Argument::groups, "must keep the number of input channels within int64, got " + std::to_string(groups));
  return c_in;
}

Inside inside(int64_t size, int64_t stride, int64_t padding) {
  const int64_t rest = padding % stride;
  const int64_t source = rest == 0 ? 0 : stride - rest;  // equals begin * stride - padding, which could overflow
  if (source >= size) return {0, 0, 0};
  return {ceil_div(padding, stride), (size - 1 - source) / stride + 1, source};
}

void validate_activation(const Activation& activation, DType dtype, int64_t c_out) {
  const FloatEnvironment environment;
  // Rounds a parameter as packing does.
  const auto rounded = [dtype](double v) {
    char number[sizeof(double)];
    write_number(dtype, number, v);
    return read_number(dtype, number);
  };
  const double a = rounded(activation.a), b = rounded(activation.b);
  switch (activation.kind) {
    case Activation::Kind::clip:
      if (!(a <= b))
        throw Error(Argument::activation, "clip must have bounds lo <= hi and no NaN, got " +
                                              number_text(activation.a) + " and " + number_text(activation.b));
      break;
    case Activation::Kind::leaky_relu:
    case Activation::Kind::elu:
      if (!std::isfinite(a))
        throw Error(Argument::activation,
                    std::string(activation.kind == Activation::Kind::elu ? "elu's alpha" : "leaky_relu's slope") +
                        " must be finite in " + info(dtype).name + ", got " + number_text(activation.a));
      break;
    case Activation::Kind::prelu: {
      const std::vector<double>& slopes = activation.slopes;
      if (static_cast<int64_t>(slopes.size()) != c_out)
        throw Error(Argument::activation, "prelu must have slopes of shape " + to_string(Shape{c_out}) +
                                              ", one for each output channel, got " +
                                              to_string(Shape{static_cast<int64_t>(slopes.size())}));
      const auto wrong =
          std::find_if(slopes.begin(), slopes.end(), [&](double slope) { return !std::isfinite(rounded(slope)); });
      if (wrong != slopes.end())
        throw Error(Argument::activation, std::string("prelu's slopes must be finite in ") + info(dtype).name +
                                              ", got " + number_text(*wrong) + " for output channel " +
                                              std::to_string(wrong - slopes.begin()));
      break;
    }
    default: break;
  }
}

int64_t output_size(int64_t size, int64_t stride, int64_t padding) {
  int64_t padded;
  if (!checked_multiply(padding, 2, &padded) || !checked_add(padded, size, &padded))
    throw Error(Argument::padding,
                "must keep the size of the padded image within int64, got " + std::to_string(padding));
  if (stride == 1) return padded;  // avoids a division
  return padded == 0 ? 0 : (padded - 1) / stride + 1;
}

Shape validate_src(const Shape& src_shape, const Layout& layout, const Window& window, int64_t c_in, int64_t c_out,
                   int64_t groups) {
  if (src_shape.rank != layout.rank)
    throw Error(Argument::src, "must have the " + std::to_string(layout.rank) + " axes of layout " + layout.name +
                                   ", got shape " + to_string(src_shape) + layout_remedy(src_shape, layout, c_in));
  for (int i = 0; i < src_shape.rank; ++i)
    if (src_shape[i] < 0) throw Error(Argument::src, "must have no negative size, got shape " + to_string(src_shape));
  if (const int64_t channels = src_shape[layout.channels]; channels != c_in) {
    const Shape weights{c_out, c_in / groups};
    const std::string remedy = channels_remedy(channels, weights, groups);
    throw Error(Argument::src, "must have " + std::to_string(c_in) + " channels (axis " +
                                   std::to_string(layout.channels) + " of " + layout.name + "), got shape " +
                                   to_string(src_shape) + weights_text(weights, groups) +
                                   (remedy.empty() ? layout_remedy(src_shape, layout, c_in) : remedy));
  }
  Shape shape = src_shape;
  shape[layout.channels] = c_out;
  for (int i = 0; i < layout.spatial; ++i) {
    const int axis = layout.spatial_axis[i];
    shape[axis] = output_size(src_shape[axis], window.stride[i], window.padding[i]);
  }
  return shape;
}

void validate_bytes(Argument argument, const Shape& shape, DType dtype) {
  int64_t bytes = item_size(dtype);
  for (int i = 0; i < shape.rank; ++i)
    if (shape[i] > 0 && !checked_multiply(bytes, shape[i], &bytes))
      throw Error(argument, "must have a size in bytes within the range of int64, got shape " + to_string(shape));
}

void throw_dtype(Argument argument, const View& array, DType expected) {
  throw Error(argument, std::string("must have dtype ") + info(expected).name + ", got " + info(array.dtype).name);
}

bool may_give(DType layer, DType src, DType dst) {
  if (info(dst).sum != info(layer).sum) return false;
  return info(dst).floating || (layer == info(layer).sum && is_integer(src));
}

void validate_dst_dtype(const Options& options) {
  if (!options.dst_dtype || may_give(options.dtype, DType::u8, *options.dst_dtype)) return;
  const bool single = info(options.dtype).sum == DType::f32;
  throw Error(Argument::dst_dtype, std::string("must be ") +
                                       (!single                       ? "float64"
                                        : options.dtype == DType::f32 ? "float32, float16, bfloat16 or an integer dtype"
                                                                      : "float32, float16 or bfloat16") +
                                       ", got " + info(*options.dst_dtype).name);
}

bool makes_integers(const Options& options) { return options.dst_dtype && is_integer(*options.dst_dtype); }

void validate_src_dtype(const Options& options, const View& src) {
  const TypeInfo& type = info(src.dtype);
  if (src.dtype != options.dtype && (type.floating || type.sum != options.dtype))
    throw_dtype(Argument::src, src, options.dtype);
  if (type.floating && makes_integers(options))
    throw Error(Argument::src, std::string("must have an integer dtype for results of dtype ") +
                                   info(*options.dst_dtype).name + ", got " + type.name);
}

void validate_result_dtypes(const Options& options, DType src, const View& dst, const View* residual) {
  if (options.dst_dtype || !may_give(options.dtype, src, dst.dtype))
    validate_dtype(Argument::dst, dst, options.dst_dtype.value_or(options.dtype));
  if (!residual) return;
  if (is_integer(dst.dtype)) throw Error(Argument::residual, "must not be given for integer results, got an array");
  validate_dtype(Argument::residual, *residual, dst.dtype);
}

void validate_weight_dtype(const Options& options) {
  if (!options.weight_dtype) return;
  if (*options.weight_dtype != DType::i8)
    throw Error(Argument::weight_dtype,
                std::string("must be int8 or not be given, got ") + info(*options.weight_dtype).name);
  if (options.dtype != DType::f32)
    throw Error(Argument::weight_dtype, std::string("must not be given for dtype ") + info(options.dtype).name +
                                            ", only for float32, got int8");
}

void validate_weight_scales(const Options& options, int64_t c_out) {
  validate_weight_dtype(options);
  const int64_t expected = options.weight_dtype ? c_out : 0, count = static_cast<int64_t>(options.weight_scales.size());
  if (count != expected)
    throw Error(Argument::weight_scales,
                "must have " + std::to_string(expected) + " numbers" +
                    (options.weight_dtype ? ", one for each output channel" : " unless weight_dtype is given") +
                    ", got " + std::to_string(count));
  for (const float scale : options.weight_scales)
    if (!(scale > 0) || !std::isfinite(scale))
      throw Error(Argument::weight_scales, "must be positive and finite, got " + std::to_string(scale));
}

void validate_bias(const Shape& bias, const Shape& weights, int64_t groups) {
  if (bias == Shape{weights[0]}) return;
  const bool of_columns = groups == 1 && bias == Shape{weights[1]};
  throw Error(Argument::bias, "must have shape " + to_string(Shape{weights[0]}) + ", got " + to_string(bias) +
                                  weights_text(weights, groups) + (of_columns ? transposed : ""));
}

void validate_shape(Argument argument, const Shape& shape, const Shape& expected) {
  if (shape != expected) throw Error(argument, "must have shape " + to_string(expected) + ", got " + to_string(shape));
}

}  // namespace pointwise
