// Threads of ours that take part in calls: what parallel.h prefers to an OpenMP region.
//
//     caller:  open | take pieces ..................... | close | wait for those who are inside
//     helper:  ...... enter | take pieces ............. | leave
//
// A call never waits for a helper that is late: it computes all pieces itself if need be, and at its end waits for
// pieces that were really claimed. An OpenMP region begins and ends with everybody, which costs half a microsecond
// where all threads are awake (this: a tenth), and milliseconds where a busy neighbour keeps one of them off its CPU.
#pragma once

namespace pointwise {

// Calls take_part(context, thread) on the calling thread, as thread 0, and meanwhile on at most team - 1 helpers, as
// threads 1 to team - 1; take_part returns when there is nothing left to take. False, and nothing was called, where the
// helpers are at work for somebody else's call. Helpers are started when they are first wanted, as many as the system
// gives. Not in a forked child, where they do not live.
bool with_helpers(int team, void (*take_part)(const void* context, int thread), const void* context);

}  // namespace pointwise
