// Functions for threads that wait for the GIL while the interpreter may end, or that run Python code which may wait for
// the GIL.
//
// Before 3.14, CPython calls pthread_exit in a daemon thread that requests the GIL while the interpreter shuts down.
// pthread_exit unwinds the stack like an exception. Destructors of references would then free objects without the GIL,
// while the main thread frees its own objects. So such a thread sleeps here until the process ends. CPython 3.14 does
// the same.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <chrono>
#include <thread>

namespace pointwise_python {

// Returns function(). The function calls Python's C API and throws no exception. So if something is caught here, it is
// pthread_exit.
template <class Function>
auto in_python(const Function& function) {
  try {
    return function();
  } catch (...) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
}

// Calls compute() without the GIL. `compute` must not use Python, and may throw.
template <class Compute>
void without_gil(const Compute& compute) {
  PyThreadState* const state = PyEval_SaveThread();
  const auto restore = [state] { in_python([state] { PyEval_RestoreThread(state); }); };
  try {
    compute();
  } catch (...) {
    restore();
    throw;
  }
  restore();
}

}  // namespace pointwise_python
