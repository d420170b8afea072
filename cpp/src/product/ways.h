// The ways to compute a product. Layer::tune measures them, and benchmarks compare them with the choice of the cost
// model.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "product/plan.h"

namespace pointwise {

// The parts of a plan that are not determined by the product and the number of threads. The way describes the main box;
// the blocking of all other boxes is predicted.
struct Way {
  int kernel_row = 0;  // index in the registry
  int n_axes = 1;
  Packing packing = Packing::none;
  int64_t tail = 0;     // pixels of the last box, if the first box is cut; else 0
  bool serial = false;  // true if one thread computes the product, even if more threads are available
};
inline bool operator==(const Way& a, const Way& b) {
  return a.kernel_row == b.kernel_row && a.n_axes == b.n_axes && a.packing == b.packing && a.tail == b.tail &&
         a.serial == b.serial;
}

// Returns the index of the first box that reads src, or 0 if no box reads src.
int main_box(const Product& product);

struct PlannedWay {
  Way way;
  double makespan;  // predicted cycles until the last thread is done
  Plan plan;
};

// Returns the ways to compute a product without a cut. The first one is the choice of the cost model, and the others
// are in the order of candidates(). The product must have boxes.
std::vector<PlannedWay> uncut_ways(const Product& product, int threads);
// Returns all ways. The first one is the plan that make_plan() returns. The others are sorted by their predicted time.
std::vector<PlannedWay> all_ways(const Product& product, int threads);

// Returns the plan that computes a product in this way, or nothing if the product cannot be computed in this way.
std::optional<Plan> plan_in_way(const Product& product, int threads, const Way& way);

}  // namespace pointwise
