#pragma once

#include "csrc/samplers/discrete.h"

namespace torch_ebm::detail {

/// Blocks of k sites that Gibbs sampling updates jointly, and the K^k states that a block can take.
struct GibbsBlocks {
  /// `blocks`: integers, (B, k), in which every site occurs if they must `cover` the sites; absent
  /// means every site alone.
  GibbsBlocks(const char* op, const DiscreteSites& layout, const std::optional<at::Tensor>& blocks,
              bool cover = true);

  int64_t n_blocks() const { return sites.size(0); }
  int64_t n_states() const { return states.size(0); }

  at::Tensor sites;   // (B, k), int64
  at::Tensor states;  // (K^k, k, width), like x
  at::Tensor powers;  // (k, width), float64: a state is number sum(powers * state) of `states`
};

}  // namespace torch_ebm::detail
