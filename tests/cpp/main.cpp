// The tests run once for every instruction set (POINTWISE_ISA). Where the CPU lacks it they skip, and say so: the
// exit status is the one that CMakeLists.txt declares as "skipped".
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string>

#include "kernels/registry.h"
#include "threads/parallel.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const char* wanted = std::getenv("POINTWISE_ISA");
  for (const pointwise::Isa& isa : pointwise::all_isas())
    if (wanted != nullptr && std::string(wanted) == isa.name && !isa.supported()) {
      std::cerr << "SKIPPED: POINTWISE_ISA=" << wanted << ", which this CPU does not support\n";
      return POINTWISE_SKIPPED;
    }
  pointwise::neighbour.ignore(true);  // teams as they are asked for, however busy the machine is
  std::cout << "isa " << pointwise::selected_isa().name << "\n";
  return RUN_ALL_TESTS();
}
