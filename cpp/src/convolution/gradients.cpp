// Computes the gradients of a convolution without an activation.
//
// The gradient of src is a second convolution, of the gradient of dst with the transposed weights. The second
// convolution has no stride and no padding. Its dst is a strided view of the gradient of src, with those pixels that
// the first convolution reads. All other pixels are set to zero. The gradient of the weights is a reduction over pixels
// (product/reduction.h).
#include "convolution/gradients.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/checked.h"
#include "base/float_environment.h"
#include "base/numbers.h"
#include "convolution/layer.h"
#include "memory/scratch.h"
#include "product/reduction.h"
#include "threads/parallel.h"

namespace pointwise {
namespace {

// One axis of an array that is partly set to zero. Positions first, first + stride, ... keep their numbers.
struct KeptAxis {
  int64_t size;
  ptrdiff_t step;  // bytes
  int64_t first, count, stride;
  bool keeps_all() const { return count == size; }
};

// Sets all numbers of an array to zero, except those whose position is kept along every axis.
class ZeroOutside {
 public:
  ZeroOutside(char* data, int item, const KeptAxis* given, int count) : at_(data), item_(item) {
    for (int i = 0; i < count; ++i) {
      KeptAxis moved = given[i];
      if (moved.size == 1 && moved.keeps_all()) continue;
      if (moved.step < 0) {
        at_ += (moved.size - 1) * moved.step;
        moved.step = -moved.step;
        moved.first = moved.count == 0 ? 0 : moved.size - 1 - (moved.first + (moved.count - 1) * moved.stride);
      }
      int at = axes_++;
      for (; at > 0 && axis_[at - 1].step < moved.step; --at) axis_[at] = axis_[at - 1];
      axis_[at] = moved;
    }
    ptrdiff_t bytes = item_;
    for (int i = axes_ - 1; i >= 0 && axis_[i].step == bytes; --i) {
      bytes *= axis_[i].size;
      contiguous_[i] = bytes;
    }
    for (int i = 0; i < axes_; ++i)
      if (!axis_[i].keeps_all()) last_ = i;
  }

  // Returns the number of pieces that threads can share. Returns 0 if all numbers are kept.
  int64_t pieces() const { return last_ < 0 ? 0 : axis_[0].size; }

  void piece(int64_t index) const {
    const KeptAxis& axis = axis_[0];
    const int64_t from = index - axis.first;
    const bool kept = from >= 0 && from % axis.stride == 0 && from / axis.stride < axis.count;
    char* const at = at_ + index * axis.step;
    kept ? outside(at, 1) : fill(at, 1);
  }

 private:
  // Sets numbers to zero, except those that are kept along axis `i` and along all later axes.
  void outside(char* at, int i) const {
    if (i > last_) return;
    const KeptAxis& axis = axis_[i];
    fill_range(at, i, 0, axis.count == 0 ? axis.size : axis.first);
    for (int64_t k = 0; k < axis.count; ++k) {
      const int64_t kept = axis.first + k * axis.stride;
      outside(at + kept * axis.step, i + 1);
      fill_range(at, i, kept + 1, k + 1 < axis.count ? kept + axis.stride : axis.size);
    }
  }

  // Sets positions `begin` to `end` - 1 of axis `i` to zero, with all positions of later axes.
  void fill_range(char* at, int i, int64_t begin, int64_t end) const {
    if (begin >= end) return;
    const ptrdiff_t step = axis_[i].step;
    if (contiguous_[i] > 0) {
      std::memset(at + begin * step, 0, static_cast<size_t>((end - begin) * step));
    } else if (i + 1 < axes_) {
      for (int64_t k = begin; k < end; ++k) fill(at + k * step, i + 1);
    } else {
      for (int64_t k = begin; k < end; ++k) store_zero(at + k * step);
    }
  }

  void fill(char* at, int i) const {
    if (i == axes_)
      store_zero(at);
    else
      fill_range(at, i, 0, axis_[i].size);
  }

  // The compiler turns a memset() of a constant size into one store.
  void store_zero(char* at) const {
    switch (item_) {
      case 2: std::memset(at, 0, 2); break;
      case 4: std::memset(at, 0, 4); break;
      default: std::memset(at, 0, 8);
    }
  }

  char* at_;
  int item_, axes_ = 0;
  int last_ = -1;  // the last axis that does not keep all positions
  std::array<KeptAxis, max_rank> axis_{};
  std::array<ptrdiff_t, max_rank> contiguous_{};  // bytes of an axis and the axes after it, or 0 if there are gaps
};

// Copies an array to some pixels of a larger array, and sets all other pixels to zero. Rows are pixels along the last
// axis, and they are contiguous in both arrays.
class Spread {
 public:
  // `from` is a C-contiguous array. Axis i of it has the positions that axis[i] keeps.
  Spread(const char* from, const View& to, const KeptAxis* axis)
      : from_(from), to_(to), axis_(axis), item_(item_size(to.dtype)), last_(to.shape.rank - 1) {
    for (int i = 0; i + 1 < last_; ++i) pieces_ *= axis[i].size;
  }

  int64_t pieces() const { return pieces_; }

  // Copies the rows along the last axis but one.
  void piece(int64_t index) const {
    char* to = static_cast<char*>(to_.data);
    bool kept = true;
    int64_t from_piece = 0, pieces = 1;
    for (int i = last_ - 2; i >= 0; --i) {
      const KeptAxis& axis = axis_[i];
      const int64_t at = index % axis.size, apart = at - axis.first;
      index /= axis.size;
      to += at * axis.step;
      kept = kept && apart >= 0 && apart % axis.stride == 0 && apart / axis.stride < axis.count;
      if (kept) from_piece += apart / axis.stride * pieces;
      pieces *= axis.count;
    }
    const KeptAxis &rows = axis_[last_ - 1], &pixels = axis_[last_];
    const char* from = from_ + from_piece * rows.count * pixels.count * item_;
    int64_t left = kept ? rows.count : 0, next = rows.first;
    for (int64_t row = 0; row < rows.size; ++row, to += rows.step) {
      std::memset(to, 0, static_cast<size_t>(pixels.size * item_));
      if (left == 0 || row != next) continue;
      copy(from, pixels, to + pixels.first * item_);
      from += pixels.count * item_;
      if (--left > 0) next += rows.stride;
    }
  }

 private:
  void copy(const char* from, const KeptAxis& pixels, char* to) const {
    switch (item_) {
      case 2: copy_pixels<2>(from, pixels, to); break;
      case 4: copy_pixels<4>(from, pixels, to); break;
      default: copy_pixels<8>(from, pixels, to);
    }
  }

  template <int Item>
  static void copy_pixels(const char* from, const KeptAxis& pixels, char* to) {
    for (int64_t i = 0; i < pixels.count; ++i)
      std::memcpy(to + i * pixels.stride * Item, from + i * Item, static_cast<size_t>(Item));
  }

  const char* from_;
  const View& to_;
  const KeptAxis* axis_;
  const int item_, last_;
  int64_t pieces_ = 1;
};

// If an array has at least this number of bytes, a second thread helps to set zeros.
constexpr double bytes_a_thread = 1 << 18;
// Maximum bytes of images that are computed into a contiguous array before they are spread.
constexpr int64_t most_spread = 1 << 20;

int wanted_threads(int threads) { return openmp_limit(threads > 0 ? threads : thread_count()); }

void validate_grad_shape(const View& grad, const Shape& expected) {
  if (grad.shape != expected)
    throw Error(Argument::grad, "must have the shape of the result of the convolution, " + to_string(expected) +
                                    ", got " + to_string(grad.shape));
}

void validate_rank(Argument argument, const Shape& shape, const Layout& layout) {
  if (shape.rank != layout.rank)
    throw Error(argument, "must have the " + std::to_string(layout.rank) + " axes of layout " + layout.name +
                              ", got shape " + to_string(shape));
}

void validate_floating(Argument argument, const View& array) {
  if (!info(array.dtype).floating)
    throw Error(argument,
                std::string("must have dtype float32, float64, float16 or bfloat16, got ") + info(array.dtype).name);
}

// Returns the number of elements. The shape must have passed validate_bytes().
int64_t numbers_of(const Shape& shape) {
  int64_t count = 1;
  for (int i = 0; i < shape.rank; ++i)
    if (shape[i] == 0) return 0;
  for (int i = 0; i < shape.rank; ++i) count *= shape[i];
  return count;
}

// Returns the transposed weights: for each group, input channels x output channels. Copies weights of several groups to
// `copy`, because no view of them has evenly spaced rows.
View transposed(const View& weights, int64_t groups, AlignedBytes* copy) {
  const int64_t m = weights.shape[0] / groups, k = weights.shape[1], item = item_size(weights.dtype);
  if (groups == 1) {
    View view(weights.data, weights.dtype, {k, m});
    view.strides[0] = weights.strides[1];
    view.strides[1] = weights.strides[0];
    return view;
  }
  *copy = allocate_aligned(allocation_size(allocation_size(groups * m, k), item));
  char* to = copy->get();
  for (int64_t g = 0; g < groups; ++g)
    for (int64_t i = 0; i < k; ++i)
      for (int64_t o = 0; o < m; ++o, to += item)
        std::memcpy(to,
                    static_cast<const char*>(weights.data) + (g * m + o) * weights.strides[0] + i * weights.strides[1],
                    static_cast<size_t>(item));
  return View(copy->get(), weights.dtype, {groups * k, m});
}

// Returns the number of threads that set or copy this many bytes.
int threads_for(double bytes, int wanted) {
  if (teams_are_forced()) return wanted;
  return std::min(wanted, static_cast<int>(std::clamp(bytes / bytes_a_thread, 1.0, 1e6)));
}

// Computes the convolution of `src` with `weights` into contiguous memory, some images at a time, and spreads the
// result, which has shape `result`, to dst. A kernel would store the numbers to dst one by one.
void compute_and_spread(const View& weights, const Options& options, const Layout& layout, View src, Shape result,
                        View dst, const KeptAxis* axis, int threads) {
  const int item = item_size(dst.dtype);
  const int64_t images = layout.batch >= 0 ? result[layout.batch] : 1, bytes = numbers_of(result) / images * item;
  const int64_t together = std::clamp<int64_t>(most_spread / bytes, 1, images);
  thread_local Scratch scratch;
  char* const memory = scratch.get(together * bytes);
  const Layer layer =
      together < images ? Layer(weights, nullptr, options) : Layer::borrowing(weights, nullptr, options);
  std::array<KeptAxis, max_rank> axes{};
  std::copy(axis, axis + dst.shape.rank, axes.begin());
  for (int64_t first = 0; first < images; first += together) {
    if (layout.batch >= 0) {
      const int64_t count = std::min(together, images - first);
      src.shape[layout.batch] = result[layout.batch] = dst.shape[layout.batch] = count;
      axes[layout.batch].size = axes[layout.batch].count = count;
    }
    layer(src, View(memory, dst.dtype, result), nullptr, threads);
    const Spread spread(memory, dst, axes.data());
    const int64_t pieces = spread.pieces();
    parallel(threads_for(static_cast<double>(numbers_of(dst.shape)) * item, threads), pieces, EvenRuns{pieces},
             [&spread](int64_t piece, int) { spread.piece(piece); });
    if (layout.batch < 0 || first + together >= images) continue;
    src.data = static_cast<char*>(src.data) + together * src.strides[layout.batch];
    dst.data = static_cast<char*>(dst.data) + together * dst.strides[layout.batch];
  }
  scratch.trim();
}

// Returns a reduction over the pixels of `left` and `right`, which must have the same pixels in the layout `layout`.
Reduction reduction_of(const Layout& layout, const View& left, const View& right, int64_t groups, const View& dst) {
  Reduction r{};
  r.left = left.dtype;
  r.right = right.dtype;
  r.sum = dst.dtype;
  r.groups = groups;
  r.m = left.shape[layout.channels] / groups;
  r.n = right.shape[layout.channels] / groups;
  r.left_m = left.strides[layout.channels];
  r.right_n = right.strides[layout.channels];
  r.dst_m = dst.strides[0];
  r.dst_n = dst.strides[1];
  r.dst_group = groups > 1 && r.n > 0 ? r.m * r.dst_m : 0;  // an array without elements may have any strides
  if (layout.batch >= 0)
    r.axis[r.axes++] = {left.shape[layout.batch], right.strides[layout.batch], left.strides[layout.batch], 0};
  for (int i = 0; i < layout.spatial; ++i) {
    const int axis = layout.spatial_axis[i];
    r.axis[r.axes++] = {left.shape[axis], right.strides[axis], left.strides[axis], 0};
  }
  return r;
}

}  // namespace

void validate_src_gradient(const View& grad, const View& weights, const Shape& src_shape, const Options& options) {
  const Layout& layout = parse_layout(options.layout);
  const Window window = validate_window(options, layout);
  const int64_t c_in = validate_weights(weights.shape, options.groups);
  validate_floating(Argument::grad, grad);
  validate_dtype(Argument::weights, weights, grad.dtype);
  validate_bytes(Argument::weights, weights.shape, weights.dtype);
  validate_grad_shape(grad, validate_src(src_shape, layout, window, c_in, weights.shape[0], options.groups));
  validate_bytes(Argument::src, src_shape, grad.dtype);
  validate_bytes(Argument::grad, grad.shape, grad.dtype);
}

void gradient_of_src(const View& grad, const View& weights, const View& dst, const Options& options, bool accumulate,
                     int threads) {
  validate_src_gradient(grad, weights, dst.shape, options);
  validate_dtype(Argument::dst, dst, grad.dtype);
  const Layout& layout = parse_layout(options.layout);
  const Window window = validate_window(options, layout);
  const int item = item_size(grad.dtype);
  if (numbers_of(dst.shape) == 0) return;

  // `written` is the part of dst that the convolution reads as its src. `read` has the pixels of grad that belong to
  // this part.
  View read = grad, written = dst;
  std::array<KeptAxis, max_rank> axes{};
  for (int i = 0; i < dst.shape.rank; ++i) axes[i] = {dst.shape[i], dst.strides[i], 0, dst.shape[i], 1};
  for (int i = 0; i < layout.spatial; ++i) {
    const int axis = layout.spatial_axis[i];
    const Inside in = inside(dst.shape[axis], window.stride[i], window.padding[i]);
    axes[axis] = {dst.shape[axis], dst.strides[axis], in.source, in.count, window.stride[i]};
    read.shape[axis] = written.shape[axis] = in.count;
    if (in.count == 0) continue;
    read.data = static_cast<char*>(read.data) + (numbers_of(grad.shape) > 0 ? in.begin * grad.strides[axis] : 0);
    written.data = static_cast<char*>(written.data) + in.source * dst.strides[axis];
    // A single pixel needs no step. The stride of the convolution may be so large that the step would overflow.
    written.strides[axis] = in.count > 1 ? window.stride[i] * dst.strides[axis] : item;
  }
  Options plain;
  plain.layout = options.layout;
  plain.groups = options.groups;
  plain.dtype = grad.dtype;
  AlignedBytes copy;
  const View turned = transposed(weights, options.groups, &copy);
  const int last = dst.shape.rank - 1;
  if (!accumulate && last != layout.channels && axes[last].stride > 1 && axes[last].count > 1 &&
      dst.strides[last] == item && numbers_of(written.shape) > 0) {
    compute_and_spread(turned, plain, layout, read, written.shape, dst, axes.data(), wanted_threads(threads));
    return;
  }
  if (numbers_of(written.shape) > 0) {
    Layer::borrowing(turned, nullptr, plain)(read, written, accumulate ? &written : nullptr, threads);
  }
  if (accumulate) return;
  const ZeroOutside zeros(static_cast<char*>(dst.data), item, axes.data(), dst.shape.rank);
  const int64_t pieces = zeros.pieces();
  parallel(threads_for(static_cast<double>(numbers_of(dst.shape)) * item, wanted_threads(threads)), pieces,
           EvenRuns{pieces}, [&zeros](int64_t piece, int) { zeros.piece(piece); });
}

Shape weights_gradient_shape(const View& grad, const View& src, const Options& options) {
  const Layout& layout = parse_layout(options.layout);
  const Window window = validate_window(options, layout);
  validate_rank(Argument::src, src.shape, layout);
  validate_rank(Argument::grad, grad.shape, layout);
  validate_floating(Argument::grad, grad);
  if (src.dtype != grad.dtype && info(src.dtype).sum != grad.dtype)
    throw Error(Argument::src,
                std::string("must have the dtype of grad, ") + info(grad.dtype).name + ", got " + info(src.dtype).name);
  const int64_t c_out = grad.shape[layout.channels], c_in = src.shape[layout.channels];
  validate_groups(options.groups, c_out);
  if (c_in % options.groups != 0)
    throw Error(Argument::groups,
                "must divide the " + std::to_string(c_in) + " input channels, got " + std::to_string(options.groups));
  validate_grad_shape(grad, validate_src(src.shape, layout, window, c_in, c_out, options.groups));
  validate_bytes(Argument::src, src.shape, src.dtype);
  validate_bytes(Argument::grad, grad.shape, grad.dtype);
  return {c_out, c_in / options.groups};
}

void gradient_of_weights(const View& grad, const View& src, const View& dst, const Options& options, bool accumulate,
                         int threads) {
  validate_shape(Argument::dst, dst.shape, weights_gradient_shape(grad, src, options));
  validate_dtype(Argument::dst, dst, info(grad.dtype).sum);
  validate_bytes(Argument::dst, dst.shape, dst.dtype);
  const Layout& layout = parse_layout(options.layout);
  const Window window = validate_window(options, layout);
  Reduction r = reduction_of(layout, grad, src, options.groups, dst);
  const char *left = static_cast<const char*>(grad.data), *right = static_cast<const char*>(src.data);
  const bool empty = numbers_of(grad.shape) == 0 || numbers_of(src.shape) == 0;
  for (int i = 0; i < layout.spatial; ++i) {
    const int axis = layout.spatial_axis[i];
    const Inside in = inside(src.shape[axis], window.stride[i], window.padding[i]);
    Axis& pixels = r.axis[r.axes - layout.spatial + i];
    pixels.size = empty ? 0 : in.count;
    if (pixels.size == 0) continue;
    left += in.begin * grad.strides[axis];
    right += in.source * src.strides[axis];
    pixels.src = in.count > 1 ? window.stride[i] * src.strides[axis] : 0;
  }
  reduce_pixels(r, left, right, static_cast<char*>(dst.data), accumulate, wanted_threads(threads));
}

namespace {

// Computes the sums of grad over all pixels, or adds them to `dst`, which has the dtype of the sums.
void sum_pixels(const View& grad, const View& dst, const Layout& layout, bool accumulate) {
  static const float one = 1;
  static const double one_double = 1;
  View ones = grad, column = dst;  // a channel of ones, and dst as a matrix of one column
  ones.dtype = dst.dtype;
  ones.data = const_cast<void*>(dst.dtype == DType::f32 ? static_cast<const void*>(&one) : &one_double);
  ones.shape[layout.channels] = 1;
  ones.strides = {};
  column.shape = {dst.shape[0], 1};
  column.strides[1] = item_size(dst.dtype);
  const Reduction r = reduction_of(layout, grad, ones, 1, column);
  reduce_pixels(r, static_cast<const char*>(grad.data), static_cast<const char*>(ones.data),
                static_cast<char*>(dst.data), accumulate, wanted_threads(0));
}

}  // namespace

void gradient_of_bias(const View& grad, const View& dst, const std::string& layout, bool accumulate) {
  const Layout& axes = parse_layout(layout);
  validate_rank(Argument::grad, grad.shape, axes);
  validate_floating(Argument::grad, grad);
  validate_dtype(Argument::dst, dst, grad.dtype);
  validate_shape(Argument::dst, dst.shape, {grad.shape[axes.channels]});
  validate_bytes(Argument::grad, grad.shape, grad.dtype);
  const DType sum = info(grad.dtype).sum;
  if (dst.dtype == sum) {
    sum_pixels(grad, dst, axes, accumulate);
    return;
  }
  const int item = item_size(sum);
  const AlignedBytes sums = allocate_aligned(allocation_size(dst.shape[0], item));
  sum_pixels(grad, View(sums.get(), sum, dst.shape), axes, false);
  const FloatEnvironment environment;
  for (int64_t o = 0; o < dst.shape[0]; ++o) {
    char* const to = static_cast<char*>(dst.data) + o * dst.strides[0];
    const double before = accumulate ? read_number(dst.dtype, to) : 0;
    write_number(dst.dtype, to, before + read_number(sum, sums.get() + o * item));
  }
}

void gram_matrix(const View& left, const View& right, const View& dst, int channels, bool symmetric, int threads) {
  Layout axes{"", left.shape.rank, -1, channels, 0, {}};
  Reduction r = reduction_of(axes, left, right, 1, dst);
  for (int i = 0; i < left.shape.rank; ++i)
    if (i != channels) r.axis[r.axes++] = {left.shape[i], right.strides[i], left.strides[i], 0};
  r.symmetric = symmetric;
  reduce_pixels(r, static_cast<const char*>(left.data), static_cast<const char*>(right.data),
                static_cast<char*>(dst.data), false, wanted_threads(threads));
}

}  // namespace pointwise
