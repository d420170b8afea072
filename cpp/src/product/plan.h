// Plans: the lowering, the blocking of each box and the workspace of a call. A plan is made once for a shape.
#pragma once

#include <array>
#include <optional>

#include "product/blocking.h"
#include "product/workspace.h"

namespace pointwise {

constexpr int offsets_of_a_pixel = 4;  // in src, dst, residual and input_scale

struct Plan {
  Product product;
  std::array<Blocking, max_boxes> blocking;     // the blocking of each box
  int64_t pieces;                               // number of pieces of all boxes
  std::array<int64_t, max_boxes> piece_cycles;  // predicted cycles of a piece of each box
  int team;                                     // number of threads that are useful
  Level source;                                 // the lowest cache that holds src, or memory
  bool stream;                                  // non-temporal stores, if dst is aligned for them
  Workspace workspace;                          // the workspace of one thread

  // Returns the first piece of a part, if all pieces are divided into `parts` parts that take about the same time.
  int64_t first_piece(int part, int parts) const;
};

// Returns the inputs of the cost model for a box.
Work work_of(const Product& product, const Box& box, int threads, bool borrowed = false);

// Overrides Plan::source and Plan::stream. A chain uses this, because it knows which arrays stay in the caches.
struct Memory {
  std::optional<Level> source;  // if empty, the size of the array decides
  std::optional<bool> stream;   // likewise
};

// Returns true if an array of this many bytes fills more than half of L3. Then non-temporal stores to dst, and
// prefetching of src, save time.
bool goes_past_caches(double bytes);

// Returns the plan that computes each box with the given blocking.
Plan plan_of(const Product& product, const std::array<Blocking, max_boxes>& blocking, int threads,
             const Memory& memory = {});
// Returns the plan that the cost model predicts to be the fastest. It may cut the first box in two.
Plan make_plan(const Product& product, int threads, const Memory& memory = {});
// Returns the plan that the cost model predicts to be the fastest without a cut of a box.
Plan make_uncut_plan(const Product& product, int threads);

// Returns the plan of a call that packs its borrowed weights. Returns nothing if the call would pack weights more than
// once. Then it is faster to pack all weights before the plan runs.
std::optional<Plan> make_borrowing_plan(const Product& product, int threads);

}  // namespace pointwise
