#include "threads/parallel.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

#include "base/lazy.h"
#include "threads/openmp.h"

namespace pointwise {

Neighbour neighbour;

ThreadingChoice threading(int64_t now) {
  enum class Word { none, workers, openmp };
  static Lazy<Word> variable;
  const Word word = variable.get([] {
    const char* const text = std::getenv("POINTWISE_THREADING");
    if (text == nullptr || *text == '\0') return Word::none;
    if (std::string(text) == "workers" || std::string(text) == "helpers") return Word::workers;
    if (std::string(text) == "openmp" && has_openmp) return Word::openmp;
    if (std::string(text) == "openmp")
      throw std::runtime_error(
          "POINTWISE_THREADING=openmp: expected workers, because this build of pointwise has no OpenMP");
    throw std::runtime_error(std::string("POINTWISE_THREADING=") + text + ": expected workers or openmp");
  });
  const OpenMPRuntime* const runtime = find_other_openmp(now);
  const bool openmp = word == Word::openmp || (word == Word::none && runtime != nullptr);
  return {openmp ? Threading::openmp : Threading::workers, word != Word::none, runtime};
}

void with_openmp(const OpenMPRuntime* runtime, int team, void (*take_part)(const void*, int), const void* context) {
  struct Region {
    const OpenMPRuntime* runtime;
    int team;
    void (*take_part)(const void*, int);
    const void* context;
  };
  if (runtime == nullptr) {
    openmp_region(startable_team(team, nullptr), take_part, context);
    return;
  }
  Region region{runtime, team, take_part, context};
  const int threads = startable_team(std::max(team, std::min(runtime->max_threads(), most_threads)), runtime);
  const auto body = [](void* r) {
    const Region& running = *static_cast<const Region*>(r);
    const int thread = running.runtime->thread_num();
    if (thread < running.team) running.take_part(running.context, thread);
  };
  runtime->parallel(body, &region, static_cast<unsigned>(threads), 0);
}

}  // namespace pointwise
