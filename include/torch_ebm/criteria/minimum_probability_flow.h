#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/common/export.h"
#include "torch_ebm/criteria/criterion.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

struct TORCH_EBM_API MinimumProbabilityFlowOptions {
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

/// Minimum probability flow (Sohl-Dickstein, Battaglino & DeWeese 2011): the rate at which
/// probability leaves the data under dynamics that leave the model invariant and change one site at
/// a time. For each example
///     l(x) = sum over the states x' that differ from x in one site of exp((E(x) - E(x')) / 2).
///
/// The paper leaves out flow into states that are data themselves. Here every neighbour counts, as
/// is common, so that the term of an example does not depend on the other examples.
///
/// Consistent: under a distribution p of the data, two neighbours x and x' give p(x) r + p(x') / r
/// with r = exp((E(x) - E(x')) / 2), which is smallest at r^2 = p(x') / p(x): all such r are right
/// at the true parameters. It fails as the pseudolikelihood does, since only neighbours are
/// compared. A neighbour of far lower energy than an example counts exponentially, where the
/// pseudolikelihood counts it linearly.
///
/// x: (N, ...) of zeros and ones, or (N, ..., K), one-hot; floating. An energy with
/// `flip_differences`, such as an RBM, computes the differences of single bits itself.
/// Throws ValueError for other states and options out of range; a NaN energy gives NaN.
TORCH_EBM_API at::Tensor minimum_probability_flow(
    const Energy& energy, const at::Tensor& x, const CriterionOptions& criterion = {},
    const MinimumProbabilityFlowOptions& options = {});

}  // namespace torch_ebm
