#include "torch_ebm/partition/log_likelihood.h"

#include <cmath>
#include <functional>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"
#include "csrc/partition/log_z_estimate.h"

namespace torch_ebm {

namespace {

/// log Z, its standard error, and how far its 95% interval reaches below and above it.
struct LogZ {
  double value;
  double std_error;
  double below;
  double above;
};

/// From what the operators take: () if it is exact, or (4,).
LogZ checked_log_z(const char* op, const char* name, const at::Tensor& log_z) {
  detail::check_floating(op, name, log_z);
  detail::check_finite(op, name, log_z);
  if (log_z.dim() == 0) return {log_z.item<double>(), 0, 0, 0};
  TORCH_CHECK_VALUE(log_z.dim() == 1 && log_z.size(0) == 4, op, ": ", name,
                    " must be one number, shape (), or log Z, its standard error and its interval, "
                    "shape (4,), got ",
                    detail::describe_shape(log_z.sizes()));
  const at::Tensor numbers = log_z.to(at::kCPU, at::kDouble).contiguous();
  const double* const of = numbers.const_data_ptr<double>();
  TORCH_CHECK_VALUE(of[1] >= 0 && of[2] <= of[0] && of[0] <= of[3], op, ": ", name,
                    " must lie in its interval and have an error >= 0, got ", of[0], " in [", of[2],
                    ", ", of[3], "] with the error ", of[1]);
  return {of[0], of[1], of[0] - of[2], of[3] - of[0]};
}

/// log Z_a - log Z_b of independent estimates.
LogZ difference(const LogZ& a, const LogZ& b) {
  return {a.value - b.value, std::hypot(a.std_error, b.std_error), std::hypot(a.below, b.above),
          std::hypot(a.above, b.below)};
}

at::Tensor as_argument(const LogZEstimate& log_z) {
  return at::stack({log_z.log_z, log_z.std_error, log_z.lower, log_z.upper});
}

at::Tensor negative_energies(const char* op, const Energy& energy, const at::Tensor& x) {
  const at::Tensor energies = energy.value(x).to(at::kDouble, false, /*copy=*/true);
  TORCH_CHECK_VALUE(energies.gt(-INFINITY).all().item<bool>(), op,
                    ": the energy of some example is NaN or -inf; likely the energy's parameters "
                    "are not finite");
  return -energies;
}

/// `function` of the examples, batch by batch: (N,).
at::Tensor in_batches(const char* op, const at::Tensor& x, std::optional<int64_t> batch_size,
                      const std::function<at::Tensor(const at::Tensor&)>& function) {
  detail::check_floating(op, "x", x);
  detail::check_chains(op, "x", x);
  detail::check_at_least(op, "the number of examples", x.size(0), 2);
  detail::check_finite(op, "x", x);
  if (batch_size) detail::check_at_least(op, "batch_size", *batch_size, 1);
  const detail::NoGradMode no_grad;
  std::vector<at::Tensor> parts;
  int64_t done = 0;
  detail::Progress progress(op, x.size(0));
  for (const at::Tensor& batch : x.detach().split(batch_size.value_or(x.size(0)))) {
    parts.push_back(function(batch.clone()));  // an energy may change it before that is noticed
    progress.step(done += batch.size(0));
  }
  return at::cat(parts);
}

LogLikelihood summarised(const at::Tensor& unnormalised, const LogZ& log_z) {
  const int64_t n = unnormalised.size(0);
  const at::Tensor values = unnormalised - log_z.value;
  const at::Tensor mean = values.mean();
  const at::Tensor data_error = values.std(0) / std::sqrt(static_cast<double>(n));
  const at::Tensor arm = detail::t_quantile(n - 1) * data_error;
  const auto number = [&](double value) { return at::full({}, value, values.options()); };
  const at::Tensor log_z_error = number(log_z.std_error);
  return {.values = values,
          .mean = mean,
          .data_error = data_error,
          .log_z_error = log_z_error,
          .std_error = at::hypot(data_error, log_z_error),
          .lower = mean - at::hypot(arm, number(log_z.above)),
          .upper = mean + at::hypot(arm, number(log_z.below))};
}

using Numbers =
    std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

Numbers numbers(const LogLikelihood& of) {
  return {of.values, of.mean, of.data_error, of.log_z_error, of.std_error, of.lower, of.upper};
}

constexpr const char* kLogLikelihood = "log_likelihood";

LogLikelihood log_likelihood_of(const Energy& energy, const at::Tensor& x, const at::Tensor& log_z,
                                std::optional<int64_t> batch_size) {
  const LogZ checked = checked_log_z(kLogLikelihood, "log_z", log_z);
  const auto unnormalised = [&](const at::Tensor& batch) {
    return negative_energies(kLogLikelihood, energy, batch);
  };
  return summarised(in_batches(kLogLikelihood, x, batch_size, unnormalised), checked);
}

Numbers log_likelihood_op(const c10::IValue& energy, const at::Tensor& x, const at::Tensor& log_z,
                          std::optional<int64_t> batch_size) {
  return numbers(
      log_likelihood_of(Energy::from_ivalue(kLogLikelihood, energy), x, log_z, batch_size));
}

constexpr const char* kCompare = "compare_log_likelihoods";

LogLikelihood comparison(const Energy& energy_a, const Energy& energy_b, const at::Tensor& x,
                         const at::Tensor& log_z_a, const at::Tensor& log_z_b,
                         std::optional<int64_t> batch_size) {
  const LogZ log_z = difference(checked_log_z(kCompare, "log_z_a", log_z_a),
                                checked_log_z(kCompare, "log_z_b", log_z_b));
  const at::Tensor unnormalised = in_batches(kCompare, x, batch_size, [&](const at::Tensor& batch) {
    return negative_energies(kCompare, energy_a, batch) -
           negative_energies(kCompare, energy_b, batch);
  });
  TORCH_CHECK_VALUE(!unnormalised.isnan().any().item<bool>(), kCompare,
                    ": x must not hold examples that both models forbid, by an energy of +inf");
  return summarised(unnormalised, log_z);
}

Numbers comparison_op(const c10::IValue& energy_a, const c10::IValue& energy_b, const at::Tensor& x,
                      const at::Tensor& log_z_a, const at::Tensor& log_z_b,
                      std::optional<int64_t> batch_size) {
  return numbers(comparison(Energy::from_ivalue(kCompare, energy_a),
                            Energy::from_ivalue(kCompare, energy_b), x, log_z_a, log_z_b,
                            batch_size));
}

}  // namespace

LogLikelihood log_likelihood(const Energy& energy, const at::Tensor& x, const LogZEstimate& log_z,
                             std::optional<int64_t> batch_size) {
  LogLikelihood result = log_likelihood_of(energy, x, as_argument(log_z), batch_size);
  result.warning = log_z.warning;
  return result;
}

LogLikelihood log_likelihood(const Energy& energy, const at::Tensor& x, const at::Tensor& log_z,
                             std::optional<int64_t> batch_size) {
  detail::check_shape(kLogLikelihood, "log_z", log_z, {}, "()");
  return log_likelihood_of(energy, x, log_z, batch_size);
}

LogLikelihood compare_log_likelihoods(const Energy& energy_a, const Energy& energy_b,
                                      const at::Tensor& x, const LogZEstimate& log_z_a,
                                      const LogZEstimate& log_z_b,
                                      std::optional<int64_t> batch_size) {
  LogLikelihood result =
      comparison(energy_a, energy_b, x, as_argument(log_z_a), as_argument(log_z_b), batch_size);
  const auto add = [&](const char* model, const std::string& warning) {
    if (warning.empty()) return;
    if (!result.warning.empty()) result.warning += ' ';
    result.warning += model + warning;
  };
  add("Of A: ", log_z_a.warning);
  add("Of B: ", log_z_b.warning);
  return result;
}

LogLikelihood compare_log_likelihoods(const Energy& energy_a, const Energy& energy_b,
                                      const at::Tensor& x, const at::Tensor& log_z_a,
                                      const at::Tensor& log_z_b,
                                      std::optional<int64_t> batch_size) {
  detail::check_shape(kCompare, "log_z_a", log_z_a, {}, "()");
  detail::check_shape(kCompare, "log_z_b", log_z_b, {}, "()");
  return comparison(energy_a, energy_b, x, log_z_a, log_z_b, batch_size);
}

TORCH_EBM_DRIVER("log_likelihood", &log_likelihood_op)
TORCH_EBM_DRIVER("compare_log_likelihoods", &comparison_op)

}  // namespace torch_ebm
