#include "csrc/partition/bridging/thermodynamic_integration.h"

#include <torch/library.h>

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/partition/bridging/bridge.h"
#include "csrc/partition/log_z_estimate.h"

namespace torch_ebm {

namespace {

constexpr const char* kThermodynamicIntegration = "thermodynamic_integration";

at::Tensor increasing_betas(const at::Tensor& betas) {
  detail::check_floating(kThermodynamicIntegration, "betas", betas);
  detail::check_shape(kThermodynamicIntegration, "betas", betas, {-1}, "(R,)");
  detail::check_at_least(kThermodynamicIntegration, "the number of betas", betas.size(0), 2);
  detail::check_finite(kThermodynamicIntegration, "betas", betas);
  const at::Tensor path = betas.detach().to(at::kCPU, at::kDouble);
  const at::Tensor steps = path.diff();
  TORCH_CHECK_VALUE(steps.gt(0).all().item<bool>() || steps.lt(0).all().item<bool>(),
                    kThermodynamicIntegration, ": betas must be strictly monotone");
  return path;
}

at::Tensor checked_derivatives(const at::Tensor& derivatives, int64_t n_laws) {
  detail::check_floating(kThermodynamicIntegration, "derivatives", derivatives);
  TORCH_CHECK_VALUE(
      (derivatives.dim() == 2 || derivatives.dim() == 3) && derivatives.size(0) == n_laws,
      kThermodynamicIntegration,
      ": derivatives must have shape (R, M) or (R, T, C) with R = ", n_laws, ", got ",
      detail::describe_shape(derivatives.sizes()));
  const bool chains = derivatives.dim() == 3;
  detail::check_at_least(kThermodynamicIntegration,
                         chains ? "the number of chains" : "the number of samples",
                         derivatives.size(-1), 2);
  detail::check_at_least(kThermodynamicIntegration, "the number of steps", derivatives.size(1), 1);
  detail::check_finite(kThermodynamicIntegration, "derivatives", derivatives);
  return derivatives.detach().to(at::kDouble);
}

/// The contribution of the samples at one of the two ends of a segment to the integral of E_b - E_a
/// from a to b, whose values there are `difference`: their mean is the trapezoid's half, and the
/// correction.
at::Tensor segment_terms(const at::Tensor& difference, bool first, bool corrected) {
  const at::Tensor half = difference / 2;
  if (!corrected) return half;
  // The integrand's slope is minus the variance, so that the trapezoid lacks (V_b - V_a) / 12.
  const double n = static_cast<double>(difference.numel());
  return half + (difference - difference.mean()).square() * (n / (n - 1) / (first ? -12 : 12));
}

detail::LogZNumbers thermodynamic_integration_kernel(const at::Tensor& betas,
                                                     const at::Tensor& derivatives,
                                                     bool corrected) {
  const at::NoGradGuard no_grad;
  const at::Tensor path = increasing_betas(betas);
  const at::Tensor u = checked_derivatives(derivatives, path.size(0));
  const detail::PathIntegral integral = detail::integrate(
      [&](int64_t a, int64_t b, int64_t at) {
        return u[at] * (path[b].item<double>() - path[a].item<double>());
      },
      path, corrected);

  const double n_samples = static_cast<double>(u[0].numel());
  const double of_independent = integral.terms.flatten(1).var(1).sum().item<double>() / n_samples;
  double variance = of_independent;
  int64_t n_groups = u.size(-1);
  if (u.dim() == 3) {
    const at::Tensor by_chain = integral.terms.mean(1).sum(0);
    variance = by_chain.var().item<double>() / static_cast<double>(n_groups);
  }
  const double std_error = std::sqrt(variance);
  const double half_width = detail::t_quantile(n_groups - 1) * std_error + integral.error;
  const double ess = variance > 0 ? n_samples * of_independent / variance : n_samples;
  return detail::log_z_numbers(integral.log_z, std_error, half_width, ess, u.options());
}

detail::LogZNumbers thermodynamic_integration_meta(const at::Tensor&, const at::Tensor& derivatives,
                                                   bool) {
  return detail::meta_numbers(derivatives.options());
}

}  // namespace

namespace detail {

PathIntegral integrate(const EnergyDifference& difference, const at::Tensor& betas,
                       bool corrected) {
  const int64_t n_laws = betas.size(0);
  const auto terms = [&](int64_t a, int64_t b, int64_t at, bool with_correction) {
    return segment_terms(difference(a, b, at), at == a, with_correction);
  };
  const auto segment = [&](int64_t a, int64_t b, bool with_correction) {
    return (terms(a, b, a, with_correction).mean() + terms(a, b, b, with_correction).mean())
        .item<double>();
  };
  std::vector<at::Tensor> by_law;
  std::vector<double> segments;
  double log_z = 0;
  for (int64_t r = 0; r + 1 < n_laws; ++r) {
    const at::Tensor first = terms(r, r + 1, r, corrected);
    if (r == 0) by_law.push_back(first);
    if (r > 0) by_law.back() = by_law.back() + first;
    by_law.push_back(terms(r, r + 1, r + 1, corrected));
    segments.push_back(segment(r, r + 1, corrected));
    log_z -= segments.back();
  }
  const at::Tensor sums = at::stack(by_law);
  if (n_laws == 2) return {log_z, sums, std::abs(segment(0, 1, true) - segment(0, 1, false))};

  // Richardson's estimate: the error of a segment grows like this power of its length.
  const double order = corrected ? 5 : 3;
  const auto power = [&](int64_t a, int64_t b) {
    return std::pow(std::abs((betas[b] - betas[a]).item<double>()), order);
  };
  double error = 0;
  for (int64_t r = 0; r + 2 < n_laws; r += r + 4 == n_laws ? 1 : 2) {
    const double change = segment(r, r + 2, corrected) - segments[r] - segments[r + 1];
    const double parts = power(r, r + 1) + power(r + 1, r + 2);
    error += change * parts / (power(r, r + 2) - parts);
  }
  return {log_z, sums, std::abs(error)};
}

}  // namespace detail

LogZEstimate thermodynamic_integration(const at::Tensor& betas, const at::Tensor& derivatives,
                                       bool corrected) {
  static const auto op = detail::find_operator<decltype(thermodynamic_integration_kernel)>(
      "torch_ebm::thermodynamic_integration");
  return detail::log_z_estimate(op.call(betas, derivatives, corrected),
                                betas.detach().to(at::kCPU, at::kDouble));
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("thermodynamic_integration", &thermodynamic_integration_kernel);
}
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) {
  m.impl("thermodynamic_integration", &thermodynamic_integration_meta);
}
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("thermodynamic_integration", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
