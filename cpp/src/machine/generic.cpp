// The constants for all CPUs that have no other file. They equal the constants of Zen 5.
#include "machine/machine.h"

namespace pointwise {

Machine generic() {
  Machine m = zen5();
  m.name = "generic";
  return m;
}

}  // namespace pointwise
