// The functions of activations.h over rows of vectors: what a kernel table points to.
#pragma once

#include "kernels/activations.h"

namespace pointwise {
namespace {

// K vectors as one, operation by operation: so the chains of operations of K vectors fill each other's waiting. (The
// CPU overlaps whole vectors by itself, but its schedulers hold few of them.)
template <class V, int K>
struct Group {
  using Number = typename V::Number;
  V v[K];

  template <class F>
  static POINTWISE_INLINE Group map(F f) {
    Group r;
    POINTWISE_UNROLL
    for (int k = 0; k < K; ++k) r.v[k] = f(k);
    return r;
  }
  static Group load(const char* p) {
    return map([&](int k) { return V::load(p + k * sizeof(V)); });
  }
  static Group fill(Number number) {
    return map([&](int) { return V::fill(number); });
  }
#define POINTWISE_GROUP_1(f)                         \
  static Group f(const Group& a) {                   \
    return map([&](int k) { return V::f(a.v[k]); }); \
  }
#define POINTWISE_GROUP_2(f)                                 \
  static Group f(const Group& a, const Group& b) {           \
    return map([&](int k) { return V::f(a.v[k], b.v[k]); }); \
  }
#define POINTWISE_GROUP_3(f)                                         \
  static Group f(const Group& a, const Group& b, const Group& c) {   \
    return map([&](int k) { return V::f(a.v[k], b.v[k], c.v[k]); }); \
  }
  POINTWISE_GROUP_1(abs)
  POINTWISE_GROUP_1(exponent)
  POINTWISE_GROUP_2(add)
  POINTWISE_GROUP_2(sub)
  POINTWISE_GROUP_2(mul)
  POINTWISE_GROUP_2(div)
  POINTWISE_GROUP_2(min)
  POINTWISE_GROUP_2(max)
  POINTWISE_GROUP_2(copysign)
  POINTWISE_GROUP_3(fma)
  POINTWISE_GROUP_3(rest)
#undef POINTWISE_GROUP_1
#undef POINTWISE_GROUP_2
#undef POINTWISE_GROUP_3
  static Group select_less(const Group& a, const Group& b, const Group& x, const Group& y) {
    return map([&](int k) { return V::select_less(a.v[k], b.v[k], x.v[k], y.v[k]); });
  }
};

template <class V, int K>
struct Fill<Group<V, K>> {
  static Group<V, K> with(const Constant<typename V::Number>& c) {
    const V one = Fill<V>::with(c);
    return Group<V, K>::map([&](int) { return one; });
  }
};

// Four: more than the 16 registers of AVX2 hold, but what waits there for the stack waits less than for its own
// results. (The two formulas of tanh in float32 are too much even so.)
template <class V>
using GroupOf = Group<V, 4>;
template <class V>
using TanhGroupOf = Group<V, sizeof(V) == 32 && sizeof(typename V::Number) == 4 ? 2 : 4>;

// See Activate in kernel.h: a function, of one vector and of a group.
template <class V, class G, V (*one)(V, V, V), G (*many)(G, G, G)>
void each(const Number* parameters, const char* from, int64_t vectors, char* to, int64_t row_vectors, ptrdiff_t row) {
  constexpr int together = sizeof(G) / sizeof(V);
  constexpr ptrdiff_t vector = sizeof(V);
  const V a = V::broadcast(parameters[0].address()), b = V::broadcast(parameters[1].address());
  const G as = G::fill(parameters[0].as<typename V::Number>()), bs = G::fill(parameters[1].as<typename V::Number>());
  const ptrdiff_t next_row = row - row_vectors * vector;
  int64_t left = row_vectors;  // of a row
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

// See KernelTable::activations.
template <class V>
constexpr Activate activations[activation_kinds] = {nullptr,
                                                    nullptr,
                                                    each<V, GroupOf<V>, relu6<V>, relu6<GroupOf<V>>>,
                                                    each<V, GroupOf<V>, clip<V>, clip<GroupOf<V>>>,
                                                    each<V, GroupOf<V>, leaky_relu<V>, leaky_relu<GroupOf<V>>>,
                                                    each<V, GroupOf<V>, elu<V>, elu<GroupOf<V>>>,
                                                    each<V, GroupOf<V>, sigmoid<V>, sigmoid<GroupOf<V>>>,
                                                    each<V, TanhGroupOf<V>, tanh<V>, tanh<TanhGroupOf<V>>>,
                                                    each<V, GroupOf<V>, silu<V>, silu<GroupOf<V>>>,
                                                    each<V, GroupOf<V>, hardsigmoid<V>, hardsigmoid<GroupOf<V>>>,
                                                    each<V, GroupOf<V>, hardswish<V>, hardswish<GroupOf<V>>>,
                                                    each<V, GroupOf<V>, gelu<V>, gelu<GroupOf<V>>>,
                                                    each<V, GroupOf<V>, gelu_tanh<V>, gelu_tanh<GroupOf<V>>>,
                                                    each<V, GroupOf<V>, softplus<V>, softplus<GroupOf<V>>>,
                                                    each<V, GroupOf<V>, mish<V>, mish<GroupOf<V>>>};

}  // namespace
}  // namespace pointwise
