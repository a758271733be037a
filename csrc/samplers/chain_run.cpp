#include "csrc/samplers/chain_run.h"

#include <ATen/MemoryOverlap.h>

#include <cstring>

#include "csrc/common/checks.h"
#include "csrc/common/parallel.h"
#include "csrc/samplers/sole_owner.h"

namespace torch_ebm::detail {

namespace {

/// The chains i with mask[i] false.
std::vector<int64_t> chains_without(const at::Tensor& mask) {
  const auto in_mask = mask.accessor<bool, 1>();
  std::vector<int64_t> chains;
  for (int64_t i = 0; i < in_mask.size(0); ++i) {
    if (!in_mask[i]) chains.push_back(i);
  }
  return chains;
}

/// to <- from in these chains. Both are contiguous.
void copy_chains_(const at::Tensor& to, const at::Tensor& from,
                  const std::vector<int64_t>& chains) {
  const int64_t n_units = to.numel() / to.size(0);
  const auto n_bytes = static_cast<size_t>(n_units * to.element_size());
  auto* const target = static_cast<char*>(to.mutable_data_ptr());
  const auto* const source = static_cast<const char*>(from.const_data_ptr());
  parallel_rows(static_cast<int64_t>(chains.size()), n_units, [&](kernels::Rows rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      std::memcpy(target + chains[i] * n_bytes, source + chains[i] * n_bytes, n_bytes);
    }
  });
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
  return uniform_like(at::empty({n_chains(), 1}, options), draw(stream)).squeeze(1);
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

at::Tensor where_chains(const at::Tensor& mask, at::Tensor chosen, const at::Tensor& other) {
  if (!other.is_cpu()) return at::where(along_chains(mask, other), chosen, other);
  const std::vector<int64_t> left_out = chains_without(mask);
  if (left_out.empty()) return chosen;
  if (!is_sole_owner(chosen) || !other.is_contiguous()) {
    return at::where(along_chains(mask, other), chosen, other);
  }
  copy_chains_(chosen, other, left_out);
  return chosen;
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
  const at::Tensor bad = at::isfinite(values.reshape({values.size(0), -1})).all(1).logical_not();
  if (!bad.any().item<bool>()) return;
  TORCH_CHECK_VALUE(false, op, ": the ", what, " of chain ", bad.nonzero()[0][0].item<int64_t>(),
                    " is not finite at step ", step,
                    step == 0 ? "; chains must start where the energy and its score are finite, "
                                "and likely this start does not, or the energy's parameters are "
                                "not finite"
                              : "; likely step_size is too large for this energy, or its "
                                "parameters are not finite");
}

}  // namespace torch_ebm::detail
