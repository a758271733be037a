#include "torch_ebm/partition/annealing/tune_path.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/partition/annealing/path.h"
#include "csrc/samplers/chain_run.h"
#include "torch_ebm/samplers/hmc.h"
#include "torch_ebm/samplers/mala.h"
#include "torch_ebm/samplers/warm_up.h"

namespace torch_ebm {

namespace {

constexpr const char* kTunePath = "tune_path";
constexpr double kJitter = 0.5;  // of a path length: a fixed one may match the period of the motion

void check_sampler(const std::string& sampler) {
  TORCH_CHECK_VALUE(sampler == "hmc" || sampler == "mala", kTunePath,
                    ": sampler must be \"hmc\" or \"mala\", got \"", sampler, "\"");
}

/// HMC's path length at a temperature, within n_leapfrog (1 +- jitter): a hash of the temperature (the finaliser of
/// Steele, Lea & Flood 2014), so that going down a path uses the transitions of going up, reversed.
/// A length that is drawn in every step for all chains would make their weights depend on each
/// other.
int64_t path_length(int64_t n_leapfrog, double beta) {
  uint64_t bits = std::bit_cast<uint64_t>(beta) + 0x9e3779b97f4a7c15;
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  const double uniform = static_cast<double>((bits ^ (bits >> 31)) >> 11) * 0x1p-53;
  const double length = static_cast<double>(n_leapfrog) * (1 + kJitter * (2 * uniform - 1));
  return std::max<int64_t>(1, std::llround(length));
}

Samples tuned_transition(const PathTuning& tuning, const Energy& energy, const at::Tensor& x,
                         const RunOptions& run);

/// The same for chains at several temperatures, such as those of a ladder: those of each together.
Samples at_each_temperature(const PathTuning& tuning, const Energy& energy, const at::Tensor& x,
                            const RunOptions& run) {
  detail::check_floating("PathTuning", "x", x);
  detail::check_chains("PathTuning", "x", x);
  detail::check_shape("PathTuning", "beta", *run.beta, {x.size(0)}, "(N,)");
  const at::Tensor beta = run.beta->detach().to(at::kCPU, at::kDouble);
  const auto [values, which] = at::_unique(beta, /*sorted=*/true, /*return_inverse=*/true);
  std::vector<int64_t> none = x.sizes().vec();
  none.insert(none.begin(), 0);
  const auto numbers = x.options().dtype(at::kDouble);
  Samples all{at::empty_like(x), at::empty({x.size(0)}, numbers), at::empty(none, x.options()),
              at::empty({x.size(0)}, numbers)};
  for (int64_t k = 0; k < values.size(0); ++k) {
    const at::Tensor rows = which.eq(k).nonzero().squeeze(1).to(x.device());
    RunOptions at_one = run;
    at_one.beta = values[k].to(x.device());
    const Samples some = tuned_transition(tuning, energy, x.index_select(0, rows), at_one);
    all.x.index_copy_(0, rows, some.x);
    all.acceptance_rate.index_copy_(0, rows, some.acceptance_rate);
    all.energy->index_copy_(0, rows, some.energy.value());
  }
  return all;
}

/// The sampler at one temperature: step size and masses between those of the tuning.
Samples tuned_transition(const PathTuning& tuning, const Energy& energy, const at::Tensor& x,
                         const RunOptions& run) {
  TORCH_CHECK_VALUE(run.beta, "PathTuning: a tuned sampler must be given beta");
  if (run.beta->dim() > 0) return at_each_temperature(tuning, energy, x, run);
  const double beta = run.beta->item<double>();
  const detail::Place place = detail::place_on_path(tuning.betas, beta);
  const at::Tensor log_step_size = detail::linear_between(at::log(tuning.step_size), place);
  const StepSize step_size = std::exp(log_step_size.item<double>());
  // Masses, like the precisions of Gaussians, are linear along a geometric path.
  const at::Tensor inverse_mass = 1 / detail::linear_between(1 / tuning.inverse_mass, place);
  if (tuning.sampler == "mala") return mala(energy, x, run, {step_size, inverse_mass});
  const int64_t n_leapfrog = path_length(tuning.n_leapfrog, beta);
  return hmc(energy, x, run,
             {.step_size = step_size, .n_leapfrog = n_leapfrog, .inverse_mass = inverse_mass});
}

std::tuple<at::Tensor, at::Tensor> tune_path_op(const c10::IValue& energy, const at::Tensor& x,
                                                const at::Tensor& betas, const std::string& sampler,
                                                int64_t n_steps,
                                                std::optional<double> target_acceptance,
                                                int64_t n_leapfrog,
                                                std::optional<at::Generator> generator) {
  PathTuning tuning = tune_path(Energy::from_ivalue(kTunePath, energy), x, betas, sampler,
                                {n_steps, target_acceptance, n_leapfrog, std::move(generator)});
  return {tuning.step_size, tuning.inverse_mass};
}

detail::SamplesTuple tuned_step_op(const c10::IValue& energy, const at::Tensor& x,
                                   const at::Tensor& beta, const std::string& sampler,
                                   const at::Tensor& betas, const at::Tensor& step_size,
                                   const at::Tensor& inverse_mass, int64_t n_leapfrog,
                                   int64_t n_steps, std::optional<at::Generator> generator) {
  constexpr const char* kName = "tuned_step";
  check_sampler(sampler);
  const at::Tensor path = detail::checked_path(kName, betas);
  const int64_t n_betas = path.size(0);
  detail::check_shape(kName, "step_size", step_size, {n_betas}, "(R,)");
  TORCH_CHECK_VALUE(inverse_mass.dim() >= 1 && inverse_mass.size(0) == n_betas, kName,
                    ": inverse_mass must have shape (R, ...) with R = ", n_betas, ", got ",
                    detail::describe_shape(inverse_mass.sizes()));
  const PathTuning tuning{sampler, path, step_size, inverse_mass, n_leapfrog};
  Samples samples = tuning.bind(n_steps)(Energy::from_ivalue(kName, energy), x,
                                         {.beta = beta, .generator = std::move(generator)});
  return detail::as_tuple(std::move(samples));
}

}  // namespace

Sampler PathTuning::bind(int64_t n_steps) const {
  return Sampler::of_this_library(
      [tuning = *this, n_steps](const Energy& energy, const at::Tensor& x, const RunOptions& call) {
        const RunOptions run{.n_steps = n_steps, .beta = call.beta, .generator = call.generator};
        return tuned_transition(tuning, energy, x, run);
      });
}

PathTuning tune_path(const Energy& energy, const at::Tensor& x, const at::Tensor& betas,
                     const std::string& sampler, const TunePathOptions& options) {
  check_sampler(sampler);
  const at::Tensor path = detail::checked_path(kTunePath, betas);
  TORCH_CHECK_VALUE(path[0].item<double>() < path[1].item<double>(), kTunePath,
                    ": betas must rise");
  std::vector<at::Tensor> step_sizes;
  std::vector<at::Tensor> inverse_masses;
  at::Tensor states = x;
  for (const at::Tensor& beta : path.unbind()) {
    const WarmUp found = warm_up(energy, states, sampler,
                                 {.n_steps = options.n_steps,
                                  .target_acceptance = options.target_acceptance,
                                  .n_leapfrog = options.n_leapfrog,
                                  .beta = beta.to(x.device()),
                                  .generator = options.generator});
    states = found.x;
    step_sizes.push_back(found.step_size.cpu());
    inverse_masses.push_back(found.inverse_mass);
  }
  return {sampler, path, at::stack(step_sizes), at::stack(inverse_masses), options.n_leapfrog};
}

TORCH_EBM_DRIVER("tune_path", &tune_path_op)
TORCH_EBM_DRIVER("tuned_step", &tuned_step_op)

}  // namespace torch_ebm
