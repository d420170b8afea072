// The constants of activations.h.
#pragma once

namespace pointwise {
namespace {

// Constants of each number type. The digits are of cpp/tools/fit_activations.py; in the comments, the largest error of
// a fit relative to the function it is a part of.
template <class T>
struct Fit;

template <>
struct Fit<float> {
  using T = float;
  static constexpr T magic = 12582912 + 127;            // 1.5 * 2^23 + the exponent's bias
  static constexpr T lowest = -87.3f, highest = 88.0f;  // e^x is a normal number
  static constexpr T log2e = 1.44269502f, ln2_hi = 0.693145752f, ln2_lo = 1.42860677e-6f;
  static constexpr T exp[] = {0.5f, 0.166665763f, 0.0416665524f, 0.00836323295f, 0.00139262504f};  // 2^-25.3
  static constexpr T tanh[] = {-0.333333343f, 0.133333042f,    -0.0539592579f,
                               0.0217689183f, -0.00834394526f, 0.00229274482f};                      // 2^-27.8
  static constexpr T log[] = {0.666666687f, 0.399997056f, 0.28592357f, 0.217065752f, 0.232243299f};  // 2^-30.0
  static constexpr T phi_bend = 0.65625f, phi_slope = 0.875f, phi_far = 7.25f;
  static constexpr T phi[] = {5.61268069e-4f,  0.0255170073f,  0.0132390782f,  0.00189075363f,
                              2.50746525e-4f,  2.90910284e-5f, 2.66442044e-6f, 1.1682949e-7f,
                              -4.48596182e-8f, -1.8257289e-8f, -2.24276464e-9f};  // 2^-24.7
  static constexpr T exp2[] = {0.693147302f,   0.240226462f,   0.0555018969f,
                               0.00961839594f, 0.00134411384f, 1.54120426e-4f};  // 2^-26.1
  static constexpr T cube_1_hi = 1.59576988f, cube_1_lo = -7.60596436e-7f;
  static constexpr T cube_3_hi = 0.0713548139f, cube_3_lo = 2.39883247e-9f;
  static constexpr T phi_end = 13.2f;  // from here on gelu of -v is 0: phi_bend v^2 + phi_slope v rounds to 126
  static constexpr T cube_end = 9.9f;  // from here on gelu_tanh of -v is 0: as e^x at lowest
  static constexpr T mish_end = 20;    // from here on mish is v
};

template <>
struct Fit<double> {
  using T = double;
  static constexpr T magic = 6755399441055744 + 1023;  // 1.5 * 2^52 + the exponent's bias
  static constexpr T lowest = -708, highest = 709;
  static constexpr T log2e = 1.4426950408889634, ln2_hi = 0.6931471805601177, ln2_lo = -1.7239444525614835e-13;
  static constexpr T exp[] = {0.50000000000000011,   0.16666666666666669,   0.041666666666623824,
                              0.008333333333330039,  0.0013888888917367081, 1.9841269863171557e-4,
                              2.4801521057868204e-5, 2.7557268276905696e-6, 2.7620201591031547e-7,
                              2.5100472505694996e-8};  // 2^-54.4
  static constexpr T log_above[] = {-4.2558318692419794, 5.2224726836842414, -1.4313922946230826, 0.016787103053624568};
  static constexpr T log_below[] = {-6.3837478038624944, 11.663957707742842, -6.4095711432293996};  // 2^-54.4
  static constexpr T tail_height = 0.3989422804014327;
  static constexpr T tail[] = {
      0.11768448202159598,    -0.1564448517670384,    0.018684133965758371,   0.066254922711842523,
      -0.090543577791231192,  0.073426440914194091,   -0.042604628168697811,  0.017559441139122951,
      -0.00431307766088849,   -4.8842319426619457e-5, 4.8781438236533101e-4,  -1.3481511324929922e-4,
      -2.8109574428124809e-5, 2.3266248123701104e-5,  -3.4057678273765629e-7, -4.193391108310772e-6,
      -2.7764836431719705e-7, 4.4627835367324223e-7,  9.8924776530661961e-8};  // 2^-54.6
  static constexpr T cube_1_hi = 1.5957691216057306, cube_1_lo = 1.2235151683392209e-16;
  static constexpr T cube_3_hi = 0.071354816272600249, cube_3_lo = -6.175149918155315e-19;
  static constexpr T tail_end = 37.5, cube_end = 21;  // from here on gelu and gelu_tanh of -v are 0
  static constexpr T mish_end = 40;
};

}  // namespace
}  // namespace pointwise
