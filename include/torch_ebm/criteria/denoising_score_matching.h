#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>

#include <optional>
#include <string>
#include <vector>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

namespace detail {
class Draws;
}  // namespace detail

/// Standard deviations of noise, all > 0: one number; levels, of which each example draws one; or
/// one for each example.
class TORCH_EBM_API NoiseScale {
 public:
  NoiseScale(double value) : levels_{value} {}                                  // NOLINT
  NoiseScale(std::vector<double> levels) : levels_(std::move(levels)) {}        // NOLINT
  NoiseScale(at::Tensor per_example) : per_example_(std::move(per_example)) {}  // NOLINT
  /// From what the operator takes as `Any sigma`: a float, a list of floats or a tensor, () or
  /// (N,).
  static NoiseScale from_ivalue(const char* op, const c10::IValue& value);

  /// Throws ValueError unless it fits n examples, finite and positive.
  void check(const char* op, int64_t n) const;
  /// Whether all examples have the same scale.
  bool single() const;
  /// The scale of each example of x, (N,) or (), like x, whose level is drawn from `draws`.
  at::Tensor of_examples(const at::Tensor& x, const detail::Draws& draws) const;

 private:
  std::vector<double> levels_;
  at::Tensor per_example_;
};

struct TORCH_EBM_API DenoisingScoreMatchingOptions {
  NoiseScale sigma;
  /// What multiplies each example's term: "none", 1, or "sigma_squared", under which all levels
  /// count equally (Song & Ermon 2019). Absent: "none" for a single sigma, where it is only a
  /// constant factor, else "sigma_squared", without which the smallest sigma dominates.
  std::optional<std::string> weighting = std::nullopt;
  /// Like x: used in place of the noise N(0, I) that is drawn otherwise.
  std::optional<at::Tensor> noise = std::nullopt;
};

/// Denoising score matching (Vincent 2011, equation 11): the score at x~ = x + sigma noise, noise ~
/// N(0, I), is that of the noise that was added. With the score s = -dE/dx, for each example
///     l(x) = | s(x~) + (x~ - x) / sigma^2 |^2 / 2,
/// with several sigmas (Song & Ermon 2019) sigma^2 times that.
///
/// Consistent for the distribution of x~, not of x: exp(-E) becomes the density of the data
/// smoothed by N(0, sigma^2 I). For Gaussian data of covariance S, this has covariance S + sigma^2
/// I. An energy depends on x alone, not on the noise level: with several sigmas its score becomes
/// the best compromise between the smoothed densities, and matches none of them. Only first
/// derivatives of the energy in x are taken, so ReLU networks work.
///
/// x: (N, ...), floating. Throws ValueError for a sigma that is not positive and finite or does not
/// fit, an unknown weighting, and an energy that has no score; a NaN energy gives NaN.
TORCH_EBM_API at::Tensor denoising_score_matching(const Energy& energy, const at::Tensor& x,
                                                  const CriterionOptions& criterion,
                                                  const DenoisingScoreMatchingOptions& options);

}  // namespace torch_ebm
