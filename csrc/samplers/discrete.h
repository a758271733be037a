#pragma once
// Chains of discrete states: what Gibbs sampling and the samplers guided by a score share.

#include <functional>
#include <optional>
#include <tuple>

#include "csrc/samplers/chain_run.h"

namespace torch_ebm::detail {

/// How S sites of K states are laid out in x: binary ones as they are, x (N, ...), categorical ones
/// one-hot, x (N, ..., K).
class DiscreteSites {
 public:
  /// Throws unless x holds zeros and ones, and, if categorical, a single 1 along the last dimension, K >= 2.
  DiscreteSites(const char* op, const at::Tensor& x, std::optional<bool> categorical);

  /// The states of the sites, (R, k) of 0 ... K - 1, as laid out in x: (R, k, width()).
  at::Tensor encode(const at::Tensor& labels) const;
  /// The states x, (N, ...), of labels (N, S), and back.
  at::Tensor states(const at::Tensor& labels) const { return encode(labels).view(shape_); }
  at::Tensor labels(const at::Tensor& x) const;
  /// A first-order estimate of how -E changes as one site moves on by 1 ... K - 1 states (modulo K): the score at
  /// x times the change of x (Grathwohl et al. 2021, equations 3 and 4). (N, S, K - 1), float64.
  at::Tensor changes(const at::Tensor& labels, const at::Tensor& score) const;

  int64_t n_sites() const { return n_sites_; }
  int64_t n_states() const { return n_states_; }
  /// How many numbers of x hold a site.
  bool categorical() const { return categorical_; }
  int64_t width() const { return categorical_ ? n_states_ : 1; }

 private:
  bool categorical_;
  int64_t n_states_;
  int64_t n_sites_;
  std::vector<int64_t> shape_;
  at::TensorOptions options_;
};

/// Whether the passes of flips (csrc/passes/flips.h) move these sites of x: binary ones, in float or double. Others are
/// moved by tensor operations on labels.
bool are_flips(const DiscreteSites& sites, const at::Tensor& x);

/// Where the chains are, with what is known there. Copies share memory; nothing is changed in place.
struct DiscretePoint {
  at::Tensor labels;   // (N, S), int64
  at::Tensor energy;   // (N,), float64, tempered
  at::Tensor changes;  // (N, S, K - 1), float64, tempered

  /// This point where `decision` accepted, `current` elsewhere.
  DiscretePoint chosen_over(const DiscretePoint& current, const Decision& decision) const;
  /// `log_ratio`, (N,), or NaN, which metropolis() rejects, where the score here is not finite:
  /// the reverse move is impossible.
  at::Tensor with_a_way_back(const at::Tensor& log_ratio) const;
};

/// The energy of discrete chains with its first-order changes.
class DiscreteEnergy {
 public:
  DiscreteEnergy(const char* op, const Energy& energy, const ChainRun& chains,
                 const DiscreteSites& sites)
      : op_(op), energy_(energy), chains_(chains), sites_(sites) {}

  DiscretePoint at(const at::Tensor& labels) const;
  /// Where the chains start. Throws where the energy or the score is not finite.
  DiscretePoint start() const;

 private:
  const char* op_;
  const Energy& energy_;
  const ChainRun& chains_;
  const DiscreteSites& sites_;
};

/// Numbers 0 ... M - 1 drawn with probabilities proportional to exp(log_weights), (..., M), float64, each from one
/// uniform number (...): by inversion, so that chains with equal weights draw equally. Never one of weight 0.
at::Tensor draw_index(const at::Tensor& log_weights, const at::Tensor& uniform);

/// What some steps of an energy's own sampler lead to, if it has one: states, and acceptance rates (N,), float64
/// (undefined: all are accepted).
using OwnSteps = std::function<std::optional<std::tuple<at::Tensor, at::Tensor>>(
    const at::Tensor& x, const RunOptions& run)>;

/// A run of an energy's own sampler, if it has one: all steps in one call, or one by one if states on the way are
/// to be kept.
std::optional<Samples> run_own_steps(ChainRun& chains, const RunOptions& run,
                                     const OwnSteps& own_steps);

}  // namespace torch_ebm::detail
