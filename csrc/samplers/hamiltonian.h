#pragma once
// Hamiltonian dynamics of N chains: H(x, p) = E(x) + p M^-1 p / 2, with a diagonal mass M.

#include "csrc/samplers/chain_run.h"

namespace torch_ebm::detail {

/// The states of the chains, with energies and scores. Copies share memory.
struct Position {
  at::Tensor x;       // (N, ...)
  at::Tensor energy;  // (N,), float64, tempered
  at::Tensor score;   // (N, ...), tempered, contiguous
};

/// The same with momenta.
struct PhasePoint : Position {
  at::Tensor momentum;  // (N, ...)
  at::Tensor kinetic;   // p M^-1 p / 2, (N,), float64

  /// H, (N,), float64.
  at::Tensor total() const { return energy + kinetic; }
};

/// `chosen` in the chains of `mask` (N,), `other` elsewhere. Moving `chosen` in may save a copy.
Position where_chains(const at::Tensor& mask, Position chosen, const Position& other);
PhasePoint where_chains(const at::Tensor& mask, PhasePoint chosen, const PhasePoint& other);

class Hamiltonian {
 public:
  /// `inverse_mass`: the diagonal of M^-1, ideally the variance of every unit; of the shape of one
  /// state, of all, or (); absent means 1. Rejects values that are not positive and finite.
  Hamiltonian(const char* op, const Energy& energy, ChainRun& chains,
              const std::optional<at::Tensor>& inverse_mass);

  /// Energy and score at x.
  Position at(const at::Tensor& x) const;
  /// The point where the chains start, without momenta. Throws where the energy or the score is not finite.
  PhasePoint start() const;
  /// Draws momenta p ~ N(0, M), in the memory of the old ones if nothing else holds it.
  void draw_momentum(PhasePoint& point, kernels::Draw draw) const;

  /// Leapfrog steps (Duane et al. 1987): half a kick, a drift, half a kick, of which the two halves between two drifts
  /// are one. step_size: () or (N,), negative to go back in time.
  PhasePoint leapfrog(PhasePoint point, const at::Tensor& step_size, int64_t n_steps = 1) const;
  /// p + kick * force, then x + drift M^-1 p; times () or (N,). Energy and score are then stale.
  void kick_and_drift(PhasePoint& point, const at::Tensor& force, const at::Tensor& kick,
                      const at::Tensor& drift) const;
  /// p + time * score, with its kinetic energy.
  void kick(PhasePoint& point, const at::Tensor& time) const;

  const at::Tensor& inverse_mass() const { return inverse_mass_; }
  /// Takes another one of the shape of one state, positive, in the dtype of x.
  void set_inverse_mass(const at::Tensor& inverse_mass);

 private:
  const char* op_;
  const Energy& energy_;
  ChainRun& chains_;
  at::Tensor inverse_mass_;
  at::Tensor deviation_;  // of a momentum
};

}  // namespace torch_ebm::detail
