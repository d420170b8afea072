#include "kernels/few_outputs.h"

#include <algorithm>

#include "base/checked.h"

namespace pointwise {

const char* quads_refuse(const Problem& problem) {
  if (problem.k < 1) return "there are no input channels";
  if (problem.m > most_quad_rows) return "there are more than 8 output channels";
  return problem.n < problem.lanes ? "there are fewer pixels than lanes" : nullptr;
}

double quads_cycles(const Problem& p) {
  const Machine& cpu = p.machine;
  const double quad = 16.0 / p.item, m = static_cast<double>(p.m);
  const double vectors = static_cast<double>(ceil_div(p.n, p.lanes));
  const double quads = static_cast<double>(ceil_div(p.k * p.item, 16));
  const double step = cpu.quad_pixel_cycles * p.lanes + quad * m / cpu.fma_per_cycle;
  return vectors * (quads * step + cpu.quad_vector_cycles + m * (cpu.strip_vector_cycles + p.indirect));
}

const char* byte_quads_refuse(const Problem& problem) {
  if (problem.k > chunk_channels) return "there are more than 256 input channels";
  return quads_refuse(problem);
}

// A step loads 16 bytes of each pixel. Moving a byte within its lane and converting it takes as long as 2.4
// multiply-adds. (Emerald Rapids, 3 -> 1 channels of uint8 to float32 at 64x64: interleaved products take 2.3 us with
// AVX-512 and 4.1 us with AVX2, quads of bytes 3.7 us and 3.9 us.)
double byte_quads_cycles(const Problem& p) {
  const Machine& cpu = p.machine;
  const double m = static_cast<double>(p.m), vectors = static_cast<double>(ceil_div(p.n, p.lanes));
  const double loads = static_cast<double>(ceil_div(p.k, 16)) * cpu.quad_pixel_cycles * p.lanes;
  const double products = static_cast<double>(p.k) * (2.4 + m) / cpu.fma_per_cycle;
  return vectors * (loads + products + cpu.quad_vector_cycles + m * (cpu.strip_vector_cycles + p.indirect));
}

const char* long_rows_refuse(const Problem& problem) {
  if (problem.k < 1) return "there are no input channels";
  if (problem.m > long_rows_outputs) return "there are more than 16 output channels";
  return nullptr;
}

double long_rows_cycles(const Problem& p) {
  const Machine& cpu = p.machine;
  const double m = static_cast<double>(p.m), k = static_cast<double>(p.k);
  const double vectors = static_cast<double>(ceil_div(p.n, p.lanes));
  const double passes = static_cast<double>(ceil_div(p.k, long_pass_inputs));
  const double step = std::max(m / cpu.fma_per_cycle, (1.5 + m / 4) / cpu.loads_per_cycle);
  return passes * cpu.long_call_cycles + vectors * (k * step + passes * m * cpu.long_pass_cycles +
                                                    m * (p.direct ? 1 : cpu.strip_vector_cycles + p.indirect));
}

const char* interleaved_refuse(const Problem& problem) {
  if (problem.k < 1) return "there are no input channels";
  return std::max(problem.m, problem.k) > most_interleaved(problem.lanes) ? "a vector holds less than two pixels"
                                                                          : nullptr;
}

double interleaved_cycles(const Problem& p) {
  const Machine& cpu = p.machine;
  const int64_t group = p.lanes / std::max(p.m, p.k);
  const double groups = static_cast<double>(ceil_div(p.n, group));
  return cpu.interleaved_call_cycles +
         groups * (static_cast<double>(p.k) * cpu.interleaved_input_cycles + cpu.interleaved_vector_cycles);
}

const char* interleaved_integers_refuse(const Problem& problem) {
  if (problem.k < 1) return "there are no input channels";
  return std::max(problem.m, problem.k) > most_interleaved_integers(problem.lanes) ? "there are too many channels"
                                                                                   : nullptr;
}

// Loading and storing integers takes several instructions for each group.
double interleaved_integers_cycles(const Problem& p) { return 2 * interleaved_cycles(p); }

const char* planes_refuse(const Problem& problem) {
  if (problem.k < 1) return "there are no input channels";
  return std::max(problem.m, problem.k) > most_planes ? "there are more than 4 channels" : nullptr;
}

// Separating and joining two channels takes about as long as a multiply-add.
double planes_cycles(const Problem& p) {
  const double m = static_cast<double>(p.m), k = static_cast<double>(p.k);
  return p.machine.interleaved_call_cycles +
         static_cast<double>(ceil_div(p.n, p.lanes)) * (m * k + 2 * (m + k)) / p.machine.fma_per_cycle;
}

double byte_planes_cycles(const Problem& p) {
  const double m = static_cast<double>(p.m), k = static_cast<double>(p.k);
  return p.machine.interleaved_call_cycles +
         static_cast<double>(ceil_div(p.n, p.lanes)) * (m * k + 3 * (m + k)) / p.machine.fma_per_cycle;
}

double diagonal_cycles(const Problem& p) {
  const double vectors = static_cast<double>(ceil_div(p.m, p.lanes)) * static_cast<double>(p.n);
  return vectors * (2 + p.machine.strip_vector_cycles + p.indirect);
}

int64_t long_rows_room(const Problem& p, int64_t l2) {
  const int64_t panel = panel_bytes / p.item, rows = std::min(p.m, panel) * (p.k > chunk_channels ? 2 : 1);
  const int64_t vector = p.lanes * p.item, needed = rows * (ceil_div(p.n, p.lanes) + 1) * vector;
  return std::min(needed, std::max(l2 / 8, rows * 2 * vector));
}

}  // namespace pointwise
