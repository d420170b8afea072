#include "product/explain.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "base/float_environment.h"
#include "kernels/registry.h"
#include "machine/cpu.h"
#include "product/cycle_model.h"

namespace pointwise {

const char* packing_words(Packing packing) {
  switch (packing) {
    case Packing::none: return "source in place";
    case Packing::channels: return "source packed by channels";
    case Packing::pixels: return "source packed by pixels";
  }
  return "";
}

std::string size_words(int64_t bytes) {
  return bytes < 1 << 20 ? std::to_string(bytes >> 10) + " KiB" : std::to_string(bytes >> 20) + " MiB";
}

std::string team_words(int team, int threads, int64_t pieces) {
  std::string text = std::string("isa ") + selected_isa().name + "; L2 cache " + size_words(l2_cache_size()) + "; " +
                     std::to_string(team) + " of " + std::to_string(threads) + " thread(s)";
  if (team < threads) text += pieces < threads ? " (there are no more pieces)" : " (more threads would not be faster)";
  return text + "\n";
}

namespace {

void explain_box(std::ostream& out, const Plan& plan, int index, int threads) {
  const Product& product = plan.product;
  const Box& box = product.box[index];
  const Blocking& b = plan.blocking[index];
  const Work work = work_of(product, box, threads);
  const KernelRows& rows = kernels(product.types.w).rows;
  out << (box.k == 0 && product.k > 0 ? "padding" : "product") << ": " << b.images << " image(s) x " << product.groups
      << " group(s) of " << b.n << " pixels, " << box.k << " -> " << product.m << " channels\n";
  out << "  kernel " << rows[b.kernel_row].name << ", " << packing_words(b.packing) << ", about " << b.cycles
      << " cycles on one thread, " << memory_cycles(work, rows[b.kernel_row], b.images, b.n, b.cycles)
      << " if the arrays are in memory\n";
  out << "  pieces: " << b.pieces << " of at most " << b.n_parts.largest() << " pixels x " << b.m_parts.largest()
      << " channels; kernel calls: at most " << b.n_block << " pixels x " << b.m_block << " channels\n";
  if (b.packed > 0) out << "  packed source: " << size_words(b.packed) << " per thread\n";
  if (b.sums > 0)
    out << "  sums of " << b.k_block << " input channels at a time, kept in " << size_words(b.sums) << " per thread\n";

  if (is_integer(product.types.w) && box.k > 0) {
    out << "  int8 weights";
    if (b.weights > 0) out << ", converted to float32 in " << size_words(b.weights) << " per thread";
    out << "\n";
  }

  // Describes the best candidate of each other kernel row, or the reason why the kernel row cannot run.
  const std::vector<Candidate> all = candidates(work, rows);
  for (int row = 0; row < rows.count; ++row) {
    if (row == b.kernel_row) continue;
    const Candidate* best = nullptr;
    const char* refused = nullptr;
    for (const Candidate& c : all) {
      if (c.blocking.kernel_row != row) continue;
      if (c.refused != nullptr)
        refused = c.refused;
      else if (best == nullptr || c.blocking.cycles < best->blocking.cycles)
        best = &c;
    }
    out << "  not " << rows[row].name << ": ";
    if (best == nullptr)
      out << refused << "\n";
    else
      out << packing_words(best->blocking.packing) << ", about " << best->blocking.cycles << " cycles ("
          << 100 * (best->blocking.cycles / b.cycles - 1) << "% more)\n";
  }
}

}  // namespace

std::string explain_plan(const Plan& plan, int threads) {
  const FloatEnvironment environment;
  std::ostringstream out;
  out << std::fixed << std::setprecision(0) << team_words(plan.team, threads, plan.pieces);
  for (int i = 0; i < plan.product.boxes; ++i) explain_box(out, plan, i, threads);
  if (plan.product.boxes == 0) out << "empty result: nothing to compute\n";
  return out.str();
}

}  // namespace pointwise
