#include "product/blocking.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <utility>

#include "base/checked.h"
#include "machine/machine.h"
#include "product/cycle_model.h"
#include "threads/team_size.h"

namespace pointwise {
namespace {

// split() compares these numbers of pieces per thread. With several pieces per thread, a slow core can compute fewer
// pieces than a fast core.
constexpr int rounds_to_weigh[] = {1, 2, 3, 4, 8};
constexpr int most_rounds = 8;
// A sum over more than `most_input_channels` input channels is split. Otherwise the pixels of a tile leave L1 and the
// TLB before the next tile reads them. (Zen 5, 8192 -> 64 channels at 28x28 in NCHW: 162 GFLOP/s with split sums, 50
// GFLOP/s without.)
constexpr int64_t most_input_channels = 1536, input_channels_a_call = 1024;
// Maximum bytes of a packed pixel that is packed together with its neighbours. Longer pixels are packed one by one,
// into padded rows.
constexpr int64_t most_dense_bytes = 512;
// Maximum number of pixels and maximum number of output channels in a kernel call. Kernels multiply these numbers, and
// the products must not overflow.
constexpr int64_t most_of_a_call = int64_t{1} << 30;
// Maximum bytes of the results of a block to which PReLU is applied. PReLU reads the results again, so they should fit
// L2. But a block may always have `fewest_pixels_for_slopes` pixels. With fewer pixels, kernels would read the weights
// too often.
constexpr int64_t most_bytes_for_slopes = 512 << 10, fewest_pixels_for_slopes = 256;

// Maximum number of pixels of a block for which the kernels read weights as int8. For more pixels, it is faster to
// convert the weights to float32 once.
constexpr int64_t most_pixels_of_int8 = 3;

// Cuts each image and group into pieces: by pixels, by output channels, or by both. Chooses the cut with the shortest
// makespan, and assumes that all pieces take as long as the largest piece. With borrowed weights, cuts only by output
// channels, so that each weight is packed once.
void split(const Work& work, const KernelRow& row, Blocking* b) {
  const Machine& cpu = *work.machine;
  const bool channel_rows = row.rows == Rows::channels;
  const bool shares_lines = work.dst_m == work.item;
  const int64_t panel = 64 / work.item, units = b->images * work.groups;
  b->n_parts = {b->n, channel_rows ? row.lanes : row.unit, 1};
  b->m_parts = {work.m, panel, 1};
  const int team = teams_are_forced()
                       ? work.threads
                       : static_cast<int>(std::min<double>(work.threads, b->cycles / cpu.least_cycles_a_thread));
  if (team > 1 && units < int64_t{most_rounds} * team) {
    const double whole = compute_cycles(work, row, b->n, work.m, b->indirect);
    const double scale = (b->cycles / static_cast<double>(units) - b->pack - b->convert) / whole;
    double best = std::numeric_limits<double>::infinity();
    Parts n = b->n_parts, m = b->m_parts;
    const auto weigh = [&](int64_t pixel_parts, int64_t channel_parts) {
      n.count = work.borrowed ? 1 : std::min(pixel_parts, n.units());
      m.count = std::min(channel_parts, m.units());
      const bool across = (channel_rows ? m : n).count > 1;
      // Every piece packs its pixels, even if other pieces pack the same pixels.
      const double largest =
          scale * compute_cycles(work, row, n.largest(), m.largest(), b->indirect) * (across ? cpu.cut_across : 1) +
          (shares_lines && m.count > 1 ? cpu.shared_line_cycles : 0) * static_cast<double>(n.largest()) +
          b->pack / static_cast<double>(n.count) + b->convert / static_cast<double>(m.count);
      const int64_t rounds = ceil_div(units * n.count * m.count, team);
      const double price = static_cast<double>(rounds) * (largest + cpu.piece_cycles) + cpu.late_piece * largest +
                           cpu.late_long_piece * std::max(0.0, largest - cpu.long_piece_cycles);
      if (price >= best) return;
      best = price;
      b->n_parts = n;
      b->m_parts = m;
    };
    for (const int rounds : rounds_to_weigh) {
      const int64_t parts = std::max<int64_t>(1, int64_t{rounds} * team / units);
      for (int64_t few = 1; few * few <= parts; ++few) {
        weigh(few, parts / few);
        if (few < parts / few) weigh(parts / few, few);
      }
    }
    // Threads share L3. Together they read weights from L3 no faster than one thread does.
    const double weights = static_cast<double>(work.k) * static_cast<double>(work.m * work.item);
    const double l3 = weights > work.l2 / 2 ? static_cast<double>(units) * weights / cpu.l3_bytes_per_cycle : 0;
    b->makespan = best + l3 * (1 - 1.0 / team);
  }
  b->pieces = units * b->n_parts.count * b->m_parts.count;
}

// Chooses the sizes of blocks and of their workspace regions. Blocks limit the workspace. They also keep the operand
// that tiles read many times in L2. The order of the loops over blocks has almost no effect on time.
void size_blocks(const Work& work, const KernelRow& row, Blocking* b) {
  const bool channel_rows = row.rows == Rows::channels;
  const int64_t unit = channel_rows ? int64_t{row.nr} * row.lanes : row.mr, panel = 64 / work.item;
  const int64_t k = std::max<int64_t>(work.k, 1);
  b->k_block = k <= most_input_channels ? k : round_up(ceil_div(k, ceil_div(k, input_channels_a_call)), chunk_channels);
  const bool keeps_sums = b->k_block < k || (work.quantized && work.k > 0);
  const int64_t bytes = b->k_block * work.item;

  b->m_block = std::min(b->m_parts.largest(), most_of_a_call);
  if (channel_rows || keeps_sums)
    b->m_block = std::min(b->m_block, std::max<int64_t>(1, work.l2 / 2 / bytes / panel) * panel);
  if (work.borrowed) {
    b->m_block = std::min(b->m_block, std::max<int64_t>(1, work.l2 / 2 / (k * work.item) / panel) * panel);
    b->weights = allocation_size(allocation_size(round_up(b->m_block, panel), work.k), work.item);
  }
  b->n_block = b->n_parts.largest();
  if (work.quantized && work.k > 0 && (channel_rows || b->n_block > most_pixels_of_int8)) {
    b->m_block = std::min(b->m_block, std::max<int64_t>(1, work.l2 / 4 / bytes / panel) * panel);
    b->weights = allocation_size(round_up(b->m_block, panel), bytes);
  }
  const auto most_pixels = [&](int64_t n) { b->n_block = std::min(b->n_block, std::max<int64_t>(1, n / unit) * unit); };
  most_pixels(most_of_a_call);
  if (!channel_rows) most_pixels(work.l2 / 4 / bytes);
  // If one tile has all output channels, packed pixels are read only once, and blocks are so small that they stay in
  // L1. (Zen 5, 64 -> 1 channels, 200 pixels in NHWC: 1.5 us if they stay in L1, 1.8 us if not.)
  const bool once = row.dense || (b->packing == Packing::channels && work.m <= row.mr);
  if (b->packing != Packing::none) most_pixels((once ? work.l1 : work.l2) / 4 / (k * work.item));
  if (keeps_sums) most_pixels(work.l2 / 4 / (b->m_block * work.item));
  if (!b->even || b->packing != Packing::none) most_pixels(2048);
  if (work.slopes)
    most_pixels(
        std::max(most_bytes_for_slopes / (std::max<int64_t>(b->m_block, 1) * work.item), fewest_pixels_for_slopes));

  if (work.converts && row.types.y != work.types.y) {
    // Converting pixel by pixel is slow for few channels, unless all pixels of the block form one row.
    const Axis& inner = work.axis[work.axes - 1];
    const bool adjacent = work.dst_m == work.item && work.m > 1;
    b->m_block = std::min(b->m_block, std::max<int64_t>(1, work.l2 / 4 / (unit * work.item) / panel) * panel);
    b->results_dense = adjacent && b->even && inner.dst == work.m * work.item && b->m_block == work.m;
    b->results_by_pixel = b->results_dense || (adjacent && work.m >= row.lanes);
    most_pixels((row.dense ? work.l1 : work.l2) / 4 / (b->m_block * work.item));
    const int64_t numbers = b->results_by_pixel ? b->m_block : b->n_block;
    b->results_row = b->results_dense ? numbers * work.item : padded_row(numbers * work.item);
    b->results = allocation_size(b->results_row, b->results_by_pixel ? b->n_block : b->m_block);
    b->residual = work.residual ? b->results : 0;
  }

  if (b->packing == Packing::channels) {
    b->packed_step = padded_row(b->n_block * work.item);
    b->packed = allocation_size(b->packed_step, k);
  } else if (b->packing == Packing::pixels) {
    b->packed_step = b->dense ? k * work.item : padded_row(k * work.item);
    b->packed = allocation_size(b->packed_step, b->n_block);
  }
  if (row.room != nullptr)
    b->room =
        row.room({work.m, b->n_block, k, work.item, row.lanes, 0, true, *work.machine, nullptr, nullptr}, work.l2);
  if (copies_pixels(work, row, b->k_block))
    b->copy = allocation_size(b->k_block, int64_t{row.nr} * row.lanes * work.item);
  if (keeps_sums) {  // allocates sums of whole tiles
    const int64_t tile = std::max<int64_t>(panel, channel_rows ? row.mr : row.nr * row.lanes);
    const int64_t n = round_up(b->n_block, unit), m = round_up(b->m_block, tile);
    b->sums_row = padded_row((channel_rows ? n : m) * work.item);
    b->sums = allocation_size(b->sums_row, channel_rows ? m : n);
  }
}

// Returns the factor for the cycles of packing.
double copies_share(const Work& work, const KernelRow& row) {
  return row.lanes * work.item == 64 ? work.machine->wide_copies : 1;
}

// Returns the cycles to pack a pixel with `count` contiguous channels, or a channel with `count` contiguous pixels.
// Packing transposes squares of lanes x lanes numbers.
double transpose_pixel_cycles(const Work& work, const KernelRow& row, int64_t count) {
  const Machine& cpu = *work.machine;
  const int64_t rest = count % row.lanes;
  const double cycles =
      static_cast<double>(count - rest) * cpu.transposed_cycles + (rest > 0 ? cpu.part_of_square_cycles : 0);
  return cycles * copies_share(work, row);
}

// Returns the work as the kernel row sees it. For Reads::own, the groups are its output channels.
Work work_for(const Work& work, const KernelRow& row) {
  Work seen = work;
  if (row.reads == Reads::own) std::swap(seen.m, seen.groups);
  return seen;
}

Candidate consider(const Work& given, const KernelRow& row, int index, int n_axes, Packing packing) {
  const Work work = work_for(given, row);
  const Machine& cpu = *work.machine;
  Candidate candidate{};
  Blocking& b = candidate.blocking;
  b.kernel_row = index;
  b.n_axes = n_axes;
  b.packing = packing;
  b.images = b.n = 1;
  for (int i = 0; i < work.axes; ++i) (i < work.axes - n_axes ? b.images : b.n) *= work.axis[i].size;
  const Axis& inner = work.axis[work.axes - 1];
  b.even = true;
  bool even_src = true;
  int64_t runs = 1, outside = 1;  // number of ranges of evenly spaced pixels; product of the sizes of the outer axes
  for (int i = work.axes - n_axes; i + 1 < work.axes; ++i) {
    const Axis &outer = work.axis[i], &next = work.axis[i + 1];
    const bool even = outer.src == next.size * next.src;
    outside *= outer.size;
    if (!even) runs = outside;
    even_src = even_src && even;
    b.even = b.even && outer.dst == next.size * next.dst && outer.residual == next.size * next.residual;
  }
  const bool channel_rows = row.rows == Rows::channels, reads = work.k > 0;
  const bool own_source = row.types.x != row.types.w, own_results = row.types.y != row.types.sum;
  if ((own_source && (packing != Packing::none || work.types.x != row.types.x)) ||
      (own_results && work.types.y != row.types.y))
    candidate.refused = "source or result has another dtype";
  else if (own_results && work.slopes)
    candidate.refused = "PReLU is applied before the results are converted";
  if (packing == Packing::none && reads) {
    if (work.types.x != row.types.x) candidate.refused = "the source must be packed, which converts its dtype";
    if (work.scaled) candidate.refused = "the source must be packed, which applies input_scale";
    if (!even_src) candidate.refused = "pixels of the source are not evenly spaced";
    if (row.reads == Reads::pixels && inner.src != work.x_item && b.n > 1)
      candidate.refused = "pixels of the source are not contiguous";
    if (row.reads == Reads::channels && work.src_k != work.x_step && work.k > 1)
      candidate.refused = "channels of the source are not contiguous";
  }
  const bool transposes = work.src_k != work.x_step && work.k > 1;  // true if Packing::pixels transposes src
  if (packing == Packing::pixels && row.reads == Reads::pixels)
    candidate.refused = "the kernel needs contiguous pixels";
  else if (packing == Packing::channels && row.reads == Reads::channels)
    candidate.refused = "the kernel needs contiguous channels";
  else if (packing == Packing::pixels && transposes && (inner.src != work.x_item || !even_src))
    candidate.refused = "neither channels nor pixels of the source are contiguous";
  if (work.pairs && reads && packing == Packing::none && (work.src_k != work.x_step || !work.whole_pairs))
    candidate.refused = "pairs of channels of the source are not contiguous";
  else if (work.pairs && reads && packing == Packing::none && row.reads == Reads::pixels)
    candidate.refused = "the kernel needs packed pairs of channels";
  else if (work.pairs && packing == Packing::pixels && (work.src_k != work.x_step))
    candidate.refused = "channels of the source are not contiguous";
  if (packing != Packing::none && !reads) candidate.refused = "there are no input channels to pack";
  if (row.reads == Reads::own && (given.groups == 1 || work.groups != 1 || work.k != 1))
    candidate.refused = "each group must have one channel";
  else if (row.reads == Reads::own && packing != Packing::none)
    candidate.refused = "the kernel reads no packed source";
  const auto one_run = [&b](ptrdiff_t pixel, ptrdiff_t channel, int64_t channels, int64_t item) {
    return (pixel == channels * item || b.n == 1) && (channel == item || channels == 1);
  };
  const bool dense_src = even_src && one_run(inner.src, work.src_k, work.k, work.x_step);
  if (row.dense && (packing == Packing::channels || !dense_src))
    candidate.refused = "the channels of the source are not contiguous pixel by pixel";
  else if (row.dense && (!b.even || !one_run(inner.dst, work.dst_m, work.m, work.item) ||
                         (work.residual && !one_run(inner.residual, work.residual_m, work.m, work.item))))
    candidate.refused = "the channels of the result are not contiguous pixel by pixel";
  if (candidate.refused != nullptr) return candidate;

  // A vector of results is stored directly, transposed, or number by number.
  const bool pixels_adjacent =
      b.even && (inner.dst == work.item || b.n == 1) && (!work.residual || inner.residual == work.item || b.n == 1);
  const bool channels_adjacent = (work.dst_m == work.item || work.m == 1) &&
                                 (!work.residual || work.residual_m == work.item || work.m == 1) && b.even;
  const bool direct = channel_rows ? pixels_adjacent : channels_adjacent;
  const bool transposed = channel_rows ? channels_adjacent : pixels_adjacent;
  if (row.refuses != nullptr)
    candidate.refused = row.refuses({work.m, b.n, work.k, work.item, row.lanes, 0, direct, cpu, nullptr, nullptr});
  if (work.quantized && reads && candidate.refused == nullptr) {
    // A call without input channels finishes the sums.
    if (row.reads == Reads::own || (row.refuses != nullptr && row.refuses({work.m, b.n, 0, work.item, row.lanes, 0,
                                                                           direct, cpu, nullptr, nullptr})))
      candidate.refused = "it does not finish sums of int8 weights";
  }
  if (candidate.refused != nullptr) return candidate;
  // A transposed square takes its full time, even if channels fill less than half of the square. (Zen 4, 1 -> 2
  // channels at 11x12 in NHWC: 0.37 us with transposed results, 0.23 us with direct results.)
  const double squares = channel_rows ? std::max(1.0, row.lanes / 2.0 / static_cast<double>(work.m)) : 1;
  b.indirect = direct ? 0 : transposed ? squares * cpu.transpose_cycles : cpu.scatter_cycles * row.lanes;

  double cycles = cpu.call_cycles + compute_cycles(work, row, b.n, work.m, b.indirect);
  if (packing == Packing::none && reads && !channel_rows) cycles *= thrash_factor(cpu, row, inner.src, b.n);
  if (packing == Packing::none && inner.src == work.x_item && b.n > 1) cycles *= in_place_factor(work, row);
  if (packing != Packing::pixels && !channel_rows && inner.src == work.x_item && b.n > 1)
    cycles *= scattered_factor(work, row, packing == Packing::channels);
  const double k = static_cast<double>(work.k), n = static_cast<double>(b.n);
  if (work.converts && !own_results)
    cycles += (1 + work.residual) * n * static_cast<double>(work.m) / row.lanes * cpu.converted_vector_cycles;
  const double vectors = k * n * work.item / 32.0;
  if (packing == Packing::channels) {
    b.dense = even_src && inner.src == work.x_item && !work.pairs;
    b.pack = work.src_k == work.x_step ? n * transpose_pixel_cycles(work, row, work.k)
             : inner.src == work.x_item
                 ? std::max(vectors * cpu.copy_cycles, k * static_cast<double>(runs) * cpu.run_cycles)
             : inner.src == 2 * work.x_item ? k * n * cpu.second_cycles * copies_share(work, row)
                                            : k * n * cpu.gather_cycles;
  } else if (packing == Packing::pixels) {
    b.dense = !transposes && even_src && (inner.src == work.k * work.x_step || b.n == 1) &&
              work.k * work.item <= most_dense_bytes &&
              (work.pairs ? work.whole_pairs : !sums_pairs(work.types.x) || work.k % 2 == 0);
    b.pack = b.dense      ? vectors * cpu.copy_cycles
             : transposes ? k * transpose_pixel_cycles(work, row, b.n)
                          : std::max(vectors * cpu.copy_cycles, n * cpu.copied_pixel_cycles);
  }
  if (work.scaled) b.pack += vectors * cpu.scale_cycles;
  const bool short_runs = inner.src == work.x_item && work.src_k != work.x_step && row.room == nullptr;
  const double bytes = k * n * work.x_step;
  if (short_runs && bytes * b.images * work.groups > work.l2) {
    const double read = bytes / cpu.short_run_bytes_per_cycle;
    // If all alternatives wait for memory, the second term decides between them.
    if (read > cycles + b.pack) cycles = read - b.pack + (cycles + b.pack) / 8;
  }
  if (work.quantized && reads && (channel_rows || b.n > most_pixels_of_int8))
    b.convert = k * static_cast<double>(work.m * work.item) / 32.0 * cpu.copy_cycles;
  b.cycles = b.makespan = (cycles + b.pack + b.convert) * b.images * work.groups;
  return candidate;
}

// Calls `take` with every candidate, before it is cut into pieces.
template <class Take>
void consider_all(const Work& work, const KernelRows& rows, const Take& take) {
  for (int index = 0; index < rows.count; ++index)
    for (const int n_axes : {1, work.axes}) {
      for (const Packing packing : {Packing::none, Packing::channels, Packing::pixels})
        take(consider(work, rows[index], index, n_axes, packing));
      if (work.axes == 1) break;
    }
}

void cut_up(const Work& given, const KernelRows& rows, Blocking* b) {
  const KernelRow& row = rows[b->kernel_row];
  const Work work = work_for(given, row);
  split(work, row, b);
  size_blocks(work, row, b);
}

}  // namespace

std::vector<Candidate> candidates(const Work& work, const KernelRows& rows) {
  std::vector<Candidate> all;
  consider_all(work, rows, [&](Candidate candidate) {
    if (candidate.refused == nullptr) cut_up(work, rows, &candidate.blocking);
    all.push_back(candidate);
  });
  return all;
}

Blocking choose_blocking(const Work& work, const KernelRows& rows) {
  Blocking best{};
  bool any = false;
  consider_all(work, rows, [&](const Candidate& candidate) {
    if (candidate.refused != nullptr || (any && candidate.blocking.cycles >= best.cycles)) return;
    best = candidate.blocking;
    any = true;
  });
  assert(any);
  const double cycles = best.cycles;
  cut_up(work, rows, &best);
  if (work.threads == 1) return best;
  // A candidate that is slightly slower on one thread may divide more evenly among several.
  consider_all(work, rows, [&](Candidate candidate) {
    const Blocking& b = candidate.blocking;
    if (candidate.refused != nullptr || b.cycles > 1.1 * cycles || b.cycles >= best.makespan * work.threads) return;
    cut_up(work, rows, &candidate.blocking);
    if (candidate.blocking.makespan < best.makespan) best = candidate.blocking;
  });
  return best;
}

ptrdiff_t padded_row(int64_t bytes) {
  const int64_t step = round_up(bytes, 64);
  return step % 1024 == 0 ? step + 64 : step;
}

int team_size(const Machine& machine, double cycles, int64_t pieces, int threads) {
  if (teams_are_forced()) return threads;
  const double useful = std::min<double>(cycles / machine.least_cycles_a_thread, static_cast<double>(pieces));
  return static_cast<int>(std::max(1.0, std::min<double>(threads, useful)));
}

}  // namespace pointwise
