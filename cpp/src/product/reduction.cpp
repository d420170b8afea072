// Runs a reduction. The loops are:
//
// clang-format off
//     for piece in groups x m_parts x n_parts:    one thread computes a piece
//       for `block` pixels:                       whole chunks, except in the last block
//         packs left into panels                  (left has the place of weights)
//         for n_block channels of right:          packs right as [pixel][channel], or reads it in place
//           kernel(n_block x m x block)           continues from the sums of the block before
// clang-format on
//
// In the words of kernel.h, output channels are channels of left, pixels are channels of right, and input channels are
// pixels.
#include "product/reduction.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/checked.h"
#include "base/float_environment.h"
#include "kernels/registry.h"
#include "machine/cpu.h"
#include "memory/scratch.h"
#include "product/cycle_model.h"
#include "product/packing.h"
#include "product/workspace.h"
#include "threads/parallel.h"

namespace pointwise {
namespace {

// Maximum numbers of channels of a piece. Each channel of a piece is packed once, and used for each channel of the
// other operand.
constexpr int64_t most_m = 256, most_n = 384;
// Number of pixels of a block. With large L2 caches, fewer passes over the sums are worth more than smaller panels.
constexpr int64_t small_block = chunk_channels, large_block = 2 * chunk_channels;
constexpr int64_t large_l2 = int64_t{2} << 20;
// Cycles to pack a number of either operand.
constexpr double pack_cycles = 0.3;
// Maximum number of parts that the search for pieces tries, beyond the fewest parts.
constexpr int64_t more_parts = 16;
// Contiguous channels of right that are a multiple of this distance apart share a few sets of L1, so they are packed.
constexpr ptrdiff_t aliased_step = 4096;

// The choices for a reduction.
struct Blocks {
  int kernel_row;
  int64_t pixels, block;
  Parts m_parts, n_parts;
  int64_t n_block;  // maximum number of channels of right in a kernel call
  ptrdiff_t packed_row, sums_row;
  int team;
  Workspace workspace;
};

// Drops axes of size 1, and merges neighbouring axes whose pixels are evenly spaced in both arrays. Keeps the order.
void merge_in_order(Reduction* reduction) {
  auto& axis = reduction->axis;
  int kept = 0;
  for (int i = 0; i < reduction->axes; ++i) {
    const Axis inner = axis[i];
    if (inner.size == 1) continue;
    Axis* const outer = kept > 0 ? &axis[kept - 1] : nullptr;
    if (outer && outer->src == inner.size * inner.src && outer->dst == inner.size * inner.dst)
      *outer = {outer->size * inner.size, inner.src, inner.dst, 0};
    else
      axis[kept++] = inner;
  }
  if (kept == 0) axis[kept++] = {1, 0, 0, 0};
  reduction->axes = kept;
}

// Returns true for kernel rows that compute every product from packed operands.
bool is_ordinary(const KernelRow& row) {
  return row.refuses == nullptr && row.cycles == nullptr && row.room == nullptr &&
         (row.reads == Reads::any || row.reads == Reads::pixels);
}

// Returns the number of channels of right in a tile.
int64_t tile_width(const KernelRow& row) {
  return row.rows == Rows::channels ? int64_t{row.nr} * row.lanes : int64_t{row.mr};
}

class Chooser {
 public:
  Chooser(const Reduction& reduction, int64_t pixels, int threads)
      : reduction_(reduction), rows_(kernels(reduction.sum).rows), threads_(threads) {
    work_.types = {reduction.sum, reduction.sum, reduction.sum, reduction.sum};
    work_.item = work_.x_item = item_size(reduction.sum);
    work_.l1 = l1_cache_size();
    work_.l2 = l2_cache_size();
    work_.machine = &machine();
    work_.src_k = work_.item * panel_bytes;  // input channels, which are pixels here, are not contiguous
    blocks_.pixels = pixels;
    blocks_.block = std::min(std::max<int64_t>(pixels, 1), work_.l2 >= large_l2 ? large_block : small_block);
    work_.k = blocks_.block;
  }

  Blocks choose() {
    const FloatEnvironment environment;  // the cost model needs the default state
    const int64_t panel = panel_bytes / work_.item;
    blocks_.m_parts = fewest_parts(reduction_.m, panel, most_m);
    blocks_.n_parts = fewest_parts(reduction_.n, panel, most_n);
    choose_row();
    choose_parts();
    choose_row();
    const KernelRow& row = rows_[blocks_.kernel_row];
    const int64_t m = blocks_.m_parts.largest(), n = blocks_.n_parts.largest(), item = work_.item;
    const int64_t whole_m = round_up(m, std::max<int64_t>(panel, int64_t{row.nr} * row.lanes));
    const bool channel_rows = row.rows == Rows::channels;
    blocks_.n_block = std::min(n, tile_width(row));
    blocks_.packed_row = round_up(blocks_.n_block * item, panel_bytes);
    blocks_.sums_row = padded_row((channel_rows ? round_up(n, row.lanes) : whole_m) * item);
    Workspace& workspace = blocks_.workspace;
    workspace.reserve(Region::packed, allocation_size(blocks_.packed_row, blocks_.block));
    workspace.reserve(Region::sums, allocation_size(blocks_.sums_row, channel_rows ? whole_m : n));
    workspace.reserve(Region::room, whole_m * item);  // zeros, in place of a bias
    workspace.reserve(Region::panels, allocation_size(ceil_div(m, panel) * panel_bytes, blocks_.block));
    workspace.reserve(Region::offsets, 2 * blocks_.block * static_cast<int64_t>(sizeof(ptrdiff_t)));
    return blocks_;
  }

 private:
  double cycles_of_block(const KernelRow& row, int64_t m, int64_t n) {
    work_.m = m;
    return compute_cycles(work_, row, n, m, 0);
  }

  // Returns the cycles of a piece of m x n channels.
  double cycles_of_piece(int64_t m, int64_t n) {
    const double blocks = static_cast<double>(ceil_div(std::max<int64_t>(blocks_.pixels, 1), blocks_.block));
    return blocks * (cycles_of_block(rows_[blocks_.kernel_row], m, n) +
                     pack_cycles * static_cast<double>(blocks_.block) * static_cast<double>(m + n));
  }

  void choose_row() {
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < rows_.count; ++i) {
      if (!is_ordinary(rows_[i])) continue;
      const double cycles = cycles_of_block(rows_[i], blocks_.m_parts.largest(), blocks_.n_parts.largest());
      if (cycles >= best) continue;
      best = cycles;
      blocks_.kernel_row = i;
    }
  }

  // Cuts m and n into further parts, until all threads of the team have work.
  void choose_parts() {
    const int64_t groups = reduction_.groups;
    const double whole = static_cast<double>(groups * blocks_.m_parts.count * blocks_.n_parts.count) *
                         cycles_of_piece(blocks_.m_parts.largest(), blocks_.n_parts.largest());
    const int64_t most_pieces = groups * blocks_.m_parts.units() * blocks_.n_parts.units();
    blocks_.team = team_size(*work_.machine, whole, most_pieces, threads_);
    if (blocks_.team == 1) return;
    double best = std::numeric_limits<double>::infinity();
    Parts m = blocks_.m_parts, n = blocks_.n_parts;
    const int64_t few_m = m.count, few_n = n.count;
    for (m.count = few_m; m.count <= std::min(m.units(), few_m + more_parts); ++m.count)
      for (n.count = few_n; n.count <= std::min(n.units(), few_n + more_parts); ++n.count) {
        const double rounds = static_cast<double>(ceil_div(groups * m.count * n.count, blocks_.team));
        const double price = rounds * (cycles_of_piece(m.largest(), n.largest()) + work_.machine->piece_cycles);
        if (price >= best) continue;
        best = price;
        blocks_.m_parts = m;
        blocks_.n_parts = n;
      }
  }

  const Reduction& reduction_;
  const KernelRows rows_;
  const int threads_;
  Work work_{};
  Blocks blocks_{};
};

// Returns the end of the range of evenly spaced pixels that starts at `begin`.
int64_t run_end(const ptrdiff_t* offsets, int64_t begin, int64_t count) {
  int64_t end = begin + 1;
  while (end < count && offsets[end] - offsets[end - 1] == offsets[begin + 1] - offsets[begin]) ++end;
  return end;
}

class Run {
 public:
  Run(const Reduction& reduction, const Blocks& blocks, const char* left, const char* right, char* dst, bool accumulate,
      char* scratch)
      : r_(reduction),
        b_(blocks),
        left_(left),
        right_(right),
        dst_(dst),
        accumulate_(accumulate),
        scratch_(scratch),
        table_(kernels(reduction.sum)),
        row_(table_.rows[blocks.kernel_row]),
        channel_rows_(row_.rows == Rows::channels),
        item_(item_size(reduction.sum)),
        width_(panel_bytes / item_) {}

  void piece(int64_t index, int thread) const {
    const int64_t n_part = index % b_.n_parts.count;
    index /= b_.n_parts.count;
    const int64_t m_part = index % b_.m_parts.count, group = index / b_.m_parts.count;
    Range range;
    range.m = b_.m_parts.begin(m_part);
    range.ms = b_.m_parts.begin(m_part + 1) - range.m;
    range.n = b_.n_parts.begin(n_part);
    range.ns = b_.n_parts.begin(n_part + 1) - range.n;
    if (r_.symmetric && range.m + range.ms <= range.n) return;  // in the upper half
    range.left = left_ + (group * r_.m + range.m) * r_.left_m;
    range.right = right_ + (group * r_.n + range.n) * r_.right_n;
    range.dst = dst_ + (group * r_.m + range.m) * r_.dst_m + range.n * r_.dst_n;
    range.scratch = scratch_ + thread * b_.workspace.bytes();
    run_piece(range);
  }

 private:
  // The channels of a piece: `ms` channels of left from channel `m` of the group, `ns` channels of right from channel
  // `n`. Pointers to the first pixel of the first channels, and to the first number of dst.
  struct Range {
    int64_t m, ms, n, ns;
    const char *left, *right;
    char *dst, *scratch;
  };

  void run_piece(const Range& range) const {
    const Workspace& workspace = b_.workspace;
    char* const sums = workspace.at(range.scratch, Region::sums);
    char* const zeros = workspace.at(range.scratch, Region::room);
    char* const panels = workspace.at(range.scratch, Region::panels);
    ptrdiff_t* const left_offsets = reinterpret_cast<ptrdiff_t*>(workspace.at(range.scratch, Region::offsets));
    ptrdiff_t* const right_offsets = left_offsets + b_.block;
    std::memset(zeros, 0, static_cast<size_t>(workspace.size(Region::room)));
    if (range.ms % width_ != 0)  // the last panel has unused channels
      std::memset(panels + range.ms / width_ * panel_bytes * b_.block, 0, static_cast<size_t>(panel_bytes * b_.block));
    const Parts columns = fewest_parts(range.ns, channel_rows_ ? row_.lanes : 1, b_.n_block);

    for (int64_t begin = 0; begin < b_.pixels; begin += b_.block) {
      Block block{};
      block.input_channels = std::min(b_.block, b_.pixels - begin);
      block.x_pixel = item_;
      block.panel = panel_bytes * b_.block;
      block.epilogue = no_epilogue(r_.sum);
      block.source = Level::l2;
      block.sums_row = b_.sums_row;
      pixel_offsets(r_.axis.data(), r_.axes, begin, block.input_channels, &Axis::dst, left_offsets);
      pixel_offsets(r_.axis.data(), r_.axes, begin, block.input_channels, &Axis::src, right_offsets);
      for (int64_t o = 0; o < range.ms; o += width_)
        pack(table_.pack[r_.left], item_size(r_.left), range.left + o * r_.left_m, left_offsets, block.input_channels,
             r_.left_m, std::min<int64_t>(width_, range.ms - o), panels + o / width_ * block.panel, panel_bytes);
      const bool direct = begin + b_.block >= b_.pixels && !accumulate_;  // the last block stores to dst
      const bool in_place = reads_in_place(right_offsets, block.input_channels);
      for (int64_t i = 0; i < columns.count; ++i) {
        const int64_t n = columns.begin(i), first = first_row(range, n);
        block.pixels = columns.begin(i + 1) - n;
        block.channels = range.ms - first;
        if (block.channels <= 0) continue;
        set_right(range, n, right_offsets, in_place, &block);
        block.weights = panels + first / width_ * block.panel;
        block.bias = zeros;
        char* const at = sums + (channel_rows_ ? first * b_.sums_row + n * item_ : n * b_.sums_row + first * item_);
        block.sums = begin > 0 ? at : nullptr;
        block.y = direct ? range.dst + first * r_.dst_m + n * r_.dst_n : at;
        block.y_channel = direct ? (r_.m == 1 ? item_ : r_.dst_m) : channel_rows_ ? b_.sums_row : item_;
        block.y_pixel = direct ? (r_.n == 1 ? item_ : r_.dst_n) : channel_rows_ ? item_ : b_.sums_row;
        row_.run(block);
      }
    }
    if (accumulate_ || b_.pixels == 0) store(range, sums);
  }

  // Returns the first channel of left of a piece that channel `n` of right needs. Symmetric results need the lower
  // half.
  int64_t first_row(const Range& range, int64_t n) const {
    if (!r_.symmetric) return 0;
    return std::max<int64_t>(0, range.n + n - range.m) / width_ * width_;
  }

  // Returns true if kernels can read the channels of right in place.
  bool reads_in_place(const ptrdiff_t* offsets, int64_t count) const {
    if (r_.right != r_.sum || (r_.n > 1 && r_.right_n != item_)) return false;
    if (count > 2 && (offsets[1] - offsets[0]) % aliased_step == 0 && offsets[1] != offsets[0]) return false;
    return run_end(offsets, 0, count) == count;
  }

  // Sets the fields of a block for the channels of right from channel `n` of the piece on. Packs them if they are not
  // read in place.
  void set_right(const Range& range, int64_t n, const ptrdiff_t* offsets, bool in_place, Block* block) const {
    const char* const right = range.right + n * r_.right_n;
    if (in_place) {
      block->x = right + offsets[0];
      block->x_channel = block->input_channels > 1 ? offsets[1] - offsets[0] : item_;
      return;
    }
    char* const packed = b_.workspace.at(range.scratch, Region::packed);
    pack(table_.pack[r_.right], item_size(r_.right), right, offsets, block->input_channels, r_.right_n, block->pixels,
         packed, b_.packed_row);
    block->x = packed;
    block->x_channel = b_.packed_row;
  }

  // Copies the channels of pixels to contiguous rows. Channels are `step` bytes apart in the array, and rows are `row`
  // bytes apart. `from_item` is the size of a number of the array.
  void pack(const Pack& pack, int from_item, const char* from, const ptrdiff_t* offsets, int64_t pixels, ptrdiff_t step,
            int64_t channels, char* to, ptrdiff_t row) const {
    const int64_t bytes = channels * item_;
    if (step == from_item && from_item == item_ && bytes % panel_bytes == 0) {
      for (int64_t p = 0; p < pixels; ++p)
        for (int64_t i = 0; i < bytes; i += panel_bytes)
          std::memcpy(to + p * row + i, from + offsets[p] + i, panel_bytes);
      return;
    }
    ptrdiff_t channel_offsets[most_tile_width];
    for (int64_t i = 0; i < channels; ++i) channel_offsets[i] = i * step;
    // Pack::pixels copies the channels of this function as its pixels.
    for (int64_t begin = 0, end; begin < pixels; begin = end) {
      end = run_end(offsets, begin, pixels);
      const ptrdiff_t pixel_step = end - begin > 1 ? offsets[begin + 1] - offsets[begin] : from_item;
      pack.pixels(from + offsets[begin], pixel_step, channel_offsets, channels, end - begin, to + begin * row, row);
    }
  }

  // Stores the sums of a piece to dst, or adds them to dst.
  void store(const Range& range, char* sums) const {
    item_ == 4 ? store_numbers<float>(range, sums) : store_numbers<double>(range, sums);
  }
  template <class T>
  void store_numbers(const Range& range, const char* sums) const {
    for (int64_t o = 0; o < range.ms; ++o)
      for (int64_t i = 0; i < range.ns; ++i) {
        T sum = 0, number = 0;
        if (b_.pixels > 0)
          std::memcpy(&sum, sums + (channel_rows_ ? o * b_.sums_row + i * item_ : i * b_.sums_row + o * item_),
                      sizeof(T));
        char* const to = range.dst + o * r_.dst_m + i * r_.dst_n;
        if (accumulate_) {
          std::memcpy(&number, to, sizeof(T));
          sum = number + sum;
        }
        std::memcpy(to, &sum, sizeof(T));
      }
  }

  static constexpr int64_t most_tile_width = 128;  // more channels of right than any tile has

  const Reduction& r_;
  const Blocks& b_;
  const char *left_, *right_;
  char* dst_;
  const bool accumulate_;
  char* scratch_;
  const KernelTable& table_;
  const KernelRow& row_;
  const bool channel_rows_;
  const ptrdiff_t item_;
  const int64_t width_;  // channels of a panel
};

// Copies the lower half of a square matrix to the upper half.
void mirror(const Reduction& r, char* dst) {
  const auto item = static_cast<size_t>(item_size(r.sum));
  for (int64_t o = 0; o < r.m; ++o)
    for (int64_t i = 0; i < o; ++i) std::memcpy(dst + i * r.dst_m + o * r.dst_n, dst + o * r.dst_m + i * r.dst_n, item);
}

}  // namespace

void reduce_pixels(Reduction reduction, const char* left, const char* right, char* dst, bool accumulate, int threads) {
  if (reduction.groups == 0 || reduction.m == 0 || reduction.n == 0) return;
  reduction.symmetric = reduction.symmetric && !accumulate;
  int64_t pixels = 1;
  for (int i = 0; i < reduction.axes; ++i)
    if (reduction.axis[i].size == 0) pixels = 0;
  if (pixels == 0) reduction.axes = 0;  // axes of an empty array may have any strides
  merge_in_order(&reduction);
  for (int i = 0; i < reduction.axes; ++i) pixels = allocation_size(pixels, reduction.axis[i].size);
  const Blocks blocks = Chooser(reduction, pixels, threads).choose();
  thread_local Scratch scratch;
  const Run run(reduction, blocks, left, right, dst, accumulate,
                scratch.get(allocation_size(blocks.workspace.bytes(), blocks.team)));
  const int64_t pieces = reduction.groups * blocks.m_parts.count * blocks.n_parts.count;
  parallel(blocks.team, pieces, EvenRuns{pieces}, [&run](int64_t piece, int thread) { run.piece(piece, thread); });
  if (reduction.symmetric) mirror(reduction, dst);
  scratch.trim();
}

}  // namespace pointwise
