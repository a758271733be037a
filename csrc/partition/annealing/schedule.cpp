#include "torch_ebm/partition/annealing/schedule.h"

#include <algorithm>
#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/partition/annealing/path.h"
#include "csrc/samplers/any_sampler.h"
#include "torch_ebm/partition/annealing/anneal.h"

namespace torch_ebm {

namespace {

constexpr const char* kAdaptiveSchedule = "adaptive_schedule";
constexpr double kResampleBelow = 0.5;
constexpr int64_t kCandidates = 16;  // evaluated at once

void check_n_steps(const char* op, int64_t n_steps, int64_t least = 1) {
  constexpr int64_t kLimit = int64_t{1} << 24;  // temperatures that take months
  detail::check_at_least(op, "n_steps", n_steps, least);
  TORCH_CHECK_VALUE(n_steps < kLimit, op, ": n_steps must be below 2^24, got ", n_steps);
}

class Pilot {
 public:
  Pilot(const Energy& energy, const at::Tensor& x, double target)
      : energy_(energy), target_(target) {
    chains_.x = x.detach().clone();  // an energy may change it before that is noticed
    chains_.log_weights = at::zeros({x.size(0)}, x.options().dtype(at::kDouble));
  }

  /// The largest temperature above `beta`, up to 1, with the required conditional ESS: found among
  /// halved steps, then between two of them.
  double next(double beta) const {
    const at::Tensor index = at::arange(kCandidates, at::kDouble);
    const auto [fits, step] = longest(beta, (1 - beta) * at::pow(2, -index));
    if (step == 1 - beta) return 1;  // beta + step may be rounded
    if (!fits) return beta + step;
    return beta + longest(beta, step * (2 - index / kCandidates)).second;
  }

  void move(double from, double to, const Sampler& sampler,
            const std::optional<at::Generator>& generator) {
    chains_ = anneal(energy_, chains_.x, at::tensor({from, to}, at::kDouble), sampler,
                     {.log_weights = chains_.log_weights,
                      .resample_below = kResampleBelow,
                      .generator = generator});
  }

 private:
  /// The first of the falling steps with the required conditional ESS; the last one, and false, if
  /// none has it.
  std::pair<bool, double> longest(double beta, const at::Tensor& steps) const {
    std::vector<at::Tensor> betas{at::full({}, beta, chains_.log_weights.options())};
    for (const at::Tensor& candidate : (beta + steps).to(chains_.x.device()).unbind()) {
      betas.push_back(candidate);
    }
    const at::Tensor energies = detail::path_energies(kAdaptiveSchedule, energy_, chains_.x, betas);
    const at::Tensor growth = detail::log_weight_change(energies[0], energies.slice(0, 1));
    const at::Tensor share = at::log_softmax(chains_.log_weights, 0);
    const at::Tensor log_ess =
        2 * at::logsumexp(share + growth, {1}) - at::logsumexp(share + 2 * growth, {1});
    const at::Tensor fitting = at::exp(log_ess).ge(target_).nonzero();
    const bool found = fitting.size(0) > 0;
    return {found, (found ? steps[fitting[0].item<int64_t>()] : steps[-1]).item<double>()};
  }

  const Energy& energy_;
  double target_;
  AnnealedChains chains_;
};

at::Tensor adaptive_schedule_op(const c10::IValue& energy, const at::Tensor& x,
                                const c10::IValue& sampler, double conditional_ess,
                                int64_t max_temperatures, std::optional<at::Generator> generator) {
  return adaptive_schedule(Energy::from_ivalue(kAdaptiveSchedule, energy), x,
                           Sampler::from_ivalue(kAdaptiveSchedule, sampler),
                           {conditional_ess, max_temperatures, std::move(generator)});
}

}  // namespace

at::Tensor linear_schedule(int64_t n_steps) {
  check_n_steps("linear_schedule", n_steps);
  return at::linspace(0, 1, n_steps + 1, at::TensorOptions(at::kDouble));
}

at::Tensor sigmoid_schedule(int64_t n_steps, double steepness) {
  check_n_steps("sigmoid_schedule", n_steps);
  TORCH_CHECK_VALUE(steepness > 0 && std::isfinite(steepness),
                    "sigmoid_schedule: steepness must be > 0 and finite, got ", steepness);
  const at::Tensor s =
      at::sigmoid(steepness * at::linspace(-1, 1, n_steps + 1, at::TensorOptions(at::kDouble)));
  at::Tensor betas = (s - s[0]) / (s[-1] - s[0]);
  betas[-1] = 1;  // whatever the division was rounded to
  TORCH_CHECK_VALUE(betas.diff().gt(0).all().item<bool>(), "sigmoid_schedule: steepness ",
                    steepness, " leaves no room between two temperatures");
  return betas;
}

at::Tensor salakhutdinov_murray_schedule(int64_t n_steps) {
  check_n_steps("salakhutdinov_murray_schedule", n_steps, 3);
  const auto share = [&](int64_t parts) {
    return std::max<int64_t>(1, std::llround(static_cast<double>(n_steps * parts) / 29));
  };
  const int64_t first = share(1), second = std::min(share(8), n_steps - first - 1);
  const auto part = [](double from, double to, int64_t n) {
    return at::linspace(from, to, n + 1, at::TensorOptions(at::kDouble));
  };
  return at::cat({part(0, 0.5, first), part(0.5, 0.9, second).slice(0, 1),
                  part(0.9, 1, n_steps - first - second).slice(0, 1)});
}

at::Tensor adaptive_schedule(const Energy& energy, const at::Tensor& x, const Sampler& sampler,
                             const AdaptiveScheduleOptions& options) {
  detail::check_floating(kAdaptiveSchedule, "x", x);
  detail::check_chains(kAdaptiveSchedule, "x", x);
  TORCH_CHECK_VALUE(options.conditional_ess > 0 && options.conditional_ess < 1, kAdaptiveSchedule,
                    ": conditional_ess must be in (0, 1), got ", options.conditional_ess);
  detail::check_at_least(kAdaptiveSchedule, "max_temperatures", options.max_temperatures, 2);
  const detail::NoGradMode no_grad;
  Pilot pilot(energy, x, options.conditional_ess);
  std::vector<double> betas{0};
  while (betas.back() < 1) {
    TORCH_CHECK_VALUE(static_cast<int64_t>(betas.size()) < options.max_temperatures,
                      kAdaptiveSchedule,
                      ": more than max_temperatures = ", options.max_temperatures,
                      " are needed; at beta = ", betas.back());
    const double to = pilot.next(betas.back());
    pilot.move(betas.back(), to, sampler, options.generator);
    betas.push_back(to);
  }
  return at::tensor(betas, at::kDouble);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("linear_schedule", &linear_schedule);
  m.impl("sigmoid_schedule", &sigmoid_schedule);
  m.impl("salakhutdinov_murray_schedule", &salakhutdinov_murray_schedule);
}
TORCH_EBM_DRIVER("adaptive_schedule", &adaptive_schedule_op)

}  // namespace torch_ebm
