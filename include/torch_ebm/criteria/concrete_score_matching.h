#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

struct TORCH_EBM_API ConcreteScoreMatchingOptions {
  /// Whether x is one-hot, (N, ..., K): the last dimension then holds the K >= 2 states of a site.
  /// It must be given for x with three or more dimensions that is one-hot in the last one; otherwise
  /// it is false.
  std::optional<bool> categorical = std::nullopt;
  /// Estimate the sum from this many sites of every example, drawn without replacement. Absent:
  /// all.
  std::optional<int64_t> n_sites = std::nullopt;
  /// How many states the energy is given at a time; see PseudolikelihoodOptions.
  std::optional<int64_t> chunk_size = std::nullopt;
};

/// Concrete score matching (Meng, Choi, Song & Ermon 2022) of discrete data. The concrete score of
/// a distribution p at x has an entry p(x') / p(x) - 1 for each neighbour x', here each state that
/// differs from x in one site. For each example, with d = E(x') - E(x),
///     l(x) = sum over x' of c(x, x')^2 + 2 c(x, x') - 2 c(x', x),
///          c(x, x') = exp(-d) - 1 the model's score,
///          = sum over x' of exp(-2 d) - 2 exp(d) + 1.
/// Its expectation under the data is the squared distance between the model's and the data's
/// scores, summed over x', minus the mean square of the data's: because x' is a neighbour of x
/// exactly if x is one of x', the mixed term sum p(x) c(x, x') p(x') / p(x) is the expectation of
/// c(x', x).
///
/// Consistent, but the term of a single example has no lower bound: it falls as -2 exp(d) as the
/// energy of a neighbour x' rises, and only the term of x' itself, if x' is an example too, stops
/// it. The criterion therefore needs data that contain all neighbours of each example: few sites
/// and many examples. Energy differences count exponentially. Where they are large, or neighbours
/// are missing, use pseudolikelihood or ratio_matching, which have a lower bound.
///
/// x: (N, ...) of zeros and ones, or (N, ..., K), one-hot; floating. An energy with
/// `flip_differences`, such as an RBM, computes the differences of single bits itself.
/// Throws ValueError for other states and options out of range; a NaN energy gives NaN.
TORCH_EBM_API at::Tensor concrete_score_matching(const Energy& energy, const at::Tensor& x,
                                                 const CriterionOptions& criterion = {},
                                                 const ConcreteScoreMatchingOptions& options = {});

}  // namespace torch_ebm
