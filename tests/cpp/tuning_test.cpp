// Checks the ways to compute a product, and that calls use the choices of Layer::tune().
#include "convolution/tuning.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "convolution/layer.h"
#include "kernels/registry.h"
#include "problem.h"
#include "product/ways.h"

namespace pointwise_tests {
namespace {

using pointwise::Choice;
using pointwise::Choices;
using pointwise::DType;
using pointwise::Layer;
using pointwise::Packing;
using pointwise::Plan;
using pointwise::PlannedWay;
using pointwise::Product;
using pointwise::Way;
using pointwise::way_of;

struct Given {
  const char* what;
  const char* layout;
  Shape src;
  int64_t c_out;
  std::vector<int64_t> stride, padding;
  int64_t groups;
};

const Given table[] = {
    {"pixels that do not fill vectors", "NCHW", {1, 300, 14, 14}, 40, {1}, {0}, 1},
    {"channels last", "NHWC", {2, 9, 11, 37}, 70, {1}, {0}, 1},
    {"stride and padding", "NCHW", {2, 24, 15, 13}, 40, {2}, {1}, 1},
    {"groups", "NHWC", {1, 12, 12, 64}, 64, {1}, {0}, 4},
    {"split input channels", "NCHW", {1, 2000, 7, 7}, 35, {1}, {0}, 1},
};

// A layer with random weights, and arrays for a call.
struct Case {
  Options options;
  std::vector<float> weights, bias, src, dst;
  std::unique_ptr<const Layer::Impl> layer;
  View src_view, dst_view;

  explicit Case(const Given& given) {
    Random random(1);
    options.layout = given.layout;
    options.stride = given.stride;
    options.padding = given.padding;
    options.groups = given.groups;
    options.activation = pointwise::Activation::relu();
    const int64_t inputs = given.src[static_cast<int>(options.layout.find('C'))] / given.groups;
    weights = reals<float>(given.c_out * inputs, random);
    bias = reals<float>(given.c_out, random);
    const View weights_view(weights.data(), DType::f32, {given.c_out, inputs});
    const View bias_view(bias.data(), DType::f32, {given.c_out});
    layer = std::make_unique<const Layer::Impl>(weights_view, &bias_view, options, false);
    const Shape shape = Layer(weights_view, &bias_view, options).output_shape(given.src);
    src = reals<float>(elements(given.src), random);
    dst.resize(static_cast<size_t>(elements(shape)));
    src_view = View(src.data(), DType::f32, given.src);
    dst_view = View(dst.data(), DType::f32, shape);
  }
  Product product() const { return lower_call(*layer, src_view, dst_view, nullptr, nullptr); }
  std::vector<float> result(const Plan& plan) {
    std::fill(dst.begin(), dst.end(), std::numeric_limits<float>::quiet_NaN());
    run_plan(plan, layer->weights, {reinterpret_cast<const char*>(src.data()), reinterpret_cast<char*>(dst.data())},
             plan.team);
    return dst;
  }
  std::shared_ptr<const Plan> plan(int threads = 1) const {
    return plan_for(*layer, src_view, dst_view, nullptr, nullptr, threads);
  }
};

const pointwise::Blocking& main_blocking(const Plan& plan) { return plan.blocking[main_box(plan.product)]; }

TEST(Ways, HaveTheBitsOfThePrediction) {
  std::set<Packing> packings;
  bool cuts = false, serial = false;
  for (const Given& given : table)
    for (const int threads : {1, 3}) {
      SCOPED_TRACE(std::string(given.what) + ", threads: " + std::to_string(threads));
      Case c(given);
      const Product product = c.product();
      const std::vector<float> expected = c.result(make_plan(product, threads));
      std::set<uint64_t> numbers;
      const std::vector<PlannedWay> all = all_ways(product, threads);
      ASSERT_GE(all.size(), 2u);
      for (const PlannedWay& way : all) {
        EXPECT_TRUE(same_bits(c.result(way.plan), expected));
        EXPECT_TRUE(numbers.insert(number_of(way.way)).second) << "two ways have the same number";
        EXPECT_EQ(way_of(number_of(way.way)), way.way);
        const std::optional<Plan> again = plan_in_way(product, threads, way.way);
        ASSERT_TRUE(again);
        EXPECT_EQ(again->pieces, way.plan.pieces);
        EXPECT_EQ(again->team, way.plan.team);
        EXPECT_EQ(main_blocking(*again).kernel_row, main_blocking(way.plan).kernel_row);
        packings.insert(way.way.packing);
        cuts = cuts || way.way.tail > 0;
        serial = serial || way.way.serial;
      }
      for (size_t i = 2; i < all.size(); ++i) EXPECT_GE(all[i].makespan, all[i - 1].makespan);
    }
  EXPECT_EQ(packings, (std::set<Packing>{Packing::none, Packing::channels, Packing::pixels}));
  EXPECT_TRUE(cuts);
  EXPECT_TRUE(serial);
}

TEST(Ways, ThatAreImpossibleHaveNoPlan) {
  const Case c(table[1]);
  const Way possible = all_ways(c.product(), 1)[0].way;
  Way way = possible;
  way.tail = 5;
  EXPECT_FALSE(plan_in_way(c.product(), 1, way));
  way = possible;
  way.n_axes = 4;
  EXPECT_FALSE(plan_in_way(c.product(), 1, way));
  way = possible;
  way.kernel_row = pointwise::kernels(DType::f32).rows.count;
  EXPECT_FALSE(plan_in_way(c.product(), 1, way));
}

// Returns the last way, which is predicted to be the slowest. So no prediction chooses it.
Way unlikely_way(const Case& c, int threads = 1) { return all_ways(c.product(), threads).back().way; }

bool runs_in(const Plan& plan, const Way& way) {
  const pointwise::Blocking& b = main_blocking(plan);
  return b.kernel_row == way.kernel_row && b.packing == way.packing && b.n_axes == way.n_axes;
}

TEST(Tuning, CallsUseTheChoice) {
  Case c(table[1]);
  const Way way = unlikely_way(c);
  const std::vector<float> expected = c.result(*c.plan());
  ASSERT_FALSE(runs_in(*c.plan(), way));
  c.layer->choices.set(c.src_view.shape, DType::f32, 1, number_of(way));
  EXPECT_TRUE(runs_in(*c.plan(), way));
  EXPECT_TRUE(same_bits(c.result(*c.plan()), expected));
  EXPECT_FALSE(runs_in(*c.plan(2), way)) << "the choice is for one thread";
  c.layer->choices.set(c.src_view.shape, DType::f32, 1, Choices::predicted);
  EXPECT_FALSE(runs_in(*c.plan(), way));
}

TEST(Tuning, OtherCallsArePredicted) {
  Case c(table[1]);
  const Way way = unlikely_way(c);
  c.layer->choices.set(c.src_view.shape, DType::f32, 1, number_of(way));
  const auto plan = [&](const View& src, const View& dst, const View* residual, const View* scale) {
    return plan_for(*c.layer, src, dst, residual, scale, 1);
  };
  EXPECT_TRUE(runs_in(*plan(c.src_view, c.dst_view, &c.dst_view, nullptr), way)) << "with a residual";
  View strided = c.src_view;
  strided.strides[1] *= 2;
  EXPECT_FALSE(runs_in(*plan(strided, c.dst_view, nullptr, nullptr), way));
  strided = c.dst_view;
  strided.strides[0] *= 2;
  EXPECT_FALSE(runs_in(*plan(c.src_view, strided, nullptr, nullptr), way));
  EXPECT_FALSE(runs_in(*plan(c.src_view, c.dst_view, &strided, nullptr), way));
  View bytes = c.src_view;
  bytes.dtype = DType::u8;
  EXPECT_FALSE(runs_in(*plan(bytes, c.dst_view, nullptr, nullptr), way));
  const std::vector<float> scale(2 * 37, 1.0f);
  const View scale_view(scale.data(), DType::f32, {2, 37});
  EXPECT_FALSE(runs_in(*plan(c.src_view, c.dst_view, nullptr, &scale_view), way));
  Given smaller = table[1];
  smaller.src[1] = 8;
  const Case other(smaller);
  EXPECT_FALSE(runs_in(*plan(other.src_view, other.dst_view, nullptr, nullptr), way));
}

Layer plain() {
  static const std::vector<float> weights(24 * 16, 1.0f);
  return Layer(View(weights.data(), DType::f32, {24, 16}), nullptr, Options());
}

TEST(Tuning, KeepsAChoiceThatAnotherLayerAdopts) {
  const Layer layer = plain();
  EXPECT_TRUE(layer.choices().empty());
  EXPECT_GE(layer.tune({1, 16, 20, 20}, std::nullopt, 0.05), 1);
  EXPECT_GE(layer.tune({1, 16, 20, 20}, DType::u8, 0.05), 1);
  EXPECT_GE(layer.tune({1, 16, 20, 20}, DType::u8, 0.05), 1);
  const std::vector<Choice> choices = layer.choices();
  ASSERT_EQ(choices.size(), 2u);
  EXPECT_EQ(choices[0].src_dtype, DType::f32);
  EXPECT_EQ(choices[1].src_dtype, DType::u8);
  EXPECT_EQ(choices[0].threads, pointwise::thread_count());
  const Layer other = plain();
  other.adopt(choices);
  EXPECT_EQ(other.explain({1, 16, 20, 20}), layer.explain({1, 16, 20, 20}));
  EXPECT_NE(other.explain({1, 16, 20, 20}), plain().explain({1, 16, 20, 20}));
}

TEST(Tuning, ChoicesThatDoNotFitAreIgnored) {
  const Layer layer = plain();
  Choice good;
  good.src_shape = {1, 16, 20, 20};
  good.threads = 1;
  good.kernel = pointwise::kernels(DType::f32).rows[0].name;
  good.pixel_axes = 1;
  good.packing = "none";
  std::vector<Choice> wrong(7, good);
  wrong[0].kernel = "gemm_of_another_time";
  wrong[1].packing = "all";
  wrong[2].threads = 0;
  wrong[3].pixel_axes = 0;
  wrong[4].pixel_axes = 99;
  wrong[5].tail = -1;
  wrong[6].src_shape = {16, 20, 20};
  layer.adopt(wrong);
  EXPECT_TRUE(layer.choices().empty());
  layer.adopt({good});
  EXPECT_EQ(layer.choices().size(), 1u);
}

TEST(Tuning, OfAnEmptyResultOrAWrongArgument) {
  const Layer layer = plain();
  EXPECT_EQ(layer.tune({0, 16, 3, 3}), 1);
  EXPECT_TRUE(layer.choices().empty());
  EXPECT_THROW(layer.tune({1, 15, 3, 3}), pointwise::Error);
  EXPECT_THROW(layer.tune({1, 16, 3, 3}, DType::f64), pointwise::Error);
  for (const double seconds : {0.0, -1.0, std::numeric_limits<double>::infinity(), std::nan("")})
    EXPECT_THROW(layer.tune({1, 16, 3, 3}, std::nullopt, seconds), pointwise::Error);
  EXPECT_TRUE(layer.choices().empty());
}

}  // namespace
}  // namespace pointwise_tests
