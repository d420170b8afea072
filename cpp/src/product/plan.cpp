#include "product/plan.h"

#include <algorithm>

#include "base/checked.h"
#include "base/float_environment.h"
#include "base/lazy.h"
#include "base/types.h"
#include "kernels/registry.h"
#include "machine/cpu.h"
#include "machine/machine.h"
#include "product/cycle_model.h"

namespace pointwise {
// Computes in integers, because the floating-point state may be the caller's.
int64_t Plan::first_piece(int part, int parts) const {
  if (product.boxes == 1 || part == parts) return pieces * part / parts;
  __int128 before = 0;
  for (int i = 0; i < product.boxes; ++i) before += static_cast<__int128>(piece_cycles[i]) * blocking[i].pieces;
  before = before * part / parts;
  int64_t first = 0;
  for (int i = 0; i < product.boxes; ++i) {
    const __int128 box = static_cast<__int128>(piece_cycles[i]) * blocking[i].pieces;
    if (before < box) return first + static_cast<int64_t>((before + piece_cycles[i] / 2) / piece_cycles[i]);
    before -= box;
    first += blocking[i].pieces;
  }
  return first;
}

Work work_of(const Product& product, const Box& box, int threads, bool borrowed) {
  Work work{};
  work.borrowed = borrowed;
  work.types = product.types;
  work.item = item_size(product.types.sum);
  work.x_item = item_size(product.types.x);
  const int step = kernels(product.types.w).step;
  work.x_step = work.x_item * step;
  work.pairs = step > 1;
  work.whole_pairs = box.k % step == 0;
  work.groups = product.groups;
  work.m = product.m;
  work.k = ceil_div(box.k, step);
  work.axes = box.axes;
  work.axis = box.axis;
  const auto times = [](ptrdiff_t stride, int64_t factor) {  // returns any number if the product overflows
    int64_t result;
    return checked_multiply(stride, factor, &result) ? result : stride;
  };
  const auto scaled = [&](ptrdiff_t stride) { return times(stride, work.item / item_size(product.types.y)); };
  work.src_k = times(product.src_k, step);
  work.converts = product.types.y != product.types.sum;
  work.dst_m = scaled(product.dst_m);
  work.residual_m = scaled(product.residual_m);
  for (int i = 0; i < work.axes; ++i) {
    work.axis[i].dst = scaled(work.axis[i].dst);
    work.axis[i].residual = scaled(work.axis[i].residual);
  }
  work.residual = product.has_residual;
  work.scaled = product.has_scale;
  work.slopes = product.has_slopes;
  work.quantized = is_integer(product.types.w);
  work.threads = threads;
  work.l1 = l1_cache_size();
  work.l2 = l2_cache_size();
  work.machine = &machine();
  return work;
}

// A part of a smaller dst stays in L3, so plain stores save time for the code that reads dst next.
bool goes_past_caches(double bytes) { return bytes > static_cast<double>(l3_cache_size()) / 2; }

Plan plan_of(const Product& product, const std::array<Blocking, max_boxes>& blocking, int threads,
             const Memory& memory) {
  const FloatEnvironment environment;  // the cost model needs the default state
  Plan plan{};
  plan.product = product;
  plan.blocking = blocking;
  double cycles = 0;
  double results = 0, sources = 0;  // bytes
  const int y_item = item_size(product.types.y), x_item = item_size(product.types.x);
  for (int i = 0; i < product.boxes; ++i) {
    const Blocking& b = blocking[i];
    plan.pieces += b.pieces;
    cycles += b.cycles;
    plan.piece_cycles[i] = static_cast<int64_t>(std::clamp(b.cycles / static_cast<double>(b.pieces), 1.0, 1e18));
    const double pixels = static_cast<double>(b.images) * b.n * product.groups;
    results += pixels * product.m * y_item;
    sources += pixels * product.box[i].k * x_item;
    plan.workspace.reserve(Region::packed, b.packed);
    plan.workspace.reserve(Region::results, b.results);
    plan.workspace.reserve(Region::residual, b.residual);
    plan.workspace.reserve(Region::sums, b.sums);
    plan.workspace.reserve(Region::copy, b.copy);
    plan.workspace.reserve(Region::room, b.room);
    plan.workspace.reserve(Region::panels, b.weights);
    if (b.packing != Packing::none || !b.even)
      plan.workspace.reserve(Region::offsets, offsets_of_a_pixel * b.n_block * sizeof(ptrdiff_t));
  }
  plan.team = team_size(machine(), cycles, plan.pieces, threads);
  // Tiles prefetch src from L3 and from memory. Prefetching from L2 makes calls slower by 1 to 5% (Zen 4).
  plan.source = memory.source.value_or(goes_past_caches(sources)                        ? Level::memory
                                       : sources > static_cast<double>(l2_cache_size()) ? Level::l3
                                                                                        : Level::l2);
  // PReLU and the conversion of results read the results of a kernel call again.
  const bool reads_results = product.has_slopes || product.types.y != product.types.sum;
  plan.stream = !reads_results && memory.stream.value_or(goes_past_caches(results));
  return plan;
}

namespace {

// Chooses the blocking of each box. The axes of a box are in the order of dst. If another order of the axes makes the
// pixels of src contiguous, as in an array in Fortran order, chooses the better order.
std::array<Blocking, max_boxes> choose(Product* product, int threads, bool borrowed) {
  const FloatEnvironment environment;  // the cost model needs the default state
  std::array<Blocking, max_boxes> blocking{};
  const auto best = [&](const Box& box) {
    return choose_blocking(work_of(*product, box, threads, borrowed), kernels(product->types.w).rows);
  };
  const int64_t x_item = item_size(product->types.x);
  for (int i = 0; i < product->boxes; ++i) {
    Box& box = product->box[i];
    blocking[i] = best(box);
    if (box.k == 0 || std::abs(product->src_k) == x_item || std::abs(box.axis[box.axes - 1].src) == x_item) continue;
    Box turned = box;
    merge_axes(&turned, &Axis::src);
    if (std::abs(turned.axis[turned.axes - 1].src) != x_item) continue;
    const Blocking other = best(turned);
    if (other.makespan < blocking[i].makespan) {
      box = turned;
      blocking[i] = other;
    }
  }
  return blocking;
}

double makespan_of(const std::array<Blocking, max_boxes>& blocking, int boxes) {
  double makespan = 0;
  for (int i = 0; i < boxes; ++i) makespan += blocking[i].makespan;
  return makespan;
}

// Minimum cycles of a box that may be cut. For smaller boxes, the search for a cut takes more time than it saves.
constexpr double least_cycles_to_cut = 2e4;
// Returns the cycles that a cut costs, because the second box reads all weights again. (Zen 4 with AVX2, 832 -> 256
// channels at 7x7: a cut is 4% slower.)
double cut_price(const Product& product) {
  return static_cast<double>(product.groups * product.m) * static_cast<double>(product.box[0].k) *
         item_size(product.types.w) / machine().l2_bytes_per_cycle;
}

}  // namespace

Product cut(const Product& product, int64_t tail) {
  Product result = product;
  Box& body = result.box[0];
  Box& rest = result.box[result.boxes++];
  rest = body;
  const int inner = body.axes - 1;
  const int64_t pixels = body.axis[inner].size - tail;
  body.axis[inner].size = pixels;
  rest.axis[inner].size = tail;
  rest.src += pixels * rest.axis[inner].src;
  rest.dst += pixels * rest.axis[inner].dst;
  rest.residual += pixels * rest.axis[inner].residual;
  rest.scale += pixels * rest.axis[inner].scale;
  return result;
}

Tails useful_tails(const Product& product) {
  Tails tails{};
  if (product.boxes == 0 || product.box[0].k == 0) return tails;
  const Box& box = product.box[0];
  const Axis& inner = box.axis[box.axes - 1];
  if (inner.src != item_size(product.types.x) || inner.dst != item_size(product.types.y)) return tails;
  int lanes = 1;
  for (const KernelRow& row : kernels(product.types.w).rows) lanes = std::max(lanes, row.lanes);
  const int64_t rest = inner.size % lanes;
  if (rest > 0 && rest < inner.size) tails[0] = rest;
  if (rest > 0 && rest + lanes < inner.size) tails[1] = rest + lanes;
  return tails;
}

Plan make_uncut_plan(const Product& product, int threads) {
  Product ordered = product;
  const std::array<Blocking, max_boxes> blocking = choose(&ordered, threads, false);
  return plan_of(ordered, blocking, threads);
}

// If pixels are contiguous, but do not fill the last vector, it may save time to cut the first box in two. Then channel
// rows compute the whole vectors, without unused lanes. Pixel rows compute the last few pixels, and transpose their
// results. (Zen 5, 512 -> 128 channels at 14x14: 98% of the peak with a cut, 96% without.)
Plan make_plan(const Product& product, int threads, const Memory& memory) {
  const FloatEnvironment environment;  // the cost model needs the default state
  Product best = product;
  std::array<Blocking, max_boxes> blocking = choose(&best, threads, false);
  if (product.boxes > 0 && product.box[0].k > 0 && blocking[0].cycles > least_cycles_to_cut) {
    const double price = cut_price(product);
    for (const int64_t tail : useful_tails(product)) {
      if (tail == 0) break;
      Product parts = cut(product, tail);
      const std::array<Blocking, max_boxes> ways = choose(&parts, threads, false);
      if (makespan_of(ways, parts.boxes) + price < makespan_of(blocking, best.boxes)) {
        best = parts;
        blocking = ways;
      }
    }
  }
  return plan_of(best, blocking, threads, memory);
}

std::optional<Plan> make_borrowing_plan(const Product& product, int threads) {
  Product ordered = product;
  const std::array<Blocking, max_boxes> blocking = choose(&ordered, threads, true);
  for (int i = 0; i < product.boxes; ++i) {
    const Blocking& b = blocking[i];
    if (product.box[i].k > 0 && (b.images > 1 || b.n_block < b.n)) return std::nullopt;
  }
  return plan_of(ordered, blocking, threads);
}

}  // namespace pointwise
