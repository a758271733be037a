#include "csrc/partition/annealing/path.h"

#include <algorithm>

#include <ATen/CPUGeneratorImpl.h>

#include "csrc/common/checks.h"

namespace torch_ebm::detail {

at::Tensor checked_path(const char* op, const at::Tensor& betas) {
  check_floating(op, "betas", betas);
  check_shape(op, "betas", betas, {-1}, "(K + 1,)");
  TORCH_CHECK_VALUE(betas.size(0) >= 2, op, ": betas must hold at least two temperatures, got ",
                    betas.size(0));
  check_finite(op, "betas", betas);
  const at::Tensor path = betas.detach().to(at::kCPU, at::kDouble).contiguous();
  TORCH_CHECK_VALUE(path.ge(0).all().item<bool>(), op, ": betas must not be negative, got ",
                    path.min().item<double>());
  const at::Tensor change = path.diff();
  TORCH_CHECK_VALUE(change.gt(0).all().item<bool>() || change.lt(0).all().item<bool>(), op,
                    ": betas must rise strictly or fall strictly");
  return path;
}

at::Tensor checked_path_to_model(const char* op, const std::optional<at::Tensor>& betas) {
  constexpr int64_t kDefaultTemperatures = 1001;
  const at::Tensor path = checked_path(
      op, betas.value_or(at::linspace(0, 1, kDefaultTemperatures, at::TensorOptions(at::kDouble))));
  TORCH_CHECK_VALUE(path[0].item<double>() == 0 && path[-1].item<double>() == 1, op,
                    ": betas must rise strictly from 0 to 1");
  return path;
}

Place place_on_path(const at::Tensor& betas, double beta) {
  const double* const begin = betas.const_data_ptr<double>();
  const int64_t last = betas.size(0) - 1;
  const double inside = std::clamp(beta, begin[0], begin[last]);
  const int64_t above =
      std::clamp<int64_t>(std::upper_bound(begin, begin + last + 1, inside) - begin, 1, last);
  return {above - 1, (inside - begin[above - 1]) / (begin[above] - begin[above - 1])};
}

at::Tensor linear_between(const at::Tensor& values, Place place) {
  return (1 - place.share) * values[place.below] + place.share * values[place.below + 1];
}

at::Tensor effective_number(const at::Tensor& log_weights) {
  // Where all weights are 0 their shares are NaN.
  return at::softmax(log_weights, -1).square().sum(-1).reciprocal().nan_to_num(0);
}

PathFromBase path_from_base(const char* op, const Energy& energy, const NoiseDistribution& base,
                            const at::Tensor& x) {
  constexpr int64_t kStates = 64;
  TORCH_CHECK_VALUE(base.log_prob, op, ": base must have a log_prob");
  const at::TensorOptions number = x.options().dtype(at::kDouble);
  if (!energy.has_path(x)) return {annealed_energy(energy, base), at::zeros({}, number)};
  TORCH_CHECK_VALUE(base.sample, op, ": base must have a sample");
  const at::Tensor states = base.sample(kStates, at::make_generator<at::CPUGeneratorImpl>(0));
  const at::Tensor at_zero = path_energies(op, energy, states, {at::zeros({}, number)})[0];
  const at::Tensor log_prob = base.log_prob(states);
  const at::Tensor log_z = -(at_zero + log_prob.to(at::kDouble));
  const double spread = (log_z.max() - log_z.min()).item<double>();
  // Of sums over many units, in the dtype of the states.
  const double eps = states.scalar_type() == at::kDouble ? 1e-15 : 1e-7;
  const double rounding = 1e-3 + 100 * eps * at_zero.abs().max().item<double>();
  TORCH_CHECK_VALUE(spread <= rounding, op,
                    ": base must be the distribution that the energy itself defines at beta = 0; "
                    "the difference of their log densities varies by up to ",
                    spread, " between states");
  return {energy, log_z.mean().detach()};
}

at::Tensor path_energies(const char* op, const Energy& energy, const at::Tensor& x,
                         const std::vector<at::Tensor>& betas,
                         const std::optional<KnownEnergy>& known) {
  const at::Tensor energies = energy.values_at(x, betas, known);
  // Neither NaN nor -inf is above -inf.
  const at::Tensor valid = energies.gt(-INFINITY);
  if (!valid.all().item<bool>()) {
    const int64_t chain = valid.all(0).logical_not().nonzero()[0].item<int64_t>();
    TORCH_CHECK_VALUE(
        false, op, ": the energy of chain ", chain,
        " is NaN or -inf; likely the energy's parameters or the states are not finite");
  }
  return energies;
}

at::Tensor log_weight_change(const at::Tensor& from, const at::Tensor& to) {
  return at::where(at::isposinf(to), -INFINITY, from - to);
}

at::Tensor resampled_chains(const at::Tensor& log_weights, const at::Tensor& uniform) {
  const int64_t n_groups = log_weights.size(0);
  const int64_t n_chains = log_weights.size(1);
  const at::Tensor share = at::softmax(log_weights, 1).cumsum(1);
  const at::Tensor comb = (at::arange(n_chains, log_weights.options()) + uniform.unsqueeze(1)) /
                          static_cast<double>(n_chains);
  // The last share may be rounded to less than 1.
  return at::searchsorted(share, comb.expand({n_groups, n_chains}).contiguous())
      .clamp_max(n_chains - 1);
}

}  // namespace torch_ebm::detail
