// pointwise: 1x1 (pointwise) convolution on the CPU.
//
//     dst[n, o, p] = act( sum_i weights[o, i] * src[n, i, s(p)] + bias[o] + residual[n, o, p] )
//
// A kernel of size 1 never mixes pixels: it maps the channels of each pixel. Output pixel p reads source pixel
// p*stride - padding along each spatial axis; outside the image it reads nothing, and the result is
// act(bias + residual).
//
//     pointwise::Options options;
//     options.activation = pointwise::Activation::relu();
//     pointwise::Layer layer(weights, bias, options);      // packs the weights once
//     layer(src, dst);                                     // any number of threads may call it at once
//
// This is the one public header. Nothing here prints, aborts or reads the environment after first use.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace pointwise {

enum class DType { f32, f64, u8, i8, u16, i16 };

// The arguments that an error can be about. Bindings have their own names for some of them.
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
  input_scale,
  layers
};

// A wrong argument: which one, what was expected and what came.
class Error : public std::invalid_argument {
 public:
  Error(Argument argument, const std::string& detail);
  Argument argument() const { return argument_; }
  const std::string& detail() const { return detail_; }  // the message without the argument's name

 private:
  Argument argument_;
  std::string detail_;
};

constexpr int max_rank = 5;     // batch, channels and three spatial axes
constexpr int max_spatial = 3;  // depth, height, width

using Sizes = std::array<int64_t, max_rank>;  // or strides, of each axis

// In line, where arrays' own comparison calls memcmp.
inline bool same(const Sizes& a, const Sizes& b) {
  int64_t difference = 0;
  for (int i = 0; i < max_rank; ++i) difference |= a[i] ^ b[i];
  return difference == 0;
}

// The sizes of an array along its axes; those beyond the rank are 0.
struct Shape {
  int rank = 0;
  Sizes size{};

  Shape() = default;
  Shape(std::initializer_list<int64_t> sizes);  // throws std::length_error for more than max_rank
  int64_t& operator[](int axis) { return size[axis]; }
  int64_t operator[](int axis) const { return size[axis]; }
  bool operator==(const Shape& other) const { return rank == other.rank && same(size, other.size); }
  bool operator!=(const Shape& other) const { return !(*this == other); }
};
std::string to_string(const Shape& shape);  // as NumPy writes it: (1, 32, 10, 10)

// A strided array that somebody else owns. Strides are in bytes, may be negative, zero, or no multiple of the
// item size; data need not be aligned.
struct View {
  void* data = nullptr;
  DType dtype = DType::f32;
  Shape shape;
  std::array<int64_t, max_rank> strides{};

  View() = default;
  // A C-contiguous view of `data`.
  View(const void* data, DType dtype, const Shape& shape);
};

// What is done to the sum before it is stored.
//
//     relu         0 where v < 0 else v: keeps NaN and -0.0     tanh       tanh(v)
//     relu6        clip(v, 0, 6)                                silu       v * sigmoid(v)
//     clip         a where v < a, b where b < v, else v         hardswish  v * hardsigmoid(v)
//     leaky_relu   a*v where v < 0 else v                       gelu       v * Phi(v), of the normal distribution
//     elu          a*(exp(v) - 1) where v < 0 else v            gelu_tanh  v/2 * (1 + tanh(sqrt(2/pi)*(v + 0.044715
//     v^3))) sigmoid      1 / (1 + exp(-v))                            softplus   log(1 + exp(v)) hardsigmoid  clip(v/6
//     + 1/2, 0, 1)                        mish       v * tanh(softplus(v))
//
// NaN stays NaN in all of them.
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
    mish
  };
  static constexpr int kinds = static_cast<int>(Kind::mish) + 1;
  Kind kind = Kind::none;
  double a = 0, b = 0;  // parameters of those that have them, rounded to the dtype

  static Activation none() { return {}; }
  static Activation relu() { return {Kind::relu}; }
  static Activation clip(double low, double high) { return {Kind::clip, low, high}; }
  static Activation leaky_relu(double slope = 0.01) { return {Kind::leaky_relu, slope}; }
  static Activation elu(double alpha = 1) { return {Kind::elu, alpha}; }
};

// Everything about a convolution that is not an array.
struct Options {
  // One of NCHW NHWC NCW NWC NCDHW NDHWC NC CHW HWC CW WC CDHW DHWC C: names every axis of src and dst.
  std::string layout = "NCHW";
  // One entry for every spatial axis, or a single one for all of them.
  std::vector<int64_t> stride{1};
  std::vector<int64_t> padding{0};
  int64_t groups = 1;
  Activation activation;
  DType dtype = DType::f32;
  // Arithmetic on subnormal numbers takes some CPUs a hundred times as long. With this, in the threads of a call and
  // while it lasts, subnormal inputs count as zeros and subnormal results become zeros, signs kept. (x86; elsewhere no
  // effect.)
  bool flush_subnormals = false;
};

// How many spatial axes a layout has. Throws Error for one that is none.
int spatial_axes(const std::string& layout);

// What a convolution costs, without any array: every array of it counted once.
struct Cost {
  int64_t params = 0;  // weights, and bias where there is one
  int64_t macs = 0;    // output elements times input channels of a group
  int64_t flops = 0;   // 2 * macs
  int64_t bytes = 0;   // the src that is read, weights, bias and dst
  Shape output_shape;
};
Cost cost(const Shape& src_shape, int64_t c_out, const Options& options, bool has_bias);

// A convolution with its weights packed for this CPU. Immutable: concurrent calls are safe.
class Layer {
 public:
  // weights: (c_out, c_in / groups), bias: (c_out) or null. Both are copied.
  Layer(const View& weights, const View* bias, const Options& options);
  // A layer for a single call: refers to weights, which must outlive it and stay as they are, and packs them when they
  // are used. (bias is copied.)
  static Layer borrowing(const View& weights, const View* bias, const Options& options);
  ~Layer();
  Layer(Layer&&) noexcept;
  Layer& operator=(Layer&&) noexcept;

  const Options& options() const;
  int64_t c_in() const;
  int64_t c_out() const;
  bool has_bias() const;

  // The shape of dst for a src of this shape. Throws Error where the shape does not fit the layer.
  Shape output_shape(const Shape& src_shape) const;

  // Computes dst. residual may be null, or have dst's shape; it may be dst itself, element for element. Otherwise
  // no element of dst may be an element of another array, nor have two indices: that is the caller's to know.
  // Throws Error for shapes that do not fit and std::bad_alloc, both before dst is touched. At most `threads`
  // threads take part; 0 means thread_count(). input_scale, or null: (images, c_in), in an unbatched layout (c_in);
  // each channel of src is multiplied by its own, and rounded, before the sum.
  void operator()(const View& src, const View& dst, const View* residual = nullptr, int threads = 0,
                  const View* input_scale = nullptr) const;

  // In words: the kernel chosen for C-contiguous arrays, blocking, threads, and why other kernels were refused.
  std::string explain(const Shape& src_shape) const;

  // The weights and bias as they were given, C-contiguous. (With flush_subnormals those of the bias are zeros.)
  void copy_weights(void* to) const;
  void copy_bias(void* to) const;

  struct Impl;  // the library's own

 private:
  friend class Chain;
  explicit Layer(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

// Layers one after the other, each of which reads what the one before it writes: tiles of pixels go through all of them
// while they are in cache, and what lies between two layers is never written to memory. The bits of the result are
// those of the layers called one by one.
class Chain {
 public:
  // At least one layer; all have the layout and dtype of the first, and no padding; those behind the first have stride
  // 1. The layers must outlive the chain. Throws Error for layers that do not follow each other.
  explicit Chain(std::vector<const Layer*> layers);
  ~Chain();
  Chain(Chain&&) noexcept;
  Chain& operator=(Chain&&) noexcept;

  const Options& options() const;  // of the first layer
  Shape output_shape(const Shape& src_shape) const;
  // As a layer's call; residual is added in the last layer.
  void operator()(const View& src, const View& dst, const View* residual = nullptr, int threads = 0) const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

// The instruction set in use: "portable", "avx2" or "avx512". The environment variable POINTWISE_ISA, read once,
// forces one; throws std::runtime_error if that is unknown or not supported by this CPU.
std::string isa();
// Those that this build has and this CPU runs, the best first.
std::vector<std::string> supported_isas();

// Threads of a call: the calling thread's own setting, else the process's, else OMP_NUM_THREADS, else what the
// process may really use (CPU affinity and container quota).
int thread_count();
void set_thread_count(int threads);         // for the process; 0: no setting
int set_calling_thread_count(int threads);  // for the calling thread; 0: no setting. Returns the one before.

const char* version();

}  // namespace pointwise
