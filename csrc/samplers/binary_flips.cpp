#include "csrc/samplers/binary_flips.h"

#include "csrc/common/parallel.h"

namespace torch_ebm::detail {

namespace {

/// Calls body(table, x, score, scratch, rows) for the rows of x and score, (N, ...), over the threads. `scratch` holds a
/// row.
template <typename Body>
void for_rows(const at::Tensor& x, const at::Tensor& score, Body body) {
  const int64_t n_sites = x.numel() / x.size(0);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "binary_flips", [&] {
    const scalar_t* const states = x.const_data_ptr<scalar_t>();
    const scalar_t* const slopes = score.const_data_ptr<scalar_t>();
    parallel_rows(x.size(0), n_sites, [&](kernels::Rows rows) {
      std::vector<scalar_t> scratch(n_sites + kernels::kTileSites);
      body(kernels::kernels<scalar_t>(), states, slopes, scratch.data(), rows);
    });
  });
}

/// Draws the units to be flipped, (N, 1), int64; returns the log probabilities of drawing them, (N,), float64.
at::Tensor draw_flips(const at::Tensor& x, const at::Tensor& score, const at::Tensor& uniform,
                      at::Tensor& site) {
  at::Tensor log_probability = at::empty_like(uniform);
  site = at::empty({x.size(0), 1}, uniform.options().dtype(at::kLong));
  const double* const u = uniform.const_data_ptr<double>();
  int64_t* const i = site.mutable_data_ptr<int64_t>();
  double* const log_q = log_probability.mutable_data_ptr<double>();
  for_rows(x, score, [&](const auto& table, auto* states, auto* slopes, auto* scratch, auto rows) {
    table.propose_flip(states, slopes, u, i, log_q, scratch, rows);
  });
  return log_probability;
}

/// The log probabilities of drawing the units `site`, (N,), float64.
at::Tensor log_probability_of(const at::Tensor& x, const at::Tensor& score,
                              const at::Tensor& site) {
  at::Tensor log_probability = at::empty({x.size(0)}, x.options().dtype(at::kDouble));
  const int64_t* const i = site.const_data_ptr<int64_t>();
  double* const log_q = log_probability.mutable_data_ptr<double>();
  for_rows(x, score, [&](const auto& table, auto* states, auto* slopes, auto* scratch, auto rows) {
    table.flip_log_probability(states, slopes, i, log_q, scratch, rows);
  });
  return log_probability;
}

/// Flips the units `site` of the chains of `mask`, (N,).
void flip_(at::Tensor& x, const at::Tensor& site, const at::Tensor& mask) {
  at::Tensor units = x.view({x.size(0), -1});
  const at::Tensor old = units.gather(1, site);
  units.scatter_(1, site, at::where(mask.unsqueeze(1), 1 - old, old));
}

}  // namespace

BinaryFlips::BinaryFlips(const char* op, const Energy& energy, ChainRun& chains)
    : energy_(energy), chains_(chains) {
  // A copy: choose() changes chains.x in place, and the energy may keep what it is given.
  evaluate(chains.x.clone(), current_energy_, current_score_);
  check_chains_finite(op, "energy", current_energy_, 0);
  check_chains_finite(op, "score", current_score_, 0);
}

void BinaryFlips::evaluate(const at::Tensor& x, at::Tensor& energy, at::Tensor& score) const {
  std::tie(energy, score) = energy_.value_and_score(x, chains_.beta);
  energy = energy.to(at::kDouble);
  score = score.to(x.options()).reshape({x.size(0), -1}).contiguous();
}

Proposal BinaryFlips::propose(const at::Tensor& uniform) {
  const at::Tensor forward = draw_flips(chains_.x, current_score_, uniform, site_);
  at::Tensor x = chains_.x.clone();
  flip_(x, site_, at::ones({x.size(0)}, at::kBool));
  evaluate(x, proposed_energy_, proposed_score_);
  const at::Tensor back = log_probability_of(x, proposed_score_, site_);
  return {proposed_energy_, current_energy_ - proposed_energy_ + (back - forward)};
}

void BinaryFlips::choose(const Decision& decision) {
  current_energy_ = decision.choose(proposed_energy_, current_energy_);
  current_score_ = decision.choose(proposed_score_, current_score_);
  flip_(chains_.x, site_, decision.accepted);
}

}  // namespace torch_ebm::detail
