#include "csrc/partition/annealing/ais.h"

#include <torch/library.h>

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/models/rbm.h"
#include "csrc/partition/annealing/path.h"
#include "csrc/partition/annealing/rbm_base_warning.h"
#include "torch_ebm/partition/annealing/anneal.h"
#include "torch_ebm/partition/annealing/rbm_ais.h"

namespace torch_ebm {

namespace {

void check_groups(const char* op, int64_t n_chains, const AISOptions& options) {
  detail::check_at_least(op, "n_chains", n_chains, 2);
  if (options.resample_below > 0) {
    detail::check_at_least(op, "n_groups, where chains resample,", options.n_groups, 2);
  }
}

/// The weights of groups of consecutive chains, (n_groups,): the means of those of their chains, (N,).
at::Tensor weights_of_groups(const at::Tensor& log_weights, int64_t n_groups) {
  const at::Tensor groups = log_weights.view({n_groups, -1});
  return at::logsumexp(groups, {1}) - std::log(static_cast<double>(groups.size(1)));
}

/// Weights that are independent: those of the chains, or of the groups if these resample.
at::Tensor independent(const at::Tensor& log_weights, const AISOptions& options) {
  return options.resample_below == 0 ? log_weights
                                     : weights_of_groups(log_weights, options.n_groups);
}

AnnealOptions anneal_options(const AISOptions& options) {
  return {.n_groups = options.n_groups,
          .resample_below = options.resample_below,
          .generator = options.generator};
}

/// An estimate of log Z from one of -log Z, and vice versa.
LogZEstimate negated(LogZEstimate estimate) {
  estimate.log_z = -estimate.log_z;
  const at::Tensor lower = -estimate.upper;
  estimate.upper = -estimate.lower;
  estimate.lower = lower;
  return estimate;
}

/// The uniform base, unless there is another.
at::Tensor rbm_base(const RBM& rbm, const std::optional<at::Tensor>& base_visible_bias) {
  return base_visible_bias ? base_visible_bias->detach()
                           : at::zeros_like(rbm->visible_bias.detach());
}

/// log Z of an RBM at t = 0: its hidden units see no input there, so that their softplus terms are log 2 each.
at::Tensor rbm_log_z_base(const at::Tensor& base_visible_bias, int64_t n_hidden) {
  const at::Tensor bias = base_visible_bias.detach().to(at::kDouble);
  return at::logaddexp(bias, at::zeros_like(bias)).sum() +
         static_cast<double>(n_hidden) * std::log(2.0);
}

void check_no_groups(const char* op, const AISOptions& options) {
  TORCH_CHECK_VALUE(options.n_groups == 1 && options.resample_below == 0, op,
                    ": the chains of an RBM do not resample; pass it as an Energy, with a base");
}

at::Tensor independent_weights_op(const at::Tensor& log_weights, int64_t n_groups) {
  constexpr const char* kName = "_independent_weights";
  detail::check_floating(kName, "log_weights", log_weights);
  detail::check_shape(kName, "log_weights", log_weights, {-1}, "(N,)");
  detail::check_at_least(kName, "n_groups", n_groups, 1);
  TORCH_CHECK_VALUE(log_weights.size(0) > 0 && log_weights.size(0) % n_groups == 0, kName,
                    ": n_groups must divide the number of chains, ", log_weights.size(0), ", got ",
                    n_groups);
  return weights_of_groups(log_weights.detach().contiguous(), n_groups);
}

at::Tensor rbm_log_z_base_op(const at::Tensor& base_visible_bias, int64_t n_hidden) {
  detail::check_floating("_rbm_log_z_base", "base_visible_bias", base_visible_bias);
  detail::check_shape("_rbm_log_z_base", "base_visible_bias", base_visible_bias, {-1}, "(V,)");
  detail::check_at_least("_rbm_log_z_base", "n_hidden", n_hidden, 1);
  return rbm_log_z_base(base_visible_bias, n_hidden);
}

}  // namespace

namespace detail {

AISChains ais_chains(const char* op, const Energy& energy, const NoiseDistribution& base,
                     const Sampler& sampler, const AISOptions& options) {
  check_groups(op, options.n_chains, options);
  const at::Tensor betas = checked_path_to_model(op, options.betas);
  TORCH_CHECK_VALUE(base.sample, op, ": base must have a sample");
  const NoGradMode no_grad;
  const at::Tensor x = base.sample(options.n_chains, options.generator);
  const auto [path, log_z_base] = path_from_base(op, energy, base, x);
  const AnnealedChains chains = anneal(path, x, betas, sampler, anneal_options(options));
  LogZEstimate estimate = log_z_from_weights(independent(chains.log_weights, options), log_z_base);
  estimate.betas = betas;
  estimate.stage_ess = chains.stage_ess;
  return {std::move(estimate), chains.x};
}

AISChains ais_chains(const char* op, const RBM& rbm, const AISOptions& options,
                     const std::optional<at::Tensor>& base_visible_bias) {
  check_groups(op, options.n_chains, options);
  check_no_groups(op, options);
  check_keeps_energy(op, *rbm);
  const at::Tensor base = rbm_base(rbm, base_visible_bias);
  const at::Tensor betas = checked_path_to_model(op, options.betas);
  const auto [log_weights, x] = rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias, base,
                                        betas, options.n_chains, options.generator);
  LogZEstimate estimate =
      log_z_from_weights(log_weights, rbm_log_z_base(base, rbm->weight.size(1)));
  estimate.betas = betas;
  if (estimate.warning.empty()) {
    estimate.warning = rbm_base_warning(rbm->weight, rbm->visible_bias, rbm->hidden_bias, base,
                                        betas, options.n_chains, estimate.log_z.item<double>(),
                                        estimate.upper.item<double>());
  }
  return {std::move(estimate), x};
}

}  // namespace detail

LogZEstimate ais(const Energy& energy, const NoiseDistribution& base, const Sampler& sampler,
                 const AISOptions& options) {
  return detail::ais_chains("ais", energy, base, sampler, options).estimate;
}

LogZEstimate reverse_ais(const Energy& energy, const NoiseDistribution& base, const at::Tensor& x,
                         const Sampler& sampler, const AISOptions& options) {
  constexpr const char* kOp = "reverse_ais";
  detail::check_annealing_start(kOp, x);
  check_groups(kOp, x.size(0), options);
  const at::Tensor betas = detail::checked_path_to_model(kOp, options.betas).flip(0);
  const detail::NoGradMode no_grad;
  const auto [path, log_z_base] = detail::path_from_base(kOp, energy, base, x);
  const AnnealedChains chains = anneal(path, x, betas, sampler, anneal_options(options));
  LogZEstimate estimate =
      negated(log_z_from_weights(independent(chains.log_weights, options), -log_z_base));
  estimate.betas = betas;
  estimate.stage_ess = chains.stage_ess;
  return estimate;
}

LogZEstimate ais(const RBM& rbm, const AISOptions& options,
                 const std::optional<at::Tensor>& base_visible_bias) {
  return detail::ais_chains("ais", rbm, options, base_visible_bias).estimate;
}

LogZEstimate reverse_ais(const RBM& rbm, const at::Tensor& x, const AISOptions& options,
                         const std::optional<at::Tensor>& base_visible_bias) {
  constexpr const char* kOp = "reverse_ais";
  detail::check_annealing_start(kOp, x, rbm->weight);
  check_groups(kOp, x.size(0), options);
  check_no_groups(kOp, options);
  detail::check_keeps_energy(kOp, *rbm);
  const at::Tensor base = rbm_base(rbm, base_visible_bias);
  const at::Tensor betas = detail::checked_path_to_model(kOp, options.betas).flip(0);
  const at::Tensor log_weights =
      std::get<0>(rbm_ais(rbm->weight, rbm->visible_bias, rbm->hidden_bias, base, betas, x.size(0),
                          options.generator, x));
  LogZEstimate estimate =
      negated(log_z_from_weights(log_weights, -rbm_log_z_base(base, rbm->weight.size(1))));
  estimate.betas = betas;
  return estimate;
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("_independent_weights", &independent_weights_op);
  m.impl("_rbm_log_z_base", &rbm_log_z_base_op);
}
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("_independent_weights", torch::CppFunction::makeFallthrough());
  m.impl("_rbm_log_z_base", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
