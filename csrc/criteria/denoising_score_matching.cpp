#include "torch_ebm/criteria/denoising_score_matching.h"

#include <algorithm>
#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/per_chain.h"
#include "csrc/criteria/criterion.h"
#include "csrc/criteria/draws.h"
#include "csrc/criteria/score_graph.h"

namespace torch_ebm {

namespace {

constexpr const char* kDenoisingScoreMatching = "denoising_score_matching";

bool is_sigma_squared(const DenoisingScoreMatchingOptions& options) {
  if (!options.weighting) return !options.sigma.single();
  TORCH_CHECK_VALUE(*options.weighting == "none" || *options.weighting == "sigma_squared",
                    kDenoisingScoreMatching,
                    ": weighting must be \"none\" or \"sigma_squared\", got \"", *options.weighting,
                    "\"");
  return *options.weighting == "sigma_squared";
}

/// For each example, |s + noise / sigma|^2 / 2, or sigma^2 times that.
at::Tensor squared_errors(const Energy& energy, const detail::Criterion& examples,
                          const DenoisingScoreMatchingOptions& options) {
  const bool sigma_squared = is_sigma_squared(options);
  const at::Tensor& x = examples.x;
  const detail::Draws draws(examples.generator, x);
  return detail::with_gradients([&](bool differentiable) {
    const at::Tensor sigma = options.sigma.of_examples(x, draws);
    const at::Tensor noise =
        detail::given(options.noise) ? options.noise->detach() : draws.normal(x, detail::kNoise);
    const at::Tensor moved = x + detail::along_chains(sigma, x) * noise;
    const at::Tensor s = detail::ScoreGraph(energy, moved, differentiable).score();
    const at::Tensor column = sigma.reshape({-1, 1});
    const at::Tensor added = noise.reshape({x.size(0), -1});
    const at::Tensor error = sigma_squared ? column * s + added : s + added / column;
    return error.square().sum(1) / 2;
  });
}

void check_own_noise(const at::Tensor& noise, const at::Tensor& x) {
  constexpr const char* op = kDenoisingScoreMatching;
  detail::check_same_type(op, "noise", noise, "x", x);
  detail::check_shape(op, "noise", noise, x.sizes().vec(), "that of x");
  detail::check_finite(op, "noise", noise);
}

at::Tensor denoising_score_matching_op(const c10::IValue& energy, const at::Tensor& x,
                                       const c10::IValue& sigma,
                                       std::optional<c10::string_view> weighting,
                                       const std::optional<at::Tensor>& noise,
                                       const std::optional<at::Tensor>& weights,
                                       c10::string_view reduction,
                                       std::optional<at::Generator> generator) {
  DenoisingScoreMatchingOptions options{NoiseScale::from_ivalue(kDenoisingScoreMatching, sigma),
                                        std::nullopt, noise};
  if (weighting) options.weighting = std::string(*weighting);
  return denoising_score_matching(Energy::from_ivalue(kDenoisingScoreMatching, energy), x,
                                  {weights, std::string(reduction), std::move(generator)}, options);
}

}  // namespace

NoiseScale NoiseScale::from_ivalue(const char* op, const c10::IValue& value) {
  if (value.isDouble() || value.isInt()) return NoiseScale(value.toScalar().toDouble());
  if (value.isDoubleList()) return NoiseScale(value.toDoubleVector());
  TORCH_CHECK_TYPE(value.isTensor(), op,
                   ": sigma must be a number, a list of numbers or a tensor, got ",
                   value.tagKind());
  return NoiseScale(value.toTensor());
}

void NoiseScale::check(const char* op, int64_t n) const {
  if (!per_example_.defined()) {
    TORCH_CHECK_VALUE(!levels_.empty(), op, ": sigma must not be an empty list");
    for (double level : levels_) {
      TORCH_CHECK_VALUE(level > 0 && std::isfinite(level), op,
                        ": sigma must be > 0 and finite, got ", level);
    }
    return;
  }
  detail::check_floating(op, "sigma", per_example_);
  TORCH_CHECK_VALUE(single() || (per_example_.dim() == 1 && per_example_.size(0) == n), op,
                    ": sigma must be one number, a list of levels, or one for every example, "
                    "shape () or (",
                    n, ",), got ", detail::describe_shape(per_example_.sizes()));
  detail::check_finite(op, "sigma", per_example_);
  if (!detail::has_values(per_example_)) return;
  TORCH_CHECK_VALUE(per_example_.gt(0).all().item<bool>(), op,
                    ": sigma must be > 0 and finite, got ", per_example_.min().item<double>());
}

bool NoiseScale::single() const {
  return per_example_.defined() ? per_example_.dim() == 0 : levels_.size() == 1;
}

at::Tensor NoiseScale::of_examples(const at::Tensor& x, const detail::Draws& draws) const {
  if (per_example_.defined()) {  // a copy: a graph cannot save what was made in inference mode
    return per_example_.detach().to(x.options(), /*non_blocking=*/false, /*copy=*/true);
  }
  std::vector<at::Tensor> numbers;  // not at::tensor, which no tracer follows
  for (double level : levels_) numbers.push_back(at::full({}, level, x.options()));
  if (single()) return numbers[0];
  const auto n_levels = static_cast<int64_t>(levels_.size());
  const at::Tensor like = at::empty({x.size(0), 1}, x.options().dtype(at::kDouble));
  const at::Tensor uniform = draws.uniform(like, detail::kChoice).squeeze(1);
  return at::stack(numbers).index_select(0, (uniform * n_levels).to(at::kLong));
}

at::Tensor denoising_score_matching(const Energy& energy, const at::Tensor& x,
                                    const CriterionOptions& criterion,
                                    const DenoisingScoreMatchingOptions& options) {
  const detail::Criterion examples(kDenoisingScoreMatching, x, criterion);
  options.sigma.check(kDenoisingScoreMatching, examples.n_examples());
  if (detail::given(options.noise)) check_own_noise(*options.noise, examples.x);
  return examples.reduce(squared_errors(energy, examples, options));
}

TORCH_EBM_CRITERION("denoising_score_matching", &denoising_score_matching_op)

}  // namespace torch_ebm
