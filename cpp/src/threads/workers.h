// Worker threads of pointwise, which take part in calls.
//
// clang-format off
//     caller:  open | take pieces ..................... | close | wait for workers inside
//     worker:  ...... enter | take pieces ............. | leave
// clang-format on
//
// A call never waits for a worker that comes late. If no worker comes, the caller computes all pieces. At the end the
// caller waits only for workers that still compute a piece. In contrast, an OpenMP region begins and ends with all of
// its threads. If another process uses the CPU of one of these threads, the region waits for a whole time slice.
//
// A worker that has no call watches for the next call for 3 ms, then sleeps. While it watches, it yields its CPU every
// 2 microseconds, because threads of other libraries may need it. For example, OpenBLAS keeps as many threads as there
// are CPUs.
#pragma once

namespace pointwise {

// Calls take_part(context, 0) on the calling thread, and take_part(context, thread) on workers, with thread numbers
// from 1 to `team` - 1. take_part() must return when no piece is left. Returns true after every take_part() has
// returned. Then the caller sees everything that the workers wrote.
//
// If the workers are busy with another call, returns false and calls nothing. If there are too few workers, starts more
// workers, as far as the system allows.
//
// Must not be called in a forked child, which has no workers. parallel() never calls this function in a child, because
// openmp_limit() returns 1 in a child.
bool with_workers(int team, void (*take_part)(const void* context, int thread), const void* context);

}  // namespace pointwise
