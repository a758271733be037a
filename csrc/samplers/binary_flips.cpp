#include "csrc/samplers/binary_flips.h"

#include <cstring>

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

/// Draws the units to be flipped, (N,), int64; returns the log probabilities of drawing them, (N,), float64.
at::Tensor draw_flips(const at::Tensor& x, const at::Tensor& score, const at::Tensor& uniform,
                      at::Tensor& site) {
  at::Tensor log_probability = at::empty_like(uniform);
  site = at::empty({x.size(0)}, uniform.options().dtype(at::kLong));
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

/// Flips the units `site` of the chains i with flips(i): too few numbers for a tensor operation, or for threads.
template <typename Flips>
void flip_(const at::Tensor& x, const at::Tensor& site, Flips flips) {
  const int64_t n_sites = x.numel() / x.size(0);
  const int64_t* const unit = site.const_data_ptr<int64_t>();
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "flip_", [&] {
    scalar_t* const states = x.mutable_data_ptr<scalar_t>();
    for (int64_t i = 0; i < x.size(0); ++i) {
      scalar_t& state = states[i * n_sites + unit[i]];
      if (flips(i)) state = 1 - state;
    }
  });
}

/// to <- from in the chains of `mask`, (N,). Both are contiguous, (N, S).
void copy_chains_(const at::Tensor& to, const at::Tensor& from, const at::Tensor& mask) {
  const bool* const copied = mask.const_data_ptr<bool>();
  const int64_t n_bytes = to.size(1) * to.element_size();
  auto* const target = static_cast<char*>(to.mutable_data_ptr());
  const auto* const source = static_cast<const char*>(from.const_data_ptr());
  parallel_rows(to.size(0), to.size(1), [&](kernels::Rows rows) {
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      if (copied[row]) std::memcpy(target + row * n_bytes, source + row * n_bytes, n_bytes);
    }
  });
}

}  // namespace

BinaryFlips::BinaryFlips(const char* op, const Energy& energy, ChainRun& chains)
    : energy_(energy), chains_(chains), proposed_x_(chains.x.clone()) {
  std::tie(energy_here_, score_here_) = evaluate();
  check_chains_finite(op, "energy", energy_here_, 0);
  check_chains_finite(op, "score", score_here_, 0);
  score_here_ = score_here_.clone();  // memory of our own, to be written to
}

std::tuple<at::Tensor, at::Tensor> BinaryFlips::evaluate() const {
  // A copy: an energy may keep what it is given, and these units change.
  const auto [energy, score] = energy_.value_and_score(proposed_x_.clone(), chains_.beta);
  return {energy.to(at::kDouble),
          score.to(proposed_x_.options()).reshape({chains_.n_chains(), -1}).contiguous()};
}

Proposal BinaryFlips::propose(const at::Tensor& uniform) {
  const at::Tensor forward = draw_flips(chains_.x, score_here_, uniform, site_);
  flip_(proposed_x_, site_, [](int64_t) { return true; });
  std::tie(proposed_energy_, proposed_score_) = evaluate();
  const at::Tensor back = log_probability_of(proposed_x_, proposed_score_, site_);
  return {proposed_energy_, energy_here_ - proposed_energy_ + (back - forward)};
}

void BinaryFlips::choose(const Decision& decision) {
  const bool* const accepted = decision.accepted.const_data_ptr<bool>();
  energy_here_ = decision.choose(proposed_energy_, energy_here_);
  copy_chains_(score_here_, proposed_score_, decision.accepted);
  flip_(proposed_x_, site_, [&](int64_t i) { return !accepted[i]; });
  flip_(chains_.x, site_, [&](int64_t i) { return accepted[i]; });
}

}  // namespace torch_ebm::detail
