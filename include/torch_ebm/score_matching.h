#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "torch_ebm/criterion.h"
#include "torch_ebm/energy.h"
#include "torch_ebm/export.h"

namespace torch_ebm {

struct TORCH_EBM_API ScoreMatchingOptions {
  /// Where the density lives: "real", h(x_i) = 1; "nonnegative", x_i >= 0 and h = x_i^2 (Hyvarinen 2007); "box",
  /// low <= x_i <= high and h = (x_i - low)(high - x_i) (Yu, Drton & Shojaie 2022).
  std::string domain = "real";
  /// The box; to be given for that domain and no other.
  std::optional<double> low = std::nullopt;
  std::optional<double> high = std::nullopt;
  /// About how many second derivatives, of the N D, are computed at a time; the backward pass computes them again, see
  /// PseudolikelihoodOptions. Absent: as many as hold about 2^20 numbers, with the graph of all.
  std::optional<int64_t> chunk_size = std::nullopt;
};

/// Score matching (Hyvarinen 2005, equation 4) of continuous data, with a weight h >= 0 that vanishes where the domain
/// of the density ends (Hyvarinen 2007; Yu, Drton & Shojaie 2022). With the score s = -dE/dx, of each example
///     l(x) = sum_i [ h(x_i) s_i^2 / 2 + h(x_i) ds_i/dx_i + h'(x_i) s_i ],
/// the sum over the D dimensions, not their mean. Its expectation is that of sum_i h(x_i) (s_i - t_i)^2 / 2, where t is
/// the score of the data, up to a constant: integration by parts, in which h p s must vanish at the ends of the domain.
/// For that a density on a part of the line needs an h: without one its ends are taken for a fact of the score.
///
/// Consistent. It fails where the data's density has parts that are far apart, whose weights are not learned, and for
/// an energy without second derivatives: if all of them are exactly 0, as those of a network of ReLU units, it warns.
/// The Laplacian is exact and takes D passes of autograd besides the one of the score; sliced_score_matching takes one besides.
///
/// x: (N, ...), floating. Throws ValueError for data outside of the domain, an unknown domain, a box with low >= high,
/// and an energy that has no score; NaN energies come through.
TORCH_EBM_API at::Tensor score_matching(const Energy& energy, const at::Tensor& x,
                                        const CriterionOptions& criterion = {},
                                        const ScoreMatchingOptions& options = {});

}  // namespace torch_ebm
