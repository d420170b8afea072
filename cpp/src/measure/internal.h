// The internal headers that the Python extension may use. The extension includes no other internal header.
#pragma once

#include "base/checked.h"
#include "base/float_environment.h"
#include "base/types.h"
#include "convolution/gradients.h"
#include "convolution/validate.h"
#include "machine/cpu.h"
#include "machine/machine.h"
#include "measure/alternatives.h"
#include "measure/peak.h"
#include "memory/result_pool.h"
#include "threads/openmp.h"
#include "threads/parallel.h"
#include "threads/team_size.h"
