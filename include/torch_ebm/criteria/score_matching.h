#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

struct TORCH_EBM_API ScoreMatchingOptions {
  /// The domain of the density: "real", h(x_i) = 1; "nonnegative", x_i >= 0 and h = x_i^2
  /// (Hyvarinen 2007); "box", low <= x_i <= high and h = (x_i - low)(high - x_i) (Yu, Drton &
  /// Shojaie 2022).
  std::string domain = "real";
  /// The ends of the box; for that domain only.
  std::optional<double> low = std::nullopt;
  std::optional<double> high = std::nullopt;
  /// About how many second derivatives, of the N D, are computed at a time; the backward pass
  /// recomputes them, see PseudolikelihoodOptions. Absent: as many as hold about 2^20 numbers, with
  /// the graph of all.
  std::optional<int64_t> chunk_size = std::nullopt;
};

/// Score matching (Hyvarinen 2005, equation 4) of continuous data, with a weight h >= 0 that
/// vanishes where the domain of the density ends (Hyvarinen 2007; Yu, Drton & Shojaie 2022). With
/// the score s = -dE/dx, for each example
///     l(x) = sum_i [ h(x_i) s_i^2 / 2 + h(x_i) ds_i/dx_i + h'(x_i) s_i ],
/// the sum over the D dimensions, not their mean. Its expectation is that of sum_i h(x_i) (s_i -
/// t_i)^2 / 2, where t is the score of the data, up to a constant: this is integration by parts, in
/// which h p s must vanish at the ends of the domain. A density on a part of the line therefore
/// needs an h: without one, its ends would bias the score.
///
/// Consistent. It fails where the data's density has distant parts, whose weights are not learned,
/// and for an energy without second derivatives: if all of them are exactly 0, as for a ReLU
/// network, it warns. The Laplacian is exact and takes D passes of autograd besides that of the
/// score; sliced_score_matching takes one.
///
/// x: (N, ...), floating. Throws ValueError for data outside the domain, an unknown domain, a box
/// with low >= high, and an energy that has no score; a NaN energy gives NaN.
TORCH_EBM_API at::Tensor score_matching(const Energy& energy, const at::Tensor& x,
                                        const CriterionOptions& criterion = {},
                                        const ScoreMatchingOptions& options = {});

}  // namespace torch_ebm
