#pragma once
// The pass of many chains through a small network, a few at a time within one thread.

#include <ATen/ATen.h>

#include <tuple>
#include <vector>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::detail {

/// The parameters of a call, at least float. Layer 0 is the first hidden one.
struct Network {
  std::vector<at::Tensor> weights = {};  // of the hidden layers, (out, in)
  std::vector<at::Tensor> biases = {};
  at::Tensor output_weight;  // (H,)
  at::Tensor output_bias;    // ()
  kernels::Activation activation;
  double confinement;

  size_t depth() const { return weights.size(); }
};

/// Energies (N,) and scores (N, D) of x, (N, D), with passes::kernels_take(x), by kernels alone: for weights that fit in the cache.
std::tuple<at::Tensor, at::Tensor> run_through(const Network& network, const at::Tensor& x);

}  // namespace torch_ebm::detail
