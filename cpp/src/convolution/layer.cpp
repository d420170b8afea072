// The class Layer: validates the arguments of a call, finds its plan and runs it.
#include "convolution/layer.h"

#include <cstddef>
#include <cstring>
#include <memory>
#include <utility>

#include "base/checked.h"
#include "base/float_environment.h"
#include "base/lazy.h"
#include "base/numbers.h"
#include "base/types.h"
#include "product/explain.h"
#include "threads/parallel.h"

namespace pointwise {
Layer::Impl::Impl(const View& weights_view, const View* bias, Options given, bool borrows)
    : options(std::move(given)),
      layout(parse_layout(options.layout)),
      window(validate_window(options, layout)),
      c_in(validate_weights(weights_view.shape, options.groups)),
      c_out(weights_view.shape[0]),
      has_bias(bias != nullptr),
      borrowed(borrows && !options.weight_dtype),
      plans(borrowed ? nullptr : std::make_unique<PlanCache<Plan>>()) {
  if (!info(options.dtype).floating)
    throw Error(Argument::dtype,
                std::string("must be float32, float64, float16 or bfloat16, got ") + info(options.dtype).name);
  const DType sum = info(options.dtype).sum;
  validate_dst_dtype(options);
  validate_weight_scales(options, c_out);
  const DType stored = options.weight_dtype.value_or(options.dtype);
  validate_dtype(Argument::weights, weights_view, stored);
  if (bias) validate_dtype(Argument::bias, *bias, sum);
  validate_bytes(Argument::weights, weights_view.shape, stored);
  validate_activation(options.activation, sum, c_out);
  if (bias) validate_bias(bias->shape, weights_view.shape, options.groups);
  weights = borrowed ? borrow_weights(weights_view, bias, options) : pack_weights(weights_view, bias, options);
}

Product lower_call(const Layer::Impl& layer, const View& src, const View& dst, const View* residual,
                   const View* input_scale) {
  validate_bytes(Argument::src, src.shape, src.dtype);
  validate_bytes(Argument::dst, dst.shape, dst.dtype);
  return lower(layer.layout, layer.window, layer.options.groups, layer.weights.dtype, src, dst, residual, input_scale,
               layer.weights.slopes != nullptr);
}

namespace {

// Returns true if the elements of the array are contiguous in C order.
bool is_contiguous(const View& array) {
  int64_t step = item_size(array.dtype);
  for (int i = array.shape.rank - 1; i >= 0; --i) {
    if (array.shape[i] != 1 && array.strides[i] != step) return false;
    if (!checked_multiply(step, array.shape[i], &step)) return false;
  }
  return true;
}

// Returns true if a choice of tune() is meant for a call with these arrays. A residual hardly changes which way is
// fastest: each way reads the residual in the order in which the way writes dst.
bool applies(const Layer::Impl& layer, const View& src, const View& dst, const View* residual,
             const View* input_scale) {
  const Options& options = layer.options;
  return input_scale == nullptr && dst.dtype == options.dst_dtype.value_or(options.dtype) && is_contiguous(src) &&
         is_contiguous(dst) && (residual == nullptr || is_contiguous(*residual));
}

}  // namespace

std::shared_ptr<const Plan> plan_for(const Layer::Impl& layer, const View& src, const View& dst, const View* residual,
                                     const View* input_scale, int threads) {
  PlanKey key = key_of(src, dst, residual, input_scale, threads);
  if (const uint64_t way = layer.choices.find(src.shape, src.dtype, threads);
      way != Choices::predicted && applies(layer, src, dst, residual, input_scale))
    key.way = way;
  std::shared_ptr<const Plan> plan = layer.plans->find(key);
  if (!plan) {
    const Product product = lower_call(layer, src, dst, residual, input_scale);
    const std::optional<Plan> tuned =
        key.way == Choices::predicted ? std::nullopt : plan_in_way(product, threads, way_of(key.way));
    plan = std::make_shared<const Plan>(tuned ? *tuned : make_plan(product, threads));
    layer.plans->insert(key, plan);
  }
  return plan;
}

namespace {

// Everything that the plan of a borrowing layer depends on.
struct BorrowedKey {
  Product product{};
  int threads = 0;
  bool forced = false;
};

// The same as BorrowedKey, without a copy of the product, which takes kilobytes.
struct BorrowedQuery {
  const Product& product;
  int threads;
  bool forced;
};

bool operator==(const BorrowedKey& key, const BorrowedQuery& query) {
  const size_t used = offsetof(Product, box) + static_cast<size_t>(query.product.boxes) * sizeof(Box);
  return key.threads == query.threads && key.forced == query.forced &&
         std::memcmp(&key.product, &query.product, used) == 0;  // different padding bytes only cause a new plan
}

struct BorrowedPlan {
  bool packs_first;  // true if all weights are packed before the plan runs
  Plan plan;
};

using BorrowedPlans = PlanCache<BorrowedPlan, BorrowedKey>;

// Returns the plan of a borrowing layer. Such a layer lives for one call, so all borrowing layers share a cache of
// plans. Making a plan takes as long as a small product.
std::shared_ptr<const BorrowedPlan> borrowed_plan(const Product& product, int threads) {
  static Lazy<std::unique_ptr<BorrowedPlans>> plans;
  BorrowedPlans& cache = *plans.get([] { return std::make_unique<BorrowedPlans>(); });
  const BorrowedQuery query{product, threads, teams_are_forced()};
  std::shared_ptr<const BorrowedPlan> found = cache.find(query);
  if (!found) {
    const std::optional<Plan> plan = make_borrowing_plan(product, threads);
    found = std::make_shared<const BorrowedPlan>(plan ? BorrowedPlan{false, *plan}
                                                      : BorrowedPlan{true, make_plan(product, threads)});
    cache.insert({product, threads, query.forced}, found);
  }
  return found;
}

// Runs the only call of a borrowing layer.
void run_borrowing(const Layer::Impl& layer, const View& src, const View& dst, const View* residual,
                   const View* input_scale, const Arrays& arrays, int threads) {
  const Product product = lower_call(layer, src, dst, residual, input_scale);
  const std::shared_ptr<const BorrowedPlan> borrowed = borrowed_plan(product, threads);
  if (!borrowed->packs_first) {
    run_plan(borrowed->plan, layer.weights, arrays, borrowed->plan.team);
    return;
  }
  run_plan(borrowed->plan, pack_borrowed(layer.weights), arrays, borrowed->plan.team);
}

// Returns the input scales as a view (images, channels) with contiguous numbers of the dtype of packed weights, in the
// order of packed channels. Each group begins at a whole step. Copies the scales to `copy` if they do not have this
// form.
View scale_rows(const View& scale, const Layer::Impl& layer, AlignedBytes* copy) {
  const PackedWeights& weights = layer.weights;
  const bool batched = scale.shape.rank == 2;
  const int64_t images = batched ? scale.shape[0] : 1, channels = scale.shape[scale.shape.rank - 1];
  const DType dtype = weights.kernel_dtype();
  const int64_t item = item_size(dtype), step = scale.strides[scale.shape.rank - 1];
  View rows(scale.data, dtype, {images, channels});
  rows.strides[0] = batched ? scale.strides[0] : 0;
  if (scale.dtype == dtype && step == item && weights.k == weights.steps) return rows;
  const FloatEnvironment environment;
  const int64_t groups = weights.k > 0 ? channels / weights.k : 0;
  const View padded(nullptr, dtype, {images, groups, weights.steps * weights.item / item});
  const int64_t bytes = allocation_size(images, padded.strides[0]);
  *copy = allocate_aligned(bytes);
  std::memset(copy->get(), 0, static_cast<size_t>(bytes));  // a pair that lacks a channel has +0.0
  for (int64_t n = 0; n < images; ++n)
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t group = c / weights.k, at = c % weights.k;
      const int64_t place = weights.swapped ? place_in_pairs(at, weights.k) : at;
      char* const to = copy->get() + n * padded.strides[0] + group * padded.strides[1] + place * item;
      const char* const from = static_cast<const char*>(scale.data) + n * rows.strides[0] + c * step;
      write_number(dtype, to, read_number(scale.dtype, from));
    }
  View result(copy->get(), dtype, {images, channels});
  result.strides[0] = padded.strides[0];
  return result;
}

}  // namespace

void make_views(const Options& first, const Options& last, const Shape& src_shape, const Shape& dst_shape, View* src,
                View* dst, std::optional<DType> src_dtype) {
  try {
    *src = View(nullptr, src_dtype.value_or(makes_integers(first) ? DType::u8 : first.dtype), src_shape);
    *dst = View(nullptr, last.dst_dtype.value_or(last.dtype), dst_shape);
  } catch (const std::bad_alloc&) {
    throw Error(Argument::src, "must give arrays of less than 2^63 bytes, got shape " + to_string(src_shape) +
                                   " and a result of shape " + to_string(dst_shape));
  }
}

int threads_to_explain() {
  find_other_openmp(monotonic_nanoseconds());  // openmp_limit() uses the result
  return openmp_limit(thread_count());
}

Layer::Layer(const View& weights, const View* bias, const Options& options)
    : impl_(std::make_unique<const Impl>(weights, bias, options, false)) {}
Layer::Layer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Layer Layer::borrowing(const View& weights, const View* bias, Options options) {
  return Layer(std::make_unique<const Impl>(weights, bias, std::move(options), true));
}
Layer::~Layer() = default;
Layer::Layer(Layer&&) noexcept = default;
Layer& Layer::operator=(Layer&&) noexcept = default;

const Options& Layer::options() const { return impl_->options; }
int64_t Layer::c_in() const { return impl_->c_in; }
int64_t Layer::c_out() const { return impl_->c_out; }
bool Layer::has_bias() const { return impl_->has_bias; }

Shape Layer::output_shape(const Shape& src_shape) const {
  return validate_src(src_shape, impl_->layout, impl_->window, impl_->c_in, impl_->c_out, impl_->options.groups);
}

void Layer::operator()(const View& src, const View& dst, const View* residual, int threads,
                       const View* input_scale) const {
  const Impl& layer = *impl_;
  const Shape expected = output_shape(src.shape);
  validate_src_dtype(layer.options, src);
  validate_result_dtypes(layer.options, src.dtype, dst, residual);
  validate_shape(Argument::dst, dst.shape, expected);
  if (residual) validate_shape(Argument::residual, residual->shape, expected);
  const int wanted = openmp_limit(threads > 0 ? threads : thread_count());
  Arrays arrays{static_cast<const char*>(src.data), static_cast<char*>(dst.data),
                residual ? static_cast<const char*>(residual->data) : nullptr};
  AlignedBytes copy;
  View scale;
  if (input_scale) {
    const bool batched = layer.layout.batch >= 0;
    validate_dtype(Argument::input_scale, *input_scale, layer.options.dtype);
    validate_shape(Argument::input_scale, input_scale->shape,
                   batched ? Shape{src.shape[layer.layout.batch], layer.c_in} : Shape{layer.c_in});
    scale = scale_rows(*input_scale, layer, &copy);
    input_scale = &scale;
    arrays.scale = static_cast<const char*>(scale.data);
  }
  if (layer.borrowed) {
    run_borrowing(layer, src, dst, residual, input_scale, arrays, wanted);
    return;
  }
  const std::shared_ptr<const Plan> plan = plan_for(layer, src, dst, residual, input_scale, wanted);
  run_plan(*plan, layer.weights, arrays, plan->team);
}

std::string Layer::explain(const Shape& src_shape, std::optional<DType> src_dtype) const {
  const Impl& layer = *impl_;
  View src, dst;
  make_views(layer.options, layer.options, src_shape, output_shape(src_shape), &src, &dst, src_dtype);
  validate_src_dtype(layer.options, src);
  const int threads = threads_to_explain();
  const Product product = lower_call(layer, src, dst, nullptr, nullptr);
  bool is_tuned;
  const uint64_t way = layer.choices.find(src.shape, src.dtype, threads, &is_tuned);
  const std::optional<Plan> tuned =
      way == Choices::predicted ? std::nullopt : plan_in_way(product, threads, way_of(way));
  const char* const origin = tuned      ? "tuned: chosen by a measurement, not by the cost model\n"
                             : is_tuned ? "tuned: the choice of the cost model was the fastest in a measurement\n"
                                        : "";
  return origin + explain_plan(tuned ? *tuned : make_plan(product, threads), threads);
}

void Layer::copy_weights(void* to) const {
  unpack_weights(impl_->weights, impl_->options.weight_dtype.value_or(impl_->options.dtype), to);
}

void Layer::copy_bias(void* to) const { unpack_bias(impl_->weights, to); }

const char* version() { return POINTWISE_VERSION; }

}  // namespace pointwise
