#include "torch_ebm/criteria/energy_discrepancy.h"

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/progress.h"
#include "csrc/criteria/chunked_sum.h"
#include "csrc/criteria/criterion.h"
#include "csrc/criteria/draws.h"

namespace torch_ebm {

namespace {

constexpr const char* kEnergyDiscrepancy = "energy_discrepancy";

void check_discrepancy(const EnergyDiscrepancyOptions& options, const at::Tensor& x) {
  TORCH_CHECK_VALUE(options.t.has_value() != options.flip_probability.has_value(),
                    kEnergyDiscrepancy, ": either t or flip_probability must be given");
  if (options.t) {
    TORCH_CHECK_VALUE(*options.t > 0 && std::isfinite(*options.t), kEnergyDiscrepancy,
                      ": t must be > 0 and finite, got ", *options.t);
  } else {
    TORCH_CHECK_VALUE(*options.flip_probability > 0 && *options.flip_probability < 1,
                      kEnergyDiscrepancy, ": flip_probability must be between 0 and 1, got ",
                      *options.flip_probability);
    detail::check_binary(kEnergyDiscrepancy, "x", x);
  }
  detail::check_at_least(kEnergyDiscrepancy, "n_samples", options.n_samples, 1);
  TORCH_CHECK_VALUE(options.n_samples < UINT32_MAX, kEnergyDiscrepancy,
                    ": n_samples must be below 2^32 - 1, got ", options.n_samples);
  TORCH_CHECK_VALUE(options.stabilisation >= 0 && std::isfinite(options.stabilisation),
                    kEnergyDiscrepancy, ": stabilisation must be >= 0 and finite, got ",
                    options.stabilisation);
}

/// A draw from q(. | x).
at::Tensor perturbed(const at::Tensor& x, const EnergyDiscrepancyOptions& options,
                     const detail::Draws& draws, int64_t step) {
  if (options.t) return x + std::sqrt(*options.t) * draws.normal(x, detail::kNoise, step);
  const at::Tensor u = draws.uniform(detail::at_least_float(x), detail::kNoise, step);
  return at::where(u.lt(*options.flip_probability), 1 - x, x);
}

/// The energies of x perturbed once, and that perturbed M times: (M, N). Some at once, to bound the memory.
at::Tensor energies_of_contrasts(const Energy& energy, const at::Tensor& x,
                                 const EnergyDiscrepancyOptions& options,
                                 const detail::Draws& draws) {
  const at::Tensor y = perturbed(x, options, draws, 0);
  const int64_t at_once =
      detail::chunks_of(kEnergyDiscrepancy, std::nullopt, x.size(0), x.numel()).size;
  std::vector<at::Tensor> back, energies;
  detail::Progress progress(kEnergyDiscrepancy, options.n_samples);
  for (int64_t j = 1; j <= options.n_samples; ++j) {
    back.push_back(perturbed(y, options, draws, j));
    if (j % at_once != 0 && j != options.n_samples) continue;
    const auto n_drawn = static_cast<int64_t>(back.size());
    energies.push_back(energy.value(at::cat(back)).view({n_drawn, x.size(0)}).clone());
    back.clear();
    progress.step(j);
  }
  return at::cat(energies);
}

at::Tensor energy_discrepancy_op(const c10::IValue& energy, const at::Tensor& x,
                                 std::optional<double> t, std::optional<double> flip_probability,
                                 int64_t n_samples, double stabilisation,
                                 const std::optional<at::Tensor>& weights,
                                 c10::string_view reduction,
                                 std::optional<at::Generator> generator) {
  return energy_discrepancy(Energy::from_ivalue(kEnergyDiscrepancy, energy), x,
                            {weights, std::string(reduction), std::move(generator)},
                            {t, flip_probability, n_samples, stabilisation});
}

}  // namespace

at::Tensor energy_discrepancy(const Energy& energy, const at::Tensor& x,
                              const CriterionOptions& criterion,
                              const EnergyDiscrepancyOptions& options) {
  const detail::Criterion examples(kEnergyDiscrepancy, x, criterion);
  check_discrepancy(options, examples.x);
  const detail::Draws draws(examples.generator, examples.x);
  const int64_t n = examples.n_examples();
  const at::Tensor of_data = energy.value(examples.x).clone();  // the energy may reuse its memory
  at::Tensor logits = of_data - energies_of_contrasts(energy, examples.x, options, draws);
  if (options.stabilisation > 0) {
    const at::Tensor constant = at::full({1, n}, std::log(options.stabilisation), logits.options());
    logits = at::cat({logits, constant});
  }
  return examples.reduce(at::logsumexp(logits, {0}) -
                         std::log(static_cast<double>(options.n_samples)));
}

TORCH_EBM_CRITERION("energy_discrepancy", &energy_discrepancy_op)

}  // namespace torch_ebm
