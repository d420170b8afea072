// Turns bytes into a convolution. If the validator accepts the convolution, its plan must compute every output element
// once, in a workspace of a valid size. Results must agree with the definition. Only Error and std::bad_alloc may be
// thrown.
//
// The first byte selects one of four tests. Test 1 tries any arguments, most of which are wrong. Test 2 makes plans of
// large problems without arrays. Test 3 checks the results of small problems, and test 4 checks the results of chains.
#include <cmath>
#include <cstring>
#include <map>
#include <new>
#include <optional>
#include <vector>

#include "base/types.h"
#include "bytes.h"
#include "convolution/lowering.h"
#include "convolution/reference.h"
#include "problem.h"
#include "product/plan.h"

namespace pointwise_fuzz {
namespace {

using namespace pointwise;
using pointwise_tests::all_layouts;
using pointwise_tests::Array;
using pointwise_tests::elements;
using pointwise_tests::Lies;
using pointwise_tests::make_array;
using pointwise_tests::Random;

double any_number(Bytes& bytes) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const double table[] = {0, 1, -1, 0.5, 6, -0.0, 1e300, -1e300, 1e-320, infinity, -infinity, std::nan("")};
  return table[bytes.byte() % std::size(table)];
}

const Layout& layout_of(const Options& options) { return parse_layout(options.layout); }

// 1. Any arguments.

void any_arguments(Bytes& bytes) {
  Options o;
  o.layout = all_layouts[bytes.byte() % std::size(all_layouts)];
  if (bytes.byte() == 255) o.layout.assign(bytes.byte() % 9, static_cast<char>(bytes.byte()));
  o.dtype = bytes.flag() ? DType::f64 : DType::f32;
  const auto values = [&] {
    std::vector<int64_t> some(bytes.byte() % 16 == 0 ? bytes.byte() % 5 : 1);
    for (int64_t& value : some) value = bytes.any();
    return some;
  };
  o.stride = values();
  o.padding = values();
  o.groups = bytes.flag() ? bytes.any() : 1;
  o.activation = {static_cast<Activation::Kind>(bytes.byte() % Activation::kinds), any_number(bytes), any_number(bytes),
                  std::vector<double>(o.groups > 0 && o.groups < 5 ? o.groups : 0, 0.5)};
  // The number of weights is small, or larger than any memory can hold.
  static const double one_number[1] = {};
  const auto axis = [&] {
    const int64_t most[] = {int64_t{1} << 50, int64_t{1} << 60, std::numeric_limits<int64_t>::max(), -1};
    const int way = bytes.byte();
    return way < 240 ? way % 9 : most[way % 4];
  };
  View weights, bias;  // strides of 0: one number repeated
  weights.data = bias.data = const_cast<double*>(one_number);
  weights.shape = {axis(), axis()};
  bias.shape = {bytes.byte() < 240 ? weights.shape[0] : axis()};
  Shape src;
  src.rank = static_cast<int>(bytes.byte() < 240 ? std::min<size_t>(o.layout.size(), max_rank) : bytes.byte() % 6);
  for (int i = 0; i < src.rank; ++i) src[i] = bytes.any();
  const bool fits = bytes.byte() < 240;
  const int64_t threads = bytes.small(1, 9);

  const auto attempt = [](const auto& work) {
    try {
      work();
    } catch (const Error& error) {
      POINTWISE_HOLDS(!error.detail().empty());
    } catch (const std::bad_alloc&) {
    }
  };
  attempt([&] {
    const Cost c = cost(src, bytes.any(), o, bytes.flag());
    POINTWISE_HOLDS(c.params >= 0 && c.macs >= 0 && c.bytes >= 0);
  });
  attempt([&] {
    const Layer layer(weights, bytes.flag() ? &bias : nullptr, o);
    if (fits && layout_of(o).rank == src.rank) src[layout_of(o).channels] = layer.c_in();
    const Shape output = layer.output_shape(src);
    for (int i = 0; i < output.rank; ++i) POINTWISE_HOLDS(output[i] >= 0);
    set_calling_thread_count(static_cast<int>(threads));
    POINTWISE_HOLDS(!layer.explain(src).empty());
    const Chain chain({&layer});
    POINTWISE_HOLDS(chain.output_shape(src) == output);
  });
  // Tests borrowed weights. A layer does not pack them, so any number of weights is possible.
  attempt([&] {
    const Layer layer = Layer::borrowing(weights, nullptr, o);
    if (fits && layout_of(o).rank == src.rank) src[layout_of(o).channels] = layer.c_in();
    const View from(nullptr, o.dtype, src), to(nullptr, o.dtype, layer.output_shape(src));
    POINTWISE_HOLDS(!layer.explain(src).empty());
    const Window window = validate_window(o, layout_of(o));
    make_borrowing_plan(lower(layout_of(o), window, o.groups, o.dtype, from, to, nullptr), static_cast<int>(threads));
  });
  set_calling_thread_count(0);
}

// 2. Plans.

void hold_parts(const Parts& parts) {
  POINTWISE_HOLDS(parts.count >= 1 && parts.unit >= 1 && parts.begin(0) == 0 &&
                  parts.begin(parts.count) == parts.total);
  const int64_t all = std::min<int64_t>(parts.count, 1000);
  for (int64_t i = 0; i < all; ++i) {
    const int64_t size = parts.begin(i + 1) - parts.begin(i);
    POINTWISE_HOLDS(size > 0 && size <= parts.largest());
  }
}

// Counts the writes to each offset of dst. Cuts the box into pieces as the driver does.
void count_writes(const Product& lowered, const Box& box, const Blocking& b, std::map<ptrdiff_t, int>* writes) {
  for (int64_t piece = 0; piece < b.pieces; ++piece) {
    int64_t index = piece;
    const int64_t channel_part = index % b.m_parts.count;
    index /= b.m_parts.count;
    const int64_t pixel_part = index % b.n_parts.count;
    index /= b.n_parts.count;
    const int64_t group = index % lowered.groups, image = index / lowered.groups;
    for (int64_t p = b.n_parts.begin(pixel_part); p < b.n_parts.begin(pixel_part + 1); ++p) {
      int64_t rest = image * b.n + p;
      ptrdiff_t at = box.dst;
      for (int a = box.axes - 1; a >= 0; --a) {
        at += rest % box.axis[a].size * box.axis[a].dst;
        rest /= box.axis[a].size;
      }
      POINTWISE_HOLDS(rest == 0);
      for (int64_t c = b.m_parts.begin(channel_part); c < b.m_parts.begin(channel_part + 1); ++c)
        ++(*writes)[at + (group * lowered.m + c) * lowered.dst_m];
    }
  }
}

void hold_plan(const Plan& plan, const Shape& output, int threads) {
  const Product& lowered = plan.product;
  POINTWISE_HOLDS(lowered.boxes >= 0 && lowered.boxes <= max_boxes);
  int64_t bytes = 0;
  for (int i = 0; i < regions; ++i) {
    POINTWISE_HOLDS(plan.workspace.size(Region(i)) >= 0 && plan.workspace.size(Region(i)) % 64 == 0);
    bytes += plan.workspace.size(Region(i));
  }
  POINTWISE_HOLDS(plan.workspace.bytes() == bytes);
  POINTWISE_HOLDS(plan.team >= 1 && plan.team <= threads);
  __int128 computed = 0, wanted = 1;
  int64_t pieces = 0;
  for (int i = 0; i < output.rank; ++i) wanted *= output[i];
  for (int i = 0; i < lowered.boxes; ++i) {
    const Box& box = lowered.box[i];
    const Blocking& b = plan.blocking[i];
    POINTWISE_HOLDS(box.axes >= 1 && box.axes <= max_axes && b.n_axes >= 1 && b.n_axes <= box.axes);
    int64_t pixels = 1;
    for (int a = 0; a < box.axes; ++a) {
      POINTWISE_HOLDS(box.axis[a].size > 0);
      pixels *= box.axis[a].size;
    }
    POINTWISE_HOLDS(b.images * b.n == pixels);
    POINTWISE_HOLDS(b.n_parts.total == b.n && b.m_parts.total == lowered.m);
    hold_parts(b.n_parts);
    hold_parts(b.m_parts);
    hold_parts(fewest_parts(b.n_parts.largest(), b.n_parts.unit, b.n_block));
    POINTWISE_HOLDS(b.pieces == b.images * lowered.groups * b.n_parts.count * b.m_parts.count);
    POINTWISE_HOLDS(b.n_block >= 1 && b.m_block >= 1 && b.k_block >= 1);
    POINTWISE_HOLDS((b.results > 0) == (lowered.types.y != lowered.types.sum) &&
                    b.results <= plan.workspace.size(Region::results));
    POINTWISE_HOLDS(b.packed >= 0 && b.sums >= 0 && b.copy >= 0 && b.weights >= 0 && b.cycles >= 0);
    POINTWISE_HOLDS(b.packed <= plan.workspace.size(Region::packed) && b.sums <= plan.workspace.size(Region::sums) &&
                    b.copy <= plan.workspace.size(Region::copy) && b.weights <= plan.workspace.size(Region::panels));
    POINTWISE_HOLDS(b.k_block >= box.k || (b.sums > 0 && b.k_block % pointwise::chunk_channels == 0));
    pieces += b.pieces;
    computed += static_cast<__int128>(pixels) * lowered.groups * lowered.m;
  }
  POINTWISE_HOLDS(plan.pieces == pieces && computed == wanted);
  if (wanted > 4096) return;
  std::map<ptrdiff_t, int> writes;
  for (int i = 0; i < lowered.boxes; ++i) count_writes(lowered, lowered.box[i], plan.blocking[i], &writes);
  POINTWISE_HOLDS(static_cast<__int128>(writes.size()) == wanted);
  for (const auto& [at, count] : writes) POINTWISE_HOLDS(count == 1);
}

// Returns a valid problem. `most` limits spatial axes, and `most_channels` channels.
pointwise_tests::Problem problem_of(Bytes& bytes, int64_t most, int64_t most_channels) {
  pointwise_tests::Problem p;
  Options& o = p.options;
  o.layout = all_layouts[bytes.byte() % std::size(all_layouts)];
  const uint8_t flags = bytes.byte();
  o.dtype = flags & 1 ? DType::f64 : DType::f32;
  p.bias = flags & 2;
  p.residual = flags & 4;
  p.scaled = flags & 8;
  const int spatial = spatial_axes(o.layout);
  const size_t values = spatial > 0 && flags & 16 ? spatial : 1;
  for (size_t i = 0; i < values; ++i) {
    const int64_t stride = flags & 32 ? bytes.small(1, 5) : 1, padding = flags & 64 ? bytes.small(0, 4) : 0;
    (i == 0 ? o.stride.assign(1, stride) : o.stride.push_back(stride));
    (i == 0 ? o.padding.assign(1, padding) : o.padding.push_back(padding));
  }
  o.groups = flags & 128 ? bytes.small(1, 6) : 1;
  const Activation activations[] = {{},
                                    Activation::relu(),
                                    {Activation::Kind::relu6},
                                    Activation::clip(-9, 4),
                                    Activation::leaky_relu(0.5),
                                    Activation::elu(2),
                                    {Activation::Kind::gelu},
                                    {Activation::Kind::mish}};
  o.activation = activations[bytes.byte() % std::size(activations)];
  p.inputs = bytes.small(0, most_channels);
  p.c_out = o.groups * bytes.small(0, most_channels);
  if (o.activation.kind == Activation::Kind::leaky_relu && p.c_out % 2 == 0)  // so that the corpus keeps its meaning
    o.activation = Activation::prelu(std::vector<double>(static_cast<size_t>(p.c_out), 0.5));
  p.threads = static_cast<int>(bytes.small(1, 9));
  p.src.rank = static_cast<int>(o.layout.size());
  for (int i = 0; i < p.src.rank; ++i)
    p.src[i] = o.layout[i] == 'C' ? p.inputs * o.groups : o.layout[i] == 'N' ? bytes.small(0, 3) : bytes.small(0, most);
  return p;
}

// Returns a view without memory. Its strides are strides that an array can have.
View somewhere(const Shape& shape, DType dtype, bool read_only, Bytes& bytes) {
  View view;
  view.dtype = dtype;
  view.shape = shape;
  int64_t step = item_size(dtype);
  std::array<int, max_rank> order{0, 1, 2, 3, 4};
  const uint8_t way = bytes.byte();
  if (way & 1)
    for (int i = shape.rank - 1; i > 0; --i) std::swap(order[i], order[bytes.byte() % (i + 1)]);
  for (int i = shape.rank - 1; i >= 0; --i) {
    const int axis = order[i];
    if (way & 2) step += bytes.byte();
    view.strides[axis] = way & 4 && bytes.flag() ? -step : step;
    if (read_only && way & 8 && bytes.flag()) view.strides[axis] = 0;
    step *= std::max<int64_t>(shape[axis], 1);
  }
  return view;
}

void plans(Bytes& bytes) {
  const pointwise_tests::Problem p = problem_of(bytes, 3000, 5000);
  const Layout& layout = layout_of(p.options);
  const Window window = validate_window(p.options, layout);
  const Shape output = validate_src(p.src, layout, window, p.inputs * p.options.groups, p.c_out, p.options.groups);
  const DType dtype = p.options.dtype;
  // Integer x needs float32 weights. The sizes select the dtype, so that the corpus keeps its meaning.
  constexpr int source_types = static_cast<int>(DType::i16) + 1;
  const int drawn = static_cast<int>((p.c_out + p.inputs) % source_types);
  const DType x = dtype == DType::f32 && drawn >= 2 ? DType(drawn) : dtype;
  const DType y = x != dtype && p.c_out % 3 == 0 ? DType(2 + p.inputs % (source_types - 2)) : dtype;
  const View src = somewhere(p.src, x, true, bytes), dst = somewhere(output, y, false, bytes);
  const View residual = somewhere(output, y, true, bytes), scale(nullptr, dtype, p.scales());
  const Product lowered = lower(layout, window, p.options.groups, p.options.dtype, src, dst,
                                p.residual && info(y).floating ? &residual : nullptr, p.scaled ? &scale : nullptr);
  for (const int threads : {1, p.threads}) {
    hold_plan(make_plan(lowered, threads), output, threads);
    hold_plan(make_uncut_plan(lowered, threads), output, threads);
    if (const std::optional<Plan> plan = make_borrowing_plan(lowered, threads)) hold_plan(*plan, output, threads);
  }
}

// 3. Numbers.

Lies lies_of(Bytes& bytes, bool read_only) {
  const uint8_t way = bytes.byte();
  return {(way & 1) != 0, (way & 2) != 0, (way & 4) != 0, (way & 8) != 0, read_only && way & 16};
}

// Returns true if the activation is exact on sums of small integers.
bool is_exact(const Activation& activation) {
  return activation.kind <= Activation::Kind::leaky_relu || activation.kind == Activation::Kind::prelu;
}

template <class T>
void hold_values(const Array<T>& got, const Array<T>& want, bool exact) {
  if (exact) {
    POINTWISE_HOLDS(got.memory == want.memory);  // compares all of the memory, because gaps must not change
    return;
  }
  const std::vector<T> a = got.values(), b = want.values();
  const double tolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;
  for (size_t i = 0; i < a.size(); ++i)
    POINTWISE_HOLDS(std::fabs(static_cast<double>(a[i] - b[i])) <= tolerance * (1 + std::fabs(b[i])));
}

template <class T>
void numbers(const pointwise_tests::Problem& p, Bytes& bytes) {
  Random random(bytes.byte());
  const auto number = [&] { return pointwise_tests::small_integer<T>(random); };
  const auto array = [&](const Shape& shape, bool read_only) {
    return make_array<T>(shape, lies_of(bytes, read_only), random, number);
  };
  const Array<T> weights = array({p.c_out, p.inputs}, true), bias = array({p.c_out}, true);
  const Layer layer(weights.view, p.bias ? &bias.view : nullptr, p.options);
  const Shape output = layer.output_shape(p.src);
  if (elements(output) * std::max<int64_t>(p.inputs, 1) > 1 << 18) return;
  const Array<T> src = array(p.src, true), scale = array(p.scales(), true), residual = array(output, true);
  const Array<T> before = array(output, false);
  const bool in_place = p.residual && bytes.byte() % 4 == 0;
  const View *scales = p.scaled ? &scale.view : nullptr, *add = p.residual ? &residual.view : nullptr;

  Array<T> want = before, got = before, borrowed = before;
  reference(weights.view, p.bias ? &bias.view : nullptr, p.options, src.view, want.view, in_place ? &want.view : add,
            nullptr, scales);
  layer(src.view, got.view, in_place ? &got.view : add, p.threads, scales);
  hold_values(got, want, is_exact(p.options.activation));
  const Layer once = Layer::borrowing(weights.view, p.bias ? &bias.view : nullptr, p.options);
  once(src.view, borrowed.view, in_place ? &borrowed.view : add, p.threads, scales);
  POINTWISE_HOLDS(borrowed.memory == got.memory);
}

template <class T>
void chains(pointwise_tests::Problem p, Bytes& bytes) {
  Random random(bytes.byte());
  const auto number = [&] { return static_cast<T>(random.real()); };
  p.options.padding.assign(1, 0);
  std::vector<Layer> layers;
  const size_t count = bytes.small(1, 4);
  int64_t inputs = p.inputs * p.options.groups;
  for (size_t i = 0; i < count; ++i) {
    Options o = p.options;
    if (i > 0) o.stride.assign(1, 1);
    o.groups = i == 0 ? p.options.groups : 1;
    const int64_t channels = o.groups * bytes.small(0, 40);
    if (o.activation.kind == Activation::Kind::prelu) o.activation.slopes.resize(static_cast<size_t>(channels), 0.25);
    const Array<T> weights = make_array<T>({channels, inputs / o.groups}, lies_of(bytes, true), random, number);
    layers.emplace_back(weights.view, nullptr, o);
    inputs = channels;
  }
  std::vector<const Layer*> parts;
  for (const Layer& layer : layers) parts.push_back(&layer);
  const Chain chain(parts);
  const Shape output = chain.output_shape(p.src);
  if (elements(output) > 1 << 14 || elements(p.src) > 1 << 14) return;
  const Array<T> src = make_array<T>(p.src, lies_of(bytes, true), random, number);
  const Array<T> residual = make_array<T>(output, lies_of(bytes, true), random, number);
  const Array<T> before = make_array<T>(output, lies_of(bytes, false), random, number);
  const View* add = p.residual ? &residual.view : nullptr;
  Array<T> got = before, want = before;
  chain(src.view, got.view, add, p.threads);
  Array<T> from = src;
  for (size_t i = 0; i < count; ++i) {
    const bool last = i + 1 == count;
    Array<T> to;
    const Shape shape = layers[i].output_shape(from.view.shape);
    to.memory.assign(static_cast<size_t>(elements(shape)) * sizeof(T), 0);
    to.view = View(to.memory.data(), p.options.dtype, shape);
    layers[i](from.view, last ? want.view : to.view, last ? add : nullptr, 1);
    from = to;
  }
  POINTWISE_HOLDS(got.memory == want.memory);
}

}  // namespace
}  // namespace pointwise_fuzz

// The fuzzer requests impossible sizes on purpose.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "allocator_may_return_null=1:max_allocation_size_mb=1024";
}

// clang's OpenMP runtime does not free the memory of its teams.
extern "C" __attribute__((visibility("default"))) const char* __lsan_default_suppressions() { return "leak:libomp.so"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace pointwise_fuzz;
  Bytes bytes(data, size);
  const int way = bytes.byte() % 4;
  if (way == 0) {
    any_arguments(bytes);
  } else if (way == 1) {
    plans(bytes);
  } else {
    auto p = problem_of(bytes, 24, way == 2 ? 60 : 20);
    const bool wide = p.options.dtype == DType::f64;
    if (bytes.byte() % 16 != 0) p.threads = 1;  // teams start slowly on a busy machine
    if (way == 2)
      wide ? numbers<double>(p, bytes) : numbers<float>(p, bytes);
    else
      wide ? chains<double>(p, bytes) : chains<float>(p, bytes);
  }
  return 0;
}
