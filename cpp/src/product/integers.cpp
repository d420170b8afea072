// Runs quantized products. The loops are:
//
// clang-format off
//     for piece in boxes x groups x n_parts x m_parts:    one thread computes a piece
//       packs the pixels of the piece, or reads them in place
//       for m_block output channels:
//         kernel(pixels x m_block)                        all steps; sums go to the workspace, or to dst of int32
//         requantizes the sums and stores them to dst
// clang-format on
#include "product/integers.h"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include "base/checked.h"
#include "base/float_environment.h"
#include "kernels/registry.h"
#include "machine/cpu.h"
#include "memory/scratch.h"
#include "product/blocking.h"
#include "product/explain.h"
#include "product/workspace.h"
#include "threads/parallel.h"

namespace pointwise {
namespace {

// Maximum number of pixels of a piece, and of output channels of a kernel call. Their sums fit half of L1.
constexpr int64_t most_pixels = 96, most_channels = 64;
// Predicted cycles of one thread for each product of a sum, each packed number and each result. They only decide how
// many threads are useful, so rough values suffice.
constexpr double cycles_a_product = 1.0 / 48, cycles_a_number = 0.25, cycles_a_result = 0.5;

// Pixels of a piece that are evenly spaced in an array: `count` pixels, `step` bytes apart, of which the first one is
// `at` bytes from the start of the array.
struct Stretch {
  int64_t count;
  ptrdiff_t at, step;
};

// The stretches of the pixels of a piece in one array.
struct Stretches {
  Stretch* all;
  int64_t count;

  const Stretch* begin() const { return all; }
  const Stretch* end() const { return all + count; }

  // Adds a stretch, or lengthens the last one.
  void add(Stretch added) {
    if (count > 0) {
      Stretch& last = all[count - 1];
      if (last.step == added.step && added.at == last.at + last.count * last.step) {
        last.count += added.count;
        return;
      }
    }
    all[count++] = added;
  }
};

// Finds the stretches of `pixels` pixels of a box, from pixel `begin` on.
void find_stretches(const Box& box, int64_t begin, int64_t pixels, Stretches* src, Stretches* dst) {
  src->count = dst->count = 0;
  const Axis& inner = box.axis[box.axes - 1];
  for (int64_t done = 0; done < pixels;) {
    int64_t rest = (begin + done) / inner.size;
    const int64_t first = (begin + done) % inner.size, count = std::min(pixels - done, inner.size - first);
    Stretch read{count, box.src + first * inner.src, inner.src}, written{count, box.dst + first * inner.dst, inner.dst};
    for (int i = box.axes - 2; i >= 0; --i) {
      const int64_t at = rest % box.axis[i].size;
      rest /= box.axis[i].size;
      read.at += at * box.axis[i].src;
      written.at += at * box.axis[i].dst;
    }
    src->add(read);
    dst->add(written);
    done += count;
  }
}

// Copies bytes that are `step` bytes apart.
void gather(const char* from, int64_t count, ptrdiff_t step, char* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i * step];
}
void scatter(const char* from, int64_t count, ptrdiff_t step, char* to) {
  for (int64_t i = 0; i < count; ++i) to[i * step] = from[i];
}

// The division of a box into pieces.
struct Pieces {
  int64_t first;  // number of the first piece of the box
  Parts n_parts;
};

// The choices for a product.
struct Blocks {
  bool by_channels;  // see rows_are_channels()
  bool by_steps;     // the rows of packed src are steps, not pixels
  const KernelRow* row;
  Parts m_parts;
  std::array<Pieces, max_boxes> box;
  int64_t pieces, pixels;  // `pixels`: maximum number of pixels of a piece
  ptrdiff_t packed_row, sums_row;
  int team;
  Workspace workspace;
};

int64_t pixels_of(const Box& box) {
  int64_t pixels = 1;
  for (int i = 0; i < box.axes; ++i) pixels *= box.axis[i].size;
  return pixels;
}

// Returns true if the rows of sums are output channels. Returns false for results whose channels are contiguous. Then
// the rows of sums are pixels.
bool rows_are_channels(const Product& product) { return product.m > 1 && product.dst_m != item_size(product.types.y); }

// Returns true if the rows of packed src are steps. Returns false for src whose channels are contiguous. Then the rows
// are pixels, and only pixel rows can read them.
bool packs_by_steps(const Product& product) { return product.k > 1 ? product.src_k != 1 : rows_are_channels(product); }

const KernelRow& usual_row(const Product& product, const StepKernels& kernels) {
  return rows_are_channels(product) && packs_by_steps(product) ? kernels.channels : kernels.pixels;
}

// Returns true if pixel rows are faster than channel rows for sums whose rows are output channels. `pixels` is the
// number of pixels of a piece. Channel rows have lanes without pixels. Pixel rows must transpose the sums. (Emerald
// Rapids, 960 -> 320 channels at 7x7 in NCHW: a quarter of the lanes of channel rows would be unused.)
bool pixel_rows_pay(const Product& product, const PackedIntegers& weights, const KernelRow& channel_row,
                    int64_t pixels) {
  constexpr double transpose_lanes = 16;  // time to transpose a sum, in multiply-adds of a lane
  const double n = static_cast<double>(pixels), m = static_cast<double>(product.m);
  const double steps = static_cast<double>(weights.steps);
  const double channel_lanes = static_cast<double>(round_up(pixels, channel_row.lanes)) * m * steps;
  const double pixel_lanes = n * (static_cast<double>(weights.panels * panel_channels) * steps + m * transpose_lanes);
  return pixel_lanes < channel_lanes;
}

int64_t bytes_of_pixel(const PackedIntegers& weights) {
  return std::max<int64_t>(allocation_size(weights.steps, step_bytes), 1);
}

// Returns the maximum number of pixels of a piece. Packed pixels fill at most half of L2.
int64_t most_pixels_of(const KernelRow& row, const PackedIntegers& weights) {
  const int64_t unit = row.rows == Rows::channels ? int64_t{row.nr} * row.lanes : int64_t{row.mr};
  return std::clamp(l2_cache_size() / 2 / bytes_of_pixel(weights), unit, most_pixels) / unit * unit;
}

// Predicts the cycles for `n` pixels of all groups.
double cycles_of(const PackedIntegers& weights, int64_t n, int64_t k) {
  const auto count = [](int64_t number) { return static_cast<double>(number); };
  return count(n) * count(weights.groups) *
         (count(weights.m) * (count(k) * cycles_a_product + cycles_a_result) + count(k) * cycles_a_number);
}

Blocks choose_blocks(const Product& product, const PackedIntegers& weights, int threads) {
  const StepKernels& kernels = selected_isa().integers->of(weights.step);
  Blocks blocks{};
  blocks.by_channels = rows_are_channels(product);
  blocks.by_steps = packs_by_steps(product);
  blocks.row = &usual_row(product, kernels);
  const KernelRow& row = *blocks.row;
  const int64_t pixel_bytes = bytes_of_pixel(weights);
  const int64_t most = most_pixels_of(row, weights);
  double cycles = 0;
  for (int i = 0; i < product.boxes; ++i) {
    const Box& box = product.box[i];
    const int64_t n = pixels_of(box);
    blocks.box[i].n_parts = fewest_parts(n, row.rows == Rows::channels ? row.lanes : 1, most);
    blocks.pieces += product.groups * blocks.box[i].n_parts.count;
    blocks.pixels = std::max(blocks.pixels, blocks.box[i].n_parts.largest());
    if (i == 0 && blocks.row == &kernels.channels && pixel_rows_pay(product, weights, row, blocks.pixels))
      blocks.row = &kernels.pixels;
    cycles += cycles_of(weights, n, box.k);
  }
  blocks.m_parts = {product.m, panel_channels, 1};
  blocks.team = team_size(machine(), cycles, allocation_size(blocks.pieces, blocks.m_parts.units()), threads);
  if (blocks.pieces < blocks.team)
    blocks.m_parts.count = std::min(blocks.m_parts.units(), ceil_div(blocks.team, blocks.pieces));
  blocks.pieces = 0;
  for (int i = 0; i < product.boxes; ++i) {
    blocks.box[i].first = blocks.pieces;
    blocks.pieces += product.groups * blocks.m_parts.count * blocks.box[i].n_parts.count;
  }

  const int64_t channels = std::min(round_up(product.m, panel_channels), most_channels), numbers = sizeof(int32_t);
  blocks.packed_row = blocks.by_steps ? padded_row(blocks.pixels * step_bytes) : padded_row(pixel_bytes);
  blocks.sums_row = padded_row((blocks.by_channels ? round_up(blocks.pixels, panel_channels) : channels) * numbers);
  Workspace& workspace = blocks.workspace;
  workspace.reserve(Region::packed,
                    allocation_size(blocks.packed_row, blocks.by_steps ? weights.steps : blocks.pixels));
  // One more panel of sums, because requantize() reads whole vectors.
  workspace.reserve(Region::sums,
                    blocks.sums_row * (blocks.by_channels ? channels : blocks.pixels) + int64_t{panel_bytes});
  // Bytes that are gathered before they are packed, or scattered after they were converted.
  workspace.reserve(Region::copy, std::max(most_channels, channels_of(Step::bytes) * blocks.pixels));
  workspace.reserve(Region::offsets, blocks.pixels * static_cast<int64_t>(2 * sizeof(Stretch) + sizeof(ptrdiff_t)));
  return blocks;
}

// Returns true if kernels can read x in place, as far as the pixels of a piece are evenly spaced.
bool reads_in_place(const Product& product, const PackedIntegers& weights, const Blocks& blocks) {
  return !blocks.by_steps && weights.step == Step::bytes && weights.src == DType::u8 && product.k % step_bytes == 0;
}

class Run {
 public:
  Run(const Product& product, const PackedIntegers& weights, const Blocks& blocks, const char* src, char* dst,
      char* scratch)
      : p_(product),
        w_(weights),
        b_(blocks),
        src_(src),
        dst_(dst),
        scratch_(scratch),
        isa_(*selected_isa().integers),
        kernels_(isa_.of(weights.step)),
        row_(*blocks.row),
        has_sign_(weights.src == DType::i8) {}

  struct Piece {
    const Box& box;
    int64_t group, pixel, pixels, channel, channels;
    char* scratch;
  };

  void piece(int64_t index, int thread) const {
    int i = p_.boxes - 1;
    while (b_.box[i].first > index) --i;
    index -= b_.box[i].first;
    const Parts& n_parts = b_.box[i].n_parts;
    const int64_t m_part = index % b_.m_parts.count;
    index /= b_.m_parts.count;
    const int64_t n_part = index % n_parts.count, group = index / n_parts.count;
    Piece piece{p_.box[i],
                group,
                n_parts.begin(n_part),
                0,
                b_.m_parts.begin(m_part),
                0,
                scratch_ + thread * b_.workspace.bytes()};
    piece.pixels = n_parts.begin(n_part + 1) - piece.pixel;
    piece.channels = b_.m_parts.begin(m_part + 1) - piece.channel;
    run(piece);
  }

  // Computes the pixels that are read from and written to these stretches.
  void compute(const Piece& piece, const Stretches& read, const Stretches& written) const {
    const bool padding = piece.box.k == 0;
    Block block{};
    block.pixels = piece.pixels;
    block.input_channels = padding ? 0 : w_.steps;
    block.panel = w_.steps * panel_bytes;
    block.epilogue.floor = Number::of(std::numeric_limits<int32_t>::min());
    block.source = Level::l2;
    if (block.input_channels > 0) set_source(piece, read, &block);

    const int64_t end = piece.channel + piece.channels;
    const int64_t dst_group = piece.group * p_.m * p_.dst_m;
    for (int64_t channel = piece.channel; channel < end; channel += most_channels) {
      block.channels = std::min(most_channels, end - channel);
      block.weights = w_.weights(piece.group) + channel / panel_channels * block.panel;
      block.bias = reinterpret_cast<const char*>(w_.starts(piece.group, padding) + channel);
      char* const dst = dst_ + dst_group + channel * p_.dst_m;
      if (w_.dst == DType::i32) {
        store_sums(written, dst, stretches(piece, 2), &block);
        continue;
      }
      constexpr ptrdiff_t item = sizeof(int32_t);
      char* const sums = b_.workspace.at(piece.scratch, Region::sums);
      block.y = sums;
      block.y_pixel = b_.by_channels ? item : b_.sums_row;
      block.y_channel = b_.by_channels ? b_.sums_row : item;
      row_.run(block);
      const float* const factors = w_.factors(piece.group) + channel;
      char* const copy = b_.workspace.at(piece.scratch, Region::copy);
      b_.by_channels ? store_rows_of_pixels(block, written, factors, dst, copy)
                     : store_rows_of_channels(block, written, factors, dst, copy);
    }
  }

 private:
  void run(const Piece& piece) const {
    Stretches read{stretches(piece, 0), 0}, written{stretches(piece, 1), 0};
    find_stretches(piece.box, piece.pixel, piece.pixels, &read, &written);
    compute(piece, read, written);
  }

  // Returns the memory for the stretches of src (0) and of dst (1), and for the offsets of pixels (2).
  Stretch* stretches(const Piece& piece, int which) const {
    return reinterpret_cast<Stretch*>(b_.workspace.at(piece.scratch, Region::offsets)) + which * b_.pixels;
  }

  // Sets the fields of the block that describe x. Packs the pixels unless the kernel can read them in place.
  void set_source(const Piece& piece, const Stretches& read, Block* block) const {
    const char* const src = src_ + piece.group * p_.k * p_.src_k;
    char* const packed = b_.workspace.at(piece.scratch, Region::packed);
    if (b_.by_steps) {
      pack_steps(src, read, packed, b_.workspace.at(piece.scratch, Region::copy));
      block->x = packed;
      block->x_pixel = step_bytes;
      block->x_channel = b_.packed_row;
      return;
    }
    block->x_channel = step_bytes;
    if (reads_in_place(p_, w_, b_) && read.count == 1) {
      block->x = src + read.all[0].at;
      block->x_pixel = piece.pixels > 1 ? read.all[0].step : 0;
      block->source = Level::memory;
      return;
    }
    block->x = packed;
    block->x_pixel = b_.packed_row;
    char* to = packed;
    for (const Stretch& stretch : read)
      for (int64_t i = 0; i < stretch.count; ++i, to += b_.packed_row)
        kernels_.pack_pixel[has_sign_](src + stretch.at + i * stretch.step, p_.k, to);
  }

  // Packs the pixels of a piece into rows of steps.
  void pack_steps(const char* src, const Stretches& read, char* to, char* copy) const {
    const int in_step = channels_of(w_.step);
    int64_t pixels = 0;
    for (const Stretch& stretch : read) pixels += stretch.count;
    const bool in_place = read.count == 1 && (read.all[0].step == 1 || pixels == 1);
    for (int64_t k = 0; k < p_.k; k += in_step, to += b_.packed_row) {
      const char* rows[channels_of(Step::bytes)];
      for (int c = 0; c < in_step; ++c) {
        // Channels beyond the last one have weights of zero, so their numbers do not matter.
        const char* const from = src + std::min(k + c, p_.k - 1) * p_.src_k;
        rows[c] = in_place ? from + read.all[0].at : copy + c * pixels;
        if (in_place) continue;
        char* row = copy + c * pixels;
        for (const Stretch& stretch : read) {
          gather(from + stretch.at, stretch.count, stretch.step, row);
          row += stretch.count;
        }
      }
      kernels_.pack_step[has_sign_](rows, pixels, to);
    }
  }

  // Computes a block for dst of int32, whose results are the sums.
  void store_sums(const Stretches& written, char* dst, Stretch* memory, Block* block) const {
    ptrdiff_t* offsets = reinterpret_cast<ptrdiff_t*>(memory);
    block->y = dst;
    block->y_channel = block->channels > 1 ? p_.dst_m : ptrdiff_t{sizeof(int32_t)};
    if (written.count == 1) {
      block->y += written.all[0].at;
      block->y_pixel = block->pixels > 1 ? written.all[0].step : ptrdiff_t{sizeof(int32_t)};
    } else {
      block->y_offsets = offsets;
      for (const Stretch& stretch : written)
        for (int64_t i = 0; i < stretch.count; ++i) *offsets++ = stretch.at + i * stretch.step;
    }
    row_.run(*block);
  }

  // Requantizes sums whose pixels are contiguous.
  void store_rows_of_pixels(const Block& block, const Stretches& written, const float* factors, char* dst,
                            char* copy) const {
    SumRows rows{block.y, b_.sums_row, block.channels, 0, factors, true, nullptr, p_.dst_m};
    for (const Stretch& stretch : written) {
      rows.count = stretch.count;
      store(rows, dst + stretch.at, stretch.step, copy);
      rows.sums += stretch.count * step_bytes;
    }
  }

  // Requantizes sums whose output channels are contiguous.
  void store_rows_of_channels(const Block& block, const Stretches& written, const float* factors, char* dst,
                              char* copy) const {
    SumRows rows{block.y, b_.sums_row, 0, block.channels, factors, false, nullptr, 0};
    for (const Stretch& stretch : written) {
      rows.rows = stretch.count;
      rows.to_row = stretch.step;
      store(rows, dst + stretch.at, p_.dst_m, copy);
      rows.sums += stretch.count * b_.sums_row;
    }
  }

  // Requantizes rows of sums to `dst`. The numbers of a row are `step` bytes apart in dst.
  void store(SumRows rows, char* dst, ptrdiff_t step, char* copy) const {
    if (step == 1 || rows.count == 1) {
      rows.to = dst;
      isa_.requantize(rows, w_.rounding);
      return;
    }
    const int64_t count = rows.rows;
    rows.rows = 1;
    rows.to = copy;
    for (int64_t r = 0; r < count; ++r, rows.sums += rows.sums_row, rows.factors += rows.by_row) {
      isa_.requantize(rows, w_.rounding);
      scatter(copy, rows.count, step, dst + r * rows.to_row);
    }
  }

  const Product& p_;
  const PackedIntegers& w_;
  const Blocks& b_;
  const char* src_;
  char* dst_;
  char* scratch_;
  const IntegerKernels& isa_;
  const StepKernels& kernels_;
  const KernelRow& row_;
  const bool has_sign_;
};

}  // namespace

void run_integers(const Product& product, const PackedIntegers& weights, const char* src, char* dst, int threads) {
  if (product.groups == 0 || product.m == 0 || product.boxes == 0) return;
  Blocks blocks;
  {
    const FloatEnvironment environment;
    blocks = choose_blocks(product, weights, threads);
  }
  thread_local Scratch scratch;
  const Run run(product, weights, blocks, src, dst,
                scratch.get(allocation_size(blocks.workspace.bytes(), blocks.team)));
  parallel(blocks.team, blocks.pieces, EvenRuns{blocks.pieces},
           [&run](int64_t piece, int thread) { run.piece(piece, thread); });
  scratch.trim();
}

namespace {

// Returns the reason why a kernel row is not in use. `step` is the kind of its steps.
const char* reason_against(const PackedIntegers& weights, const Blocks& blocks, Step step, const KernelRow& row) {
  if (step == Step::words) return "it computes half as many products in an instruction";
  if (step != weights.step) return "the weights less their zero points do not fit int8";
  if (row.rows == Rows::pixels) return "it would transpose the sums";
  if (!blocks.by_channels) return "the channels of the result are contiguous";
  return blocks.by_steps ? "some of its lanes would have no pixels" : "the channels of the source are contiguous";
}

std::string source_words(const Product& product, const PackedIntegers& weights, const Blocks& blocks, const Box& box) {
  const std::string by = std::to_string(channels_of(weights.step));
  if (blocks.by_steps) return "source packed by " + by + " channels";
  if (!reads_in_place(product, weights, blocks)) return "source packed by pixels";
  return box.axes == 1 ? "source in place"
                       : "source in place where its pixels are evenly spaced, else packed by pixels";
}

// Describes how the boxes of a product are computed.
std::string explain_boxes(const Product& product, const PackedIntegers& weights, const Blocks& blocks) {
  const IntegerKernels& kernels = *selected_isa().integers;
  const auto number = [](int64_t value) { return std::to_string(value); };
  std::string text;
  for (int i = 0; i < product.boxes; ++i) {
    const Box& box = product.box[i];
    const Parts& n_parts = blocks.box[i].n_parts;
    const int64_t channels = blocks.m_parts.largest();
    text += (box.k == 0 && product.k > 0 ? "padding: " : "product: ") + number(product.groups) + " group(s) of " +
            number(pixels_of(box)) + " pixels, " + number(box.k) + " -> " + number(product.m) + " channels\n";
    text += std::string("  kernel ") + blocks.row->name + ", " + source_words(product, weights, blocks, box) + "\n";
    text += "  pieces: " + number(product.groups * n_parts.count * blocks.m_parts.count) + " of at most " +
            number(n_parts.largest()) + " pixels x " + number(channels) + " channels; kernel calls: at most " +
            number(n_parts.largest()) + " pixels x " + number(std::min(channels, most_channels)) + " channels\n";
    text += "  packed source and sums: at most " + size_words(blocks.workspace.bytes()) + " per thread\n";
    for (const Step step : {Step::bytes, Step::words})
      for (const KernelRow* row : {&kernels.of(step).channels, &kernels.of(step).pixels})
        if (row->run != nullptr && row != blocks.row)
          text += std::string("  not ") + row->name + ": " + reason_against(weights, blocks, step, *row) + "\n";
  }
  return text;
}

std::string empty_words(int threads) { return team_words(1, threads, 0) + "empty result: nothing to compute\n"; }

}  // namespace

std::string explain_integers(const Product& product, const PackedIntegers& weights, int threads) {
  const FloatEnvironment environment;
  if (product.groups == 0 || product.m == 0 || product.boxes == 0) return empty_words(threads);
  const Blocks blocks = choose_blocks(product, weights, threads);
  // A larger team would divide the output channels, too.
  const int64_t pieces = blocks.pieces / blocks.m_parts.count * blocks.m_parts.units();
  return team_words(blocks.team, threads, pieces) + explain_boxes(product, weights, blocks);
}

namespace {

// The layers of a chain, for pieces of at most `pixels` pixels. Results between layers are stored in the scratch memory
// of a thread, with contiguous channels.
class ChainRun {
 public:
  ChainRun(const Product& product, const std::vector<const PackedIntegers*>& layers, int threads)
      : whole_(product), layers_(layers), all_pixels_(pixels_of(product.box[0])) {
    const size_t last = layers.size() - 1;
    int64_t most = most_pixels;
    double cycles = 0;
    for (size_t i = 0; i <= last; ++i) {
      const PackedIntegers& w = *layers[i];
      Product p{};
      p.types = {w.src, DType::i32, DType::i32, w.dst};
      p.groups = w.groups;
      p.m = w.m;
      p.k = w.k;
      p.src_k = i == 0 ? product.src_k : 1;
      p.dst_m = i == last ? product.dst_m : item_size(w.dst);
      p.boxes = 1;
      products_.push_back(p);
      const StepKernels& kernels = selected_isa().integers->of(w.step);
      most = std::min(most, most_pixels_of(usual_row(p, kernels), w));
      cycles += cycles_of(w, all_pixels_, w.k);
    }
    parts_ = fewest_parts(all_pixels_, 1, most);
    team_ = team_size(machine(), cycles, parts_.count, threads);
    pixels_ = parts_.largest();
    for (size_t i = 0; i <= last; ++i) {
      Box& box = products_[i].box[0];
      box.k = layers[i]->k;
      box.axes = 1;
      box.axis[0] = {pixels_, 0, 0, 0};
      blocks_.push_back(choose_blocks(products_[i], *layers[i], 1));
      begin_.push_back(bytes_);
      bytes_ = allocation_sum(bytes_, round_up(blocks_[i].workspace.bytes(), panel_bytes));
    }
    for (size_t i = 0; i < last; ++i) {  // results between layers
      between_.push_back(bytes_);
      bytes_ = allocation_sum(bytes_, round_up(allocation_size(channels_after(i), pixels_), panel_bytes));
    }
    stretches_ = bytes_;
    bytes_ = allocation_sum(bytes_, round_up(2 * pixels_ * static_cast<int64_t>(sizeof(Stretch)), panel_bytes));
  }

  int64_t pieces() const { return parts_.count; }
  int team() const { return team_; }
  int64_t bytes() const { return bytes_; }  // of a thread

  // Describes the pieces, and each layer for the largest piece.
  std::string explain(int threads) const {
    std::string text = team_words(team_, threads, parts_.count) + std::to_string(parts_.count) +
                       " strip(s) of at most " + std::to_string(pixels_) + " pixels each; " + size_words(bytes_) +
                       " per thread\n";
    for (size_t i = 0; i < layers_.size(); ++i)
      text += "layer " + std::to_string(i) + ", for a strip:\n" + explain_boxes(products_[i], *layers_[i], blocks_[i]);
    return text;
  }

  void piece(int64_t index, const char* src, char* dst, char* scratch) const {
    const int64_t begin = parts_.begin(index), pixels = parts_.begin(index + 1) - begin;
    Stretch* const memory = reinterpret_cast<Stretch*>(scratch + stretches_);
    Stretches first{memory, 0}, last{memory + pixels_, 0};
    find_stretches(whole_.box[0], begin, pixels, &first, &last);
    Stretch before{}, after{};
    for (size_t i = 0; i < layers_.size(); ++i) {
      const bool is_last = i + 1 == layers_.size();
      after = {pixels, 0, is_last ? 0 : channels_after(i)};
      const Stretches read = i == 0 ? first : Stretches{&before, 1};
      const Stretches written = is_last ? last : Stretches{&after, 1};
      const Product& p = products_[i];
      const Run run(p, *layers_[i], blocks_[i], i == 0 ? src : scratch + between_[i - 1],
                    is_last ? dst : scratch + between_[i], scratch);
      for (int64_t group = 0; group < p.groups; ++group)
        run.compute({p.box[0], group, 0, pixels, 0, p.m, scratch + begin_[i]}, read, written);
      before = after;
    }
  }

 private:
  int64_t channels_after(size_t i) const { return layers_[i]->groups * layers_[i]->m; }

  const Product& whole_;
  const std::vector<const PackedIntegers*>& layers_;
  const int64_t all_pixels_;
  int64_t pixels_ = 0, bytes_ = 0, stretches_ = 0;
  int team_ = 1;
  Parts parts_{};
  std::vector<Product> products_;
  std::vector<Blocks> blocks_;
  std::vector<int64_t> begin_, between_;  // offsets in the scratch memory of a thread
};

}  // namespace

void run_integer_chain(const Product& product, const std::vector<const PackedIntegers*>& layers, const char* src,
                       char* dst, int threads) {
  if (product.m == 0 || product.boxes == 0) return;
  std::unique_ptr<const ChainRun> run;
  {
    const FloatEnvironment environment;
    run = std::make_unique<const ChainRun>(product, layers, threads);
  }
  thread_local Scratch scratch;
  char* const memory = scratch.get(allocation_size(run->bytes(), run->team()));
  parallel(run->team(), run->pieces(), EvenRuns{run->pieces()},
           [&](int64_t piece, int thread) { run->piece(piece, src, dst, memory + thread * run->bytes()); });
  scratch.trim();
}

std::string explain_integer_chain(const Product& product, const std::vector<const PackedIntegers*>& layers,
                                  int threads) {
  const FloatEnvironment environment;
  if (product.m == 0 || product.boxes == 0) return empty_words(threads);
  return ChainRun(product, layers, threads).explain(threads);
}

}  // namespace pointwise
