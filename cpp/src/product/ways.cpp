#include "product/ways.h"

#include <algorithm>

#include "base/float_environment.h"
#include "kernels/registry.h"

namespace pointwise {
namespace {

Way way_of(const Blocking& b, int64_t tail, bool serial) { return {b.kernel_row, b.n_axes, b.packing, tail, serial}; }

double makespan_of(const Plan& plan) {
  double makespan = 0;
  for (int i = 0; i < plan.product.boxes; ++i) makespan += plan.blocking[i].makespan;
  return makespan;
}

// Returns the predicted plan with another blocking of the main box.
Plan replaced(const Plan& predicted, int main, const Blocking& b, int threads) {
  std::array<Blocking, max_boxes> blocking = predicted.blocking;
  blocking[main] = b;
  return plan_of(predicted.product, blocking, threads);
}

std::vector<Candidate> candidates_of(const Plan& predicted, int main, int threads) {
  const Product& product = predicted.product;
  return candidates(work_of(product, product.box[main], threads), kernels(product.types.w).rows);
}

std::vector<PlannedWay> ways_of(const Product& product, int threads, int64_t tail, bool serial) {
  const Plan predicted = make_uncut_plan(product, threads);
  const int main = main_box(predicted.product);
  const Way first = way_of(predicted.blocking[main], tail, serial);
  std::vector<PlannedWay> ways{{first, makespan_of(predicted), predicted}};
  for (const Candidate& c : candidates_of(predicted, main, threads)) {
    const Way way = way_of(c.blocking, tail, serial);
    if (c.refused != nullptr || way == first) continue;
    const Plan plan = replaced(predicted, main, c.blocking, threads);
    ways.push_back({way, makespan_of(plan), plan});
  }
  return ways;
}

}  // namespace

int main_box(const Product& product) {
  for (int i = 0; i < product.boxes; ++i)
    if (product.box[i].k > 0) return i;
  return 0;
}

std::vector<PlannedWay> uncut_ways(const Product& product, int threads) {
  const FloatEnvironment environment;  // the cost model needs the default state
  return ways_of(product, threads, 0, false);
}

std::vector<PlannedWay> all_ways(const Product& product, int threads) {
  const FloatEnvironment environment;
  const Plan predicted = make_plan(product, threads);
  const int last = predicted.product.boxes - 1;
  const Box& box = predicted.product.box[last];
  const int64_t predicted_tail = last == product.boxes ? box.axis[box.axes - 1].size : 0;
  const Way first = way_of(predicted.blocking[main_box(predicted.product)], predicted_tail, false);
  std::vector<PlannedWay> ways{{first, makespan_of(predicted), predicted}};
  std::vector<int64_t> tails{0};
  for (const int64_t tail : useful_tails(product))
    if (tail > 0) tails.push_back(tail);
  for (const int64_t tail : tails) {
    const Product parts = tail == 0 ? product : cut(product, tail);
    bool splits = false;  // true if several threads compute a way
    for (PlannedWay& way : ways_of(parts, threads, tail, false)) {
      splits = splits || way.plan.team > 1;
      if (!(way.way == first)) ways.push_back(std::move(way));
    }
    if (!splits) continue;
    for (PlannedWay& way : ways_of(parts, 1, tail, true)) ways.push_back(std::move(way));
  }
  std::stable_sort(ways.begin() + 1, ways.end(),
                   [](const PlannedWay& a, const PlannedWay& b) { return a.makespan < b.makespan; });
  return ways;
}

std::optional<Plan> plan_in_way(const Product& product, int threads, const Way& way) {
  const FloatEnvironment environment;
  if (product.boxes == 0) return std::nullopt;
  const Tails tails = useful_tails(product);
  if (way.tail != 0 && way.tail != tails[0] && way.tail != tails[1]) return std::nullopt;
  const int useful = way.serial ? 1 : threads;
  const Plan predicted = make_uncut_plan(way.tail == 0 ? product : cut(product, way.tail), useful);
  const int main = main_box(predicted.product);
  for (const Candidate& c : candidates_of(predicted, main, useful))
    if (c.refused == nullptr && way_of(c.blocking, way.tail, way.serial) == way)
      return replaced(predicted, main, c.blocking, useful);
  return std::nullopt;
}

}  // namespace pointwise
