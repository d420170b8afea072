// The constants of the polynomials and limits in activations.h.
#pragma once

namespace pointwise {

// A constant, stored in all lanes of the widest vector.
//
// activation_fits.cpp defines the constants, so that g++ does not know their values when it compiles a kernel file.
// Then kernels load whole vectors. If g++ knew a value, it would store one number and broadcast it. On Zen 4,
// broadcasts of 64-byte vectors take time from multiply-adds.
template <class T>
struct alignas(64) Constant {
  static constexpr int count = 64 / sizeof(T);
  T copies[count];

  constexpr Constant(T number) : copies() {
    for (T& copy : copies) copy = number;
  }
};

// A polynomial in adapted form, in which one multiply-add adds two degrees. The comment on two_degrees() in
// activations.h explains this form. The evaluation begins with the polynomial `start`, then calls two_degrees() for
// each element of `steps`. `low` holds the coefficients of the lowest terms.
template <class T, int Start, int Steps, int Low>
struct Adapted {
  Constant<T> start[Start], steps[Steps][2], low[Low];
};

// The constants of one number type. cpp/tools/fit_activations.py prints their digits. The comment after a polynomial is
// the largest relative error that the polynomial causes in its mathematical function, such as e^x.
template <class T>
struct Fit;

template <>
struct Fit<float> {
  using C = Constant<float>;
  C one = 1.0f;
  C magic = 12582912.0f + 127;         // 1.5 * 2^23 + the exponent's bias
  C phi_magic = 12582912.0f + 126;     // with it, V::exponent() gives half of the power of two
  C lowest = -87.3f, highest = 88.0f;  // if lowest <= x <= highest, e^x is a normal number
  C log2e = 1.44269502f, minus_ln2_hi = -0.693145752f, minus_ln2_lo = -1.42860677e-6f;
  C exp[5] = {0.5f, 0.166665763f, 0.0416665524f, 0.00836323295f, 0.00139262504f};                             // 2^-25.3
  C tanh[6] = {-0.333333343f, 0.133333042f, -0.0539592579f, 0.0217689183f, -0.00834394526f, 0.00229274482f};  // 2^-27.8
  C log[5] = {0.666666687f, 0.399997056f, 0.28592357f, 0.217065752f, 0.232243299f};                           // 2^-30.0
  C minus_phi_bend = -0.65625f, phi_slope = 0.875f, minus_phi_far = -7.25f;
  C phi[11] = {5.61268069e-4f, 0.0255170073f, 0.0132390782f,   0.00189075363f, 2.50746525e-4f, 2.90910284e-5f,
               2.66442044e-6f, 1.1682949e-7f, -4.48596182e-8f, -1.8257289e-8f, -2.24276464e-9f};            // 2^-24.7
  C exp2[6] = {0.693147302f, 0.240226462f, 0.0555018969f, 0.00961839594f, 0.00134411384f, 1.54120426e-4f};  // 2^-26.1
  C cube_1_hi = 1.59576988f, cube_1_lo = -7.60596436e-7f;
  C cube_3_hi = 0.0713548139f, cube_3_lo = 2.39883247e-9f;
  C minus_phi_end = -13.2f;                   // for smaller v, gelu(v) is -0: see gelu()
  C cube_end = 9.9f, minus_cube_end = -9.9f;  // for larger v, gelu_tanh(-v) is 0
  C mish_end = 20.0f;                         // for larger v, mish(v) is v
};

template <>
struct Fit<double> {
  using C = Constant<double>;
  C one = 1.0;
  C magic = 6755399441055744.0 + 1023;  // 1.5 * 2^52 + the exponent's bias
  C phi_magic = 6755399441055744.0 + 1022;
  C lowest = -708.0, highest = 709.0;
  C log2e = 1.4426950408889634, minus_ln2_hi = -0.6931471805601177, minus_ln2_lo = 1.7239444525614835e-13;
  C exp[10] = {0.50000000000000011,   0.16666666666666669,   0.041666666666623824,  0.008333333333330039,
               0.0013888888917367081, 1.9841269863171557e-4, 2.4801521057868204e-5, 2.7557268276905696e-6,
               2.7620201591031547e-7, 2.5100472505694996e-8};  // 2^-54.4
  C log_above[4] = {-4.2558318692419794, 5.2224726836842414, -1.4313922946230826, 0.016787103053624568};
  C log_below[3] = {-6.3837478038624944, 11.663957707742842, -6.4095711432293996};  // 2^-54.4
  C minus_phi_bend = -0.6796875, phi_slope = 0.75, minus_phi_far = -12.0;
  Adapted<double, 2, 3, 2> phi_above = {{2.5599332946743751, -0.041632048548856083},
                                        {{803.95801001286668, -1954.1565505209967},
                                         {-63.372690920421164, -3571.9353256567879},
                                         {-3.266886127199006, 164376.26654037755}},
                                        {887083.10557890753, -695153.29526209703}};
  Adapted<double, 2, 2, 2> phi_below = {
      {1681.5696350730771, -79.212376605842692},
      {{259.93819202166395, -343078.73030061845}, {32.666522704272872, -1247260.7746085289}},
      {2211603.1913684369, -2948688.0580462799}};  // 2^-52.7
  C exp2_shift = 6.75;
  Adapted<double, 3, 3, 3> exp2 = {{1.163872818420543e-8, -8.4089276882987663e-10, 2.3819605558566491e-11},
                                   {{152.48732013248687, -1.0577318033582025e-6},
                                    {81.06289463912195, 5.2774612316279122e-5},
                                    {-33.60865759204043, 0.0084754711109411018}},
                                   {0.6931471805599454, 0.24022650695910108, 0.055504108664818683}};  // 2^-56.7
  C cube_1_hi = 1.5957691216057306, cube_1_lo = 1.2235151683392209e-16;
  C cube_3_hi = 0.071354816272600249, cube_3_lo = -6.175149918155315e-19;
  C minus_phi_end = -38.234375;
  C cube_end = 21.0, minus_cube_end = -21.0;
  C mish_end = 40.0;
};

extern const Fit<float> fit_f32;
extern const Fit<double> fit_f64;

}  // namespace pointwise
