#include "threads/team_size.h"

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>

#include "base/clock.h"
#include "base/float_environment.h"
#include "base/lazy.h"
#include "pointwise/pointwise.h"
#include "threads/openmp.h"
#include "threads/openmp_runtime.h"
#include "threads/system_threads.h"

namespace pointwise {
namespace {

// Returns true if there is no text, or only blanks.
bool is_blank(const char* text) { return text == nullptr || text[std::strspn(text, " \t")] == '\0'; }

// The value of OMP_NUM_THREADS, and the number of threads that OpenMP starts with. Both are read when the library is
// loaded, because OpenMP reads the variable at that time, too. If omp_get_max_threads() later differs from this number,
// the program has set a limit. If the program sets a limit that equals this number, the limit is not noticed.
const bool variable_is_blank = is_blank(std::getenv("OMP_NUM_THREADS"));
const int variable_at_start = first_thread_count(std::getenv("OMP_NUM_THREADS"));
const int openmp_at_start = has_openmp ? openmp_threads_at_start(openmp_cpus()) : 0;

// Returns the number of CPUs that the quota of the container allows, rounded up, or 0 if there is no quota.
int cgroup_quota() {
  double quota = 0, period = 0;
  std::string path;  // path of this process in the version 2 hierarchy, from the line "0::/path"
  std::ifstream cgroup("/proc/self/cgroup");
  for (std::string line; std::getline(cgroup, line);)
    if (line.compare(0, 3, "0::") == 0) path = line.substr(3);
  double least = 0;
  const auto consider = [&] {
    if (quota > 0 && period > 0 && (least == 0 || quota / period < least)) least = quota / period;
  };
  for (;; path.erase(path.find_last_of('/'))) {  // the quota of a parent holds for its children
    std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
    quota = period = 0;
    if (file >> quota >> period) consider();  // "max 100000" means no quota, and is not read as numbers
    if (path.empty() || path.find('/') == std::string::npos) break;
  }
  quota = period = 0;
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  if (v1_quota >> quota && v1_period >> period) consider();
  const int cpus = static_cast<int>(least);
  return least > cpus ? cpus + 1 : cpus;
}

int default_threads() {
  static Lazy<int> threads;
  return threads.get([] {
    if (variable_at_start > 0) return variable_at_start;
    const FloatEnvironment environment;  // the quota is divided in floating point
    const int cpus = usable_cpus(), quota = cgroup_quota();
    return quota > 0 && quota < cpus ? quota : cpus;
  });
}

std::atomic<bool> teams_forced{false};
std::atomic<int> process_setting{0};
std::atomic<int> process_limit{0};
thread_local int thread_setting = 0;

// Starts `wanted` threads, which all exist at the same time, and ends them. Returns how many threads the system
// started.
int try_threads(int wanted) {
  const std::unique_ptr<std::thread[]> threads(new (std::nothrow) std::thread[static_cast<size_t>(wanted)]);
  if (threads == nullptr) return 0;
  int started = 0;
  std::mutex all_started;
  {
    const std::lock_guard<std::mutex> lock(all_started);
    try {
      for (; started < wanted; ++started)
        threads[started] = std::thread([&] { const std::lock_guard<std::mutex> wait(all_started); });
    } catch (const std::system_error&) {
    } catch (const std::bad_alloc&) {
    }
  }
  for (int i = 0; i < started; ++i) threads[i].join();
  return started;
}

}  // namespace

int first_thread_count(const char* text) {
  if (is_blank(text)) return 0;
  long first = 0;
  for (;; ++text) {
    char* end;
    const long n = std::strtol(text, &end, 10);  // skips blanks before the number
    if (end == text || n < 1) return 0;
    if (first == 0) first = n;
    text = end + std::strspn(end, " \t");
    if (*text == '\0') return static_cast<int>(std::min(first, 65535L));
    if (*text != ',') return 0;
  }
}

bool omp_num_threads_is_valid() { return variable_is_blank || variable_at_start > 0; }

const int most_threads = std::max(64, 4 * usable_cpus());

int openmp_threads_at_start(int cpus) { return variable_at_start > 0 ? variable_at_start : cpus; }

int thread_limit() { return process_limit.load(std::memory_order_relaxed); }
void set_thread_limit(int threads) { process_limit.store(threads, std::memory_order_relaxed); }

int openmp_limit(int wanted) {
  if (wanted <= 1 || in_forked_child() || in_openmp_region()) return 1;
  int team = std::min(wanted, most_threads);
  if (const int limit = thread_limit()) team = std::min(team, limit);
  const auto cap = [&team](int limit, int at_start) {
    if (limit != at_start) team = std::min(team, limit);
  };
  cap(openmp_max_threads(), openmp_at_start);
  if (const OpenMPRuntime* const other = other_openmp()) {
    if (other->in_parallel()) return 1;
    cap(other->max_threads(), other->threads_at_start);
  }
  return team;
}

// The state belongs to the calling thread, because OpenMP keeps a team for each calling thread. After a refusal, the
// system is asked again one second later.
int startable_team(int team, const OpenMPRuntime* runtime) {
  thread_local int started = 1, most = INT_MAX;
  thread_local int64_t ask_again = 0;
  thread_local const OpenMPRuntime* tried = nullptr;
  if (runtime != tried) {
    tried = runtime;
    started = 1;
    most = INT_MAX;
  }
  if (team <= started) return team;
  if (most < INT_MAX && monotonic_nanoseconds() < ask_again) return std::min(team, most);
  const int more = team - started, found = try_threads(more);
  started += found;
  most = INT_MAX;
  if (found < more) {
    most = started;
    ask_again = monotonic_nanoseconds() + int64_t{1000000000};
  }
  return std::min(team, started);
}

void force_teams(bool forced) { teams_forced.store(forced, std::memory_order_relaxed); }
bool teams_are_forced() { return teams_forced.load(std::memory_order_relaxed); }

int thread_count() {
  if (thread_setting > 0) return thread_setting;
  const int set = process_setting.load(std::memory_order_relaxed);
  return set > 0 ? set : default_threads();
}

void set_thread_count(int threads) { process_setting.store(threads, std::memory_order_relaxed); }

int set_calling_thread_count(int threads) {
  const int before = thread_setting;
  thread_setting = threads;
  return before;
}

}  // namespace pointwise
