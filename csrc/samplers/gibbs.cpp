#include "torch_ebm/gibbs.h"

#include <torch/library.h>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"

namespace torch_ebm {

namespace {

constexpr const char* kOp = "gibbs";

/// Energies in float64, with +inf allowed (a forbidden state) and NaN and -inf refused. A copy: an energy may
/// return the same memory every time, or a view of x.
at::Tensor checked_energies(const Energy& energy, const at::Tensor& x, int64_t step, int64_t site) {
  const at::Tensor energies = energy.value(x).detach().to(at::kDouble, false, /*copy=*/true);
  const at::Tensor bad = at::isnan(energies).logical_or(at::isneginf(energies));
  if (bad.any().item<bool>()) {
    const int64_t chain = bad.nonzero()[0][0].item<int64_t>();
    TORCH_CHECK_VALUE(false, kOp, ": the energy of chain ", chain, " is ",
                      energies[chain].item<double>(), " at step ", step, ", site ", site,
                      "; likely its parameters are not finite, or it overflows for this state");
  }
  return energies;
}

/// One site of every chain. `x` (N, units) is changed in place; returns the energies of the new states.
at::Tensor update_site(const Energy& energy, at::Tensor& x, at::IntArrayRef shape, int64_t site,
                       const at::Tensor& energies, const at::Tensor& beta,
                       const at::Tensor& uniform, const std::optional<at::Tensor>& clamp,
                       int64_t step) {
  at::Tensor column = x.select(1, site);
  const at::Tensor before = column.clone();
  column.copy_(1 - before);
  const at::Tensor flipped = checked_energies(energy, x.view(shape), step, site);
  // Both states forbidden leaves inf - inf: such a chain stays where it is.
  const at::Tensor flip_probability = at::sigmoid(beta * (energies - flipped)).nan_to_num(0.0);
  at::Tensor flip = uniform.select(1, site).lt(flip_probability);
  if (clamp) flip = flip.logical_and(clamp->select(1, site).logical_not());
  column.copy_(at::where(flip, 1 - before, before));
  return at::where(flip, flipped, energies);
}

/// What an energy's own Gibbs sampler returned, if it keeps to the contract.
at::Tensor checked_states(const at::Tensor& states, const at::Tensor& x,
                          const std::optional<at::Tensor>& clamp) {
  detail::check_binary(kOp, "what the energy's gibbs returns", states);
  TORCH_CHECK_VALUE(!clamp || states.eq(x).logical_or(clamp->logical_not()).all().item<bool>(), kOp,
                    ": the energy's gibbs must keep the units that clamp keeps");
  return states;
}

at::Tensor gibbs_op(const c10::IValue& energy, const at::Tensor& x, int64_t n_steps,
                    const std::optional<at::Tensor>& beta, const std::optional<at::Tensor>& clamp,
                    std::optional<at::Generator> generator) {
  return gibbs(Energy::from_ivalue(kOp, energy), x, {n_steps, beta, clamp, generator});
}

}  // namespace

at::Tensor gibbs(const Energy& energy, const at::Tensor& x, const GibbsOptions& options) {
  const detail::NoGradMode no_grad;
  detail::check_floating(kOp, "x", x);
  detail::check_chains(kOp, "x", x);
  detail::check_at_least(kOp, "n_steps", options.n_steps, 1);
  detail::check_binary(kOp, "x", x);
  const at::Tensor beta = detail::checked_beta(kOp, options.beta, x.to(at::kDouble));
  const auto mask = detail::checked_clamp(kOp, options.clamp, x);
  if (auto states = energy.gibbs(x, options)) return checked_states(*states, x, mask);

  at::Tensor states = x.detach().clone(at::MemoryFormat::Contiguous).view({x.size(0), -1});
  std::optional<at::Tensor> clamp;
  if (mask) clamp = mask->reshape(states.sizes());
  at::Tensor energies = checked_energies(energy, states.view(x.sizes()), 0, 0);
  const uint64_t key = detail::draw_key(options.generator, x.device());
  detail::Progress progress(kOp, options.n_steps * states.size(1));
  for (int64_t step = 0; step < options.n_steps; ++step) {
    const auto counter = static_cast<uint32_t>(step);
    const at::Tensor uniform =
        detail::uniform_like(states.to(at::kDouble), {key, counter, detail::kSite});
    for (int64_t site = 0; site < states.size(1); ++site) {
      energies = update_site(energy, states, x.sizes(), site, energies, beta, uniform, clamp, step);
      progress.step(step * states.size(1) + site + 1);
    }
  }
  return states.view(x.sizes());
}

TORCH_LIBRARY_IMPL(torch_ebm, CPU, m) { m.impl("gibbs", &gibbs_op); }
TORCH_LIBRARY_IMPL(torch_ebm, CUDA, m) { m.impl("gibbs", &gibbs_op); }
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("gibbs", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
