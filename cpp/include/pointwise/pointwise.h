// pointwise: 1x1 (pointwise) convolution on the CPU.
//
//     dst[n, o, p] = act( sum_i weights[o, i] * src[n, i, s(p)] + bias[o] + residual[n, o, p] )
//
// The convolution never mixes pixels: it maps the channels of each pixel. Along each spatial axis, output pixel p reads
// source pixel s(p) = p * stride - padding. If s(p) is outside the image, the sum is empty and the result is
// act(bias + residual).
//
//     pointwise::Options options;
//     options.activation = pointwise::Activation::relu();
//     pointwise::Layer layer(weights, bias, options);      // packs the weights once
//     layer(src, dst);                                     // safe to call from several threads at once
//
// This is the only public header. The library never prints and never aborts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

// A shared library exports the declarations of this header.
#ifdef POINTWISE_SHARED
#pragma GCC visibility push(default)
#endif

namespace pointwise {

enum class DType { f32, f64, u8, i8, u16, i16, f16, bf16, i32 };  // i32 is a dtype of quantized convolutions only

// The arguments that an Error can name. Bindings use other names for some arguments.
enum class Argument {
  src,
  weights,
  bias,
  residual,
  dst,
  layout,
  stride,
  padding,
  groups,
  activation,
  dtype,
  dst_dtype,
  input_scale,
  layers,
  grad,
  src_scale,
  src_zero,
  weight_scales,
  weight_zeros,
  dst_scale,
  dst_zero,
  seconds,
  weight_dtype
};

// A wrong argument. The message names the argument, the expected value and the given value.
class Error : public std::invalid_argument {
 public:
  Error(Argument argument, const std::string& detail);
  Argument argument() const { return argument_; }
  const std::string& detail() const { return detail_; }  // the message without the name of the argument

 private:
  Argument argument_;
  std::string detail_;
};

constexpr int max_rank = 5;     // batch, channels and three spatial axes
constexpr int max_spatial = 3;  // depth, height, width

using Sizes = std::array<int64_t, max_rank>;  // sizes or strides, one per axis

// Returns true if all sizes are equal. Compiled inline, unlike operator== of std::array, which calls memcmp.
inline bool same(const Sizes& a, const Sizes& b) {
  int64_t difference = 0;
  for (int i = 0; i < max_rank; ++i) difference |= a[i] ^ b[i];
  return difference == 0;
}

// The sizes of an array along its axes. Sizes beyond the rank are 0.
struct Shape {
  int rank = 0;
  Sizes size{};

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes);  // throws std::length_error if there are more than max_rank
  int64_t& operator[](int axis) { return size[axis]; }
  int64_t operator[](int axis) const { return size[axis]; }
  bool operator==(const Shape& other) const { return rank == other.rank && same(size, other.size); }
  bool operator!=(const Shape& other) const { return !(*this == other); }
};
// Returns the shape as NumPy writes it: (1, 32, 10, 10).
std::string to_string(const Shape& shape);

// A strided array. A view does not own its data. Strides are in bytes. A stride may be negative, zero, or not a
// multiple of the item size. The data need not be aligned.
struct View {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;
  std::array<int64_t, max_rank> strides{};

  View() = default;
  // Makes a C-contiguous view of `data`. Throws std::bad_alloc if its size in bytes exceeds int64.
  View(const void* data, DType dtype, const Shape& shape);
};

// The function that is applied to each sum v before the result is stored. v includes bias and residual. Every
// activation of NaN is NaN.
//
// clang-format off
//     none         v
//     relu         0 if v < 0, else v (keeps -0.0)
//     relu6        0 if v < 0, 6 if v > 6, else v
//     clip         a if v < a, b if v > b, else v
//     leaky_relu   a * v if v < 0, else v
//     elu          a * (exp(v) - 1) if v < 0, else v
//     sigmoid      1 / (1 + exp(-v))
//     tanh         tanh(v)
//     silu         v * sigmoid(v)
//     hardsigmoid  clip(v/6 + 1/2) with a = 0, b = 1
//     hardswish    v * hardsigmoid(v)
//     gelu         v/2 * (1 + erf(v / sqrt(2)))
//     gelu_tanh    v/2 * (1 + tanh(sqrt(2/pi) * (v + 0.044715 * v^3)))
//     softplus     log(1 + exp(v))
//     mish         v * tanh(softplus(v))
//     prelu        slopes[o] * v if v < 0, else v; o is the output channel
// clang-format on
struct Activation {
  enum class Kind {
    none,
    relu,
    relu6,
    clip,
    leaky_relu,
    elu,
    sigmoid,
    tanh,
    silu,
    hardsigmoid,
    hardswish,
    gelu,
    gelu_tanh,
    softplus,
    mish,
    prelu
  };
  static constexpr int kinds = static_cast<int>(Kind::prelu) + 1;
  Kind kind = Kind::none;
  double a = 0;                  // the first parameter of a formula above; a layer rounds it to its dtype
  double b = 0;                  // the second parameter, rounded in the same way
  std::vector<double> slopes{};  // for prelu: one number for each output channel, which a layer rounds to its dtype

  static Activation none() { return {}; }
  static Activation relu() { return {Kind::relu}; }
  static Activation relu6() { return {Kind::relu6}; }
  static Activation clip(double low, double high) { return {Kind::clip, low, high}; }
  static Activation leaky_relu(double slope = 0.01) { return {Kind::leaky_relu, slope}; }
  static Activation elu(double alpha = 1) { return {Kind::elu, alpha}; }
  static Activation sigmoid() { return {Kind::sigmoid}; }
  static Activation tanh() { return {Kind::tanh}; }
  static Activation silu() { return {Kind::silu}; }
  static Activation hardsigmoid() { return {Kind::hardsigmoid}; }
  static Activation hardswish() { return {Kind::hardswish}; }
  static Activation gelu() { return {Kind::gelu}; }
  static Activation gelu_tanh() { return {Kind::gelu_tanh}; }
  static Activation softplus() { return {Kind::softplus}; }
  static Activation mish() { return {Kind::mish}; }
  static Activation prelu(std::vector<double> slopes) { return {Kind::prelu, 0, 0, std::move(slopes)}; }
};

// The parameters of a convolution that are not arrays.
struct Options {
  // The names of the axes of src and dst: NCHW NHWC NCW NWC NCDHW NDHWC NC CHW HWC CW WC CDHW DHWC or C.
  std::string layout = "NCHW";
  // One entry per spatial axis, or a single entry for all spatial axes.
  std::vector<int64_t> stride{1};
  std::vector<int64_t> padding{0};
  int64_t groups = 1;
  Activation activation;
  // The dtype of src and of the weights: float32, float64, float16 or bfloat16. A float32 layer also accepts src of an
  // integer dtype. Sums, bias and the parameters of the activation are float64 for float64, and float32 for the others.
  // A bfloat16 layer treats subnormal numbers as zeros (see flush_subnormals), and adds input channels in another
  // order: the odd channel of each pair first.
  DType dtype = DType::f32;
  // The dtype of dst. If it is empty, dst of a call has `dtype`, or any integer dtype if src has an integer dtype.
  // Results are converted after the activation: rounded half to even. Integers are saturated, and NaN becomes 0.
  std::optional<DType> dst_dtype;
  // If true, subnormal inputs count as zeros, and subnormal results become zeros. Signs are kept. Some CPUs compute
  // very slowly with subnormal numbers. The setting affects only the threads of a call, and only during the call. It
  // has no effect on CPUs other than x86.
  bool flush_subnormals = false;
  // The dtype of the weights, if it differs from `dtype`: int8, for a float32 layer. The weight of output channel o is
  // then float32(weights[o, i]) * weight_scales[o]. The layer keeps the weights as int8, which is a quarter of the
  // memory. It computes the sum over i of float32(weights[o, i]) * src[i], and then fma(sum, weight_scales[o],
  // bias[o]).
  std::optional<DType> weight_dtype;
  // One scale for each output channel, positive and finite. Empty if weight_dtype is empty.
  std::vector<float> weight_scales{};
};

// Returns the number of spatial axes of a layout. Throws Error if there is no such layout.
int spatial_axes(const std::string& layout);

// The cost of a convolution, computed from its shapes.
struct Cost {
  int64_t params = 0;  // numbers in weights and bias
  int64_t macs = 0;    // output elements times the input channels of a group
  int64_t flops = 0;   // 2 * macs
  int64_t bytes = 0;   // bytes of weights, bias, dst and the pixels of src that are read, each counted once
  Shape output_shape;
};
// Returns the cost of a convolution. options.dtype is the dtype of src. If it is an integer dtype, weights, bias and
// dst are float32. The bias of 16-bit floating-point dtypes is float32, too. Throws Error if the arguments do not fit
// each other. If options.weight_dtype is int8, counts a byte for each weight and a float32 scale for each output
// channel; options.weight_scales is not used.
Cost cost(const Shape& src_shape, int64_t c_out, const Options& options, bool has_bias);

// A result of Layer::tune(), in a form that another process can use. The choice is for contiguous arrays: a src of this
// shape and dtype, with this number of threads.
struct Choice {
  Shape src_shape;
  DType src_dtype = DType::f32;
  int threads = 0;
  std::string kernel;   // name of the kernel; empty if the prediction was the fastest
  int pixel_axes = 0;   // number of innermost axes that count as pixels
  std::string packing;  // "none", "channels" or "pixels"
  int64_t tail = 0;     // number of pixels that are computed separately
  bool serial = false;  // true if one thread computes dst
};

// A convolution with its weights packed for this CPU. Concurrent calls are safe. Only tune() and adopt() change a
// layer. They change how later calls run, but no bit of a result.
class Layer {
 public:
  // Packs weights of shape (c_out, c_in / groups). Their dtype is Options::weight_dtype, or else Options::dtype. bias
  // has shape (c_out) or is null. Copies both arrays. Throws Error
  // if the arguments do not fit each other.
  Layer(const View& weights, const View* bias, const Options& options);
  // Makes a layer for a single call. The layer keeps a view of `weights`, without a copy. So the array must outlive the
  // layer and must not change. bias is copied.
  static Layer borrowing(const View& weights, const View* bias, Options options);
  ~Layer();
  Layer(Layer&&) noexcept;
  Layer& operator=(Layer&&) noexcept;

  const Options& options() const;
  int64_t c_in() const;
  int64_t c_out() const;
  bool has_bias() const;

  // Returns the shape of dst for a src of this shape. Throws Error if the shape does not fit the layer.
  Shape output_shape(const Shape& src_shape) const;

  // Computes dst, on at most `threads` threads. 0 means thread_count().
  //
  // `src` has the dtype of the layer. A float32 layer also accepts integer dtypes. `dst` has the dtype that the options
  // name (Options::dst_dtype). `residual` is null, or has the shape and dtype of dst; it must be null if dst has an
  // integer dtype.
  // `input_scale` is null or has shape (images, c_in), or (c_in) in layouts without a batch axis. Each channel
  // of src is multiplied by its scale, and each product is rounded before the sum.
  //
  // `residual` may be the same view as dst. Otherwise the caller must ensure that dst shares no element with another
  // array. Two indices of dst must never refer to the same element.
  //
  // Throws Error for arrays that do not fit the layer. Throws std::bad_alloc if there is not enough memory. In both
  // cases dst is unchanged.
  void operator()(const View& src, const View& dst, const View* residual = nullptr, int threads = 0,
                  const View* input_scale = nullptr) const;

  // Describes the plan for C-contiguous arrays: the kernel, its blocking and the threads. Also gives the reasons why
  // the other kernels were not chosen. If `src_dtype` is empty, src has the dtype of the layer, or uint8 if results are
  // integers.
  std::string explain(const Shape& src_shape, std::optional<DType> src_dtype = std::nullopt) const;

  // Measures the ways to compute a C-contiguous src of this shape with thread_count() threads, and keeps the fastest
  // for later calls. Keeps the prediction unless another way is clearly faster. Returns the speedup of the choice over
  // the prediction, or 1 if the prediction is kept.
  //
  // Measures for at most `seconds`, which must be positive, plus the duration of one call. `src_dtype` is as for
  // explain(). Allocates src and dst. Calls and other measurements may run at the same time. Layers that borrow their
  // weights are not tuned.
  double tune(const Shape& src_shape, std::optional<DType> src_dtype = std::nullopt, double seconds = 0.5) const;
  // Returns all choices of tune().
  std::vector<Choice> choices() const;
  // Takes choices of a layer with the same arguments on the same kind of CPU. Ignores choices that do not fit.
  void adopt(const std::vector<Choice>& choices) const;

  // Copy the weights, or the bias, to contiguous memory. The weights have the order and the dtype of the argument of
  // the constructor. If there is no bias, the copy has zeros. With flush_subnormals, subnormal numbers of the bias
  // become zeros.
  void copy_weights(void* to) const;
  void copy_bias(void* to) const;

  struct Impl;  // internal

 private:
  friend class Chain;
  explicit Layer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Layers in sequence: each layer reads the result of the previous one. A chain takes one strip of pixels at a time
// through all layers, so the results between layers stay in cache. A chain computes the same bits as its layers called
// one by one.
class Chain {
 public:
  // Takes one or more layers. All layers must have the layout of the first layer, and no padding. Only the first layer
  // may have a stride other than 1. The results of a layer have its Options::dst_dtype, or else its dtype. The next
  // layer must have this dtype. A float32 layer may also follow a layer that gives integers.
  // A later layer gives integers only if it reads integers. The layers must outlive the chain. Throws Error for layers
  // that do not form a chain.
  explicit Chain(std::vector<const Layer*> layers);
  ~Chain();
  Chain(Chain&&) noexcept;
  Chain& operator=(Chain&&) noexcept;

  const Options& options() const;       // the options of the first layer
  const Options& last_options() const;  // the options of the last layer
  // Returns the dtype of the src of the last layer, for a src of the chain of this dtype.
  DType last_src_dtype(DType src) const;
  // Returns the shape of dst for a src of this shape. Throws Error if the shape does not fit the first layer.
  Shape output_shape(const Shape& src_shape) const;
  // Computes dst, like the call of a layer. residual is added in the last layer.
  void operator()(const View& src, const View& dst, const View* residual = nullptr, int threads = 0) const;

  // Describes the plan for C-contiguous arrays: the strips, and the plan of each layer for a strip.
  std::string explain(const Shape& src_shape) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

// Computes the gradient of src, or adds it to `dst` if `accumulate` is true. `grad` is the gradient of the dst of a
// convolution with these weights and options, and `dst` has the shape of its src. The activation of the options is
// ignored: `grad` is the gradient of the sum before the activation. All arrays have the dtype of `grad`. Pixels that
// the convolution does not read get zeros. `threads` is as for Layer. dst must share no element with another array.
//
// Throws Error for arrays that do not fit each other. Throws std::bad_alloc if there is not enough memory. In both
// cases dst is unchanged.
void gradient_of_src(const View& grad, const View& weights, const View& dst, const Options& options,
                     bool accumulate = false, int threads = 0);

// Computes the gradient of the weights, of shape (c_out, c_in / groups), or adds it to `dst` if `accumulate` is true.
// Other arguments and errors are as for gradient_of_src(). `src` has the dtype of `grad`, or an integer or 16-bit dtype
// if grad is float32. `dst` is float64 if grad is float64, else float32. Pixels are counted along the batch axis, then
// along the spatial axes; pixels that read padding do not count. Sums are computed in chunks of 256 pixels, and the
// sums of chunks are added in ascending order. So the bits do not depend on the number of threads, the strides and the
// instruction set. (The portable instruction set has other bits.)
void gradient_of_weights(const View& grad, const View& src, const View& dst, const Options& options,
                         bool accumulate = false, int threads = 0);

// The parameters of a quantized convolution. A number q of a quantized array stands for scale * (q - zero).
struct Quantization {
  DType src = DType::u8;  // u8 or i8
  DType dst = DType::u8;  // u8 or i8; or i32 for the sums. With i32, the scales and `dst_zero` are not used
  float src_scale = 1;
  float dst_scale = 1;
  // Zero points, in the range of the dtypes.
  int src_zero = 0;
  int dst_zero = 0;
  // One number, or one for each output channel.
  std::vector<float> weight_scales{1};
  std::vector<int> weight_zeros{0};
};

// A convolution of 8-bit integers with its weights packed for this CPU:
//
//     sum = sum_i (weights[o, i] - weight_zero) * (src[n, i, s(p)] - src_zero) + bias[o]
//     dst[n, o, p] = saturate( rint( float(sum) * (src_scale * weight_scale / dst_scale) ) + dst_zero )
//
// Padding counts as src_zero, so it adds nothing to the sum. The sum is exact in int32. The operations of the second
// line are in float32, and rint rounds half to even. So all instruction sets give the same results. Immutable:
// concurrent calls are safe.
class QuantizedLayer {
 public:
  // Packs weights of u8 or i8, of shape (c_out, c_in / groups). bias is i32, has shape (c_out) or is null. The layer
  // uses layout, stride, padding, groups and activation of the options. The activation is none, relu, relu6 or clip.
  // Its bounds are real numbers; they become rint(bound / dst_scale) + dst_zero.
  //
  // Throws Error if the arguments do not fit each other, or if a sum can leave the range of int32 for some src.
  QuantizedLayer(const View& weights, const View* bias, const Options& options, const Quantization& quantization);
  ~QuantizedLayer();
  QuantizedLayer(QuantizedLayer&&) noexcept;
  QuantizedLayer& operator=(QuantizedLayer&&) noexcept;

  const Options& options() const;
  const Quantization& quantization() const;
  int64_t c_in() const;
  int64_t c_out() const;

  // Returns the shape of dst for a src of this shape. Throws Error if the shape does not fit the layer.
  Shape output_shape(const Shape& src_shape) const;

  // Computes dst, on at most `threads` threads. 0 means thread_count(). dst must share no element with src, and two
  // indices of dst must not refer to the same element. Throws Error for arrays that do not fit the layer. Throws
  // std::bad_alloc if there is not enough memory. In both cases dst is unchanged.
  void operator()(const View& src, const View& dst, int threads = 0) const;

  // Describes how a call computes a contiguous src of this shape: the kernel, its pieces and the threads, and why not
  // the other kernels. Throws Error if the shape does not fit the layer.
  std::string explain(const Shape& src_shape) const;

 private:
  friend class QuantizedChain;
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

// Quantized layers in sequence, like a Chain: computes the same bits as its layers called one by one.
class QuantizedChain {
 public:
  // Takes one or more layers with the same layout and no padding. Only the first layer may have a stride other than 1.
  // The src of a layer has the dtype of the dst of the layer before. The layers must outlive the chain. Throws Error
  // for layers that do not form a chain.
  explicit QuantizedChain(std::vector<const QuantizedLayer*> layers);
  const std::vector<const QuantizedLayer*>& layers() const { return layers_; }
  Shape output_shape(const Shape& src_shape) const;
  // Computes dst, like the call of a layer.
  void operator()(const View& src, const View& dst, int threads = 0) const;

  // Describes how a call computes a contiguous src of this shape: the strips of pixels, the threads, and each layer for
  // a strip. Throws Error if the shape does not fit the first layer.
  std::string explain(const Shape& src_shape) const;

 private:
  std::vector<const QuantizedLayer*> layers_;
};

// Returns the instruction set in use: "portable", "avx2", "avx2_vnni", "avx512", "avx512_vnni" or "avx512_bf16". The
// environment variable POINTWISE_ISA can select another instruction set, in upper or lower case. The variable is read
// once. Throws std::runtime_error if its value is unknown, or if this CPU does not support the instruction set.
std::string isa();
// Returns the instruction sets that this build has and this CPU supports, the best first.
std::vector<std::string> supported_isas();

// Returns the number of threads for calls with threads = 0. This is the first of these numbers that is set: the setting
// of the calling thread, the setting of the process, OMP_NUM_THREADS. If no number is set, it is the number of CPUs
// that CPU affinity and container quota allow.
int thread_count();
// Sets the number of threads for the process. 0 removes the setting.
void set_thread_count(int threads);
// Sets the number of threads for the calling thread. 0 removes the setting. Returns the previous setting.
int set_calling_thread_count(int threads);

const char* version();

}  // namespace pointwise

#ifdef POINTWISE_SHARED
#pragma GCC visibility pop
#endif
