#include "torch_ebm/partition/annealing/raise_log_likelihood.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/partition/annealing/path.h"
#include "csrc/samplers/any_sampler.h"
#include "torch_ebm/partition/annealing/anneal.h"

namespace torch_ebm {

at::Tensor raise_log_likelihood(const Energy& energy, const NoiseDistribution& base,
                                const at::Tensor& x, const Sampler& sampler,
                                const RAISEOptions& options) {
  constexpr const char* kOp = "raise_log_likelihood";
  detail::check_floating(kOp, "x", x);
  detail::check_chains(kOp, "x", x);
  detail::check_at_least(kOp, "n_chains", options.n_chains, 1);
  TORCH_CHECK_VALUE(sampler, kOp, ": sampler must not be empty");
  const at::Tensor betas = detail::checked_path_to_model(kOp, options.betas).flip(0);
  const detail::NoGradMode no_grad;
  const auto [path, log_z_base] = detail::path_from_base(kOp, energy, base, x);
  const at::Tensor one = at::ones({}, x.options().dtype(at::kDouble));
  // The last transition of the annealing model, in reverse.
  const at::Tensor first =
      detail::moved(kOp, sampler, path, x.repeat_interleave(options.n_chains, 0), one,
                    options.generator)
          .x;
  const at::Tensor log_weights =
      anneal(path, first, betas, sampler, {.generator = options.generator}).log_weights;
  const at::Tensor log_mean = at::logsumexp(log_weights.view({-1, options.n_chains}), {1}) -
                              std::log(static_cast<double>(options.n_chains));
  return log_mean - detail::path_energies(kOp, path, x, {one})[0] - log_z_base;
}

}  // namespace torch_ebm
