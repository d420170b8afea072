// What a call does, decided once for a shape: the boxes of pixels, the kernel row and the pieces of each.
#pragma once

#include <array>
#include <optional>

#include "product/blocking.h"
#include "product/workspace.h"

namespace pointwise {

constexpr int offsets_of_a_pixel = 4;  // in src, dst, residual and scales

struct Plan {
  Product product;
  std::array<Blocking, max_boxes> blocking;     // of each box
  int64_t pieces;                               // of all boxes
  std::array<int64_t, max_boxes> piece_cycles;  // what the cost model expects of a piece of each box
  int team;                                     // threads that pay
  bool fetch;                                   // src comes from memory, and is fetched ahead
  bool stream;                                  // results go past the caches, where dst lies so that they can
  Workspace workspace;                          // of a thread

  // The first piece of one of so many parts that take about as long as each other.
  int64_t first_piece(int part, int parts) const;
};

Work work_of(const Product& product, const Box& box, int threads, bool borrowed = false);

// Where src comes from and dst goes to, if the plan's maker knows more than their sizes say.
struct Memory {
  std::optional<bool> fetch, stream;  // as in Plan
};

// Whether results of so many bytes are stored past the caches.
bool goes_past_caches(double bytes);

// The plan in which each box is computed as its blocking says.
Plan plan_of(const Product& product, const std::array<Blocking, max_boxes>& blocking, int threads,
             const Memory& memory = {});
Plan make_plan(const Product& product, int threads, const Memory& memory = {});
Plan make_uncut_plan(const Product& product, int threads);  // with the boxes of the lowering

// For weights that are packed when they are used. None where they would be packed more than once: then they are
// better packed beforehand.
std::optional<Plan> make_borrowing_plan(const Product& product, int threads);

}  // namespace pointwise
