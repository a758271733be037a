#include "torch_ebm/testing/testing.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/progress.h"
#include "csrc/testing/chains.h"
#include "csrc/testing/statistics.h"

namespace torch_ebm::testing {

namespace {

constexpr const char* kEnumerate = "enumerate_states";
constexpr const char* kExactLaw = "exact_law";
constexpr const char* kInvariance = "check_invariance";
constexpr const char* kConvergence = "check_convergence";
constexpr const char* kTransitionCounts = "transition_counts";
constexpr const char* kSwapRule = "check_swap_rule";
constexpr const char* kKeepsLaw = "check_keeps_law";

at::Generator seeded(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

/// States x (N, ...) as (N, D), float64 on the CPU. States (N,) have one site.
at::Tensor flat_numbers(const char* op, const char* name, const at::Tensor& x) {
  return real_numbers(op, name, x).reshape({x.size(0), -1});
}

/// Maps states to their numbers, by their values.
class StateIndex {
 public:
  StateIndex(const char* op, const at::Tensor& states) {
    detail::check_chains(op, "states", states);
    detail::check_finite(op, "states", states);
    const at::Tensor flat = flat_numbers(op, "states", states);
    levels_ = std::get<0>(at::_unique(flat));
    weights_ =
        at::pow(static_cast<double>(levels_.numel()), at::arange(flat.size(1), flat.options()));
    std::tie(codes_, order_) = codes_of(flat).sort();
    constexpr double kMostCodes = 9007199254740992;  // 2^53: integers that float64 tells apart
    TORCH_CHECK_VALUE(
        !codes_.diff().eq(0).any().item<bool>() && codes_[-1].item<double>() < kMostCodes,
        "testing: states must be distinct, and fewer");
  }

  /// The numbers (N,) of the states x (N, ...).
  at::Tensor operator()(const char* op, const at::Tensor& x) const {
    const at::Tensor flat = flat_numbers(op, "what the sampler returns", x);
    const at::Tensor level = at::searchsorted(levels_, flat).clamp_max(levels_.numel() - 1);
    TORCH_CHECK_VALUE(levels_.take(level).eq(flat).all().item<bool>(),
                      "testing: the sampler returned values that no state has");
    const at::Tensor codes = codes_of(flat);
    const at::Tensor position = at::searchsorted(codes_, codes).clamp_max(codes_.numel() - 1);
    TORCH_CHECK_VALUE(at::equal(codes_.take(position), codes),
                      "testing: the sampler returned a state that is not among the states");
    return order_.take(position);
  }

 private:
  /// The digits of a state are its places among the levels.
  at::Tensor codes_of(const at::Tensor& flat) const {
    return at::searchsorted(levels_, flat.contiguous()).to(at::kDouble).matmul(weights_);
  }

  at::Tensor levels_;
  at::Tensor weights_;
  at::Tensor codes_;  // sorted
  at::Tensor order_;
};

at::Tensor exact_start(const char* op, const at::Tensor& law, const at::Tensor& states, int64_t n,
                       const std::optional<at::Generator>& generator) {
  detail::check_at_least(op, "n_chains", n, 1);
  const at::Tensor chosen = at::multinomial(law.cpu(), n, true, generator);
  return states.detach().index_select(0, chosen.to(states.device()));
}

at::Tensor counts_of(const at::Tensor& numbers, int64_t n) { return at::bincount(numbers, {}, n); }

at::Tensor default_statistics(const Energy& energy, const at::Tensor& x) {
  const detail::NoGradMode no_grad;
  const at::Tensor flat = flat_numbers(kKeepsLaw, "exact_samples", x);
  // A copy of x: an energy may change it before that is noticed.
  const at::Tensor energies = energy.value(x.clone()).to(at::kCPU, at::kDouble);
  return at::cat({flat, flat.square(), energies.unsqueeze(1)}, 1);
}

}  // namespace

at::Tensor run_sampler(const char* op, const Sampler& sampler, const Energy& energy,
                       const at::Tensor& x, std::optional<double> beta, int64_t n_calls,
                       const std::optional<at::Generator>& generator) {
  TORCH_CHECK_VALUE(sampler, op, ": sampler must not be empty");
  detail::check_at_least(op, "n_calls", n_calls, 0);
  RunOptions run;
  if (beta) run.beta = scalar(*beta);
  run.generator = generator;
  at::Tensor states = x.detach().clone();  // a sampler may work in place
  detail::Progress progress(op, n_calls);
  for (int64_t call = 0; call < n_calls; ++call) {
    const at::Tensor next = sampler(energy, states, run).x;
    TORCH_CHECK_VALUE(next.defined() && next.sizes() == x.sizes(), op,
                      ": sampler must return the shape of the states, ",
                      detail::describe_shape(x.sizes()), ", got ",
                      next.defined() ? detail::describe_shape(next.sizes()) : "no tensor");
    states = next.detach();
    progress.step(call + 1);
  }
  return states;
}

at::Tensor enumerate_states(at::IntArrayRef shape, at::ScalarType dtype, int64_t n_states) {
  detail::check_at_least(kEnumerate, "n_states", n_states, 1);
  double sites = 1;
  for (int64_t size : shape) {
    detail::check_at_least(kEnumerate, "a size of shape", size, 0);
    sites *= static_cast<double>(size);
  }
  constexpr double kMost = 1 << 20;
  TORCH_CHECK_VALUE(sites <= kMost && std::pow(static_cast<double>(n_states), sites) <= kMost,
                    fmt::format("{}: {}^{:.0f} states are too many", kEnumerate, n_states, sites));
  const at::Tensor place = at::pow(n_states, at::arange(static_cast<int64_t>(sites)));
  const auto n = static_cast<int64_t>(std::pow(static_cast<double>(n_states), sites));
  const at::Tensor numbers = at::arange(n).unsqueeze(1);
  at::Tensor states = numbers.floor_divide(place).remainder(n_states);
  std::vector<int64_t> sizes(shape.begin(), shape.end());
  sizes.insert(sizes.begin(), n);
  if (n_states != 2) {
    states = at::one_hot(states, n_states);
    sizes.push_back(n_states);
  }
  return states.to(dtype).view(sizes);
}

at::Tensor exact_law(const Energy& energy, const at::Tensor& states, std::optional<double> beta) {
  detail::check_floating(kExactLaw, "states", states);
  detail::check_chains(kExactLaw, "states", states);
  std::optional<at::Tensor> checked;
  if (beta) checked = detail::checked_beta(kExactLaw, scalar(*beta), states.to(at::kDouble));
  const detail::NoGradMode no_grad;
  // A copy of the states: an energy may change them before that is noticed.
  const at::Tensor energies = energy.value(states.detach().clone(), checked);
  const at::Tensor law = at::softmax(-energies.to(at::kDouble), 0);
  TORCH_CHECK_VALUE(law.isfinite().all().item<bool>(), kExactLaw,
                    ": energies must not be NaN or -inf, and not +inf for all states");
  return law;
}

at::Tensor state_numbers(const at::Tensor& x) {
  const at::Tensor bits = x.flatten(1).to(at::kLong);
  return bits.bitwise_left_shift(at::arange(bits.size(1))).sum(1);
}

Check check_invariance(const Sampler& sampler, const Energy& energy, const at::Tensor& states,
                       const CheckOptions& options) {
  const StateIndex index(kInvariance, states);
  const at::Generator generator = seeded(options.seed);
  const at::Tensor law = exact_law(energy, states, options.beta);
  const at::Tensor start = exact_start(kInvariance, law, states, options.n_chains, generator);
  const at::Tensor end =
      run_sampler(kInvariance, sampler, energy, start, options.beta, options.n_calls, generator);
  return chi_square_check(counts_of(index(kInvariance, end), states.size(0)), law, "invariance");
}

Check check_convergence(const Sampler& sampler, const Energy& energy, const at::Tensor& states,
                        const CheckOptions& options) {
  const StateIndex index(kConvergence, states);
  detail::check_at_least(kConvergence, "n_chains", options.n_chains, 1);
  const int64_t n = states.size(0);
  TORCH_CHECK_VALUE(options.start >= -n && options.start < n, kConvergence,
                    ": start must be the number of one of ", n, " states, got ", options.start);
  const at::Tensor law = exact_law(energy, states, options.beta);
  const at::Tensor start =
      states.select(0, options.start).unsqueeze(0).repeat_interleave(options.n_chains, 0);
  const at::Tensor end = run_sampler(kConvergence, sampler, energy, start, options.beta,
                                     options.n_calls, seeded(options.seed));
  return chi_square_check(counts_of(index(kConvergence, end), n), law, "convergence");
}

at::Tensor transition_counts(const Sampler& sampler, const Energy& energy, const at::Tensor& states,
                             const CheckOptions& options) {
  const StateIndex index(kTransitionCounts, states);
  detail::check_at_least(kTransitionCounts, "n_chains", options.n_chains, 1);
  const int64_t n = states.size(0);
  const at::Tensor start = states.repeat_interleave(options.n_chains, 0);
  const at::Tensor end =
      run_sampler(kTransitionCounts, sampler, energy, start, options.beta, 1, seeded(options.seed));
  const at::Tensor from = at::arange(n).repeat_interleave(options.n_chains);
  return counts_of(from * n + index(kTransitionCounts, end), n * n).view({n, n});
}

ExactReplicas exact_replicas(const Energy& energy, const at::Tensor& states,
                             const std::vector<double>& betas, int64_t n_chains,
                             const std::optional<at::Generator>& generator) {
  const StateIndex index(kSwapRule, states);  // throws unless the states can be told apart
  TORCH_CHECK_VALUE(!betas.empty(), kSwapRule, ": betas must hold at least one, got none");
  std::vector<at::Tensor> laws, x;
  for (double beta : betas) laws.push_back(exact_law(energy, states, beta).cpu());
  for (const at::Tensor& law : laws) {
    x.push_back(exact_start(kSwapRule, law, states, n_chains, generator));
  }
  return {at::stack(x), at::stack(laws)};
}

Check check_replicas(const at::Tensor& x, const at::Tensor& states, const at::Tensor& laws) {
  const StateIndex index(kSwapRule, states);
  const int64_t n = states.size(0);
  detail::check_shape(kSwapRule, "laws", laws, {-1, n}, "(R, S)");
  const int64_t n_rungs = laws.size(0);
  detail::check_at_least(kSwapRule, "the number of laws", n_rungs, 1);
  std::vector<int64_t> expected = states.sizes().vec();
  expected[0] = -1;
  expected.insert(expected.begin(), n_rungs);
  detail::check_shape(kSwapRule, "what exchange returns", x, expected, "(R, N, ...)");
  std::vector<at::Tensor> numbers;
  std::vector<Check> checks;
  for (int64_t r = 0; r < n_rungs; ++r) {
    numbers.push_back(index(kSwapRule, x[r]));
    checks.push_back(
        chi_square_check(counts_of(numbers.back(), n), laws[r], fmt::format("rung {}", r)));
  }
  for (int64_t r = 0; r + 1 < n_rungs; ++r) {
    checks.push_back(chi_square_check(counts_of(numbers[r] * n + numbers[r + 1], n * n),
                                      at::outer(laws[r], laws[r + 1]),
                                      fmt::format("rungs {} and {}", r, r + 1)));
  }
  return together(checks, "swap rule");
}

Check check_swap_rule(const Exchange& exchange, const Energy& energy, const at::Tensor& states,
                      const std::vector<double>& betas, const CheckOptions& options) {
  const at::Generator generator = seeded(options.seed);
  const auto [x, laws] = exact_replicas(energy, states, betas, options.n_chains, generator);
  return check_replicas(exchange(energy, x, generator), states, laws);
}

Check check_keeps_law(const Sampler& sampler, const Energy& energy, const at::Tensor& exact_samples,
                      const CheckOptions& options, const Statistics& statistics) {
  detail::check_chains(kKeepsLaw, "exact_samples", exact_samples);
  const at::Tensor end = run_sampler(kKeepsLaw, sampler, energy, exact_samples, options.beta,
                                     options.n_calls, seeded(options.seed));
  const auto of = [&](const at::Tensor& x) {
    return statistics ? statistics(x) : default_statistics(energy, x);
  };
  return mean_check(of(end) - of(exact_samples), 0, "kept law");
}

Check check_gradient_vanishes(const std::function<at::Tensor()>& loss,
                              const std::vector<at::Tensor>& parameters, int64_t n_repeats) {
  std::vector<at::Tensor> gradients;
  for (int64_t repeat = 0; repeat < n_repeats; ++repeat) {
    std::vector<at::Tensor> flat;
    for (const at::Tensor& part : torch::autograd::grad({loss()}, parameters)) {
      flat.push_back(part.flatten());
    }
    gradients.push_back(at::cat(flat));
  }
  return mean_check(at::stack(gradients), 0, "gradient at the truth");
}

}  // namespace torch_ebm::testing
