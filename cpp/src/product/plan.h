// Plans. A plan has the lowering of a call, the blocking of each box and the workspace. A plan is made once for a
// shape.
#pragma once

#include <array>
#include <optional>

#include "product/blocking.h"
#include "product/workspace.h"

namespace pointwise {

constexpr int offsets_of_a_pixel = 4;  // one in each of src, dst, residual and input_scale

struct Plan {
  Product product;
  std::array<Blocking, max_boxes> blocking;     // the blocking of each box
  int64_t pieces;                               // number of pieces of all boxes
  std::array<int64_t, max_boxes> piece_cycles;  // predicted cycles of a piece of each box
  int team;                                     // number of threads that are useful
  Level source;                                 // the level that holds src
  bool stream;                                  // use non-temporal stores if dst is aligned for them
  Workspace workspace;                          // the workspace of one thread

  // Divides all pieces into `parts` parts that take about the same time. Returns the first piece of one part.
  int64_t first_piece(int part, int parts) const;
};

// Returns the inputs of the cost model for a box.
Work work_of(const Product& product, const Box& box, int threads, bool borrowed = false);

// Overrides Plan::source and Plan::stream. A chain uses this, because it knows which arrays stay in the caches.
struct Memory {
  std::optional<Level> source;  // if empty, depends on the size of src
  std::optional<bool> stream;   // if empty, depends on the size of dst
};

// Returns true if an array of this size fills more than half of L3. Then it saves time to use non-temporal stores for
// dst, and to prefetch src.
bool goes_past_caches(double bytes);

// Cuts the first box along its innermost axis. Returns the product with the last `tail` pixels of this axis in a
// separate box.
Product cut(const Product& product, int64_t tail);
// The numbers of pixels that a cut of the first box may leave to the last box, in ascending order. The others are 0.
using Tails = std::array<int64_t, 2>;
Tails useful_tails(const Product& product);

// Returns the plan that computes each box with the given blocking.
Plan plan_of(const Product& product, const std::array<Blocking, max_boxes>& blocking, int threads,
             const Memory& memory = {});
// Returns the plan that the cost model predicts to be the fastest. The plan may cut the first box in two.
Plan make_plan(const Product& product, int threads, const Memory& memory = {});
// Returns the fastest plan that does not cut a box, as the cost model predicts.
Plan make_uncut_plan(const Product& product, int threads);

// Returns a plan that packs borrowed weights during the call. Returns nothing if this plan would pack weights more than
// once. In this case it is faster to pack all weights before a plan runs.
std::optional<Plan> make_borrowing_plan(const Product& product, int threads);

}  // namespace pointwise
