#pragma once

#include <functional>
#include <optional>

#include "csrc/criteria/criterion.h"

namespace torch_ebm::detail {

/// Which neighbours of a discrete state a criterion looks at: the other joint states of a block of sites.
struct SiteOptions {
  std::optional<bool> categorical = std::nullopt;
  /// As in Gibbs sampling, but sites may be in no block. Absent: every site alone.
  std::optional<at::Tensor> blocks = std::nullopt;
  /// This many blocks of every example, drawn without replacement, in place of all.
  std::optional<int64_t> n_sites = std::nullopt;
  /// How many states the energy is given at a time.
  std::optional<int64_t> chunk_size = std::nullopt;
};

/// How a criterion uses the energies of the neighbours: maps the differences E(x') - E(x), (N, c, M
/// - 1), of the M - 1 other states of c blocks to the term of each block, (N, c).
using BlockTerm = std::function<at::Tensor(const at::Tensor& differences)>;

/// The sum over all blocks of their terms, (N,); with n_sites its unbiased estimate from as many.
/// An energy with a method `flip_differences` computes the differences of single binary sites
/// itself.
at::Tensor sum_over_blocks(const Criterion& criterion, const Energy& energy,
                           const SiteOptions& options, const BlockTerm& term);

}  // namespace torch_ebm::detail
