#include "product/cycle_model.h"

#include <algorithm>
#include <cmath>

#include "base/checked.h"
#include "machine/machine.h"

namespace pointwise {
namespace {

// Returns true for channel rows with vectors below 64 bytes, if L1 cannot hold the pixels and weights of a tile. For
// each input channel, counts the vectors and two lines: one because vectors are not aligned, and one of weights.
bool crowded(const Work& work, const KernelRow& row, int64_t k) {
  const double vectors = row.nr * row.lanes * work.item;
  return row.rows == Rows::channels && may_copy(row.lanes * work.item) &&
         static_cast<double>(k) * (vectors + 128) > static_cast<double>(work.l1);
}

bool wide(const Work& work, const KernelRow& row) { return row.lanes * work.item == 64; }

// Returns the cycles that a tile takes for one step, which is one input channel. The tiles of a column share their
// weights (pixel rows) or their pixels (channel rows). If these weights or pixels do not fit L1, each tile loads them
// from L2. `idle` is the number of vectors without multiply-adds. If `in_l1` is true, the pixels are in L1.
double step_cycles(const Work& work, const KernelRow& row, int64_t rows, int64_t vectors, double idle = 0,
                   bool in_l1 = false) {
  const Machine& cpu = *work.machine;
  const double loads = row.rows == Rows::channels ? rows + 1.5 * vectors  // pixels are seldom 64-byte aligned
                       : vectors == 1             ? cpu.broadcast_load * rows + 1
                                                  : rows + vectors;
  const double bytes = static_cast<double>(vectors * row.lanes * work.item);
  const double k = static_cast<double>(work.k), l1 = static_cast<double>(work.l1);
  double from_l2 = 0;
  if (row.rows == Rows::pixels)
    from_l2 = wide(work, row) && bytes * k > l1 * cpu.l1_of_weights ? bytes / cpu.l2_wide_bytes_per_cycle
              : bytes * k > l1 / 2                                  ? bytes / cpu.l2_bytes_per_cycle
                                                                    : 0;
  else if (wide(work, row))
    from_l2 = !in_l1 && bytes * k > l1 * cpu.l1_of_pixels ? bytes / cpu.l2_pixel_bytes_per_cycle : 0;
  return std::max({rows * (vectors - idle) / cpu.fma_per_cycle, loads / cpu.loads_per_cycle, cpu.fma_latency, from_l2});
}

// Returns the additional cycles of a step in the first tile of a column, for channel rows with 64-byte vectors. The
// pixels of the first tile come from L2.
double first_step_cycles(const Work& work, const KernelRow& row, int64_t rows, int64_t vectors) {
  return std::max(0.0, static_cast<double>(vectors * 64) / work.machine->l2_pixel_bytes_per_cycle -
                           step_cycles(work, row, rows, vectors));
}

// Returns the cycles of a tile without its steps.
double tile_overhead(const Work& work, const KernelRow& row, int64_t rows, int64_t vectors) {
  const Machine& cpu = *work.machine;
  const bool channel_rows = row.rows == Rows::channels;
  if (!wide(work, row))
    return (channel_rows ? cpu.channel_tile_cycles : cpu.pixel_tile_cycles) + rows * cpu.tile_row_cycles +
           rows * vectors * cpu.tile_vector_cycles;
  const double hidden = !channel_rows ? cpu.hidden_by_pixel_tiles : cpu.hidden_by_channel_tiles;
  return std::max(cpu.least_wide_tile_cycles, rows * vectors * cpu.wide_accumulator_cycles - hidden) +
         rows * cpu.wide_row_cycles + std::max<int64_t>(0, vectors - 4) * cpu.vector_beyond_4_cycles;
}

// Returns the cycles of a tile of pixel rows whose output channels fit one vector.
double single_vector_tile(const Machine& machine, double steps, int64_t rows, double indirect) {
  const double height = static_cast<double>(rows);
  return steps * std::max(machine.single_latency, height / machine.fma_per_cycle) +
         std::max(machine.single_row_cycles * height,
                  machine.single_row_beyond_cycles * height - machine.hidden_by_single_tiles) +
         height * indirect;
}

// The result of spread(): parts[i] parts have the size size[i].
struct Spread {
  int64_t size[2], parts[2];
};

Spread spread(int64_t count, int64_t most) {
  const int64_t parts = ceil_div(count, most), larger = count % parts;
  return {{count / parts, count / parts + 1}, {parts - larger, larger}};
}

int64_t power_of_two_above(int64_t n) {
  int64_t p = 1;
  while (p < n) p *= 2;
  return p;
}

}  // namespace

bool copies_pixels(const Work& work, const KernelRow& row, int64_t k) {
  return work.m >= work.machine->least_channels_to_copy && crowded(work, row, k);
}

double compute_cycles(const Work& work, const KernelRow& row, int64_t n, int64_t m, double indirect) {
  const Machine& cpu = *work.machine;
  const double steps = static_cast<double>(work.k);  // products with `steps` may exceed int64
  const bool channel_rows = row.rows == Rows::channels;
  const bool single_vector =
      !channel_rows && wide(work, row) && cpu.half_width && m <= row.lanes && n >= row.mr && work.src_k == work.x_step;
  // Channel rows read packed pixels if channels are contiguous. The packed pixels stay in L1 if one tile has all output
  // channels.
  const bool in_l1 = channel_rows && m <= row.mr && work.src_k == work.x_step;
  const auto tile = [&](int64_t rows, int64_t vectors, double idle = 0) {
    if (single_vector) return single_vector_tile(cpu, steps, rows, indirect);
    return steps * step_cycles(work, row, rows, vectors, idle, in_l1) + tile_overhead(work, row, rows, vectors) +
           rows * vectors * indirect;
  };
  if (row.cycles != nullptr) {
    const auto call = [](const void* model, int64_t rows, int64_t vectors) {
      return (*static_cast<decltype(tile)*>(model))(rows, vectors, 0.0);
    };
    return row.cycles({m, n, work.k, work.item, row.lanes, indirect, indirect == 0, cpu, call, &tile});
  }
  const Spread lanes = spread(ceil_div(channel_rows ? n : m, row.lanes), row.nr);
  const int64_t tail = channel_rows && m % row.mr ? power_of_two_above(m % row.mr) : 0;
  const auto channel_column = [&](int64_t vectors, double idle) {
    return m / row.mr * tile(row.mr, vectors, idle) + (tail ? tile(tail, vectors, idle) : 0);
  };
  double cycles = 0;
  for (int i = 0; i < 2; ++i) {
    if (lanes.parts[i] == 0) continue;
    double column = 0;
    if (channel_rows) {
      column = channel_column(lanes.size[i], 0);
      const int64_t first = m < row.mr ? tail : row.mr;
      if (wide(work, row) && !in_l1) column += steps * first_step_cycles(work, row, first, lanes.size[i]);
    } else {
      const Spread heights = spread(n, row.mr);
      for (int k = 0; k < 2; ++k)
        if (heights.parts[k]) column += heights.parts[k] * tile(heights.size[k], lanes.size[i]);
    }
    if (copies_pixels(work, row, work.k))
      column += steps * lanes.size[i] * cpu.copied_vector_cycles;
    else if (crowded(work, row, work.k))
      column *= cpu.crowded_factor;
    cycles += lanes.parts[i] * column;
  }
  const int64_t rest = n % row.lanes;
  if (channel_rows && wide(work, row) && rest > 0 && rest <= row.lanes / 2) {
    const int64_t last = lanes.size[lanes.parts[1] > 0];
    cycles -= channel_column(last, 0) - channel_column(last, 1 - cpu.half_vector);
  }
  const double weights = steps * static_cast<double>(m * work.item);
  return cycles + (weights > work.l2 / 2 ? weights / cpu.l3_bytes_per_cycle : 0);
}

double memory_cycles(const Work& work, const KernelRow& row, int64_t images, int64_t n, double cycles) {
  const Machine& cpu = *work.machine;
  const double pixels = static_cast<double>(n) * static_cast<double>(images);
  const double k = static_cast<double>(work.k), m = static_cast<double>(work.m);
  const double bytes =
      pixels * k * work.x_step + m * k * (work.quantized ? 1 : work.item) + pixels * m * item_size(work.types.y);
  const double cycle = cpu.half_width && wide(work, row) ? 2 : 1;  // cycles of the CPU in a cycle of the model
  const double reading = bytes * static_cast<double>(work.groups) / cpu.memory_bytes_per_cycle / cycle;
  return std::max(cycles, reading) + cpu.memory_wait * std::min(cycles, reading);
}

double thrash_factor(const Machine& machine, const KernelRow& row, ptrdiff_t x_pixel, int64_t n) {
  constexpr ptrdiff_t way = 4096;
  ptrdiff_t step = std::abs(x_pixel) % way, gcd = way;
  while (step) {
    const ptrdiff_t rest = gcd % step;
    gcd = step;
    step = rest;
  }
  const double sets = std::max<ptrdiff_t>(1, way / std::max<ptrdiff_t>(gcd, 64));
  const double rows = static_cast<double>(std::min<int64_t>(row.mr, n));
  return rows / sets > machine.l1_ways ? 1 + (machine.thrash_cycles - 1) / row.nr : 1;
}

double in_place_factor(const Work& work, const KernelRow& row) {
  constexpr int64_t page = 4096;
  const Machine& cpu = *work.machine;
  const double k = static_cast<double>(work.k);
  if (row.room != nullptr || copies_pixels(work, row, work.k)) return 1;
  const int64_t step = std::abs(static_cast<int64_t>(work.src_k));
  const double pages = k * static_cast<double>(std::min(step, page)) / page;
  const double paged = pages > cpu.tlb_pages ? cpu.paged_factor : 1;
  if (work.src_k % page != 0 || k < cpu.aliased_channels) return paged;
  const double further = std::max(0.0, k - cpu.hidden_aliased_channels);
  return std::max(paged,
                  std::min(cpu.most_aliased_factor, cpu.aliased_factor + cpu.factor_per_aliased_channel * further));
}

double scattered_factor(const Work& work, const KernelRow& row, bool packed) {
  const Machine& cpu = *work.machine;
  constexpr int64_t line = 64;
  const bool crowded = static_cast<double>(work.k) * 2 * line > static_cast<double>(work.l1) * cpu.l1_of_scattered;
  const int64_t step = std::abs(static_cast<int64_t>(work.src_k));
  if (wide(work, row) || !crowded || step < line) return 1;
  if (packed) return cpu.packed_apart_factor;
  if (step >= 16 * line) return cpu.far_apart_factor;
  return step > 2 * line && step < 4 * line && step % line != 0 ? cpu.three_lines_factor : cpu.apart_factor;
}

}  // namespace pointwise
