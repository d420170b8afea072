#include "machine/machine.h"

#include <atomic>
#include <cstddef>

#include "base/lazy.h"
#include "machine/cpu.h"

namespace pointwise {
namespace {

static_assert(offsetof(Machine, fma_per_cycle) +
                      sizeof(machine_constants) / sizeof(machine_constants[0]) * sizeof(double) ==
                  sizeof(Machine),
              "every constant has a name");

// A machine that replaces the detected machine. Earlier replacements are never freed, because threads may still read
// them.
struct Replacement {
  Machine machine;
  const Replacement* previous;
};

std::atomic<const Replacement*> replacement{nullptr};

// AMD's family 0x19 is Zen 3, or Zen 4 if it has AVX-512. Family 0x1a is Zen 5.
Machine find_machine() {
  if (amd_family() == 0x19 && cpu_has_avx512()) return zen4();
  if (amd_family() == 0x1a) return zen5();
  if (cpu_is_intel()) return golden_cove();
  return generic();
}

}  // namespace

const Machine& machine() {
  static Lazy<Machine> found;
  const Replacement* const replaced = replacement.load(std::memory_order_acquire);
  return replaced != nullptr ? replaced->machine : found.get(find_machine);
}

void replace_machine(const Machine& machine) {
  auto* const added = new Replacement{machine, replacement.load(std::memory_order_acquire)};
  while (!replacement.compare_exchange_weak(added->previous, added, std::memory_order_acq_rel)) {
  }
}

}  // namespace pointwise
