// Runs a reduction. The loops are:
//
// clang-format off
//     for piece in groups x m_parts x n_parts:    one thread computes a piece
//       for `block` pixels:                       whole chunks, except in the last block
//         packs left into panels                  (left has the place of weights)
//         for n_block channels of right:          packs right, or reads it in place or from the panels
//           kernel(n_block x m x block)           continues from the sums of the block before
// clang-format on
//
// kernel.h has other words for a reduction: it calls the channels of left "output channels", the channels of right
// "pixels", and the pixels "input channels".
#include "product/reduction.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

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
// Maximum number of pixels of a block. (Emerald Rapids, 256 -> 512 channels at 28x28: 82% of the FMA peak with 256
// pixels, 80% with 512.)
constexpr int64_t most_pixels = chunk_channels;
// Cycles to pack one number: `copy_cycles` if the numbers of a packed row are contiguous in the array, else
// `transpose_cycles`. Contiguous channels that need a conversion also take `transpose_cycles`.
constexpr double copy_cycles = 0.2, transpose_cycles = 0.6;
// Maximum number of parts that the search for pieces tries, beyond the fewest parts.
constexpr int64_t more_parts = 8;
// Numbers of a channel, or of a pixel, that are a multiple of this distance apart share a few sets of L1. Then right is
// packed.
constexpr ptrdiff_t aliased_step = 4096;

// The choices for a reduction.
struct Blocks {
  int kernel_row;
  int64_t pixels, block;
  Parts m_parts, n_parts;
  int64_t n_block;   // maximum number of channels of right in a kernel call
  bool from_panels;  // right is read from the panels of left, which is the same array
  ptrdiff_t packed_row, sums_row, panel;
  int team;
  double cycles;  // predicted cycles until the last thread is done
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

// Returns true if the channels of an operand are contiguous and need no conversion.
bool is_contiguous(const Reduction& r, DType dtype, ptrdiff_t step, int64_t channels) {
  return dtype == r.sum && (step == item_size(dtype) || channels == 1);
}

// Returns true if a kernel row takes right by channels, with contiguous pixels in each channel. Pixel rows do so if the
// channels of right are not contiguous, or need a conversion. Right is packed if its pixels are not contiguous.
bool takes_by_channels(const Reduction& r, const KernelRow& row) {
  return row.rows == Rows::pixels && !is_contiguous(r, r.right, r.right_n, r.n);
}

// Returns true if a kernel row can read right in place, from pixels that are `step` bytes apart.
bool can_read_in_place(const Reduction& r, const KernelRow& row, ptrdiff_t step) {
  if (takes_by_channels(r, row)) return r.right == r.sum && step == item_size(r.sum) && r.right_n % aliased_step != 0;
  return is_contiguous(r, r.right, r.right_n, r.n) && (step == 0 || step % aliased_step != 0);
}

// Exchanges left and right, and transposes dst. The result is the same, because a multiply-add is symmetric.
Reduction swapped(Reduction r) {
  std::swap(r.left, r.right);
  std::swap(r.m, r.n);
  std::swap(r.left_m, r.right_n);
  std::swap(r.dst_m, r.dst_n);
  for (Axis& axis : r.axis) std::swap(axis.src, axis.dst);
  return r;
}

// Chooses the blocks of a reduction. Must be used in the default floating-point state, which the cost model needs.
class Chooser {
 public:
  Chooser(const Reduction& reduction, int64_t pixels, int threads)
      : reduction_(reduction), rows_(kernels(reduction.sum).rows), threads_(threads) {
    work_.types = {reduction.sum, reduction.sum, reduction.sum, reduction.sum};
    work_.item = work_.x_item = work_.x_step = item_size(reduction.sum);
    work_.l1 = l1_cache_size();
    work_.l2 = l2_cache_size();
    work_.machine = &machine();
    work_.src_k = panel_bytes;  // input channels, which are pixels here, are not contiguous
    blocks_.pixels = pixels;
    blocks_.block = std::clamp<int64_t>(pixels, 1, most_pixels);
    work_.k = blocks_.block;
  }

  Blocks choose() {
    const int64_t panel = panel_bytes / work_.item;
    blocks_.m_parts = fewest_parts(reduction_.m, panel, most_m);
    blocks_.n_parts = fewest_parts(reduction_.n, panel, most_n);
    choose_row();
    choose_parts();
    set_workspace();
    return blocks_;
  }

 private:
  // Returns the cycles of a piece of m x n channels.
  double cycles_of_piece(const KernelRow& row, int64_t m, int64_t n) {
    const Machine& cpu = *work_.machine;
    const Axis& inner = reduction_.axis[reduction_.axes - 1];
    const auto pack = [&](bool contiguous, int64_t channels) {
      return (contiguous ? copy_cycles : transpose_cycles) * static_cast<double>(channels);
    };
    double pixel = pack(is_contiguous(reduction_, reduction_.left, reduction_.left_m, reduction_.m), m);
    const bool by_channels = takes_by_channels(reduction_, row);
    const bool in_place =
        reads_panels(row, m) || (reduction_.axes == 1 && can_read_in_place(reduction_, row, inner.src));
    if (!in_place)
      pixel += pack(by_channels ? inner.src == item_size(reduction_.right)
                                : is_contiguous(reduction_, reduction_.right, reduction_.right_n, reduction_.n),
                    n);
    const double block = cycles_of_block(row, m, n) + pixel * static_cast<double>(blocks_.block);
    const double blocks = static_cast<double>(ceil_div(std::max<int64_t>(blocks_.pixels, 1), blocks_.block));
    const bool direct = row.rows == Rows::channels ? reduction_.dst_n == work_.item || reduction_.n == 1
                                                   : reduction_.dst_m == work_.item || reduction_.m == 1;
    return blocks * block + (direct ? 0 : cpu.scatter_cycles * static_cast<double>(m) * static_cast<double>(n));
  }

  // Returns true if a kernel row can read right from the panels of left, for pieces with m channels of left. This needs
  // left and right to be the same array, and panels that hold all channels. most_columns() keeps each kernel call
  // within one panel.
  bool reads_panels(const KernelRow& row, int64_t m) const {
    return reduction_.symmetric && row.rows == Rows::pixels && m == reduction_.m;
  }

  // Returns the maximum number of channels of right in a kernel call: one column of tiles.
  int64_t most_columns(const KernelRow& row, int64_t m) const {
    if (row.rows == Rows::channels) return int64_t{row.nr} * row.lanes;
    if (!reads_panels(row, m)) return row.mr;
    int64_t columns = panel_bytes / work_.item;
    while (columns > row.mr) columns /= 2;
    return columns;
  }

  // Returns the cycles of the kernel calls of a block. Symmetric pieces compute the lower half, in columns of tiles.
  double cycles_of_block(const KernelRow& row, int64_t m, int64_t n) {
    const int64_t width = reduction_.symmetric && m == n ? most_columns(row, m) : n;
    double cycles = 0;
    for (int64_t i = 0; i < n; i += width) {
      work_.m = m - (width < n ? i / (panel_bytes / work_.item) * (panel_bytes / work_.item) : 0);
      cycles += compute_cycles(work_, row, std::min(width, n - i), work_.m, 0);
    }
    return cycles;
  }

  void choose_row() {
    double best = std::numeric_limits<double>::infinity();
    for (int i = 0; i < rows_.count; ++i) {
      if (!is_ordinary(rows_[i])) continue;
      const double cycles = cycles_of_piece(rows_[i], blocks_.m_parts.largest(), blocks_.n_parts.largest());
      if (cycles >= best) continue;
      best = cycles;
      blocks_.kernel_row = i;
    }
    blocks_.cycles = best * static_cast<double>(reduction_.groups * blocks_.m_parts.count) *
                     static_cast<double>(blocks_.n_parts.count);
  }

  // Chooses the team. If the team has several threads, tries more parts of m and n, and keeps the parts with the fewest
  // predicted cycles.
  void choose_parts() {
    const int64_t groups = reduction_.groups;
    const int64_t most_pieces = groups * blocks_.m_parts.units() * blocks_.n_parts.units();
    blocks_.team = team_size(*work_.machine, blocks_.cycles, most_pieces, threads_);
    if (blocks_.team == 1) return;
    blocks_.cycles = std::numeric_limits<double>::infinity();
    Parts m = blocks_.m_parts, n = blocks_.n_parts;
    const int64_t few_m = m.count, few_n = n.count;
    for (m.count = few_m; m.count <= std::min(m.units(), few_m + more_parts); ++m.count)
      for (n.count = few_n; n.count <= std::min(n.units(), few_n + more_parts); ++n.count) {
        const double rounds = static_cast<double>(ceil_div(groups * m.count * n.count, blocks_.team));
        const double piece = cycles_of_piece(rows_[blocks_.kernel_row], m.largest(), n.largest());
        const double price = rounds * (piece + work_.machine->piece_cycles);
        if (price >= blocks_.cycles) continue;
        blocks_.cycles = price;
        blocks_.m_parts = m;
        blocks_.n_parts = n;
      }
  }

  void set_workspace() {
    const KernelRow& row = rows_[blocks_.kernel_row];
    const int64_t m = blocks_.m_parts.largest(), n = blocks_.n_parts.largest(), item = work_.item;
    const int64_t panel = panel_bytes / item,
                  whole_m = round_up(m, std::max<int64_t>(panel, int64_t{row.nr} * row.lanes));
    const bool channel_rows = row.rows == Rows::channels;
    blocks_.from_panels = reads_panels(row, m);
    blocks_.n_block = std::min(n, most_columns(row, m));
    const bool by_channels = takes_by_channels(reduction_, row);
    blocks_.packed_row = by_channels ? padded_row(blocks_.block * item) : round_up(blocks_.n_block * item, panel_bytes);
    blocks_.sums_row = padded_row((channel_rows ? round_up(n, row.lanes) : whole_m) * item);
    blocks_.panel = padded_row(blocks_.block * panel_bytes);
    Workspace& workspace = blocks_.workspace;
    workspace.reserve(Region::packed,
                      allocation_size(blocks_.packed_row, by_channels ? blocks_.n_block : blocks_.block));
    workspace.reserve(Region::sums, allocation_size(blocks_.sums_row, channel_rows ? whole_m : n));
    workspace.reserve(Region::room, whole_m * item);  // zeros, in place of a bias
    workspace.reserve(Region::panels, allocation_size(ceil_div(m, panel), blocks_.panel));
    workspace.reserve(Region::offsets, 4 * blocks_.block * static_cast<int64_t>(sizeof(ptrdiff_t)));
  }

  const Reduction& reduction_;
  const KernelRows rows_;
  const int threads_;
  Work work_{};
  Blocks blocks_{};
};

// The pixels of a block in one operand: their offsets in bytes, and the ends of the runs of evenly spaced pixels.
struct Pixels {
  ptrdiff_t* offset;
  int64_t* end;
  int64_t count, runs;

  // Computes the offsets of `pixels` pixels from `begin` on, and the runs.
  void set(const Reduction& r, int64_t begin, int64_t pixels, ptrdiff_t Axis::* step) {
    count = pixels;
    runs = 0;
    pixel_offsets(r.axis.data(), r.axes, begin, count, step, offset);
    for (int64_t p = 0; p < count; end[runs++] = p) {
      const int64_t first = p++;
      if (r.axes == 1) {
        p = count;
      } else {
        while (p < count && offset[p] - offset[p - 1] == offset[first + 1] - offset[first]) ++p;
      }
    }
  }
  // Returns the distance between the pixels of the run [first, last). Returns `otherwise` if the run has one pixel.
  ptrdiff_t step(int64_t first, int64_t last, ptrdiff_t otherwise) const {
    return last - first > 1 ? offset[first + 1] - offset[first] : otherwise;
  }
};

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
        by_channels_(takes_by_channels(r_, row_)),
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
    if (r_.symmetric && range.m + range.ms <= range.n) return;  // the piece lies in the upper half
    range.left = left_ + (group * r_.m + range.m) * r_.left_m;
    range.right = right_ + (group * r_.n + range.n) * r_.right_n;
    range.dst = dst_ + group * r_.dst_group + range.m * r_.dst_m + range.n * r_.dst_n;
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
    static_assert(sizeof(ptrdiff_t) == sizeof(int64_t), "one array holds offsets and ends");
    int64_t* const memory = reinterpret_cast<int64_t*>(workspace.at(range.scratch, Region::offsets));
    Pixels left{memory, memory + b_.block, 0, 0}, right{memory + 2 * b_.block, memory + 3 * b_.block, 0, 0};
    std::memset(zeros, 0, static_cast<size_t>(workspace.size(Region::room)));
    if (range.ms % width_ != 0)  // the last panel has unused channels
      std::memset(panels + range.ms / width_ * b_.panel, 0, static_cast<size_t>(b_.panel));
    const int64_t unit = b_.from_panels ? b_.n_block : channel_rows_ ? row_.lanes : 1;
    const Parts columns = fewest_parts(range.ns, unit, b_.n_block);

    for (int64_t begin = 0; begin < b_.pixels; begin += b_.block) {
      Block block{};
      block.input_channels = std::min(b_.block, b_.pixels - begin);
      block.panel = b_.panel;
      block.epilogue = no_epilogue(r_.sum);
      block.sums_row = b_.sums_row;
      left.set(r_, begin, block.input_channels, &Axis::dst);
      right.set(r_, begin, block.input_channels, &Axis::src);
      pack_panels(range, left, panels);
      const bool direct = begin + b_.block >= b_.pixels && !accumulate_;  // the last block stores to dst
      const bool in_place =
          right.runs == 1 && can_read_in_place(r_, row_, right.step(0, right.count, by_channels_ ? item_ : 0));
      for (int64_t i = 0; i < columns.count; ++i) {
        const int64_t n = columns.begin(i), first = first_row(range, n);
        block.pixels = columns.begin(i + 1) - n;
        block.channels = range.ms - first;
        if (block.channels <= 0) continue;
        if (b_.from_panels) {
          const int64_t channel = range.n + n;
          block.x = panels + channel / width_ * b_.panel + channel % width_ * item_;
          block.x_pixel = item_;
          block.x_channel = panel_bytes;
          block.source = Level::l2;
        } else {
          set_right(range, n, right, in_place, &block);
        }
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

  // Returns the first channel of left of a piece that channel `n` of right needs. Symmetric reductions compute only the
  // lower half, so they skip the whole panels above it.
  int64_t first_row(const Range& range, int64_t n) const {
    if (!r_.symmetric) return 0;
    return std::max<int64_t>(0, range.n + n - range.m) / width_ * width_;
  }

  // Sets the fields of a block for the channels of right from channel `n` of the piece on. Packs them if they are not
  // read in place.
  void set_right(const Range& range, int64_t n, const Pixels& pixels, bool in_place, Block* block) const {
    const char* const right = range.right + n * r_.right_n;
    if (in_place) {
      block->x = right + pixels.offset[0];
      block->x_pixel = by_channels_ ? r_.right_n : item_;
      block->x_channel = pixels.step(0, pixels.count, item_);
      block->source = Level::memory;
      return;
    }
    char* const packed = b_.workspace.at(range.scratch, Region::packed);
    block->x = packed;
    block->source = Level::l2;
    if (by_channels_) {
      table_.pack[r_.right].pixels(right, r_.right_n, pixels.offset, pixels.count, block->pixels, packed,
                                   b_.packed_row);
      block->x_pixel = b_.packed_row;
      block->x_channel = item_;
      return;
    }
    pack(r_.right, right, pixels, r_.right_n, block->pixels, packed, b_.packed_row);
    block->x_pixel = item_;
    block->x_channel = b_.packed_row;
  }

  // Packs the channels of left of a piece into panels.
  void pack_panels(const Range& range, const Pixels& pixels, char* to) const {
    const bool contiguous = r_.left == r_.sum && r_.left_m == item_;
    const int64_t whole = contiguous ? range.ms / width_ : 0;  // panels that are copied pixel by pixel
    for (int64_t p = 0; p < pixels.count && whole > 0; ++p) {
      const char* const from = range.left + pixels.offset[p];
      char* const row = to + p * panel_bytes;
      for (int64_t i = 0; i < whole; ++i) std::memcpy(row + i * b_.panel, from + i * panel_bytes, panel_bytes);
    }
    for (int64_t o = whole * width_; o < range.ms; o += width_)
      pack(r_.left, range.left + o * r_.left_m, pixels, r_.left_m, std::min<int64_t>(width_, range.ms - o),
           to + o / width_ * b_.panel, panel_bytes);
  }

  // Copies the channels of each pixel to one row of contiguous numbers of the dtype of the sums. In the array, channels
  // are `step` bytes apart. The rows of two consecutive pixels are `row` bytes apart.
  void pack(DType dtype, const char* from, const Pixels& pixels, ptrdiff_t step, int64_t channels, char* to,
            ptrdiff_t row) const {
    const ptrdiff_t from_item = item_size(dtype);
    if (step == from_item && dtype == r_.sum) {
      for (int64_t p = 0; p < pixels.count; ++p) copy_bytes(to + p * row, from + pixels.offset[p], channels * item_);
      return;
    }
    const Pack& functions = table_.pack[dtype];
    ptrdiff_t channel_offsets[most_tile_width];
    for (int64_t i = 0; i < channels; ++i) channel_offsets[i] = i * step;
    for (int64_t run = 0, begin = 0; run < pixels.runs; ++run) {
      const int64_t end = pixels.end[run];
      const ptrdiff_t pixel_step = pixels.step(begin, end, from_item);
      // The roles are exchanged: Pack::pixels takes the channels of this function as pixels, and pixels as channels.
      functions.pixels(from + pixels.offset[begin], pixel_step, channel_offsets, channels, end - begin,
                       to + begin * row, row);
      begin = end;
    }
  }

  // Copies a multiple of 4 bytes. Copies few bytes without a call.
  static void copy_bytes(char* to, const char* from, int64_t bytes) {
    int64_t i = 0;
    for (; i + 64 <= bytes; i += 64) std::memcpy(to + i, from + i, 64);
    if (bytes & 32) std::memcpy(to + i, from + i, 32), i += 32;
    if (bytes & 16) std::memcpy(to + i, from + i, 16), i += 16;
    if (bytes & 8) std::memcpy(to + i, from + i, 8), i += 8;
    if (bytes & 4) std::memcpy(to + i, from + i, 4);
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
  const bool channel_rows_, by_channels_;
  const ptrdiff_t item_;
  const int64_t width_;  // channels of a panel
};

// Copies the lower half of a square matrix to the upper half, square by square.
template <int Item>
void mirror(const Reduction& r, char* dst) {
  constexpr int64_t side = 16;
  for (int64_t first = 0; first < r.m; first += side)
    for (int64_t column = 0; column <= first; column += side)
      for (int64_t i = column; i < column + side; ++i)
        for (int64_t o = std::max(first, i + 1); o < std::min(first + side, r.m); ++o)
          std::memcpy(dst + i * r.dst_m + o * r.dst_n, dst + o * r.dst_m + i * r.dst_n, size_t{Item});
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
  const Reduction turned = swapped(reduction);
  Blocks blocks;
  {
    const FloatEnvironment environment;
    blocks = Chooser(reduction, pixels, threads).choose();
    if (const Blocks others = Chooser(turned, pixels, threads).choose(); others.cycles < blocks.cycles) {
      blocks = others;
      reduction = turned;
      std::swap(left, right);
    }
  }
  thread_local Scratch scratch;
  const Run run(reduction, blocks, left, right, dst, accumulate,
                scratch.get(allocation_size(blocks.workspace.bytes(), blocks.team)));
  const int64_t pieces = reduction.groups * blocks.m_parts.count * blocks.n_parts.count;
  parallel(blocks.team, pieces, EvenRuns{pieces}, [&run](int64_t piece, int thread) { run.piece(piece, thread); });
  if (reduction.symmetric) item_size(reduction.sum) == 4 ? mirror<4>(reduction, dst) : mirror<8>(reduction, dst);
  scratch.trim();
}

}  // namespace pointwise
