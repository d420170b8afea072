// Runs every kernel row with every blocking that it can run. Each array, the packed weights and each region of the
// workspace lie next to pages that fault. So an access outside of them ends the process. Sums of small integers are
// exact, so all bytes of dst are compared, also the bytes between its elements.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "base/checked.h"
#include "base/numbers.h"
#include "convolution/lowering.h"
#include "convolution/reference.h"
#include "guarded.h"
#include "kernels/registry.h"
#include "problem.h"
#include "product/driver.h"

namespace pointwise_tests {
namespace {

using pointwise::Blocking;
using pointwise::Candidate;
using pointwise::Packing;
using pointwise::Plan;
using pointwise::Product;

// A copy of an array, from its lowest element to its highest, directly before or after a page that faults.
template <class T>
class Flush {
 public:
  Flush(const Array<T>& array, bool at_end) : view(array.view), memory_(bytes_of(array)) {
    if (elements(view.shape) == 0) {
      view.data = memory_.forbidden();
      return;
    }
    begin_ = at_end ? memory_.at_end(size_) : memory_.at_begin();
    std::memcpy(begin_, static_cast<char*>(array.view.data) + low_, size_);
    view.data = begin_ - low_;
  }
  // Returns true if all bytes equal the bytes of `array`, also between the elements.
  bool same_bytes(const Array<T>& array) const {
    return size_ == 0 || std::memcmp(begin_, static_cast<char*>(array.view.data) + low_, size_) == 0;
  }

  View view;

 private:
  size_t bytes_of(const Array<T>& array) {
    ptrdiff_t high = 0;
    if (elements(array.view.shape) == 0) return 1;
    for (int i = 0; i < array.view.shape.rank; ++i)
      (array.view.strides[i] < 0 ? low_ : high) += (array.view.shape[i] - 1) * array.view.strides[i];
    size_ = static_cast<size_t>(high - low_) + sizeof(T);
    return size_;
  }

  ptrdiff_t low_ = 0;
  size_t size_ = 0;
  char* begin_ = nullptr;
  GuardedMemory memory_;
};

// A workspace with a page that faults after each region. Changes the sizes of the regions in the plan to match.
class GuardedWorkspace {
 public:
  explicit GuardedWorkspace(Plan* plan) {
    constexpr int64_t page = 4096;
    const pointwise::Workspace tight = plan->workspace;
    const auto size_of = [&](int i) { return tight.size(static_cast<pointwise::Region>(i)); };
    mapped_ = page;
    for (int i = 0; i < pointwise::regions; ++i) mapped_ += pointwise::round_up(size_of(i), page) + page;
    base_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) throw std::bad_alloc();
    char *at = base_ + page, *begin[pointwise::regions];
    for (int i = 0; i < pointwise::regions; ++i) {
      const int64_t whole = pointwise::round_up(size_of(i), page);
      if (whole > 0 && mprotect(at, whole, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
      begin[i] = at + (whole - size_of(i));
      at += whole + page;
    }
    for (int i = 0; i + 1 < pointwise::regions; ++i)
      plan->workspace.reserve(static_cast<pointwise::Region>(i), begin[i + 1] - begin[i]);
    data = begin[0];
  }
  ~GuardedWorkspace() { munmap(base_, mapped_); }
  GuardedWorkspace(const GuardedWorkspace&) = delete;
  GuardedWorkspace& operator=(const GuardedWorkspace&) = delete;

  char* data;

 private:
  char* base_;
  size_t mapped_;
};

// Packed weights, moved to memory that ends at a page that faults.
class GuardedWeights {
 public:
  explicit GuardedWeights(pointwise::PackedWeights packed)
      : weights(std::move(packed)), memory_(size_of(weights)), slopes_(size_of_slopes(weights)) {
    const size_t bytes = size_of(weights), slope_bytes = size_of_slopes(weights);
    if (weights.memory)
      std::memcpy(memory_.at_end(bytes), weights.memory.get(), bytes);
    else
      std::memset(memory_.at_end(bytes), 0, bytes);  // borrowed weights without a bias have no memory
    weights.memory.reset(memory_.at_end(bytes));
    if (!weights.slopes) return;
    std::memcpy(slopes_.at_end(slope_bytes), weights.slopes.get(), slope_bytes);
    weights.slopes.reset(slopes_.at_end(slope_bytes));
  }
  ~GuardedWeights() {
    weights.memory.release();
    weights.slopes.release();
  }
  GuardedWeights(const GuardedWeights&) = delete;
  GuardedWeights& operator=(const GuardedWeights&) = delete;

  pointwise::PackedWeights weights;

 private:
  static size_t size_of(const pointwise::PackedWeights& w) {
    const int64_t panels = w.groups * w.panels, weights = w.borrowed ? 0 : panels * w.steps * w.panel_row();
    const int64_t rows = w.quantized() ? 2 * panels + w.panels : panels;  // biases, scales and zeros
    return static_cast<size_t>(pointwise::round_up(weights, 64) + rows * 64);
  }
  static size_t size_of_slopes(const pointwise::PackedWeights& w) {
    return static_cast<size_t>(w.groups * w.m * w.item);
  }
  GuardedMemory memory_, slopes_;
};

template <class T>
class Bounds : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Bounds, Types, );

// Returns a small random problem. In some problems, rows begin and end at cache lines, so that non-temporal stores are
// possible. Some problems have a remainder of half a vector of channels, or more input channels than a kernel call
// takes.
Problem problem_of(Random& random, pointwise::DType dtype) {
  Problem p = random_problem(random, dtype);
  Options& o = p.options;
  for (int i = 0; i < p.src.rank; ++i)
    if (o.layout[i] != 'C' && o.layout[i] != 'N' && p.src[i] > 12) p.src[i] = 12;
  if (random.one_in(3)) {
    o.groups = 1;
    p.c_out = random.one_in(2) ? 16 * random.integer(1, 5) : 16 * random.integer(1, 4) + random.integer(1, 8);
  }
  if (random.one_in(4)) {
    o.stride = {1};
    o.padding = {0};
    for (int i = 0; i < p.src.rank; ++i)
      if (o.layout[i] == 'W') p.src[i] = 16 * random.integer(1, 2);
  }
  if (random.one_in(12)) {
    o.groups = 1;
    p.inputs = random.integer(1537, 1700);
    p.c_out = std::min<int64_t>(p.c_out, 40);
  } else if (random.one_in(6)) {
    p.inputs = random.integer(200, 420);  // narrow rows copy the pixels of a tile
    p.c_out = std::max<int64_t>(p.c_out, 34 * o.groups);
  }
  if (random.one_in(8)) {  // a diagonal product
    p.c_out = o.groups = random.integer(2, 150);
    p.inputs = 1;
    p.scaled = p.scaled && random.one_in(2);
  }
  for (int i = 0; i < p.src.rank; ++i)
    if (o.layout[i] == 'C') p.src[i] = p.inputs * o.groups;
  if (o.activation.kind == pointwise::Activation::Kind::prelu)
    o.activation.slopes.resize(static_cast<size_t>(p.c_out), 0.5);
  return p;
}

TYPED_TEST(Bounds, NothingOutsideIsTouched) {
  using T = TypeParam;
  Random random(90 + sizeof(T));
  const pointwise::DType dtype = dtype_of<T>();
  const pointwise::KernelRows& rows = pointwise::kernels(dtype).rows;
  std::map<std::string, std::set<Packing>> ran;
  std::set<std::string> parts;
  for (int round = 0; round < 400; ++round) {
    const Problem p = problem_of(random, dtype);
    const pointwise::Layout& layout = pointwise::parse_layout(p.options.layout);
    const pointwise::Window window = validate_window(p.options, layout);
    const bool at_end = random.one_in(2), borrowed = random.one_in(3), stream = random.one_in(2),
               fetch = random.one_in(2);
    SCOPED_TRACE("round " + std::to_string(round) + ": " + p.text());
    const auto number = [&] { return small_integer<T>(random); };
    const auto lies = [&](bool read_only) { return random.one_in(3) ? Lies{} : random_lies(random, read_only); };
    const Shape output = validate_src(p.src, layout, window, p.inputs * p.options.groups, p.c_out, p.options.groups);
    const Array<T> weights = make_array<T>({p.c_out, p.inputs}, lies(true), random, number);
    const Array<T> bias = make_array<T>({p.c_out}, lies(true), random, number);
    const Array<T> src = make_array<T>(p.src, lies(true), random, number);
    const Array<T> dst = make_array<T>(output, lies(false), random, number);
    const Array<T> residual = make_array<T>(output, lies(true), random, number);
    const int64_t images = layout.batch >= 0 ? p.src[layout.batch] : 1;
    const Array<T> scale = make_array<T>({images, p.inputs * p.options.groups}, {}, random, number);
    const Flush<T> weights_in(weights, at_end), bias_in(bias, at_end), src_in(src, at_end), scale_in(scale, at_end),
        residual_in(residual, at_end);
    const View* const bias_view = p.bias ? &bias_in.view : nullptr;
    const View* const residual_view = p.residual ? &residual_in.view : nullptr;

    const Array<T> expected = dst;
    View scale_view = scale_in.view;
    if (layout.batch < 0) scale_view.shape = {p.inputs * p.options.groups}, scale_view.strides = {sizeof(T)};
    reference(weights_in.view, bias_view, p.options, src_in.view, expected.view, residual_view, nullptr,
              p.scaled ? &scale_view : nullptr);

    const Flush<T> shape_only(dst, at_end);
    // Runs every way to compute the product with these weights.
    const auto run_ways = [&](const pointwise::PackedWeights& packed) {
      const Product lowered = lower(layout, window, p.options.groups, packed.dtype, src_in.view, shape_only.view,
                                    residual_view, p.scaled ? &scale_in.view : nullptr);
      if (lowered.boxes == 0) return;
      std::vector<std::vector<Blocking>> ways(static_cast<size_t>(lowered.boxes));  // the blockings of each box
      for (int i = 0; i < lowered.boxes; ++i)
        for (const Candidate& c : candidates(work_of(lowered, lowered.box[i], p.threads, packed.borrowed), rows))
          if (c.refused == nullptr) ways[i].push_back(c.blocking);
      for (const Blocking& way : ways[0]) {
        std::array<Blocking, pointwise::max_boxes> blocking{};
        blocking[0] = way;
        for (int i = 1; i < lowered.boxes; ++i)
          blocking[i] = ways[i][static_cast<size_t>(random.integer(0, static_cast<int64_t>(ways[i].size()) - 1))];
        Plan plan = plan_of(lowered, blocking, p.threads);
        plan.stream = stream;
        plan.source =
            fetch ? pointwise::Level::memory : pointwise::Level::l2;  // prefetches may go past src, to pages that fault
        const GuardedWorkspace scratch(&plan);
        const Flush<T> dst_in(dst, at_end);
        const auto at = [](const View& view) { return static_cast<char*>(view.data); };
        run_serially(plan, packed,
                     {at(src_in.view), at(dst_in.view), p.residual ? at(residual_in.view) : nullptr,
                      p.scaled ? at(scale_in.view) : nullptr},
                     scratch.data);
        ASSERT_TRUE(dst_in.same_bytes(expected))
            << rows[way.kernel_row].name << ", packing " << static_cast<int>(way.packing)
            << (at_end ? ", at the end" : ", at the beginning") << (packed.borrowed ? ", borrowed weights" : "")
            << (packed.quantized() ? ", int8 weights" : "") << (stream ? ", streamed" : "")
            << (fetch ? ", fetched" : "");
        if (lowered.box[0].k > 0) ran[rows[way.kernel_row].name].insert(way.packing);
        if (way.sums > 0) parts.insert("sums");
        if (way.copy > 0) parts.insert("copy");
        if (packed.quantized() && lowered.box[0].k > 0)
          parts.insert(way.weights > 0 ? "converted weights" : "int8 weights");
        else if (way.weights > 0)
          parts.insert("borrowed weights");
      }
    };
    const GuardedWeights packed(borrowed ? pointwise::borrow_weights(weights_in.view, bias_view, p.options)
                                         : pointwise::pack_weights(weights_in.view, bias_view, p.options));
    run_ways(packed.weights);
    if (sizeof(T) == 8 || random.one_in(2)) continue;
    std::vector<int8_t> bytes;
    for (int64_t o = 0; o < p.c_out; ++o)
      for (int64_t i = 0; i < p.inputs; ++i)
        bytes.push_back(static_cast<int8_t>(
            pointwise::read_number(dtype, static_cast<const char*>(weights_in.view.data) +
                                              o * weights_in.view.strides[0] + i * weights_in.view.strides[1])));
    Options options = p.options;
    options.weight_dtype = pointwise::DType::i8;
    options.weight_scales.assign(static_cast<size_t>(p.c_out), 1.0F);
    const GuardedWeights quantized(
        pointwise::pack_weights(View(bytes.data(), pointwise::DType::i8, {p.c_out, p.inputs}), bias_view, options));
    run_ways(quantized.weights);
  }
  for (const pointwise::KernelRow& row : rows) {
    using pointwise::Reads;
    if (row.types.x != row.types.sum) continue;  // these problems have floating src
    std::set<Packing> all{Packing::none};
    if ((row.reads == Reads::any && !row.dense) || row.reads == Reads::pixels) all.insert(Packing::channels);
    if (row.reads == Reads::any || row.reads == Reads::channels) all.insert(Packing::pixels);
    EXPECT_EQ(ran[row.name], all) << row.name;
  }
  EXPECT_TRUE(parts.count("sums") && parts.count("borrowed weights"));
  EXPECT_EQ(parts.count("int8 weights") && parts.count("converted weights"), sizeof(T) == 4);
  EXPECT_EQ(parts.count("copy") > 0, std::string(pointwise::selected_isa().floating) != "avx512")
      << "only rows of narrow vectors copy pixels";
}

}  // namespace
}  // namespace pointwise_tests
