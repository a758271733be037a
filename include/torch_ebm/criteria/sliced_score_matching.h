#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

struct TORCH_EBM_API SlicedScoreMatchingOptions {
  /// The distribution of the projections: "rademacher", signs, or "gaussian", N(0, 1); both have E
  /// v v' = I.
  std::string projections = "rademacher";
  /// M >= 1, drawn for every example.
  int64_t n_projections = 1;
  /// Use |s|^2 / 2 itself as the quadratic term, not (v's)^2 / 2, whose expectation it is.
  bool variance_reduced = true;
  /// "autograd", or "finite_difference": derivatives along v from the energies at x - eps v, x and
  /// x + eps v.
  std::string method = "autograd";
  /// For finite differences. Their bias is O(eps^2), 0 for a quadratic energy; rounding adds about
  /// u |E| / eps^2, u being the rounding unit of the dtype.
  double eps = 0.01;
  /// How many second derivatives, of the N M, are computed at a time; see ScoreMatchingOptions.
  std::optional<int64_t> chunk_size = std::nullopt;
  /// The projections themselves, (M, N, ...), like x, in place of `projections` and
  /// `n_projections`.
  std::optional<at::Tensor> vectors = std::nullopt;
};

/// Sliced score matching (Song, Garg, Shi & Ermon 2019, equations 7 and 8): the Laplacian of score
/// matching estimated from random projections. With the score s = -dE/dx, for each example
///     l(x) = 1/M sum_m [ v_m' (ds/dx) v_m + |s|^2 / 2 ],
/// or, without variance_reduced, with (v_m' s)^2 / 2 in place of |s|^2 / 2. A projection is of a
/// whole example. Nothing is divided by D: the expectation over the projections is score_matching.
///
/// By finite differences (Pang et al. 2020), E+ and E- being the energies at x + eps v and x - eps
/// v,
///     v' (ds/dx) v = -(E+ - 2 E + E-) / eps^2,     v's = -(E+ - E-) / (2 eps):
/// the only derivative in x left is that of |s|^2, if the variance is reduced.
///
/// Consistent; finite differences up to their bias. It fails where score_matching does, and with
/// autograd it gives the same warning.
///
/// x: (N, ...), floating. Throws ValueError for options out of range and an energy that has no
/// score; a NaN energy gives NaN.
TORCH_EBM_API at::Tensor sliced_score_matching(const Energy& energy, const at::Tensor& x,
                                               const CriterionOptions& criterion = {},
                                               const SlicedScoreMatchingOptions& options = {});

}  // namespace torch_ebm
