#include "torch_ebm/partition/annealing/raise_log_likelihood.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/partition/annealing/path.h"
#include "torch_ebm/partition/annealing/anneal.h"

namespace torch_ebm {

namespace {

constexpr const char* kRaise = "raise_log_likelihood";

/// From the log weights, (N n_chains,), of the chains that went from x, (N, ...), down to the base.
at::Tensor raised(const Energy& path, const at::Tensor& x, const at::Tensor& log_weights,
                  const at::Tensor& log_z_base) {
  const at::Tensor of_examples = log_weights.view({x.size(0), -1});
  const at::Tensor log_mean =
      at::logsumexp(of_examples, {1}) - std::log(static_cast<double>(of_examples.size(1)));
  const at::Tensor energies = path.value(x).detach().to(at::kDouble);
  detail::check_energies(kRaise, energies.unsqueeze(0));
  return log_mean - energies - log_z_base;
}

at::Tensor raised_op(const c10::IValue& path, const at::Tensor& x, const at::Tensor& log_weights,
                     const at::Tensor& log_z_base) {
  detail::check_floating(kRaise, "x", x);
  detail::check_chains(kRaise, "x", x);
  detail::check_floating(kRaise, "log_weights", log_weights);
  TORCH_CHECK_VALUE(
      log_weights.dim() == 1 && log_weights.size(0) > 0 && log_weights.size(0) % x.size(0) == 0,
      kRaise, ": log_weights must have shape (N n_chains,) with N = ", x.size(0), ", got ",
      detail::describe_shape(log_weights.sizes()));
  detail::check_floating(kRaise, "log_z_base", log_z_base);
  detail::check_shape(kRaise, "log_z_base", log_z_base, {}, "()");
  const detail::NoGradMode no_grad;
  // A copy of x: an energy may change it before that is noticed.
  return raised(Energy::from_ivalue(kRaise, path), x.clone(), log_weights.detach().contiguous(),
                log_z_base.detach());
}

}  // namespace

at::Tensor raise_log_likelihood(const Energy& energy, const NoiseDistribution& base,
                                const at::Tensor& x, const Sampler& sampler,
                                const RAISEOptions& options) {
  detail::check_annealing_start(kRaise, x);
  detail::check_at_least(kRaise, "n_chains", options.n_chains, 1);
  TORCH_CHECK_VALUE(sampler, kRaise, ": sampler must not be empty");
  const at::Tensor betas = detail::checked_path_to_model(kRaise, options.betas).flip(0);
  const detail::NoGradMode no_grad;
  const auto [path, log_z_base] = detail::path_from_base(kRaise, energy, base, x);
  // The last transition of the annealing model, in reverse.
  const at::Tensor first =
      detail::moved_at_model(kRaise, path, x.repeat_interleave(options.n_chains, 0), sampler,
                             /*n_steps=*/1, options.generator);
  const at::Tensor log_weights =
      anneal(path, first, betas, sampler, {.generator = options.generator}).log_weights;
  return raised(path, x, log_weights, log_z_base);
}

TORCH_EBM_DRIVER("_raised_log_likelihood", &raised_op)

}  // namespace torch_ebm
