// Applies the functions of activations.h to rows of vectors, for KernelTable::activations.
#pragma once

#include "kernels/activations.h"

namespace pointwise {
namespace {

// A bundle of K vectors. Each operation of an activation is done for all vectors of the bundle before the next
// operation. So the latencies of one vector overlap with the operations of the other vectors. (Without bundles the CPU
// overlaps fewer vectors, because its schedulers are too small.)
template <class V, int K>
struct Bundle {
  using Number = typename V::Number;
  V v[K];

  template <class F>
  static POINTWISE_INLINE Bundle map(F f) {
    Bundle r;
    POINTWISE_UNROLL
    for (int k = 0; k < K; ++k) r.v[k] = f(k);
    return r;
  }
  static Bundle load(const char* p) {
    return map([&](int k) { return V::load(p + k * sizeof(V)); });
  }
  static Bundle fill(Number number) {
    return map([&](int) { return V::fill(number); });
  }
#define POINTWISE_BUNDLE_1(f)                        \
  static Bundle f(const Bundle& a) {                 \
    return map([&](int k) { return V::f(a.v[k]); }); \
  }
#define POINTWISE_BUNDLE_2(f)                                \
  static Bundle f(const Bundle& a, const Bundle& b) {        \
    return map([&](int k) { return V::f(a.v[k], b.v[k]); }); \
  }
#define POINTWISE_BUNDLE_3(f)                                          \
  static Bundle f(const Bundle& a, const Bundle& b, const Bundle& c) { \
    return map([&](int k) { return V::f(a.v[k], b.v[k], c.v[k]); });   \
  }
  POINTWISE_BUNDLE_1(abs)
  POINTWISE_BUNDLE_1(exponent)
  POINTWISE_BUNDLE_2(add)
  POINTWISE_BUNDLE_2(sub)
  POINTWISE_BUNDLE_2(mul)
  POINTWISE_BUNDLE_2(div)
  POINTWISE_BUNDLE_2(min)
  POINTWISE_BUNDLE_2(max)
  POINTWISE_BUNDLE_2(copysign)
  POINTWISE_BUNDLE_3(fma)
  POINTWISE_BUNDLE_3(rest)
#undef POINTWISE_BUNDLE_1
#undef POINTWISE_BUNDLE_2
#undef POINTWISE_BUNDLE_3
  static Bundle select_less(const Bundle& a, const Bundle& b, const Bundle& x, const Bundle& y) {
    return map([&](int k) { return V::select_less(a.v[k], b.v[k], x.v[k], y.v[k]); });
  }
};

template <class V, int K>
struct Fill<Bundle<V, K>> {
  static Bundle<V, K> with(const Constant<typename V::Number>& c) {
    const V one = Fill<V>::with(c);
    return Bundle<V, K>::map([&](int) { return one; });
  }
};

// Most activations compute bundles of four vectors. With the 16 registers of AVX2, some values of a bundle spill. But
// smaller bundles hide less of the latencies, which takes more time than the spills. Only tanh in float32, which has
// two formulas, is faster with bundles of two vectors.
template <class V>
using BundleOf = Bundle<V, 4>;
template <class V>
using TanhBundleOf = Bundle<V, sizeof(V) == 32 && sizeof(typename V::Number) == 4 ? 2 : 4>;

// Implements Activate (kernel.h) for one activation. `many` computes a bundle. `one` computes one vector of the
// remainder.
template <class V, class G, V (*one)(V, V, V), G (*many)(G, G, G)>
void each(const Number* parameters, const char* from, int64_t vectors, char* to, int64_t row_vectors, ptrdiff_t row) {
  constexpr int together = sizeof(G) / sizeof(V);
  constexpr ptrdiff_t vector = sizeof(V);
  const V a = V::broadcast(parameters[0].address()), b = V::broadcast(parameters[1].address());
  const G as = G::fill(parameters[0].as<typename V::Number>()), bs = G::fill(parameters[1].as<typename V::Number>());
  const ptrdiff_t next_row = row - row_vectors * vector;
  int64_t left = row_vectors;  // number of vectors up to the end of the row
  const auto put = [&](const V& v) {
    v.store(to);
    to += vector;
    if (--left == 0) {
      left = row_vectors;
      to += next_row;
    }
  };
  for (; vectors >= together; vectors -= together, from += sizeof(G)) {
    const G g = many(G::load(from), as, bs);
    POINTWISE_UNROLL
    for (int k = 0; k < together; ++k) put(g.v[k]);
  }
  for (; vectors > 0; --vectors, from += vector) put(one(V::load(from), a, b));
}

// The table for KernelTable::activations, in the order of Activation::Kind.
template <class V>
constexpr Activate activations[activation_kinds] = {nullptr,
                                                    nullptr,
                                                    each<V, BundleOf<V>, relu6<V>, relu6<BundleOf<V>>>,
                                                    each<V, BundleOf<V>, clip<V>, clip<BundleOf<V>>>,
                                                    each<V, BundleOf<V>, leaky_relu<V>, leaky_relu<BundleOf<V>>>,
                                                    each<V, BundleOf<V>, elu<V>, elu<BundleOf<V>>>,
                                                    each<V, BundleOf<V>, sigmoid<V>, sigmoid<BundleOf<V>>>,
                                                    each<V, TanhBundleOf<V>, tanh<V>, tanh<TanhBundleOf<V>>>,
                                                    each<V, BundleOf<V>, silu<V>, silu<BundleOf<V>>>,
                                                    each<V, BundleOf<V>, hardsigmoid<V>, hardsigmoid<BundleOf<V>>>,
                                                    each<V, BundleOf<V>, hardswish<V>, hardswish<BundleOf<V>>>,
                                                    each<V, BundleOf<V>, gelu<V>, gelu<BundleOf<V>>>,
                                                    each<V, BundleOf<V>, gelu_tanh<V>, gelu_tanh<BundleOf<V>>>,
                                                    each<V, BundleOf<V>, softplus<V>, softplus<BundleOf<V>>>,
                                                    each<V, BundleOf<V>, mish<V>, mish<BundleOf<V>>>,
                                                    nullptr};

}  // namespace
}  // namespace pointwise
