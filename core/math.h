// SPDX-License-Identifier: Apache-2.0
//
// Transcendental functions of our own. The C library's differ from machine to machine; these give the same bits
// everywhere (with -ffp-contract=off), which is what lets one golden file judge every processor.
#pragma once

#include <cstdint>

namespace thimble {

/// e^x to about 1 unit in the last place; 0 below -87.3, infinity above 88.7.
float Exp(float x);

/// 1 / (1 + e^-x)
inline float Sigmoid(float x) { return 1.0f / (1.0f + Exp(-x)); }

/// x * Sigmoid(x)
inline float Silu(float x) { return x / (1.0f + Exp(-x)); }

/// A sum that keeps what additions round away: value + rest, value the sum rounded to a float. About twice a float's
/// digits. Dekker, "A floating-point technique for extending the available precision", 1971.
struct ExactSum {
  float value = 0.0f, rest = 0.0f;

  void Add(float x);
};

/// Natural logarithm of a normal x > 0, within 0.9 units in the last place. Log(0) is minus infinity.
float Log(float x);

/// The same, of a finite x, within 1.1e-8 and a third of a unit in the last place of a float.
ExactSum ExactLog(float x);

/// log(1 + e^x), also accurate where e^x is small.
float Softplus(float x);

/// For tables made once: natural logarithm of x > 0 and e^x, in double precision.
double LogDouble(double x);
double ExpDouble(double x);

/// Cosine and sine of `turn` / 2^64 of a whole turn, within 3.2e-8: computed in whole numbers of 2^-31, then rounded
/// once.
void CosSin(uint64_t turn, float* cosine, float* sine);

}  // namespace thimble
