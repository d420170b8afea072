#include "kernels/half_rows.h"

#include <algorithm>

#include "base/checked.h"
#include "machine/machine.h"

namespace pointwise {
namespace {

bool leaves_half(const Problem& p) {
  const int64_t rest = p.m % half_row_lanes;
  return rest > 0 && rest <= half_row_lanes / 2;
}

const char* refuses_place(const Problem& p) { return p.direct ? nullptr : "channels of the result are not contiguous"; }

// Returns the cycles of a product whose output channels are a single half vector.
double alone_cycles(const Problem& p) {
  const Machine& cpu = p.machine;
  const double pixels = static_cast<double>(p.n);
  const double step = pixels * cpu.half_vector_alone * cpu.half_vector / cpu.fma_per_cycle;
  const double tiles = static_cast<double>(ceil_div(p.n, half_tile_height(0)));
  return static_cast<double>(p.k) * std::max(step, tiles * cpu.fma_latency * cpu.half_vector) +
         pixels * cpu.single_row_cycles;
}

// Returns the cycles of a product. Special tiles of `height` pixels compute the half vector of output channels,
// together with the `beside` whole vectors before the half vector. For each input channel, a special tile takes as long
// as `pixels` * `vectors` multiply-adds. Ordinary tiles compute all earlier channels.
double last_and_before(const Problem& p, int64_t beside, int64_t height, double pixels, double vectors) {
  const Machine& cpu = p.machine;
  const double tiles = static_cast<double>(ceil_div(p.n, height));
  const double step = pixels * vectors / cpu.fma_per_cycle;
  const double last = static_cast<double>(p.k) * std::max(step, tiles * cpu.fma_latency) +
                      tiles * (cpu.pixel_tile_cycles + static_cast<double>((beside + 1) * height) *
                                                           (cpu.tile_row_cycles + cpu.tile_vector_cycles));
  const double before = static_cast<double>(p.n) * static_cast<double>(p.m / half_row_lanes - beside) / 24;
  return (p.m % half_row_lanes > 0 ? last : 0) + before * p.tile_cycles(p.model, 6, 4);
}

}  // namespace

const char* halves_refuse(const Problem& problem) {
  return leaves_half(problem) ? refuses_place(problem)
                              : "needs a number of output channels whose remainder modulo 16 is 1 to 8";
}

const char* pairs_refuse(const Problem& problem) {
  if (!leaves_half(problem) || problem.m < half_row_lanes)
    return "needs at least 16 output channels, and a remainder of 1 to 8 modulo 16";
  return refuses_place(problem);
}

double halves_cycles(const Problem& p) {
  if (p.m < half_row_lanes) return alone_cycles(p);
  const int64_t beside = p.m % half_row_lanes > 0 ? vectors_beside_half(p.m / half_row_lanes) : 0;
  const double vectors = static_cast<double>(beside) + p.machine.half_vector;
  return last_and_before(p, beside, half_tile_height(beside), static_cast<double>(p.n), vectors);
}

double pairs_cycles(const Problem& p) {
  if (p.m < half_row_lanes) return alone_cycles(p);
  const int64_t beside = p.m % half_row_lanes > 0 ? 1 : 0;
  const double pixels = static_cast<double>(ceil_div(p.n, pair_row_pixels) * pair_row_pixels);
  return last_and_before(p, beside, pair_row_pixels, pixels, p.machine.pair_vectors);
}

}  // namespace pointwise
