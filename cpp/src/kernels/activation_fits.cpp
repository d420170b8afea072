#include "kernels/activation_fits.h"

namespace pointwise {

constexpr Fit<float> fit_f32;
constexpr Fit<double> fit_f64;

}  // namespace pointwise
