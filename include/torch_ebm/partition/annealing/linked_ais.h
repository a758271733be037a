#pragma once

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

struct TORCH_EBM_API LinkedAISOptions {
  /// Guesses of log Z(betas[k + 1]) / Z(betas[k]), (K,): the bridge between two temperatures is
  /// then that of Meng and Wong (1996), which is optimal if the guess is right. Default: the
  /// geometric bridge, sqrt(f_k f_k+1). The weights stay unbiased if the guesses do not depend on
  /// this run, as those of a pilot run do not.
  std::optional<at::Tensor> log_ratios = std::nullopt;
  std::optional<at::Generator> generator = std::nullopt;
};

struct TORCH_EBM_API LinkedWeights {
  /// One per run, (N,), float64.
  at::Tensor log_weights;
  /// Guesses for another run: log Z(betas[k + 1]) / Z(betas[k]) by the bridge over the states of
  /// all runs, (K,), float64. They are inaccurate with slow samplers or few states, and not finite
  /// where no run has a positive weight.
  at::Tensor log_ratios;
};

/// Linked importance sampling (Neal 2005, section 4): N runs from inverse temperature betas[0] to
/// betas[K], each with M states at every temperature instead of the one of `anneal`. The weight is
/// the product over k of
///     sum_i b(x_i) / f_k(x_i)   over the states at betas[k],   divided by
///     sum_i b(x_i) / f_k+1(x_i) over those at betas[k + 1],
/// f_k = exp(-E_k) and b a bridge between f_k and f_k+1. The state that links the two is one of
/// those at betas[k], drawn with probabilities proportional to the terms of the sum. From there
/// `sampler` makes the others in M - 1 moves, some to one side and some to the other, as a uniform
/// number decides.
///
/// If x was drawn from the distribution at betas[0], the mean weight is unbiased for Z(betas[K]) /
/// Z(betas[0]), provided that `sampler` is reversible (mala, hmc, gibbs_with_gradients, rbm_gibbs,
/// and gibbs with the scan "random" are, gibbs with the systematic scan is not), and that states
/// that are possible at betas[k + 1] are also possible at betas[k]: otherwise the mean falls short
/// by the probability that none of M states at betas[k + 1] is.
///
/// x: (M, N, ...), independent. betas: (K + 1,), K >= 1, finite, not negative, strictly rising or
/// falling. Keeps the states of one move: memory does not grow with K nor, apart from x, with M. A
/// weight is 0 where no state at betas[k] is possible at betas[k + 1]. Throws ValueError for
/// invalid betas or log_ratios, energies that are NaN or -inf, a sampler that returns states of
/// another shape.
TORCH_EBM_API LinkedWeights linked_ais(const Energy& energy, const at::Tensor& x,
                                       const at::Tensor& betas, const Sampler& sampler,
                                       const LinkedAISOptions& options = {});

}  // namespace torch_ebm
