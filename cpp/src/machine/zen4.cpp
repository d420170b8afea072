// The constants of AMD's Zen 4, fitted by hand. Constants that are not set here equal the constants of Zen 5.
#include "machine/machine.h"

namespace pointwise {

Machine zen4() {
  Machine m = zen5();
  m.name = "zen4";
  m.half_width = true;
  m.hidden_by_channel_tiles = 28;
  m.half_vector = 0.5;
  m.pair_vectors = 1.9;
  m.quad_pixel_cycles = 0.5;
  m.quad_vector_cycles = 6;
  m.strip_vector_cycles = 3;
  m.long_call_cycles = 40;
  m.long_pass_cycles = 1;
  m.wide_copies = 0.65;
  return m;
}

}  // namespace pointwise
