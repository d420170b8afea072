// Worker threads of pointwise, which take part in calls.
//
//     caller:  open | take pieces ..................... | close | wait for workers inside
//     worker:  ...... enter | take pieces ............. | leave
//
// A call never waits for a late worker: the caller computes all pieces itself if need be, and at its end waits only for
// pieces that a worker has claimed. An OpenMP region begins and ends with all threads. That costs half a microsecond
// where all are awake (workers: a tenth), and milliseconds where another process keeps one of them off its CPU.
//
// A worker that has no call watches for the next one for 3 ms, then sleeps. While it watches it yields its CPU every
// few microseconds, as the threads of other libraries may want it (OpenBLAS has as many as there are CPUs).
#pragma once

namespace pointwise {

// Calls take_part(context, thread) on the calling thread, as thread 0, and on at most team - 1 workers, as threads 1 to
// team - 1; take_part returns when there is nothing left to take. Returns false, and calls nothing, while the workers
// are busy with another call. Workers are started when they are first wanted, as many as the system gives. Not in a
// forked child, which has no workers.
bool with_workers(int team, void (*take_part)(const void* context, int thread), const void* context);

}  // namespace pointwise
