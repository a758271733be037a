#pragma once

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

/// n_steps + 1 inverse temperatures from 0 to 1, evenly spaced, float64. Throws ValueError for
/// n_steps < 1.
TORCH_EBM_API at::Tensor linear_schedule(int64_t n_steps);

/// The same, denser near both ends: sigmoid(steepness (2 k / n_steps - 1)), shifted and scaled to
/// begin at 0 and end at 1 (Grosse, Ghahramani & Adams 2015, section 4.1, with steepness 4). Throws
/// ValueError also for a steepness that is not positive and finite.
TORCH_EBM_API at::Tensor sigmoid_schedule(int64_t n_steps, double steepness = 4);

/// The same, ever denser towards 1: of n_steps, 1/29 lead from 0 to 0.5, 8/29 on to 0.9 and 20/29 on to
/// 1, evenly spaced in each part, at least one each (Salakhutdinov & Murray 2008, who took 500, 4000
/// and 10000 for large RBMs). Throws ValueError for n_steps < 3.
TORCH_EBM_API at::Tensor salakhutdinov_murray_schedule(int64_t n_steps);

struct TORCH_EBM_API AdaptiveScheduleOptions {
  /// The conditional ESS of every change of temperature, as a share of the chains, in (0, 1).
  double conditional_ess = 0.999;
  int64_t max_temperatures = 100000;
  std::optional<at::Generator> generator = std::nullopt;
};

/// Inverse temperatures from 0 to 1 with equal loss of weight of N chains between neighbours. Each
/// is the largest at which the conditional ESS, (sum_i W_i w_i)^2 / sum_i W_i w_i^2 for normalised
/// weights W and their growth w, does not fall below options.conditional_ess (Zhou, Johansen &
/// Aston 2016, section 3.3.2). The chains are a pilot run, with resampling, and are discarded: an
/// estimate of log Z along a path chosen by its own chains would be biased.
///
/// x: (N, ...), drawn from the distribution at beta = 0. Returns (K + 1,), float64. Throws
/// ValueError if more than max_temperatures are needed, and as anneal does.
TORCH_EBM_API at::Tensor adaptive_schedule(const Energy& energy, const at::Tensor& x,
                                           const Sampler& sampler,
                                           const AdaptiveScheduleOptions& options = {});

}  // namespace torch_ebm
