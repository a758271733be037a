#include "torch_ebm/tune_path.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/partition/path.h"
#include "torch_ebm/hmc.h"
#include "torch_ebm/mala.h"
#include "torch_ebm/warm_up.h"

namespace torch_ebm {

namespace {

constexpr const char* kOp = "tune_path";
constexpr double kJitter =
    0.5;  // of HMC's path length: a fixed one may be the period of the motion

void check_sampler(const std::string& sampler) {
  TORCH_CHECK_VALUE(sampler == "hmc" || sampler == "mala", kOp,
                    ": sampler must be \"hmc\" or \"mala\", got \"", sampler, "\"");
}

std::tuple<at::Tensor, at::Tensor> tune_path_op(const c10::IValue& energy, const at::Tensor& x,
                                                const at::Tensor& betas, const std::string& sampler,
                                                int64_t n_steps,
                                                std::optional<double> target_acceptance,
                                                int64_t n_leapfrog,
                                                std::optional<at::Generator> generator) {
  PathTuning tuning = tune_path(Energy::from_ivalue(kOp, energy), x, betas, sampler,
                                {n_steps, target_acceptance, n_leapfrog, std::move(generator)});
  return {tuning.step_size, tuning.inverse_mass};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> tuned_step_op(
    const c10::IValue& energy, const at::Tensor& x, const at::Tensor& beta,
    const std::string& sampler, const at::Tensor& betas, const at::Tensor& step_size,
    const at::Tensor& inverse_mass, int64_t n_leapfrog, int64_t n_steps,
    std::optional<at::Generator> generator) {
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
  return {samples.x, samples.acceptance_rate, samples.trajectory};
}

}  // namespace

Sampler PathTuning::bind(int64_t n_steps) const {
  return
      [tuning = *this, n_steps](const Energy& energy, const at::Tensor& x, const RunOptions& call) {
        RunOptions run = call;
        run.n_steps = n_steps;
        TORCH_CHECK_VALUE(run.beta && run.beta->dim() == 0,
                          "PathTuning: a tuned sampler takes one beta, shape (), for all chains");
        const detail::Place place = detail::place_on_path(tuning.betas, run.beta->item<double>());
    const at::Tensor log_step_size = detail::linear_between(at::log(tuning.step_size), place);
    const StepSize step_size = std::exp(log_step_size.item<double>());
    // Masses, like the precisions of Gaussian laws, are linear along a geometric path.
    const at::Tensor inverse_mass = 1 / detail::linear_between(1 / tuning.inverse_mass, place);
    if (tuning.sampler == "mala") return mala(energy, x, run, {step_size, inverse_mass});
        return hmc(energy, x, run, {step_size, tuning.n_leapfrog, kJitter, inverse_mass});
      };
}

PathTuning tune_path(const Energy& energy, const at::Tensor& x, const at::Tensor& betas,
                     const std::string& sampler, const TunePathOptions& options) {
  check_sampler(sampler);
  const at::Tensor path = detail::checked_path(kOp, betas);
  TORCH_CHECK_VALUE(path[0].item<double>() < path[1].item<double>(), kOp, ": betas must rise");
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
