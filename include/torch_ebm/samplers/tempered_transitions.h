#pragma once

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

/// Tempered transitions (Neal 1996) of N chains: a proposal climbs the ladder `betas` by one move
/// of `sampler` at each of betas[1], ..., betas[R - 1], comes down by one at each of betas[R - 1],
/// ..., betas[1], and is accepted with the product of the ratios of neighbouring tempered densities
/// on the way. This leaves exp(-E_{betas[0]}) exactly invariant.
///
/// The sampler must be reversible at every temperature: mala, hmc, nuts, gibbs_with_gradients, a
/// random scan, or the block Gibbs step of an RBM on its visible units; not a systematic sweep or
/// an unadjusted sampler.
///
/// x: (N, ...), floating. betas: as for replica_exchange. run.beta must be absent. The decisions
/// draw one key from the generator; the sampler draws from the same generator. A proposal that
/// meets energies that are NaN, or whose sum is infinite, is rejected. Throws ValueError for
/// invalid arguments.
TORCH_EBM_API Samples tempered_transitions(const Energy& energy, const at::Tensor& x,
                                           const at::Tensor& betas, const Sampler& sampler,
                                           const RunOptions& run = {});

}  // namespace torch_ebm
