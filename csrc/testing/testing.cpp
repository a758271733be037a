#include "torch_ebm/testing/testing.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

namespace torch_ebm::testing {

namespace {

constexpr double kMinExpected = 10;

at::Tensor number(double value) {
  return at::full({}, value, at::TensorOptions().dtype(at::kDouble));
}

/// P(|Z| > z), for the worst of n.
double two_sided(double z, int64_t n) {
  return std::isnan(z) ? 0 : std::min(1.0, std::erfc(z / std::sqrt(2.0)) * static_cast<double>(n));
}

/// n log(p), 0 for n = 0 whatever p.
double power(double n, double p) { return n == 0 ? 0 : n * std::log(p); }

/// Twice the smaller tail of a binomial distribution, including k.
double binomial_two_sided(double k, double n, double probability) {
  double lower = 0, upper = 0;
  for (double x = 0; x <= n; ++x) {
    const double mass = std::exp(std::lgamma(n + 1) - std::lgamma(x + 1) - std::lgamma(n - x + 1) +
                                 power(x, probability) + power(n - x, 1 - probability));
    if (x <= k) lower += mass;
    if (x >= k) upper += mass;
  }
  return 2 * std::min(lower, upper);
}

/// The worst of |z| and where it is.
Check worst_z(const std::string& what, const at::Tensor& z) {
  const int64_t worst = z.nan_to_num(INFINITY).argmax().item<int64_t>();
  const double value = z[worst].item<double>();
  return {what, two_sided(value, z.numel()), fmt::format("|z| = {:.2f} in {}", value, worst)};
}

Check together(const std::vector<Check>& checks, const std::string& what) {
  const Check& worst = *std::min_element(
      checks.begin(), checks.end(),
      [](const Check& one, const Check& other) { return one.p_value < other.p_value; });
  return {what, std::min(1.0, worst.p_value * static_cast<double>(checks.size())),
          worst.what + ": " + worst.detail};
}

at::Generator seeded(uint64_t seed) { return at::make_generator<at::CPUGeneratorImpl>(seed); }

at::Tensor run(const Sampler& sampler, const Energy& energy, at::Tensor x,
               const CheckOptions& options, const at::Generator& generator) {
  RunOptions run;
  if (options.beta) run.beta = number(*options.beta);
  x = x.clone();  // a sampler may work in place
  run.generator = generator;
  for (int64_t call = 0; call < options.n_calls; ++call) x = sampler(energy, x, run).x;
  return x;
}

at::Tensor exact_start(const at::Tensor& law, const at::Tensor& states, int64_t n,
                       const at::Generator& generator) {
  return states.index_select(0, at::multinomial(law, n, true, generator));
}

at::Tensor counts_of(const at::Tensor& numbers, int64_t n) { return at::bincount(numbers, {}, n); }

at::Tensor statistics(const Energy& energy, const at::Tensor& x) {
  const at::Tensor flat = x.flatten(1).to(at::kDouble);
  return at::cat({flat, flat.square(), energy.value(x).detach().to(at::kDouble).unsqueeze(1)}, 1);
}

}  // namespace

Check chi_square_check(const at::Tensor& counts, const at::Tensor& probabilities,
                       const std::string& what) {
  const at::Tensor p = probabilities.to(at::kDouble) / probabilities.sum().to(at::kDouble);
  at::Tensor observed = counts.to(at::kDouble);
  if (observed.masked_select(p == 0).sum().item<double>() > 0) {
    return {what, 0, "a state of probability 0 was visited"};
  }
  auto [expected, order] = (p * observed.sum()).sort();
  observed = observed.index_select(0, order);
  const int64_t n_pooled = std::max(1 + expected.cumsum(0).lt(kMinExpected).sum().item<int64_t>(),
                                    expected.lt(kMinExpected).sum().item<int64_t>());
  const auto pool = [&](const at::Tensor& x) {
    return at::cat({x.slice(0, 0, n_pooled).sum().view({1}), x.slice(0, n_pooled)});
  };
  expected = pool(expected);
  observed = pool(observed);
  TORCH_CHECK_VALUE(expected.numel() > 1, "chi_square_check: ", what, ": too few counts");
  const double statistic = ((observed - expected).square() / expected).sum().item<double>();
  const auto degrees = static_cast<double>(expected.numel() - 1);
  return {what, at::special_gammaincc(number(degrees / 2), number(statistic / 2)).item<double>(),
          fmt::format("chi-square {:.1f} with {} degrees of freedom", statistic, degrees)};
}

Check mean_check(const at::Tensor& samples, double mean, const std::string& what) {
  const at::Tensor x = samples.detach().to(at::kDouble).reshape({samples.size(0), -1});
  const at::Tensor difference = (x.mean(0) - mean).abs();
  const at::Tensor error = x.std(0) / std::sqrt(static_cast<double>(x.size(0)));
  return worst_z(what, (difference / error).masked_fill(difference.eq(0), 0));
}

at::Tensor enumerate_states(at::IntArrayRef shape, at::ScalarType dtype) {
  const int64_t n = c10::multiply_integers(shape);
  TORCH_CHECK_VALUE(n <= 20, "enumerate_states: 2^", n, " states are too many");
  std::vector<int64_t> sizes(shape.begin(), shape.end());
  sizes.insert(sizes.begin(), int64_t{1} << n);
  const at::Tensor numbers = at::arange(int64_t{1} << n).unsqueeze(1);
  return numbers.bitwise_right_shift(at::arange(n).unsqueeze(0))
      .bitwise_and(1)
      .to(dtype)
      .view(sizes);
}

at::Tensor exact_law(const Energy& energy, const at::Tensor& states, std::optional<double> beta) {
  const at::NoGradGuard no_grad;
  std::optional<at::Tensor> tensor;
  if (beta) tensor = number(*beta);
  return at::softmax(-energy.value(states, tensor).to(at::kDouble), 0);
}

at::Tensor state_numbers(const at::Tensor& x) {
  const at::Tensor bits = x.flatten(1).to(at::kLong);
  return bits.bitwise_left_shift(at::arange(bits.size(1))).sum(1);
}

Check check_invariance(const Sampler& sampler, const Energy& energy, const at::Tensor& states,
                       const CheckOptions& options) {
  const at::Generator generator = seeded(options.seed);
  const at::Tensor law = exact_law(energy, states, options.beta);
  const at::Tensor start = exact_start(law, states, options.n_chains, generator);
  const at::Tensor end = run(sampler, energy, start, options, generator);
  return chi_square_check(counts_of(state_numbers(end), states.size(0)), law, "invariance");
}

Check check_convergence(const Sampler& sampler, const Energy& energy, const at::Tensor& states,
                        const CheckOptions& options) {
  const at::Tensor start =
      states.slice(0, 0, 1).repeat_interleave(options.n_chains, 0).contiguous();
  const at::Tensor end = run(sampler, energy, start, options, seeded(options.seed));
  return chi_square_check(counts_of(state_numbers(end), states.size(0)),
                          exact_law(energy, states, options.beta), "convergence");
}

at::Tensor transition_counts(const Sampler& sampler, const Energy& energy, const at::Tensor& states,
                             const CheckOptions& options) {
  const int64_t n = states.size(0);
  CheckOptions once = options;
  once.n_calls = 1;
  const at::Tensor start = states.repeat_interleave(options.n_chains, 0);
  const at::Tensor end = run(sampler, energy, start, once, seeded(options.seed));
  return counts_of(state_numbers(start) * n + state_numbers(end), n * n).view({n, n});
}

Check check_detailed_balance(const at::Tensor& counts, const at::Tensor& law) {
  // With as many chains from every state, a share p_j / (p_i + p_j) of the moves between i and j go from i to j.
  const at::Tensor pairs = at::triu_indices(counts.size(0), counts.size(1), 1);
  const at::Tensor forward = counts.index({pairs[0], pairs[1]}).to(at::kDouble);
  const at::Tensor total = forward + counts.index({pairs[1], pairs[0]});
  const at::Tensor p = law.to(at::kDouble);
  const at::Tensor p_i = p.index_select(0, pairs[0]), p_j = p.index_select(0, pairs[1]);
  const at::Tensor share = (p_j / (p_i + p_j)).nan_to_num(0.5);
  const at::Tensor spread = (1 + total * share * (1 - share)).sqrt();
  const int64_t worst = ((forward - total * share) / spread).abs().argmax().item<int64_t>();
  const double k = forward[worst].item<double>(), n = total[worst].item<double>();
  const double tail = binomial_two_sided(k, n, share[worst].item<double>());
  return {"detailed balance", std::min(1.0, tail * static_cast<double>(total.numel())),
          fmt::format("{} of {} moves between states {} and {} are of the first kind", k, n,
                      pairs[0][worst].item<int64_t>(), pairs[1][worst].item<int64_t>())};
}

Check check_swap_rule(const Exchange& exchange, const Energy& energy, const at::Tensor& states,
                      const std::vector<double>& betas, const CheckOptions& options) {
  const at::Generator generator = seeded(options.seed);
  const int64_t n = states.size(0);
  std::vector<at::Tensor> laws, start;
  for (double beta : betas) {
    laws.push_back(exact_law(energy, states, beta));
    start.push_back(exact_start(laws.back(), states, options.n_chains, generator));
  }
  const at::Tensor end = exchange(energy, at::stack(start), generator);
  std::vector<Check> checks;
  for (size_t rung = 0; rung < betas.size(); ++rung) {
    const at::Tensor here = state_numbers(end[static_cast<int64_t>(rung)]);
    checks.push_back(
        chi_square_check(counts_of(here, n), laws[rung], fmt::format("rung {}", rung)));
    if (rung == 0) continue;
    const at::Tensor above = state_numbers(end[static_cast<int64_t>(rung) - 1]);
    checks.push_back(chi_square_check(counts_of(above * n + here, n * n),
                                      at::outer(laws[rung - 1], laws[rung]).flatten(),
                                      fmt::format("rungs {} and {}", rung - 1, rung)));
  }
  return together(checks, "swap rule");
}

Check check_keeps_law(const Sampler& sampler, const Energy& energy, const at::Tensor& exact_samples,
                      const CheckOptions& options) {
  const at::Tensor end = run(sampler, energy, exact_samples, options, seeded(options.seed));
  return mean_check(statistics(energy, end) - statistics(energy, exact_samples), 0, "kept law");
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
