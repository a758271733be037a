// Energies and scores of a multilayer perceptron without autograd. With a_l the inputs of hidden layer l and w the
// weights of the output, the score is a product from left to right:
//     -dE/dx = -w f'(a_L) W_L f'(a_{L-1}) ... f'(a_1) W_1 - c x,
// where the slopes f' are left over from the forward pass.

#include <fmt/format.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/random.h"
#include "csrc/models/mlp.h"
#include "csrc/models/mlp_chains.h"
#include "csrc/passes/padded.h"
#include "csrc/passes/activation.h"
#include "csrc/passes/form.h"

namespace torch_ebm {

namespace detail {

kernels::Activation activation_of(const char* op, std::string_view name) {
  if (name == "silu") return kernels::Activation::kSilu;
  if (name == "softplus") return kernels::Activation::kSoftplus;
  TORCH_CHECK_VALUE(name == "tanh", op, ": activation must be 'silu', 'softplus' or 'tanh', got '",
                    name, "'");
  return kernels::Activation::kTanh;
}

void check_confinement(const char* op, double confinement) {
  TORCH_CHECK_VALUE(confinement >= 0 && std::isfinite(confinement), op,
                    ": confinement must be >= 0 and finite, got ", confinement);
}

}  // namespace detail

namespace {

constexpr const char* kMlpValueAndScore = "mlp_value_and_score";

using detail::Network;
using Result = std::tuple<at::Tensor, at::Tensor>;

void check_layer(const std::string& weight_name, const at::Tensor& weight,
                 const std::string& bias_name, const at::Tensor& bias, const at::Tensor& x,
                 std::vector<int64_t> shape) {
  detail::check_shape(kMlpValueAndScore, weight_name.c_str(), weight, std::move(shape),
                      "(out, in)");
  detail::check_same_type(kMlpValueAndScore, weight_name.c_str(), weight, "x", x);
  detail::check_shape(kMlpValueAndScore, bias_name.c_str(), bias, {weight.size(0)}, "(out,)");
  detail::check_same_type(kMlpValueAndScore, bias_name.c_str(), bias, "x", x);
}

void check_network(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                   std::string_view activation, double confinement) {
  TORCH_CHECK_VALUE(weights.size() >= 2, kMlpValueAndScore,
                    ": weights must be those of at least two layers, got ", weights.size());
  TORCH_CHECK_VALUE(biases.size() == weights.size(), kMlpValueAndScore,
                    ": biases must be as many as weights, ", weights.size(), ", got ",
                    biases.size());
  detail::check_floating(kMlpValueAndScore, "x", x);
  detail::check_shape(kMlpValueAndScore, "weights[0]", weights[0], {-1, -1}, "(out, in)");
  int64_t n_in = weights[0].size(1);
  detail::check_shape(kMlpValueAndScore, "x", x, {-1, n_in}, "(N, D)");
  for (size_t l = 0; l < weights.size(); ++l) {
    const int64_t n_out = l + 1 < weights.size() ? -1 : 1;
    check_layer(fmt::format("weights[{}]", l), weights[l], fmt::format("biases[{}]", l), biases[l],
                x, {n_out, n_in});
    n_in = weights[l].size(0);
  }
  detail::activation_of(kMlpValueAndScore, activation);
  detail::check_confinement(kMlpValueAndScore, confinement);
}

// --- With torch's products, all chains together -----------------------------------------------------

Result by_torch(const Network& network, const at::Tensor& x) {
  std::vector<at::Tensor> slopes;
  at::Tensor h = x;
  for (size_t l = 0; l < network.depth(); ++l) {
    h = at::mm(h, network.weights[l].t());
    slopes.push_back(passes::activate_(network.activation, h, network.biases[l]));
  }
  at::Tensor energy = at::mv(h, network.output_weight) + network.output_bias;
  at::Tensor gradient = -network.output_weight;
  for (size_t l = network.depth(); l-- > 0;) {
    gradient = at::mm(slopes[l] * gradient, network.weights[l]);
  }
  if (network.confinement != 0) {
    return {energy + network.confinement / 2 * x.square().sum(1),
            gradient - network.confinement * x};
  }
  return {energy, gradient};
}

// --- The operator -------------------------------------------------------------------------------------

Result value_and_score_kernel(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                              std::string_view activation, double confinement) {
  const at::NoGradGuard no_grad;
  check_network(x, weights, biases, activation, confinement);
  Network network{.output_weight = detail::at_least_float(weights.back().squeeze(0)),
                  .output_bias = detail::at_least_float(biases.back().squeeze(0)),
                  .activation = detail::activation_of(kMlpValueAndScore, activation),
                  .confinement = confinement};
  for (size_t l = 0; l + 1 < weights.size(); ++l) {
    network.weights.push_back(detail::at_least_float(weights[l]));
    network.biases.push_back(detail::at_least_float(biases[l]));
  }
  const at::Tensor states = detail::at_least_float(x);
  const bool small =
      std::all_of(network.weights.begin(), network.weights.end(), detail::fits_in_cache);
  const auto [energy, score] = small && passes::kernels_take(states)
                                   ? detail::run_through(network, states)
                                   : by_torch(network, states);
  return {energy.to(x.scalar_type()), score.to(x.scalar_type())};
}

Result value_and_score_meta(const at::Tensor& x, at::TensorList weights, at::TensorList biases,
                            std::string_view activation, double confinement) {
  check_network(x, weights, biases, activation, confinement);
  return {at::empty_symint({x.sym_size(0)}, x.options()),
          at::empty_symint(x.sym_sizes(), x.options())};
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> mlp_value_and_score(const at::Tensor& x, at::TensorList weights,
                                                       at::TensorList biases,
                                                       std::string_view activation,
                                                       double confinement) {
  static const auto op =
      detail::find_operator<decltype(value_and_score_kernel)>("torch_ebm::mlp_value_and_score");
  return op.call(x, weights, biases, activation, confinement);
}

// Under vmap: torch's products alone, which have rules.
TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatchedDecomposition, m) {
  m.impl("mlp_value_and_score", &value_and_score_kernel);
}
// Energies and scores as samplers take them: without a gradient.
TORCH_EBM_NO_GRADIENT("mlp_value_and_score", &value_and_score_kernel, &value_and_score_meta)

}  // namespace torch_ebm
