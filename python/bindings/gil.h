// Where a thread may lose its interpreter: it waits for the GIL, or runs Python code, which does.
//
// Before 3.14, CPython ends a daemon thread that asks for the GIL of an interpreter that is shutting down, by
// pthread_exit. That unwinds the stack as an exception does, and destructors of references would free objects without
// the GIL, beside a main thread that frees its own. Such a thread sleeps here instead until the process ends, which is
// what 3.14 itself does with it.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <unistd.h>

namespace pointwise_python {

// What `function` of Python's C API, which throws nothing of its own, returns.
template <class Function>
auto in_python(const Function& function) {
  try {
    return function();
  } catch (...) {
    for (;;) pause();
  }
}

// Calls `compute`, which knows nothing of Python and may throw, while other threads may have the GIL.
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
