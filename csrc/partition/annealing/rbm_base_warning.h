#pragma once

#include <ATen/ATen.h>

#include <string>

namespace torch_ebm::detail {

/// A warning about an estimate of an RBM's log Z, with this upper end of its interval, that n_chains
/// annealed along betas from base_visible_bias: that they missed a part of the model. Empty if none
/// is found, and for the uniform base.
///
/// A tenth as many chains, 5 to 100, are annealed from the uniform base, and two things are asked.
/// Do they prove that log Z is greater: is the sum of exp(-F) over the states that they reached too
/// large? And would their weights be likely if it were not? Each weight over Z has mean 1, so a
/// gambler who stakes a share of his wealth on every one of them multiplies it by 20 with a
/// probability of at most 1/20, whatever the model (Markov's inequality; see Waudby-Smith & Ramdas
/// 2024). The random numbers are a function of the estimate: the caller's generator is not used.
std::string rbm_base_warning(const at::Tensor& weight, const at::Tensor& visible_bias,
                             const at::Tensor& hidden_bias, const at::Tensor& base_visible_bias,
                             const at::Tensor& betas, int64_t n_chains, double log_z, double upper);

}  // namespace torch_ebm::detail
