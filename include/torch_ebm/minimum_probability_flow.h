#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "torch_ebm/criterion.h"
#include "torch_ebm/energy.h"
#include "torch_ebm/export.h"

namespace torch_ebm {

struct TORCH_EBM_API MinimumProbabilityFlowOptions {
  /// x is one-hot, (N, ..., K): the last dimension holds the K >= 2 states of a site.
  bool categorical = false;
  /// Estimate the sum from that many sites of every example, drawn without replacement. Absent: all.
  std::optional<int64_t> n_sites = std::nullopt;
  /// How many states the energy is asked for at a time; see PseudolikelihoodOptions.
  std::optional<int64_t> chunk_size = std::nullopt;
};

/// Minimum probability flow (Sohl-Dickstein, Battaglino & DeWeese 2011): the rate at which probability leaves the data
/// under a dynamics that leaves the model invariant and changes one site at a time. Of each example
///     l(x) = sum over the states x' that differ from x in one site of exp((E(x) - E(x')) / 2).
///
/// The paper leaves out flow into states that are data themselves. Here every neighbour counts, as is common: a term is
/// then that of an example alone, whatever the others are.
///
/// Consistent: over a law p of the data, two neighbours x and x' give p(x) r + p(x') / r with
/// r = exp((E(x) - E(x')) / 2), which is least at r^2 = p(x') / p(x): all such r are right at the true parameters. It
/// fails as the pseudolikelihood does, since only neighbours are compared; and a neighbour of far lower energy than an
/// example counts exponentially, where the pseudolikelihood counts it linearly.
///
/// x: (N, ...) of zeros and ones, or (N, ..., K), one-hot; floating. An energy with `flip_differences`, such as an RBM,
/// gives the differences of single bits itself.
/// Throws ValueError for other states and options out of range; NaN energies come through.
TORCH_EBM_API at::Tensor minimum_probability_flow(
    const Energy& energy, const at::Tensor& x, const CriterionOptions& criterion = {},
    const MinimumProbabilityFlowOptions& options = {});

}  // namespace torch_ebm
