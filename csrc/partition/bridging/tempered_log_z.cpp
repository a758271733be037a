#include "torch_ebm/partition/bridging/tempered_log_z.h"

#include <cmath>
#include <memory>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/partition/bridging/bridge.h"
#include "csrc/partition/bridging/mbar.h"
#include "csrc/partition/bridging/thermodynamic_integration.h"
#include "csrc/partition/log_z_estimate.h"
#include "csrc/samplers/any_sampler.h"
#include "csrc/samplers/ladder.h"
#include "torch_ebm/samplers/replica_exchange.h"

namespace torch_ebm {

namespace {

using detail::Bridge;
using detail::LogRatios;

constexpr const char* kTemperedLogZ = "tempered_log_z";
constexpr int64_t kMaxGroups = 20;  // of the jackknife

/// Of two neighbouring rungs: the colder one is distribution 1. energies: (R at, R of, T, N).
LogRatios neighbours(const at::Tensor& energies, int64_t colder) {
  const int64_t hotter = colder + 1;
  const auto at_rung = [&](int64_t rung) {
    return (energies[hotter][rung] - energies[colder][rung]).flatten();
  };
  const LogRatios ratios{at_rung(hotter), at_rung(colder)};
  TORCH_CHECK_VALUE(
      ratios.at_0.isfinite().any().item<bool>() && ratios.at_1.isfinite().any().item<bool>(),
      kTemperedLogZ, ": rungs ", colder, " and ", hotter, " do not overlap");
  return ratios;
}

/// log Z of the first rung over that of the last, from energies (R, R, T, N). It is computed first
/// from all ladders, then from those that the jackknife keeps.
class Estimator {
 public:
  virtual ~Estimator() = default;
  virtual double log_z(const at::Tensor& energies) = 0;
  /// The possible error of the last estimate beyond that of its samples.
  virtual double systematic_error() const { return 0; }
};

class ByMBAR : public Estimator {
 public:
  double log_z(const at::Tensor& energies) override {
    const at::Tensor all = energies.flatten(1);
    const int64_t n_rungs = energies.size(0);
    const double count = static_cast<double>(all.size(1) / n_rungs);
    start_ = detail::MBAR(all, at::full({n_rungs}, count, all.options()), start_).log_z();
    return (start_->select(0, 0) - start_->select(0, -1)).item<double>();
  }

 private:
  std::optional<at::Tensor> start_;
};

class ByBridges : public Estimator {
 public:
  double log_z(const at::Tensor& energies) override {
    starts_.resize(energies.size(0) - 1);
    double sum = 0;
    for (int64_t rung = 0; rung + 1 < energies.size(0); ++rung) {
      starts_[rung] = neighbours(energies, rung).log_z(Bridge::kOptimal, starts_[rung]);
      sum += *starts_[rung];
    }
    return sum;
  }

 private:
  std::vector<std::optional<double>> starts_;
};

class ByIntegration : public Estimator {
 public:
  explicit ByIntegration(at::Tensor betas) : betas_(std::move(betas)) {}

  double log_z(const at::Tensor& energies) override {
    detail::check_finite(kTemperedLogZ, "energies", energies);
    const auto difference = [&](int64_t a, int64_t b, int64_t at) {
      return energies[b][at] - energies[a][at];
    };
    const auto integral = detail::integrate(difference, betas_, /*corrected=*/true);
    error_ = integral.error;
    return -integral.log_z;
  }
  double systematic_error() const override { return error_; }

 private:
  at::Tensor betas_;
  double error_ = 0;
};

std::unique_ptr<Estimator> make_estimator(const std::string& method, const at::Tensor& betas) {
  if (method == "mbar") return std::make_unique<ByMBAR>();
  if (method == "bridge") return std::make_unique<ByBridges>();
  TORCH_CHECK_VALUE(method == "thermodynamic_integration", kTemperedLogZ,
                    ": method must be 'mbar', 'bridge' or 'thermodynamic_integration', got '",
                    method, "'");
  return std::make_unique<ByIntegration>(betas);
}

/// The smallest effective number of samples in the overlap of two rungs.
double least_overlap(const at::Tensor& energies) {
  double least = INFINITY;
  for (int64_t rung = 0; rung + 1 < energies.size(0); ++rung) {
    const LogRatios ratios = neighbours(energies, rung);
    least = std::min(least, 4 * ratios.overlap(ratios.log_z(Bridge::kOptimal)));
  }
  return least;
}

/// The standard error of the estimates from all but one group of ladders.
double jackknife_error(Estimator& estimator, const at::Tensor& energies, int64_t n_groups) {
  const int64_t n_ladders = energies.size(-1);
  std::vector<double> without_one;
  for (int64_t group = 0; group < n_groups; ++group) {
    const int64_t begin = group * n_ladders / n_groups;
    const int64_t end = (group + 1) * n_ladders / n_groups;
    without_one.push_back(
        estimator.log_z(at::cat({energies.slice(-1, 0, begin), energies.slice(-1, end)}, -1)));
  }
  return std::sqrt(detail::jackknife_variance(without_one));
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> ladder_energies_op(
    const c10::IValue& energy, const at::Tensor& x, const at::Tensor& betas,
    const c10::IValue& sampler, int64_t n_steps, int64_t n_burn_in,
    std::optional<at::Generator> generator) {
  const char* op = "ladder_energies";
  LadderEnergies run =
      ladder_energies(Energy::from_ivalue(op, energy), x, betas, Sampler::from_ivalue(op, sampler),
                      {n_steps, n_burn_in, generator});
  return {run.energies, run.x, run.swap_rate};
}

detail::LogZNumbers tempered_log_z_op(const c10::IValue& energy, const at::Tensor& x,
                                      const at::Tensor& betas, const c10::IValue& sampler,
                                      int64_t n_steps, int64_t n_burn_in, double log_z_base,
                                      c10::string_view method,
                                      std::optional<at::Generator> generator) {
  const LogZEstimate estimate =
      tempered_log_z(Energy::from_ivalue(kTemperedLogZ, energy), x, betas,
                     Sampler::from_ivalue(kTemperedLogZ, sampler), {n_steps, n_burn_in, generator},
                     {log_z_base, std::string(method)});
  return {estimate.log_z, estimate.std_error, estimate.lower, estimate.upper, estimate.ess};
}

}  // namespace

LadderEnergies ladder_energies(const Energy& energy, const at::Tensor& x, const at::Tensor& betas,
                               const Sampler& sampler, const LadderRun& run) {
  const char* op = "ladder_energies";
  const at::Tensor ladder = detail::checked_ladder(op, betas);
  detail::check_at_least(op, "n_steps", run.n_steps, 1);
  detail::check_at_least(op, "n_burn_in", run.n_burn_in, 0);
  std::vector<at::Tensor> temperatures = ladder.to(x.device()).unbind();
  std::vector<at::Tensor> kept;
  const auto keep = [&](const at::Tensor& states) {
    kept.push_back(energy.values_at(states, temperatures).unflatten(1, {ladder.size(0), -1}));
  };
  int64_t steps_done = 0;  // the sampler sees the states after the swaps of the step before
  const Sampler keeping = [&](const Energy& e, const at::Tensor& states, const RunOptions& call) {
    if (steps_done++ > run.n_burn_in) keep(states);
    return sampler(e, states, call);
  };
  const ReplicaSamples samples =
      replica_exchange(energy, x, betas, keeping,
                       {.n_steps = run.n_burn_in + run.n_steps, .generator = run.generator});
  keep(samples.x.flatten(0, 1));
  return {at::stack(kept, 2), samples.x, samples.swap_rate};
}

LogZEstimate tempered_log_z(const Energy& energy, const at::Tensor& x, const at::Tensor& betas,
                            const Sampler& sampler, const LadderRun& run,
                            const TemperedLogZOptions& options) {
  const at::Tensor ladder = detail::checked_ladder(kTemperedLogZ, betas);
  const auto estimator = make_estimator(options.method, ladder);
  TORCH_CHECK_VALUE(std::isfinite(options.log_z_base), kTemperedLogZ,
                    ": log_z_base must be finite, got ", options.log_z_base);
  TORCH_CHECK_VALUE(x.dim() >= 2 && x.size(1) >= 2, kTemperedLogZ,
                    ": x must have shape (R, N, ...) with N >= 2, got ",
                    detail::describe_shape(x.sizes()));
  const at::NoGradGuard no_grad;
  const at::Tensor energies = ladder_energies(energy, x, betas, sampler, run).energies;
  TORCH_CHECK_VALUE(energies.gt(-INFINITY).all().item<bool>(), kTemperedLogZ,
                    ": energies must not be NaN or -inf");
  const double log_z = options.log_z_base + estimator->log_z(energies);
  const double systematic_error = estimator->systematic_error();
  const int64_t n_groups = std::min(kMaxGroups, energies.size(-1));
  const double std_error = jackknife_error(*estimator, energies, n_groups);
  const double half_width = detail::t_quantile(n_groups - 1) * std_error + systematic_error;
  return detail::log_z_estimate(detail::log_z_numbers(log_z, std_error, half_width,
                                                      least_overlap(energies), energies.options()),
                                ladder);
}

TORCH_EBM_DRIVER("ladder_energies", &ladder_energies_op)
TORCH_EBM_DRIVER("tempered_log_z", &tempered_log_z_op)

}  // namespace torch_ebm
