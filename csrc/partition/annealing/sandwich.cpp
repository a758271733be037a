#include "torch_ebm/partition/annealing/sandwich.h"

#include <fmt/format.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/models/rbm.h"
#include "csrc/partition/annealing/ais.h"
#include "csrc/partition/annealing/path.h"
#include "csrc/partition/bridging/bridge.h"
#include "csrc/samplers/any_sampler.h"
#include "torch_ebm/partition/bridging/bridge_sampling.h"

namespace torch_ebm {

namespace {

constexpr const char* kSandwich = "sandwich";
constexpr double kFar = 1;         // nats between two estimates
constexpr double kFarApart = 0.1;  // nats between their intervals

/// A warning about two bounds with these 95% intervals; empty if there is none.
std::string sandwich_warning(double forward, double forward_lower, double forward_upper,
                             double reverse, double reverse_lower, double reverse_upper) {
  // Intervals may be so wide that they meet: their own warnings say so, but not how far apart the
  // bounds are.
  if (reverse - forward > kFar || reverse_lower - forward_upper > kFarApart) {
    return fmt::format("The bounds disagree by {:.1f} nats; anneal more slowly.",
                       reverse - forward);
  }
  if (forward_lower - reverse_upper > kFarApart) {
    return fmt::format(
        "The upper bound lies {:.1f} nats below the lower one: the samples that it started from "
        "miss a part of the model.",
        forward - reverse);
  }
  return {};
}

/// Bennett's estimate from the log weights of annealing up, with its estimate of log Z, and those of annealing down
/// with the opposite sign: each is the log ratio of two distributions over whole paths (Crooks 2000).
LogZEstimate bridged(const at::Tensor& forward, const at::Tensor& log_z,
                     const at::Tensor& reverse) {
  LogZEstimate estimate = bridge_sampling(forward, -reverse);
  const at::Tensor log_mean =
      at::logsumexp(forward, {0}) - std::log(static_cast<double>(forward.size(0)));
  const at::Tensor log_z_base = log_z - log_mean;
  for (at::Tensor* number : {&estimate.log_z, &estimate.lower, &estimate.upper}) {
    *number = *number + log_z_base;
  }
  return estimate;
}

detail::LogZNumbers sandwich_bridge_op(const at::Tensor& forward, const at::Tensor& log_z,
                                       const at::Tensor& reverse) {
  const at::NoGradGuard no_grad;
  for (const at::Tensor* tensor : {&forward, &log_z, &reverse}) {
    detail::check_not_meta("_sandwich_bridge", "forward, log_z and reverse", *tensor);
  }
  detail::check_floating("_sandwich_bridge", "forward", forward);
  detail::check_floating("_sandwich_bridge", "reverse", reverse);
  detail::check_floating("_sandwich_bridge", "log_z", log_z);
  detail::check_shape("_sandwich_bridge", "log_z", log_z, {}, "()");
  const LogZEstimate e =
      bridged(forward.detach().to(at::kDouble), log_z.detach(), reverse.detach().to(at::kDouble));
  return {e.log_z, e.std_error, e.lower, e.upper, e.ess};
}

/// Whether an RBM with these weights has exact samples.
bool has_exact_samples(const at::Tensor& weight) {
  detail::check_shape("_rbm_has_exact_samples", "weight", weight, {-1, -1}, "(V, H)");
  return std::min(weight.size(0), weight.size(1)) <= detail::kMaxSampledUnits;
}

Sandwich assembled(const LogZEstimate& forward, const LogZEstimate& reverse, bool exact_samples) {
  return {.forward = forward,
          .reverse = reverse,
          .bridge = bridged(forward.log_weights, forward.log_z, reverse.log_weights),
          .exact_samples = exact_samples,
          .warning = sandwich_warning(forward.log_z.item<double>(), forward.lower.item<double>(),
                                      forward.upper.item<double>(), reverse.log_z.item<double>(),
                                      reverse.lower.item<double>(), reverse.upper.item<double>())};
}

/// The last states of the chains, resampled by their weights.
at::Tensor resampled(const detail::AISChains& chains,
                     const std::optional<at::Generator>& generator) {
  return chains.x.index_select(0, detail::chains_by_weight(chains.estimate.log_weights, generator));
}

AISOptions ais_options(const SandwichOptions& options) {
  detail::check_at_least(kSandwich, "n_burn_in", options.n_burn_in, 0);
  return {.n_chains = options.n_chains, .betas = options.betas, .generator = options.generator};
}

}  // namespace

std::ostream& operator<<(std::ostream& stream, const Sandwich& sandwich) {
  const auto line = [&](const char* name, const LogZEstimate& estimate) {
    stream << fmt::format("{}: log Z = {:.4f} [{:.4f}, {:.4f}], ESS {:.1f}", name,
                          estimate.log_z.item<double>(), estimate.lower.item<double>(),
                          estimate.upper.item<double>(), estimate.ess.item<double>());
    if (!estimate.warning.empty()) stream << ". " << estimate.warning;
    stream << '\n';
  };
  line("lower bound", sandwich.forward);
  line(sandwich.exact_samples ? "upper bound" : "upper bound, only as far as the chains have mixed",
       sandwich.reverse);
  line("both directions", sandwich.bridge);
  return stream << sandwich.warning;
}

Sandwich sandwich(const Energy& energy, const NoiseDistribution& base, const Sampler& sampler,
                  const SandwichOptions& options) {
  const AISOptions both = ais_options(options);
  const detail::AISChains up = detail::ais_chains(kSandwich, energy, base, sampler, both);
  if (options.x) {
    return assembled(up.estimate, reverse_ais(energy, base, *options.x, sampler, both), true);
  }
  const detail::NoGradMode no_grad;
  at::Tensor x = resampled(up, options.generator);
  const Energy path = detail::path_from_base(kSandwich, energy, base, x).energy;
  x = detail::moved_at_model(kSandwich, path, x, sampler, options.n_burn_in, options.generator);
  return assembled(up.estimate, reverse_ais(energy, base, x, sampler, both), false);
}

Sandwich sandwich(const RBM& rbm, const SandwichOptions& options,
                  const std::optional<at::Tensor>& base_visible_bias) {
  const AISOptions both = ais_options(options);
  const detail::AISChains up = detail::ais_chains(kSandwich, rbm, both, base_visible_bias);
  const bool exact = options.x || has_exact_samples(rbm->weight);
  at::Tensor x;
  if (options.x) {
    x = *options.x;
  } else if (exact) {
    x = rbm->sample(options.n_chains, options.generator);
  } else {
    x = resampled(up, options.generator);
    if (options.n_burn_in > 0) {
      const RunOptions run{.n_steps = options.n_burn_in, .generator = options.generator};
      x = std::get<0>(rbm_gibbs(x, rbm->weight, rbm->visible_bias, rbm->hidden_bias, run));
    }
  }
  return assembled(up.estimate, reverse_ais(rbm, x, both, base_visible_bias), exact);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("sandwich_warning", &sandwich_warning);
  m.impl("_rbm_has_exact_samples", &has_exact_samples);
}
TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("_sandwich_bridge", &sandwich_bridge_op);
}
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("_sandwich_bridge", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
