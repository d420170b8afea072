// Every way in which a layer's product could run: so that the choice of the cost model can be measured against the
// others. For measurements and tests only.
#pragma once

#include <string>
#include <vector>

#include "product/packing.h"
#include "product/plan.h"

namespace pointwise {

struct Alternative {
  std::string words;  // kernel row, packing, and images x pixels where they can differ: of each alternative others
  double cycles;      // what the cost model expects of the product
  Plan plan;
};

// The choice first, then the others in the order of the cost model's candidates. Empty where the result is. For
// C-contiguous arrays, on one thread, without a residual.
std::vector<Alternative> ways_to_run(const Layer& layer, const Shape& src_shape);

// Runs them.
class Alternatives {
 public:
  Alternatives(const Layer& layer, const Shape& src_shape);

  const std::vector<Alternative>& all() const { return all_; }
  const Shape& dst_shape() const { return dst_shape_; }
  void run(size_t index, const void* src, void* dst) const;

 private:
  Shape dst_shape_;
  PackedWeights weights_;
  std::vector<Alternative> all_;
};

}  // namespace pointwise
