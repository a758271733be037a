#pragma once

#include <ATen/ATen.h>

#include "torch_ebm/partition/annealing/annealed_energy.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm::detail {

/// Inverse temperatures as a contiguous float64 tensor on the CPU, (K + 1,), K >= 1: finite, not negative, strictly
/// rising or strictly falling.
at::Tensor checked_path(const char* op, const at::Tensor& betas);

/// The same from 0 to 1; 1001 of them, evenly spaced, if there are none.
at::Tensor checked_path_to_model(const char* op, const std::optional<at::Tensor>& betas);

/// Throws TypeError or ValueError unless chains can start at x, (N, ...): floating and finite; binary and like its
/// visible units for an RBM with these weights, (V, H).
void check_annealing_start(const char* op, const at::Tensor& x,
                           const std::optional<at::Tensor>& rbm_weight = std::nullopt);

/// What a pilot run has, and how many samples of a base are looked at.
constexpr int64_t kPilotChains = 50;

/// Where a temperature lies on a path: after knot `below`, at `share` of the way to the next.
struct Place {
  int64_t below;
  double share;
};

/// betas: (R,), rising, float64, on the CPU. A temperature outside them is clamped to the nearest
/// one.
Place place_on_path(const at::Tensor& betas, double beta);

/// values (R, ...) between two of them.
at::Tensor linear_between(const at::Tensor& values, Place place);

/// (sum w)^2 / sum w^2 of weights (N,), or of each row of (G, M): between 0, where all are 0, and their number.
at::Tensor effective_number(const at::Tensor& log_weights);

/// An energy with a path, and log Z of the distribution it begins with.
struct PathFromBase {
  Energy energy;
  at::Tensor log_z_base;  // (), float64
};

/// The geometric path from the base to `energy`; or its own path, if it has one: then log Z at beta
/// = 0 is computed from a few samples of the base, which must be the distribution there: throws
/// ValueError if it is not. x: states, (N, ...), of the dtype and device of the chains.
PathFromBase path_from_base(const char* op, const Energy& energy, const NoiseDistribution& base,
                            const at::Tensor& x);

/// log Z at beta = 0 of an energy with its own path, (), float64, from samples of its base, (n, ...), and their log
/// densities, (n,): throws ValueError if these differ from the energy's own by more than rounding.
at::Tensor log_z_of_base(const char* op, const Energy& path, const at::Tensor& samples,
                         const at::Tensor& log_prob);

/// The energies of x at each of the betas, (K, N), float64. Throws if one is NaN or -inf.
at::Tensor path_energies(const char* op, const Energy& energy, const at::Tensor& x,
                         const std::vector<at::Tensor>& betas,
                         const std::optional<KnownEnergy>& known = std::nullopt);

/// Throws ValueError if one of the energies of N chains, (K, N), is NaN or -inf.
void check_energies(const char* op, const at::Tensor& energies);

/// The increments of the log weights when the energies change from `from` to `to`, (N,); -inf where
/// `to` is +inf.
at::Tensor log_weight_change(const at::Tensor& from, const at::Tensor& to);

/// Systematic resampling of each group of chains, rows of log_weights (G, M), by one uniform number each, (G,): for
/// every chain the one that takes its place, (G, M), int64, counted within its group.
at::Tensor resampled_chains(const at::Tensor& log_weights, const at::Tensor& uniform);

/// The same for all chains, log_weights (N,), as one group, (N,), with a number drawn from the generator: samples of
/// the end of the path are the states of these chains.
at::Tensor chains_by_weight(const at::Tensor& log_weights,
                            const std::optional<at::Generator>& generator);

/// The states after n_steps moves of the chains x by `sampler` at beta = 1.
at::Tensor moved_at_model(const char* op, const Energy& path, const at::Tensor& x,
                          const Sampler& sampler, int64_t n_steps,
                          const std::optional<at::Generator>& generator);

}  // namespace torch_ebm::detail
