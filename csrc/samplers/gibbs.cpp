#include "torch_ebm/gibbs.h"

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/samplers/chain_run.h"

namespace torch_ebm {

namespace {

constexpr const char* kOp = "gibbs";

/// Tempered energies in float64, with +inf allowed (a forbidden state) and NaN and -inf refused. A copy: an energy
/// may return the same memory every time, or a view of x.
at::Tensor checked_energies(const Energy& energy, const at::Tensor& x,
                            const std::optional<at::Tensor>& beta, int64_t step, int64_t site) {
  const at::Tensor energies = energy.value(x, beta).detach().to(at::kDouble, false, /*copy=*/true);
  const at::Tensor bad = at::isnan(energies).logical_or(at::isneginf(energies));
  if (bad.any().item<bool>()) {
    const int64_t chain = bad.nonzero()[0][0].item<int64_t>();
    TORCH_CHECK_VALUE(false, kOp, ": the energy of chain ", chain, " is ",
                      energies[chain].item<double>(), " at step ", step, ", site ", site,
                      "; likely its parameters are not finite, or it overflows for this state");
  }
  return energies;
}

/// A sweep of single-site updates. `states` (N, units) is changed in place, a site at a time.
class Sweep {
 public:
  Sweep(const Energy& energy, detail::ChainRun& chains, std::optional<at::Tensor> clamp)
      : energy_(energy),
        chains_(chains),
        clamp_(std::move(clamp)),
        energies_(checked_energies(energy, chains.x, chains.beta, 0, 0)) {}

  /// Returns the states after the sweep; those of the chains stay as they are.
  at::Tensor operator()(int64_t step) {
    at::Tensor states = chains_.x.clone().view({chains_.n_chains(), -1});
    const at::Tensor uniform =
        detail::uniform_like(states.to(at::kDouble), chains_.draw(detail::kSite));
    at::Tensor energies = energies_;
    for (int64_t site = 0; site < states.size(1); ++site) {
      energies = update_site(states, energies, site, uniform.select(1, site), step);
      chains_.within_step();
    }
    energies_ = energies;
    return states.view(chains_.x.sizes());
  }

 private:
  /// Returns the energies of the new states.
  at::Tensor update_site(at::Tensor& states, const at::Tensor& energies, int64_t site,
                         const at::Tensor& uniform, int64_t step) const {
    at::Tensor column = states.select(1, site);
    const at::Tensor before = column.clone();
    column.copy_(1 - before);
    const at::Tensor flipped =
        checked_energies(energy_, states.view(chains_.x.sizes()), chains_.beta, step, site);
    // Both states forbidden leaves inf - inf: such a chain stays where it is.
    const at::Tensor flip_probability = at::sigmoid(energies - flipped).nan_to_num(0.0);
    at::Tensor flip = uniform.lt(flip_probability);
    if (clamp_) flip = flip.logical_and(clamp_->select(1, site).logical_not());
    column.copy_(at::where(flip, 1 - before, before));
    return at::where(flip, flipped, energies);
  }

  const Energy& energy_;
  detail::ChainRun& chains_;
  std::optional<at::Tensor> clamp_;  // (N, units)
  at::Tensor energies_;              // of the states of the chains
};

/// What an energy's own Gibbs sampler returned, if it keeps to the contract.
at::Tensor checked_states(const at::Tensor& states, const at::Tensor& x,
                          const std::optional<at::Tensor>& clamp) {
  detail::check_binary(kOp, "what the energy's gibbs returns", states);
  TORCH_CHECK_VALUE(!clamp || states.eq(x).logical_or(clamp->logical_not()).all().item<bool>(), kOp,
                    ": the energy's gibbs must keep the units that clamp keeps");
  return states;
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> gibbs_op(
    const c10::IValue& energy, const at::Tensor& x, const std::optional<at::Tensor>& clamp,
    int64_t n_steps, const std::optional<at::Tensor>& beta, int64_t thin, bool inplace,
    std::optional<at::Generator> generator) {
  return detail::as_tuple(gibbs(Energy::from_ivalue(kOp, energy), x,
                                {n_steps, beta, thin, inplace, std::move(generator)}, {clamp}));
}

}  // namespace

Samples gibbs(const Energy& energy, const at::Tensor& x, const RunOptions& run,
              const GibbsOptions& options) {
  detail::ChainRun chains(kOp, x, run);
  detail::check_binary(kOp, "x", x);
  const auto mask = detail::checked_clamp(kOp, options.clamp, x);
  // An energy's own sampler makes all steps in one call, unless states on the way are asked for.
  RunOptions block = run;
  if (run.thin > 0) block.n_steps = 1;
  const auto own_states = energy.gibbs(chains.x, block, options.clamp);
  if (own_states && run.thin == 0) return chains.finished(checked_states(*own_states, x, mask));
  if (own_states) {
    return chains.run([&](int64_t step) {
      chains.x = checked_states(
          step == 0 ? *own_states : *energy.gibbs(chains.x, block, options.clamp), x, mask);
      return at::Tensor();
    });
  }
  std::optional<at::Tensor> clamp;
  if (mask) clamp = mask->reshape({x.size(0), -1});
  Sweep sweep(energy, chains, clamp);
  return chains.run([&](int64_t step) {
    chains.x = sweep(step);
    return at::Tensor();
  });
}

TORCH_EBM_DRIVER("gibbs", &gibbs_op)

}  // namespace torch_ebm
