// How many threads a call may use.
#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "parallel.h"
#include "pointwise/pointwise.h"

namespace pointwise {
namespace {

// The number at the head of OMP_NUM_THREADS ("4", "4,2"), or 0.
int omp_num_threads_variable() {
  const char* text = std::getenv("OMP_NUM_THREADS");
  if (text == nullptr) return 0;
  const long n = std::strtol(text, nullptr, 10);
  return n > 0 && n < 1 << 16 ? static_cast<int>(n) : 0;
}

int affinity_count() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return omp_get_num_procs();  // more than 1024 CPUs
  return CPU_COUNT(&set);
}

// CPUs that the container's quota pays for, rounded up; 0 where there is no quota.
int cgroup_quota() {
  double quota = 0, period = 0;
  std::string path;  // of this process in the version 2 hierarchy: the line "0::/path"
  std::ifstream cgroup("/proc/self/cgroup");
  for (std::string line; std::getline(cgroup, line);)
    if (line.compare(0, 3, "0::") == 0) path = line.substr(3);
  double least = 0;
  const auto consider = [&] {
    if (quota > 0 && period > 0 && (least == 0 || quota / period < least)) least = quota / period;
  };
  for (;; path.erase(path.find_last_of('/'))) {  // a parent's quota holds for its children
    std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
    quota = period = 0;
    if (file >> quota >> period) consider();  // "max 100000" does not read as a number
    if (path.empty() || path.find('/') == std::string::npos) break;
  }
  quota = period = 0;
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (v1_quota >> quota && v1_period >> period) consider();
  const int cpus = static_cast<int>(least);
  return least > cpus ? cpus + 1 : cpus;
}

struct Defaults {
  int threads;
  int openmp;  // what OpenMP itself starts with, by which a limit that somebody set is told from none
};

const Defaults& defaults() {
  static const Defaults values = [] {
    const FloatEnvironment environment;  // a quota is a fraction
    const int variable = omp_num_threads_variable();
    if (variable > 0) return Defaults{variable, variable};
    const int cpus = affinity_count(), quota = cgroup_quota();
    return Defaults{quota > 0 && quota < cpus ? quota : cpus, omp_get_num_procs()};
  }();
  return values;
}

std::atomic<int> process_setting{0};
thread_local int thread_setting = 0;

// libgomp's threads do not live on in a forked child, where it would wait for them for ever.
std::atomic<bool> forked{false};
const int fork_handler = pthread_atfork(nullptr, nullptr, [] { forked.store(true, std::memory_order_relaxed); });

}  // namespace

int openmp_limit(int wanted) {
  if (forked.load(std::memory_order_relaxed) || omp_in_parallel()) return 1;
  const int limit = omp_get_max_threads();
  return limit != defaults().openmp && limit < wanted ? limit : wanted;
}

int thread_count() {
  if (thread_setting > 0) return thread_setting;
  const int set = process_setting.load(std::memory_order_relaxed);
  return set > 0 ? set : defaults().threads;
}

void set_thread_count(int threads) { process_setting.store(threads, std::memory_order_relaxed); }

int set_calling_thread_count(int threads) {
  const int before = thread_setting;
  thread_setting = threads;
  return before;
}

}  // namespace pointwise
