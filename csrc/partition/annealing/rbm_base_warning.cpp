#include "csrc/partition/annealing/rbm_base_warning.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/library.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "csrc/common/checks.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/partition/annealing/rbm_ais.h"

namespace torch_ebm {

namespace {

constexpr int64_t kOneIn = 10;  // as many chains as these
constexpr int64_t kFewestChains = 5, kMostChains = 100;
constexpr double kWealth = 20;        // that makes a warning
constexpr double kRounding = 0.01;    // nats that two sums may differ by
constexpr double kLargestRatio = 50;  // logarithm of it, so that exp does not overflow

/// log of the wealth of gamblers who stake different shares of it on every one of these ratios of
/// mean 1, on average over them. log_ratios: (N,).
double log_wealth(const at::Tensor& log_ratios) {
  const at::Tensor shares =
      at::tensor({0.1, 0.2, 0.3, 0.5, 0.7, 0.9}, log_ratios.options()).unsqueeze(1);
  const at::Tensor gains = at::expm1(log_ratios.clamp_max(kLargestRatio));
  const at::Tensor wealth = at::log1p(shares * gains).sum(1);
  return at::logsumexp(wealth, 0).item<double>() - std::log(shares.size(0));
}

}  // namespace

namespace detail {

std::string rbm_base_warning(const at::Tensor& weight, const at::Tensor& visible_bias,
                             const at::Tensor& hidden_bias, const at::Tensor& base_visible_bias,
                             const at::Tensor& betas, int64_t n_chains, double log_z,
                             double upper) {
  const at::NoGradGuard no_grad;
  check_not_meta("rbm_base_warning", "base_visible_bias", base_visible_bias);
  if (!base_visible_bias.ne(0).any().item<bool>()) return {};
  const int64_t n_checks = std::clamp(n_chains / kOneIn, kFewestChains, kMostChains);
  const at::Generator generator = at::detail::createCPUGenerator(std::bit_cast<uint64_t>(log_z));
  const auto [log_weights, x] = rbm_ais(weight, visible_bias, hidden_bias,
                                        at::zeros_like(visible_bias), betas, n_checks, generator);
  const double log_z_base = static_cast<double>(weight.size(0) + weight.size(1)) * std::log(2.0);
  const double found = at::logsumexp(log_weights, 0).item<double>() -
                       std::log(static_cast<double>(n_checks)) + log_z_base;
  const at::Tensor states = std::get<0>(at::unique_dim(x, 0));
  const at::Tensor energies = rbm_free_energy(states, weight, visible_bias, hidden_bias);
  const double proved = at::logsumexp(-energies.to(at::kDouble), 0).item<double>();
  if (proved <= upper + kRounding &&
      log_wealth(log_weights + (log_z_base - upper)) <= std::log(kWealth)) {
    return {};
  }
  return fmt::format(
      "{} chains from the uniform base find {:.1f} nats more: the chains of this base miss a part "
      "of the model; use the uniform base.",
      n_checks, std::max(found, proved) - log_z);
}

}  // namespace detail

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("rbm_base_warning", &detail::rbm_base_warning);
}
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("rbm_base_warning", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
