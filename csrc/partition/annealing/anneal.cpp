#include "torch_ebm/partition/annealing/anneal.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/partition/annealing/path.h"
#include "csrc/passes/noise.h"
#include "csrc/samplers/any_sampler.h"

namespace torch_ebm {

namespace {

constexpr const char* kAnneal = "anneal";

class Annealing {
 public:
  Annealing(const Energy& energy, const at::Tensor& x, const Sampler& sampler,
            const AnnealOptions& options)
      : energy_(energy), sampler_(sampler), options_(options), x_(x.detach().clone()) {
    log_weights_ = options.log_weights
                       ? options.log_weights->detach().to(x.device(), at::kDouble, false, true)
                       : at::zeros({x.size(0)}, x.options().dtype(at::kDouble));
  }

  void change(const at::Tensor& from, const at::Tensor& to) {
    const at::Tensor energies =
        detail::path_energies(kAnneal, energy_, x_, {from, to}, what_sampler_said(from));
    // A chain of weight 0 keeps it: its energies may both be +inf.
    log_weights_ = at::where(at::isneginf(log_weights_), log_weights_,
                             log_weights_ + detail::log_weight_change(energies[0], energies[1]));
    ess_ = detail::effective_number(log_weights_);
    if (options_.resample_below > 0) resample();
    auto [x, energies_there] =
        detail::moved(kAnneal, sampler_, energy_, x_, to, options_.generator);
    x_ = std::move(x);
    if (sampler_.knows_energies()) said_ = std::move(energies_there);
  }

  const at::Tensor& ess() const { return ess_; }
  AnnealedChains finished(at::Tensor stage_ess) && {
    return {std::move(x_), std::move(log_weights_), std::move(stage_ess)};
  }

 private:
  /// The energies at `beta` that the sampler returned with its states. Dividing by a small beta would magnify their
  /// rounding.
  std::optional<KnownEnergy> what_sampler_said(const at::Tensor& beta) const {
    constexpr double kLeastBeta = 1e-3;
    if (!said_ || beta.item<double>() < kLeastBeta) return std::nullopt;
    if (!at::isfinite(*said_).all().item<bool>()) return std::nullopt;
    return KnownEnergy{*said_, beta};
  }

  void resample() {
    // Every stage draws its own key, needed or not, so that a run can be split anywhere.
    const uint64_t key = detail::draw_key(options_.generator, x_.device());
    const at::Tensor groups = log_weights_.view({options_.n_groups, -1});
    const int64_t size = groups.size(1);
    const at::Tensor low = detail::effective_number(groups)
                               .lt(options_.resample_below * static_cast<double>(size))
                               .logical_and(groups.gt(-INFINITY).any(1))
                               .unsqueeze(1);
    if (!low.any().item<bool>()) return;
    const at::Tensor uniform = passes::uniform_like(
        at::empty({options_.n_groups}, groups.options()), {key, 0, detail::kAccept});
    const at::Tensor chains = at::arange(size, groups.options().dtype(at::kLong));
    const at::Tensor first_of_group =
        size * at::arange(options_.n_groups, chains.options()).unsqueeze(1);
    const at::Tensor chosen =
        at::where(low, detail::resampled_chains(groups, uniform), chains) + first_of_group;
    x_ = x_.index_select(0, chosen.flatten());
    const at::Tensor mean =
        at::logsumexp(groups, {1}, /*keepdim=*/true) - std::log(static_cast<double>(size));
    log_weights_ = at::where(low, mean, groups).flatten();
  }

  const Energy& energy_;
  const Sampler& sampler_;
  const AnnealOptions& options_;
  at::Tensor x_;
  at::Tensor log_weights_;
  at::Tensor ess_;
  std::optional<at::Tensor> said_;  // by the sampler: the energies of x_
};

void check_anneal(const at::Tensor& x, const Sampler& sampler, const AnnealOptions& options) {
  detail::check_floating(kAnneal, "x", x);
  detail::check_chains(kAnneal, "x", x);
  detail::check_finite(kAnneal, "x", x);
  TORCH_CHECK_VALUE(sampler, kAnneal, ": sampler must not be empty");
  if (options.log_weights) {
    detail::check_floating(kAnneal, "log_weights", *options.log_weights);
    detail::check_shape(kAnneal, "log_weights", *options.log_weights, {x.size(0)}, "(N,)");
    TORCH_CHECK_VALUE(options.log_weights->lt(INFINITY).all().item<bool>(), kAnneal,
                      ": log_weights must not be NaN or +inf");
  }
  detail::check_at_least(kAnneal, "n_groups", options.n_groups, 1);
  TORCH_CHECK_VALUE(x.size(0) % options.n_groups == 0, kAnneal,
                    ": n_groups must divide the number of chains, ", x.size(0), ", got ",
                    options.n_groups);
  TORCH_CHECK_VALUE(options.resample_below >= 0 && options.resample_below <= 1, kAnneal,
                    ": resample_below must be in [0, 1], got ", options.resample_below);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> anneal_op(
    const c10::IValue& energy, const at::Tensor& x, const at::Tensor& betas,
    const c10::IValue& sampler, const std::optional<at::Tensor>& log_weights, int64_t n_groups,
    double resample_below, std::optional<at::Generator> generator) {
  AnnealedChains chains =
      anneal(Energy::from_ivalue(kAnneal, energy), x, betas, Sampler::from_ivalue(kAnneal, sampler),
             {log_weights, n_groups, resample_below, std::move(generator)});
  return {chains.x, chains.log_weights, chains.stage_ess};
}

}  // namespace

AnnealedChains anneal(const Energy& energy, const at::Tensor& x, const at::Tensor& betas,
                      const Sampler& sampler, const AnnealOptions& options) {
  const at::Tensor path = detail::checked_path(kAnneal, betas);
  check_anneal(x, sampler, options);
  const detail::NoGradMode no_grad;
  const int64_t n_stages = path.size(0) - 1;
  const std::vector<at::Tensor> beta = path.to(x.device()).unbind();
  std::vector<at::Tensor> stage_ess;
  stage_ess.reserve(n_stages);
  Annealing chains(energy, x, sampler, options);
  detail::Progress progress(kAnneal, n_stages);
  for (int64_t k = 0; k < n_stages; ++k) {
    chains.change(beta[k], beta[k + 1]);
    stage_ess.push_back(chains.ess());
    progress.step(k + 1);
  }
  return std::move(chains).finished(at::stack(stage_ess));
}

TORCH_EBM_DRIVER("anneal", &anneal_op)

}  // namespace torch_ebm
