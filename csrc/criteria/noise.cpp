#include "csrc/criteria/noise.h"

#include "csrc/common/checks.h"

namespace torch_ebm {

namespace detail {

namespace {

/// The shape of nu states for each of the n_examples examples, where nu may be -1: any.
std::vector<int64_t> shape_beside(const at::Tensor& x, int64_t nu) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape.insert(shape.begin() + 1, nu);
  return shape;
}

}  // namespace

void check_noise(const Criterion& criterion, const at::Tensor& noise) {
  check_same_type(criterion.op, "noise", noise, "x", criterion.x);
  check_shape(criterion.op, "noise", noise, shape_beside(criterion.x, -1), "(N, n_noise, ...)");
  TORCH_CHECK_VALUE(noise.size(1) >= 1, criterion.op,
                    ": noise must hold at least one sample for each example, got shape ",
                    describe_shape(noise.sizes()));
  check_finite(criterion.op, "noise", noise);
}

void check_log_densities(const char* op, const char* name, const at::Tensor& values,
                         std::vector<int64_t> shape, const char* symbols) {
  check_floating(op, name, values);
  check_shape(op, name, values, std::move(shape), symbols);
  if (!has_values(values)) return;
  check_not_meta(op, name, values);
  const at::Tensor bad = at::isfinite(values).logical_not();
  if (!bad.any().item<bool>()) return;
  const at::Tensor first = bad.nonzero()[0];
  TORCH_CHECK_VALUE(false, op, ": ", name, " must be finite, got ",
                    values.masked_select(bad)[0].item<double>(), " at example ",
                    first[0].item<int64_t>());
}

at::Tensor energies_beside_noise(const Criterion& criterion, const Energy& energy,
                                 const at::Tensor& noise) {
  const at::Tensor states = at::cat({criterion.x.unsqueeze(1), noise}, 1);
  return energy.value(states.flatten(0, 1)).view({states.size(0), states.size(1)});
}

at::Tensor log_ratios_to_noise(const Criterion& criterion, const Energy& energy,
                               const NoiseSamples& noise) {
  check_noise(criterion, noise.samples);
  const int64_t n = criterion.n_examples();
  check_log_densities(criterion.op, "noise_log_prob", noise.log_prob, {n, noise.samples.size(1)},
                      "(N, n_noise)");
  check_log_densities(criterion.op, "data_log_prob", noise.data_log_prob, {n}, "(N,)");
  const at::Tensor energies = energies_beside_noise(criterion, energy, noise.samples);
  const at::Tensor log_prob = at::cat({noise.data_log_prob.unsqueeze(1), noise.log_prob}, 1);
  return -energies - log_prob.to(energies.options());
}

}  // namespace detail

namespace {

constexpr const char* kDraw = "draw_noise";

at::Tensor log_prob_of(const NoiseDistribution& noise, const at::Tensor& u) {
  const at::Tensor log_prob = noise.log_prob(u);
  detail::check_shape(kDraw, "the noise's log_prob", log_prob, {u.size(0)}, "(N,)");
  return log_prob;
}

}  // namespace

NoiseSamples draw_noise(const NoiseDistribution& noise, const at::Tensor& x, int64_t n_noise,
                        const std::optional<at::Generator>& generator) {
  detail::check_floating(kDraw, "x", x);
  detail::check_chains(kDraw, "x", x);
  detail::check_at_least(kDraw, "n_noise", n_noise, 1);
  const at::NoGradGuard no_grad;
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] *= n_noise;
  const at::Tensor samples = noise.sample(shape[0], generator);
  detail::check_shape(kDraw, "the noise's sample", samples, shape, "(n, ...)");
  return {samples.to(x.options()).view(detail::shape_beside(x, n_noise)),
          log_prob_of(noise, samples).view({-1, n_noise}), log_prob_of(noise, x.detach())};
}

NoiseSamples model_noise(const Energy& energy, const at::Tensor& x,
                         const at::Tensor& negative_samples) {
  const detail::Criterion examples("model_noise", x, {});
  detail::check_noise(examples, negative_samples);
  const at::NoGradGuard no_grad;
  const at::Tensor log_prob = -detail::energies_beside_noise(examples, energy, negative_samples);
  return {negative_samples.detach(), log_prob.slice(1, 1), log_prob.select(1, 0)};
}

}  // namespace torch_ebm
