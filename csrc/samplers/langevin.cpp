#include "torch_ebm/langevin.h"

#include <torch/library.h>

#include <cmath>
#include <limits>

#include "csrc/common/checks.h"
#include "csrc/common/langevin_update.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"

namespace torch_ebm {

namespace {

constexpr const char* kOp = "langevin";
constexpr double kInfinity = std::numeric_limits<double>::infinity();

void check_chains_finite(const char* what, const at::Tensor& values, int64_t step) {
  const at::Tensor bad = at::isfinite(values.view({values.size(0), -1})).all(1).logical_not();
  if (!bad.any().item<bool>()) return;
  TORCH_CHECK_VALUE(false, kOp, ": the ", what, " of chain ", bad.nonzero()[0][0].item<int64_t>(),
                    " is not finite at step ", step,
                    "; likely step_size is too large for this energy, or its parameters are not "
                    "finite");
}

at::Tensor score_of(const Energy& energy, const at::Tensor& states) {
  return std::get<1>(energy.value_and_score(states)).contiguous();
}

at::Tensor langevin_op(const c10::IValue& energy, const at::Tensor& x, int64_t n_steps,
                       double step_size, std::optional<at::Generator> generator) {
  return langevin(Energy::from_ivalue(kOp, energy), x, {n_steps, step_size, generator});
}

}  // namespace

at::Tensor langevin(const Energy& energy, const at::Tensor& x, const LangevinOptions& options) {
  const at::NoGradGuard no_grad;
  detail::check_floating(kOp, "x", x);
  detail::check_chains(kOp, "x", x);
  detail::check_at_least(kOp, "n_steps", options.n_steps, 1);
  TORCH_CHECK_VALUE(options.step_size > 0 && std::isfinite(options.step_size), kOp,
                    ": step_size must be > 0 and finite, got ", options.step_size);
  detail::check_finite(kOp, "x", x);

  const auto numbers = x.options().dtype(at::promote_types(x.scalar_type(), at::kFloat));
  const at::Tensor drift = at::full({}, options.step_size, numbers);
  const at::Tensor noise = at::full({}, std::sqrt(2 * options.step_size), numbers);
  at::Tensor states = x.detach().clone(at::MemoryFormat::Contiguous);
  at::Tensor score = score_of(energy, states);
  check_chains_finite("score", score, 0);
  const uint64_t key = detail::draw_key(options.generator, x.device());
  detail::Progress progress(kOp, options.n_steps);
  for (int64_t step = 0; step < options.n_steps; ++step) {
    if (step > 0) score = score_of(energy, states);
    const bool finite =
        detail::langevin_update(states, score, drift, noise, kInfinity, -kInfinity, kInfinity,
                                {key, static_cast<uint32_t>(step), detail::kNoise}, states);
    if (!finite) {
      check_chains_finite("score", score, step);
      check_chains_finite("state", states, step + 1);
    }
    progress.step(step + 1);
  }
  return states;
}

TORCH_LIBRARY_IMPL(torch_ebm, CPU, m) { m.impl("langevin", &langevin_op); }
TORCH_LIBRARY_IMPL(torch_ebm, CUDA, m) { m.impl("langevin", &langevin_op); }
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("langevin", torch::CppFunction::makeFallthrough());
}

}  // namespace torch_ebm
