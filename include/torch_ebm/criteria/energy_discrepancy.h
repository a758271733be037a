#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

/// Exactly one of `t` and `flip_probability` must be given: how an example is perturbed.
struct TORCH_EBM_API EnergyDiscrepancyOptions {
  /// For continuous data: perturbation by N(0, t I), t > 0.
  std::optional<double> t = std::nullopt;
  /// For binary data: every bit is flipped with this probability, between 0 and 1.
  std::optional<double> flip_probability = std::nullopt;
  /// M, the number of perturbed states that an example is compared with.
  int64_t n_samples = 16;
  /// w >= 0.
  double stabilisation = 1;
};

/// Energy discrepancy (Schroder, Ou, Lim, Li, Vollmer & Duncan 2023; for discrete data, Schroder et
/// al. 2024). An example x is perturbed to y, drawn from q(y | x), and y is then perturbed M times
/// by the same q to x'_1, ..., x'_M:
///     l(x) = log( w / M + (1 / M) sum_j exp(E(x) - E(x'_j)) ),
/// for continuous data x'_j = x + sqrt(t) (noise + noise_j), of which all j share the first noise;
/// for binary data x'_j are the bits of x flipped twice. q is symmetric, so that for w = 0 the mean
/// of exp(-E(x'_j)) estimates exp(-E) smoothed by q, at y, with which the energy discrepancy
/// compares E(x). No score or Markov chain is needed.
///
/// Consistent at w = 1, for any M: given y, x is drawn from p(x | y), proportional to q(x | y)
/// exp(-E(x)), and the x'_j from q(x' | y). Then l(x) + log M is minus the log probability that x,
/// and none of the x'_j, is the one of these M + 1 states that was drawn from p, as in the ranking
/// form of noise contrastive estimation (Ma & Collins 2018). Any other w is consistent only as M
/// grows; w = 0 has a gradient of high variance where no x'_j is likely. It fails where
/// perturbations are uninformative. Small ones leave the weights of distant modes unlearned. Large
/// ones, above all in many dimensions, lead to states that even a bad model tells from the data.
///
/// x: (N, ...), floating; of zeros and ones with `flip_probability`. The energy is called for N and
/// for M N states.
/// Throws ValueError for other states and options out of range; a NaN energy gives NaN.
TORCH_EBM_API at::Tensor energy_discrepancy(const Energy& energy, const at::Tensor& x,
                                            const CriterionOptions& criterion,
                                            const EnergyDiscrepancyOptions& options);

}  // namespace torch_ebm
