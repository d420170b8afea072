// Runs the alternatives for the product of a layer. Measurements and tests compare them with the choice of the cost
// model.
#pragma once

#include <string>
#include <vector>

#include "product/packing.h"
#include "product/plan.h"

namespace pointwise {

struct Alternative {
  std::string words;  // kernel row and packing; also "images x pixels" if the box has several axes
  double cycles;      // predicted cycles of the product
  Plan plan;
};

// Returns all alternatives. The first one is the choice of the cost model, and the others are in the order of
// candidates(). Returns an empty vector if dst has no elements. All alternatives are for C-contiguous arrays, one
// thread and no residual.
std::vector<Alternative> ways_to_run(const Layer& layer, const Shape& src_shape);

// Runs the alternatives of a layer.
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
