#pragma once
// Hamiltonian dynamics of N chains: H(x, p) = E(x) + p M^-1 p / 2, with a diagonal mass M.

#include "csrc/samplers/chain_run.h"

namespace torch_ebm::detail {

/// Where the chains are, with what is known there. Copies share memory; nothing is changed in place.
struct PhasePoint {
  at::Tensor x;         // (N, ...)
  at::Tensor energy;    // (N,), float64, tempered
  at::Tensor score;     // (N, ...), tempered
  at::Tensor momentum;  // (N, ...)

  /// This point in the chains of `mask` (N,), `other` elsewhere.
  PhasePoint where(const at::Tensor& mask, const PhasePoint& other) const;
};

class Hamiltonian {
 public:
  /// `inverse_mass`: the diagonal of M^-1, which should be about the variance of every unit; of the shape of one
  /// state, of all, or (); absent means 1. Refuses what is not positive and finite.
  Hamiltonian(const char* op, const Energy& energy, const ChainRun& chains,
              const std::optional<at::Tensor>& inverse_mass);

  /// Energy and score at x, without a momentum.
  PhasePoint at(const at::Tensor& x) const;
  /// The point where the chains start. Throws where the energy or the score is not finite.
  PhasePoint start() const;
  /// Momenta p ~ N(0, M).
  at::Tensor momentum(kernels::Draw draw) const;
  /// p + time * score.
  at::Tensor kick(const at::Tensor& momentum, const at::Tensor& score,
                  const at::Tensor& time) const;
  /// x + time M^-1 p.
  at::Tensor drift(const at::Tensor& x, const at::Tensor& momentum, const at::Tensor& time) const;
  /// H, (N,), float64.
  at::Tensor total(const PhasePoint& point) const;
  /// One leapfrog step (Duane et al. 1987): half a kick, a drift, half a kick. step_size: () or (N,), negative to go
  /// back in time.
  PhasePoint leapfrog(const PhasePoint& point, const at::Tensor& step_size) const;

  const at::Tensor& inverse_mass() const { return inverse_mass_; }
  /// Takes another one of the shape of one state, positive, in the dtype of x.
  void set_inverse_mass(const at::Tensor& inverse_mass) {
    inverse_mass_ = inverse_mass.contiguous();
  }

 private:
  const char* op_;
  const Energy& energy_;
  const ChainRun& chains_;
  at::Tensor one_;
  at::Tensor inverse_mass_;
};

}  // namespace torch_ebm::detail
