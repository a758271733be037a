#include "csrc/samplers/chain_run.h"

#include <ATen/MemoryOverlap.h>

#include <limits>

#include "csrc/common/checks.h"
#include "csrc/passes/form.h"
#include "csrc/passes/noise.h"

namespace torch_ebm::detail {

namespace {

constexpr int64_t kNoneBad = std::numeric_limits<int64_t>::max();

/// Chains with a value that is not finite, (N,), boolean.
at::Tensor bad_chains(const at::Tensor& values) {
  return at::isfinite(values.reshape({values.size(0), -1})).all(1).logical_not();
}

[[noreturn]] void throw_not_finite(const char* op, const char* what, int64_t chain, int64_t step) {
  TORCH_CHECK_VALUE(false, op, ": the ", what, " of chain ", chain, " is not finite at step ", step,
                    step == 0 ? "; chains must start where the energy and its score are finite, "
                                "and likely this start does not, or the energy's parameters are "
                                "not finite"
                              : "; likely step_size is too large for this energy, or its "
                                "parameters are not finite");
}

}  // namespace

ChainRun::ChainRun(const char* op, const at::Tensor& x, const RunOptions& run)
    : op_(op), run_(run), start_(x), progress_(op, run.n_steps) {
  check_floating(op, "x", x);
  check_chains(op, "x", x);
  check_at_least(op, "n_steps", run.n_steps, 1);
  TORCH_CHECK_VALUE(run.n_steps <= UINT32_MAX, op, ": n_steps must be below 2^32, got ",
                    run.n_steps);
  check_at_least(op, "thin", run.thin, 0);
  TORCH_CHECK_VALUE(!run.inplace || at::has_internal_overlap(x) == at::MemOverlap::No, op,
                    ": x must not share memory between its elements (an expanded tensor) to be "
                    "sampled in place");
  if (run.beta && run.beta->defined()) {
    beta = checked_beta(op, run.beta, x.size(0), x.options().dtype(at::kDouble));
  }
  this->x = x.detach().clone(at::MemoryFormat::Contiguous);
}

kernels::Draw ChainRun::draw(uint32_t stream) const {
  return {key_, static_cast<uint32_t>(step_), stream};
}

at::Tensor ChainRun::uniform(uint32_t stream) const {
  const auto options = x.options().dtype(at::kDouble);
  return passes::uniform_like(at::empty({n_chains(), 1}, options), draw(stream)).squeeze(1);
}

void ChainRun::note(const char* what, const at::Tensor& bad, int64_t step) {
  const auto look = static_cast<int64_t>(looks_.size());
  const at::Tensor number =
      at::arange(look * n_chains(), (look + 1) * n_chains(), bad.options().dtype(at::kLong));
  const at::Tensor first = at::where(bad, number, kNoneBad).min();
  first_bad_ = first_bad_.defined() ? at::minimum(first_bad_, first) : first;
  looks_.push_back({what, step});
}

void ChainRun::throw_what_was_noted() const {
  if (!first_bad_.defined()) return;
  const auto first = first_bad_.item<int64_t>();
  if (first == kNoneBad) return;
  const Look& look = looks_[first / n_chains()];
  throw_not_finite(op_, look.what, first % n_chains(), look.step);
}

void ChainRun::check_finite(const char* what, const at::Tensor& values, int64_t step) {
  if (passes::is_in_reach(values)) return check_chains_finite(op_, what, values, step);
  note(what, bad_chains(values), step);
}

void ChainRun::check_finite(const char* what, const at::Tensor& values, int64_t step,
                            const passes::Flag& only_if) {
  if (!only_if.may_be_up()) return;
  if (!passes::is_in_reach(values)) {
    note(what, bad_chains(values).logical_and_(only_if.on_device()), step);
  } else if (only_if.read()) {
    check_chains_finite(op_, what, values, step);
  }
}

at::Tensor ChainRun::unless_noted(const at::Tensor& next) const {
  return first_bad_.defined() ? at::where(first_bad_.eq(kNoneBad), next, x) : next;
}

Samples ChainRun::run(const std::function<at::Tensor(int64_t)>& step) {
  key_ = draw_key(run_.generator, x.device());
  at::Tensor accepted = at::zeros({n_chains()}, x.options().dtype(at::kDouble));
  at::Tensor trajectory = empty_trajectory(run_, x);
  try {
    for (step_ = 0; step_ < run_.n_steps; ++step_) {
      const at::Tensor acceptance = step(step_);
      if (acceptance.defined()) {
        accepted.add_(acceptance);
      } else {
        accepted.add_(1);
      }
      const int64_t done = step_ + 1;
      if (run_.thin > 0 && done % run_.thin == 0) trajectory[done / run_.thin - 1].copy_(x);
      progress_.step(done);
    }
    throw_what_was_noted();
  } catch (...) {
    leave(x);
    throw;
  }
  leave(x);
  return {run_.inplace ? start_ : x, accepted / static_cast<double>(run_.n_steps), trajectory,
          energy};
}

Samples ChainRun::finished(const at::Tensor& last_states, const at::Tensor& acceptance_rate) {
  leave(last_states);
  return {run_.inplace ? start_ : last_states,
          acceptance_rate.defined() ? acceptance_rate
                                    : at::ones({n_chains()}, x.options().dtype(at::kDouble)),
          empty_trajectory({.thin = 0}, x)};
}

void ChainRun::leave(const at::Tensor& last_states) const {
  if (!run_.inplace) return;
  const c10::InferenceMode mode(
      start_.is_inference());  // the only mode in which such a tensor may be changed
  const at::NoGradGuard no_grad;
  at::Tensor(start_).copy_(last_states);
}

at::Tensor empty_trajectory(const RunOptions& run, const at::Tensor& x) {
  std::vector<int64_t> kept(x.sizes().begin(), x.sizes().end());
  kept.insert(kept.begin(), run.thin > 0 ? run.n_steps / run.thin : 0);
  return at::empty(kept, x.options());
}

at::Tensor sum_units(const at::Tensor& x) {
  return x.reshape({x.size(0), -1}).sum(1, /*keepdim=*/false, at::kDouble);
}

at::Tensor acceptance_probability(const at::Tensor& log_ratio, const at::Tensor& proposed_energy) {
  return log_ratio.exp()
      .clamp_max(1)
      .masked_fill(at::isfinite(proposed_energy).logical_not(), 0)
      .nan_to_num(0);
}

Decision metropolis(const at::Tensor& log_ratio, const at::Tensor& proposed_energy,
                    const at::Tensor& uniform) {
  const at::Tensor probability = acceptance_probability(log_ratio, proposed_energy);
  return {uniform.lt(probability), probability};
}

void check_chains_finite(const char* op, const char* what, const at::Tensor& values, int64_t step) {
  const at::Tensor bad = bad_chains(values);
  if (!bad.any().item<bool>()) return;
  throw_not_finite(op, what, bad.nonzero()[0][0].item<int64_t>(), step);
}

}  // namespace torch_ebm::detail
