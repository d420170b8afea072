// The public class: validates, finds the plan, runs it.
#include <variant>

#include "driver.h"
#include "explain.h"
#include "parallel.h"
#include "plan_cache.h"
#include "pointwise/pointwise.h"

namespace pointwise {
namespace {

void run(const Plan& plan, const Weights& weights, const View& src, const View& dst, const View* residual,
         const Activation& activation) {
  std::visit(
      [&](const auto& w) {
        run_plan(plan, w, static_cast<const char*>(src.data), static_cast<char*>(dst.data),
                 residual ? static_cast<const char*>(residual->data) : nullptr, activation, plan.team);
      },
      weights);
}

}  // namespace

struct Layer::Impl {
  Options options;
  const Layout& layout;
  Window window;
  int64_t c_in, c_out;
  bool has_bias, borrowed;
  Weights weights;
  mutable PlanCache plans;

  Impl(const View& weights_view, const View* bias, const Options& given, bool borrows)
      : options(given),
        layout(parse_layout(given.layout)),
        window(validate_window(given, layout)),
        c_in(validate_weights(weights_view.shape, given.groups)),
        c_out(weights_view.shape[0]),
        has_bias(bias != nullptr),
        borrowed(borrows) {
    if (bias) validate_shape(Argument::bias, bias->shape, {c_out});
    weights = borrowed ? borrow_weights(weights_view, bias, options) : pack_weights(weights_view, bias, options);
  }

  std::shared_ptr<const Plan> plan(const View& src, const View& dst, const View* residual, int threads) const {
    PlanKey key;
    key.src = src.shape;
    key.src_strides = src.strides;
    key.dst_strides = dst.strides;
    if (residual) {
      key.residual = true;
      key.residual_strides = residual->strides;
    }
    key.threads = threads;
    std::shared_ptr<const Plan> plan = plans.find(key);
    if (!plan) {
      const Lowered lowered = lower(layout, window, options.groups, src, dst, residual);
      plan = std::make_shared<const Plan>(make_plan(lowered, options.dtype, threads));
      plans.insert(key, plan);
    }
    return plan;
  }

  // A borrowing layer's only call.
  void call(const View& src, const View& dst, const View* residual, int threads) const {
    const Lowered lowered = lower(layout, window, options.groups, src, dst, residual);
    if (const std::optional<Plan> plan = make_borrowing_plan(lowered, options.dtype, threads)) {
      run(*plan, weights, src, dst, residual, options.activation);
      return;
    }
    const Weights packed = std::visit([](const auto& w) -> Weights { return pack_borrowed(w); }, weights);
    run(make_plan(lowered, options.dtype, threads), packed, src, dst, residual, options.activation);
  }
};

Layer::Layer(const View& weights, const View* bias, const Options& options)
    : impl_(std::make_unique<const Impl>(weights, bias, options, false)) {}
Layer::Layer(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Layer Layer::borrowing(const View& weights, const View* bias, const Options& options) {
  return Layer(std::make_unique<const Impl>(weights, bias, options, true));
}
Layer::~Layer() = default;
Layer::Layer(Layer&&) noexcept = default;
Layer& Layer::operator=(Layer&&) noexcept = default;

const Options& Layer::options() const { return impl_->options; }
int64_t Layer::c_in() const { return impl_->c_in; }
int64_t Layer::c_out() const { return impl_->c_out; }
bool Layer::has_bias() const { return impl_->has_bias; }

Shape Layer::output_shape(const Shape& src_shape) const {
  return validate_src(src_shape, impl_->layout, impl_->window, impl_->c_in, impl_->c_out);
}

void Layer::operator()(const View& src, const View& dst, const View* residual, int threads) const {
  const Shape expected = output_shape(src.shape);
  validate_shape(Argument::dst, dst.shape, expected);
  if (residual) validate_shape(Argument::residual, residual->shape, expected);
  const int wanted = openmp_limit(threads > 0 ? threads : thread_count());
  if (impl_->borrowed) {
    impl_->call(src, dst, residual, wanted);
    return;
  }
  run(*impl_->plan(src, dst, residual, wanted), impl_->weights, src, dst, residual, impl_->options.activation);
}

std::string Layer::explain(const Shape& src_shape) const {
  View src, dst;
  const Shape dst_shape = output_shape(src_shape);
  try {
    src = View(nullptr, impl_->options.dtype, src_shape);
    dst = View(nullptr, impl_->options.dtype, dst_shape);
  } catch (const std::bad_alloc&) {
    throw Error(Argument::src, "must be an array that memory can hold, and so must the result of shape " +
                                   to_string(dst_shape) + ", got shape " + to_string(src_shape));
  }
  const int threads = openmp_limit(thread_count());
  const Lowered lowered = lower(impl_->layout, impl_->window, impl_->options.groups, src, dst, nullptr);
  return explain_plan(make_plan(lowered, impl_->options.dtype, threads), impl_->options.dtype, threads);
}

void Layer::copy_weights(void* to) const {
  std::visit([to](const auto& w) { unpack_weights(w, static_cast<std::decay_t<decltype(*w.bias(0))>*>(to)); },
             impl_->weights);
}

void Layer::copy_bias(void* to) const {
  std::visit([to](const auto& w) { unpack_bias(w, static_cast<std::decay_t<decltype(*w.bias(0))>*>(to)); },
             impl_->weights);
}

const char* version() { return POINTWISE_VERSION; }

}  // namespace pointwise
