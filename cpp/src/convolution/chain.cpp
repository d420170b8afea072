// Computes a chain of layers, one strip of pixels at a time:
//
// clang-format off
//     for strip of pixels:                        one thread, or all threads if there is one strip
//       for layer:
//         the layer's plan for a strip            src or a buffer -> the other buffer or dst
// clang-format on
//
// A strip is so small that the results between two layers stay in cache. The bits of a pixel depend only on this pixel.
// So a layer computes a strip like any other array, and this file handles only strips and buffers.
#include <algorithm>
#include <cstdlib>
#include <optional>

#include "base/checked.h"
#include "base/float_environment.h"
#include "base/types.h"
#include "convolution/layer.h"
#include "machine/cpu.h"
#include "machine/machine.h"
#include "memory/scratch.h"
#include "product/explain.h"
#include "threads/parallel.h"

namespace pointwise {
namespace {

// Strips along the innermost axis are a multiple of this number of pixels. So strips consist of whole tiles of all
// channel rows, except channel rows with 64 pixels.
constexpr int64_t pixel_unit = 48;
// Minimum numbers of pixels in a strip. Last strips, strips of whole rows, and strips within a short row may have fewer
// pixels. The second minimum is for chains that read their weights from L3 for every strip. With smaller strips, the
// layers lose more time than the caches save.
constexpr int64_t least_pixels = 96, least_pixels_for_weights = 384;
// Desired number of strips per thread. With several strips per thread, a slow thread can compute fewer strips.
constexpr int64_t strips_a_thread = 4;

// A strip is small if its largest layer, input and output together, fills at most `part_of_l2` of L2. A strip may fill
// `channels_last_room` times L2 under three conditions. Channels are contiguous, weights stay in L2, and a small strip
// would have fewer than `few_multiply_adds` multiply-adds. Then larger strips are faster, because pixel rows read their
// weights again for every strip. L3 holds a part of such a strip. The CPU prefetches this part, because the kernels
// read it in order. (Zen 5, 16 -> 96 -> 24 channels at 112x112 in NHWC: 88% of the peak with large strips, 78% with
// small strips.)
constexpr double part_of_l2 = 9.0 / 16;
constexpr int64_t channels_last_room = 2, few_multiply_adds = 15000000;

// Returns true if channels are contiguous in dst. In this case, channels are contiguous in the buffers, too.
bool channels_last(const Product& ends) { return ends.m > 1 && std::abs(ends.dst_m) == item_size(ends.types.y); }

// Returns the layout of a strip: first the axes of its pixels, outermost first, then the channels.
Layout strip_layout(int axes) {
  Layout layout{"a strip", axes + 1, 0, axes, axes - 1, {}};
  for (int i = 0; i < layout.spatial; ++i) layout.spatial_axis[i] = i + 1;
  return layout;
}
constexpr Window every_pixel = {{1, 1, 1}, {0, 0, 0}};

// Returns the view of a strip in src, dst or the residual, without its pointer. `step` selects the array.
View part_of(DType dtype, const std::array<Axis, max_axes>& axes, int count, ptrdiff_t Axis::* step, int64_t channels,
             ptrdiff_t channel_step) {
  View view;
  view.dtype = dtype;
  view.shape.rank = count + 1;
  for (int a = 0; a < count; ++a) {
    view.shape[a] = axes[a].size;
    view.strides[a] = axes[a].*step;
  }
  view.shape[count] = channels;
  view.strides[count] = channel_step;
  return view;
}

// Returns the view of a strip in a buffer, with evenly spaced pixels. `strip` gives the sizes of the axes.
View in_buffer(View strip, DType dtype, int64_t channels, ptrdiff_t channel_step, ptrdiff_t pixel_step) {
  const int last = strip.shape.rank - 1;
  strip.dtype = dtype;
  strip.shape[last] = channels;
  strip.strides[last] = channel_step;
  for (int a = last - 1; a >= 0; --a) {
    strip.strides[a] = pixel_step;
    pixel_step *= strip.shape[a];
  }
  return strip;
}

DType result_dtype(const Options& options) { return options.dst_dtype.value_or(options.dtype); }

// The plans of all layers for strips of one size.
using Stages = std::vector<Plan>;

}  // namespace

struct ChainPlan {
  Box box;  // all pixels of src and dst
  // `cut` is the axis that is cut into strips. A strip contains all inner axes. `images` is the number of indices of
  // the outer axes. Each image has `strips` strips, whose size along the cut axis is `strip`.
  int cut;
  int64_t images, strips, strip;
  Stages whole, last;  // `last` is for the last strip of an image, `whole` for all other strips
  int64_t buffer[2];   // bytes of the two buffers, which layers use in turn
  int64_t scratch;     // bytes of the workspace of the layers
  bool one_by_one;     // true if there is one strip; then all threads compute a layer together
  int team;
};

struct Chain::Impl {
  std::vector<const Layer*> layers;
  mutable PlanCache<ChainPlan> plans;

  const Layer::Impl& layer(size_t i) const { return *layers[i]->impl_; }
  const Layer::Impl& first() const { return layer(0); }
  std::shared_ptr<const ChainPlan> plan(const View& src, const View& dst, const View* residual, int threads) const;

 private:
  std::shared_ptr<const ChainPlan> make_plan(const View& src, const View& dst, const View* residual, int threads) const;
  Stages stages(const ChainPlan& plan, const Product& ends, int64_t size, int threads, Level source, bool stream,
                int64_t (&buffer)[2]) const;
};

Chain::Chain(std::vector<const Layer*> layers) {
  if (layers.empty()) throw Error(Argument::layers, "must contain at least one layer, got none");
  const auto fail = [&](size_t i, const std::string& expected, const std::string& came) {
    throw Error(Argument::layers,
                "must form a chain: layer " + std::to_string(i) + " must " + expected + ", got " + came);
  };
  const Layer::Impl& first = *layers[0]->impl_;
  for (size_t i = 0; i < layers.size(); ++i) {
    const Layer::Impl& layer = *layers[i]->impl_;
    if (layer.borrowed) fail(i, "own its weights", "a layer from Layer::borrowing");
    if (layer.options.layout != first.options.layout)
      fail(i, "have layer 0's layout " + first.options.layout, layer.options.layout);
    const DType given = i > 0 ? result_dtype(layers[i - 1]->options()) : first.options.dtype;
    if (given != layer.options.dtype && !(is_integer(given) && layer.options.dtype == DType::f32))
      fail(i, std::string("take the ") + info(given).name + " of layer " + std::to_string(i - 1),
           std::string("a layer of dtype ") + info(layer.options.dtype).name);
    if (i > 0 && layer.c_in != layers[i - 1]->c_out())
      fail(i, "read the " + std::to_string(layers[i - 1]->c_out()) + " channels of layer " + std::to_string(i - 1),
           std::to_string(layer.c_in));
    for (int axis = 0; axis < layer.layout.spatial; ++axis) {
      if (layer.window.padding[axis] != 0) fail(i, "have no padding", std::to_string(layer.window.padding[axis]));
      if (i > 0 && layer.window.stride[axis] != 1)
        fail(i, "have stride 1, because only layer 0 may have another", std::to_string(layer.window.stride[axis]));
    }
    if (i > 0 && makes_integers(layer.options) && !makes_integers(layers[i - 1]->options()))
      fail(i, std::string("read integers, because it gives ") + info(*layer.options.dst_dtype).name,
           std::string(info(result_dtype(layers[i - 1]->options())).name) + " from layer " + std::to_string(i - 1));
  }
  auto impl = std::make_unique<Impl>();
  impl->layers = std::move(layers);
  impl_ = std::move(impl);
}
Chain::~Chain() = default;
Chain::Chain(Chain&&) noexcept = default;
Chain& Chain::operator=(Chain&&) noexcept = default;

const Options& Chain::options() const { return impl_->layers.front()->options(); }
const Options& Chain::last_options() const { return impl_->layers.back()->options(); }
DType Chain::last_src_dtype(DType src) const {
  const size_t layers = impl_->layers.size();
  return layers == 1 ? src : result_dtype(impl_->layers[layers - 2]->options());
}

Shape Chain::output_shape(const Shape& src_shape) const {
  Shape shape = src_shape;
  for (const Layer* layer : impl_->layers) shape = layer->output_shape(shape);
  return shape;
}

// Returns the plans of all layers for strips of `size` along the cut axis. Enlarges `buffer` for these strips. `ends`
// has the src of the first layer and the dst of the last layer, lowered like a single layer.
Stages Chain::Impl::stages(const ChainPlan& plan, const Product& ends, int64_t size, int threads, Level source,
                           bool stream, int64_t (&buffer)[2]) const {
  const bool channels_last = pointwise::channels_last(ends);
  const int count = plan.box.axes - plan.cut;
  std::array<Axis, max_axes> axes{};
  std::copy(plan.box.axis.begin() + plan.cut, plan.box.axis.begin() + plan.box.axes, axes.begin());
  axes[0].size = size;
  int64_t pixels = 1;
  for (int a = 0; a < count; ++a) pixels = allocation_size(pixels, axes[a].size);
  const Layout layout = strip_layout(count);
  const View dst = part_of(ends.types.y, axes, count, &Axis::dst, ends.m, ends.dst_m);
  const View residual = part_of(ends.types.y, axes, count, &Axis::residual, ends.m, ends.residual_m);

  Stages stages;
  View from = part_of(ends.types.x, axes, count, &Axis::src, ends.k, ends.src_k);
  for (size_t i = 0; i < layers.size(); ++i) {
    const int64_t channels = layer(i).c_out;
    const bool is_last = i + 1 == layers.size();
    const DType between = result_dtype(layer(i).options);
    const int64_t item = item_size(between);
    const int64_t row = padded_row(allocation_size(channels_last ? channels : pixels, item));
    if (!is_last) buffer[i % 2] = std::max(buffer[i % 2], allocation_size(channels_last ? pixels : channels, row));
    const View to =
        is_last ? dst : in_buffer(from, between, channels, channels_last ? item : row, channels_last ? row : item);
    Memory memory;
    if (i == 0) memory.source = source;
    if (is_last) memory.stream = stream;
    const Product product =
        lower(layout, every_pixel, layer(i).options.groups, layer(i).weights.dtype, from, to,
              is_last && ends.has_residual ? &residual : nullptr, nullptr, layer(i).weights.slopes != nullptr);
    stages.push_back(pointwise::make_plan(product, threads, memory));
    from = to;
  }
  return stages;
}

std::shared_ptr<const ChainPlan> Chain::Impl::make_plan(const View& src, const View& dst, const View* residual,
                                                        int threads) const {
  const FloatEnvironment environment;  // the cost model needs the default state
  auto plan = std::make_shared<ChainPlan>();
  validate_bytes(Argument::src, src.shape, src.dtype);
  validate_bytes(Argument::dst, dst.shape, dst.dtype);
  const Product ends = lower(first().layout, first().window, 1, first().weights.dtype, src, dst, residual);
  if (ends.boxes == 0) return plan;  // nothing to compute
  const int64_t item = first().weights.item;
  plan->box = ends.box[0];
  const Box& box = plan->box;

  int64_t pixels = 1;
  for (int a = 0; a < box.axes; ++a) pixels *= box.axis[a].size;
  int64_t widest = 1;
  double multiply_adds = 0;  // per pixel
  bool from_l3 = false;
  for (size_t i = 0; i < layers.size(); ++i) {
    const Layer::Impl& l = layer(i);
    widest = std::max(widest, l.c_in + l.c_out);
    const int64_t weights = l.c_out * (l.c_in / l.options.groups);
    multiply_adds += static_cast<double>(weights);
    from_l3 = from_l3 || weights * item > l2_cache_size() / 2;
  }
  int64_t room = static_cast<int64_t>(static_cast<double>(l2_cache_size()) * part_of_l2);
  if (!from_l3 && channels_last(ends) &&
      static_cast<double>(room / allocation_size(widest, item)) * multiply_adds < few_multiply_adds)
    room = channels_last_room * l2_cache_size();
  int64_t most = std::max(room / allocation_size(widest, item), from_l3 ? least_pixels_for_weights : least_pixels);
  const int64_t fair = pixels / (strips_a_thread * threads);
  const bool all = pixels <= most || (threads > 1 && fair < least_pixels);
  if (threads > 1) most = std::min(most, fair);
  plan->one_by_one = all;
  const int last = box.axes - 1;
  plan->cut = all ? 0 : last > 0 && 2 * box.axis[last].size <= most ? last - 1 : last;
  const int64_t size = box.axis[plan->cut].size;
  if (all) {
    plan->strip = size;
  } else {
    const int64_t within = plan->cut == last ? 1 : box.axis[last].size;
    const int64_t unit = plan->cut == last ? pixel_unit : 1;
    const int64_t limit = std::max<int64_t>(unit, most / within / unit * unit);
    plan->strip = fewest_parts(size, unit, limit).largest();
  }
  plan->strips = ceil_div(size, plan->strip);
  plan->images = 1;
  for (int a = 0; a < plan->cut; ++a) plan->images *= box.axis[a].size;

  // The plan assumes that src is in memory even if it fits L3, because the buffers need the caches, too. (Zen 4, 16 ->
  // 96 -> 24 channels at 112x112, 8 images in NCHW: 85% of the peak with prefetching, 82% without.)
  const double channel = static_cast<double>(pixels) * static_cast<double>(item);
  const Level source =
      channel * static_cast<double>(box.k) > static_cast<double>(l2_cache_size()) ? Level::memory : Level::l2;
  const bool stream = goes_past_caches(channel * static_cast<double>(ends.m));
  const int stage_threads = all ? threads : 1;
  plan->whole = stages(*plan, ends, plan->strip, stage_threads, source, stream, plan->buffer);
  plan->last =
      stages(*plan, ends, size - (plan->strips - 1) * plan->strip, stage_threads, source, stream, plan->buffer);
  for (int64_t& bytes : plan->buffer) bytes = allocation_sum(round_up(bytes, 64), 64);
  double cycles = 0;
  for (const Plan& stage : plan->whole) {
    if (stage.product.boxes > 0) cycles += stage.blocking[0].cycles;
    plan->scratch = std::max(plan->scratch, stage.workspace.bytes());
  }
  for (const Plan& stage : plan->last) plan->scratch = std::max(plan->scratch, stage.workspace.bytes());
  const int64_t count = plan->images * plan->strips;
  plan->team = all ? 1 : team_size(machine(), cycles * static_cast<double>(count), count, threads);
  return plan;
}

std::shared_ptr<const ChainPlan> Chain::Impl::plan(const View& src, const View& dst, const View* residual,
                                                   int threads) const {
  const PlanKey key = key_of(src, dst, residual, nullptr, threads);
  std::shared_ptr<const ChainPlan> found = plans.find(key);
  if (!found) {
    found = make_plan(src, dst, residual, threads);
    plans.insert(key, found);
  }
  return found;
}

void Chain::operator()(const View& src, const View& dst, const View* residual, int threads) const {
  const Impl& chain = *impl_;
  const Shape expected = output_shape(src.shape);
  validate_src_dtype(options(), src);
  validate_result_dtypes(last_options(), last_src_dtype(src.dtype), dst, residual);
  validate_shape(Argument::dst, dst.shape, expected);
  if (residual) validate_shape(Argument::residual, residual->shape, expected);
  const int wanted = openmp_limit(threads > 0 ? threads : thread_count());
  const std::shared_ptr<const ChainPlan> plan = chain.plan(src, dst, residual, wanted);
  if (plan->whole.empty()) return;

  thread_local Scratch scratch;
  const int64_t bytes = allocation_sum(allocation_sum(plan->buffer[0], plan->buffer[1]), plan->scratch);
  char* const buffers = scratch.get(allocation_size(bytes, plan->team));
  const Box& box = plan->box;
  const bool flushes = chain.first().weights.flush_subnormals;
  const auto work = [&](int64_t index, int thread) {
    const bool last = index % plan->strips == plan->strips - 1;
    const Stages& stages = last ? plan->last : plan->whole;
    const int64_t at = index % plan->strips * plan->strip;
    int64_t image = index / plan->strips;
    const Axis& cut = box.axis[plan->cut];
    const char* from = static_cast<const char*>(src.data) + box.src + at * cut.src;
    char* to = static_cast<char*>(dst.data) + box.dst + at * cut.dst;
    const char* added =
        residual ? static_cast<const char*>(residual->data) + box.residual + at * cut.residual : nullptr;
    for (int a = plan->cut - 1; a >= 0; --a) {
      const Axis& axis = box.axis[a];
      const int64_t i = image % axis.size;
      image /= axis.size;
      from += i * axis.src;
      to += i * axis.dst;
      if (residual) added += i * axis.residual;
    }
    char* const buffer[2] = {buffers + thread * bytes, buffers + thread * bytes + plan->buffer[0]};
    for (size_t i = 0; i < stages.size(); ++i) {
      const bool is_last = i + 1 == stages.size();
      const Arrays arrays{i == 0 ? from : buffer[(i + 1) % 2], is_last ? to : buffer[i % 2], is_last ? added : nullptr};
      if (plan->one_by_one) {
        run_plan(stages[i], chain.layer(i).weights, arrays, stages[i].team);
        continue;
      }
      const bool layer_flushes = chain.layer(i).weights.flush_subnormals;
      std::optional<FloatEnvironment> own;  // used if the setting of the layer differs from the setting of layer 0
      if (layer_flushes != flushes) own.emplace(layer_flushes);
      run_serially(stages[i], chain.layer(i).weights, arrays, buffer[1] + plan->buffer[1]);
    }
  };
  const int64_t pieces = plan->images * plan->strips;
  if (plan->one_by_one)
    work(0, 0);
  else
    parallel(plan->team, pieces, EvenRuns{pieces}, work, flushes);
  scratch.trim();
}

std::string Chain::explain(const Shape& src_shape) const {
  View src, dst;
  make_views(options(), last_options(), src_shape, output_shape(src_shape), &src, &dst);
  const int threads = threads_to_explain();
  const std::shared_ptr<const ChainPlan> plan = impl_->plan(src, dst, nullptr, threads);
  if (plan->whole.empty()) return "empty result: nothing to compute\n";
  int64_t pixels = plan->strip;
  for (int a = plan->cut + 1; a < plan->box.axes; ++a) pixels *= plan->box.axis[a].size;
  std::string text = std::to_string(plan->images) + " image(s) of " + std::to_string(plan->strips) +
                     " strip(s), at most " + std::to_string(pixels) + " pixels each; buffers of " +
                     std::to_string((plan->buffer[0] + plan->buffer[1]) >> 10) + " KiB per thread; ";
  text += plan->one_by_one
              ? "all threads compute a layer together\n"
              : std::to_string(plan->team) + " of " + std::to_string(threads) + " thread(s), each with its own strip\n";
  for (size_t i = 0; i < plan->whole.size(); ++i)
    text += "layer " + std::to_string(i) + ", for a strip:\n" + explain_plan(plan->whole[i], plan->whole[i].team);
  return text;
}

}  // namespace pointwise
