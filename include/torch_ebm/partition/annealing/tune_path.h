#pragma once

#include <string>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API TunePathOptions {
  /// Transitions of every chain at each temperature, at least 20.
  int64_t n_steps = 100;
  /// See warm_up.
  std::optional<double> target_acceptance = std::nullopt;
  int64_t n_leapfrog = 10;
  std::optional<at::Generator> generator = std::nullopt;
};

/// Step sizes and diagonal inverse masses of a sampler along a path.
struct TORCH_EBM_API PathTuning {
  std::string sampler;      ///< "hmc" or "mala"
  at::Tensor betas;         ///< (R,), strictly rising, float64
  at::Tensor step_size;     ///< (R,), float64
  at::Tensor inverse_mass;  ///< (R, ...)
  int64_t n_leapfrog = 10;
  /// n_steps transitions at beta. Between two temperatures masses are interpolated linearly, as the
  /// precisions of Gaussians change along a geometric path, and step sizes geometrically. beta is
  /// one number, shape (), or one for every chain, (N,), as in replica exchange: the chains at each
  /// temperature are then moved together, apart from the others.
  Sampler bind(int64_t n_steps = 1) const;
};

/// A pilot run along the path: warm_up at every temperature, starting from the last states of the
/// one before. The tuning is fixed before an estimate begins, which therefore stays unbiased. x:
/// (N, ...), drawn from the distribution at betas[0]; betas: (R,), R >= 2, strictly rising. Throws
/// ValueError for invalid betas, an unknown sampler, and as warm_up does.
TORCH_EBM_API PathTuning tune_path(const Energy& energy, const at::Tensor& x,
                                   const at::Tensor& betas, const std::string& sampler = "hmc",
                                   const TunePathOptions& options = {});

}  // namespace torch_ebm
