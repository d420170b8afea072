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

std::atomic<const Machine*> replacement{nullptr};

// AMD's family 0x19 is Zen 3 and, with AVX-512, Zen 4; 0x1a is Zen 5.
Machine find_machine() {
  if (amd_family() == 0x19 && cpu_has_avx512()) return zen4();
  if (amd_family() == 0x1a) return zen5();
  return generic();
}

}  // namespace

const Machine& machine() {
  static Lazy<Machine> found;
  const Machine* const replaced = replacement.load(std::memory_order_acquire);
  return replaced != nullptr ? *replaced : found.get(find_machine);
}

// Never frees the machine before: another thread may be reading it.
void replace_machine(const Machine& machine) { replacement.store(new Machine(machine), std::memory_order_release); }

}  // namespace pointwise
