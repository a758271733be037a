#include "csrc/partition/annealing/path.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <limits>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/passes/noise.h"
#include "csrc/samplers/any_sampler.h"
#include "torch_ebm/partition/annealing/schedule.h"

namespace torch_ebm {

namespace detail {

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
  constexpr int64_t kDefaultSteps = 1000;
  const at::Tensor path = checked_path(op, betas ? *betas : linear_schedule(kDefaultSteps));
  TORCH_CHECK_VALUE(path[0].item<double>() == 0 && path[-1].item<double>() == 1, op,
                    ": betas must rise strictly from 0 to 1");
  return path;
}

void check_annealing_start(const char* op, const at::Tensor& x,
                           const std::optional<at::Tensor>& rbm_weight) {
  check_floating(op, "x", x);
  check_chains(op, "x", x);
  check_finite(op, "x", x);
  if (!rbm_weight) return;
  check_same_type(op, "x", x, "the RBM", *rbm_weight);
  check_shape(op, "x", x, {-1, rbm_weight->size(0)}, "(N, V)");
  check_binary(op, "x", x);
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

namespace {

/// The distance of 1 to the next number.
double epsilon(at::ScalarType dtype) {
  switch (dtype) {
    case at::kDouble:
      return std::numeric_limits<double>::epsilon();
    case at::kFloat:
      return std::numeric_limits<float>::epsilon();
    case at::kHalf:
      return std::numeric_limits<c10::Half>::epsilon();
    default:
      return std::numeric_limits<c10::BFloat16>::epsilon();
  }
}

}  // namespace

PathFromBase path_from_base(const char* op, const Energy& energy, const NoiseDistribution& base,
                            const at::Tensor& x) {
  TORCH_CHECK_VALUE(base.log_prob, op, ": base must have a log_prob");
  const at::TensorOptions number = x.options().dtype(at::kDouble);
  if (!energy.has_path(x)) return {annealed_energy(energy, base), at::zeros({}, number)};
  TORCH_CHECK_VALUE(base.sample, op, ": base must have a sample");
  const at::Tensor samples = base.sample(kPilotChains, at::make_generator<at::CPUGeneratorImpl>(0));
  return {energy, log_z_of_base(op, energy, samples, base.log_prob(samples))};
}

at::Tensor log_z_of_base(const char* op, const Energy& path, const at::Tensor& samples,
                         const at::Tensor& log_prob) {
  constexpr double kSlack = 1e-3;     // nats that nobody sees in an estimate
  constexpr double kRoundings = 100;  // of sums over many units, in the dtype of the states
  check_floating(op, "the base's log_prob", log_prob);
  check_shape(op, "the base's log_prob", log_prob, {samples.size(0)}, "(n,)");
  const at::Tensor zero = at::zeros({}, samples.options().dtype(at::kDouble));
  const at::Tensor at_zero = path_energies(op, path, samples, {zero})[0];
  const at::Tensor log_z = -(at_zero + log_prob.detach().to(at::kDouble));
  const double spread = (log_z.max() - log_z.min()).item<double>();
  // A sample that the energy forbids makes the spread infinite.
  const at::Tensor sizes = at_zero.abs().masked_fill(at_zero.isinf(), 0);
  const double rounding = kRoundings * epsilon(samples.scalar_type()) * sizes.max().item<double>();
  TORCH_CHECK_VALUE(spread <= kSlack + rounding, op,
                    ": base must be the distribution that the energy itself defines at beta = 0; "
                    "the difference of their log densities varies by up to ",
                    spread, " between states");
  return log_z.mean();
}

at::Tensor path_energies(const char* op, const Energy& energy, const at::Tensor& x,
                         const std::vector<at::Tensor>& betas,
                         const std::optional<KnownEnergy>& known) {
  at::Tensor energies = energy.values_at(x, betas, known);
  check_energies(op, energies);
  return energies;
}

void check_energies(const char* op, const at::Tensor& energies) {
  // Neither NaN nor -inf is above -inf.
  const at::Tensor valid = energies.gt(-INFINITY);
  if (valid.all().item<bool>()) return;
  const int64_t chain = valid.all(0).logical_not().nonzero()[0].item<int64_t>();
  TORCH_CHECK_VALUE(false, op, ": the energy of chain ", chain,
                    " is NaN or -inf; likely the energy's parameters or the states are not finite");
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

at::Tensor chains_by_weight(const at::Tensor& log_weights,
                            const std::optional<at::Generator>& generator) {
  const at::Tensor one_group = log_weights.unsqueeze(0);
  const at::Tensor uniform =
      passes::uniform_like(at::empty({1}, log_weights.options()),
                           {draw_key(generator, log_weights.device()), 0, kChoice});
  return resampled_chains(one_group, uniform)[0];
}

at::Tensor moved_at_model(const char* op, const Energy& path, const at::Tensor& x,
                          const Sampler& sampler, int64_t n_steps,
                          const std::optional<at::Generator>& generator) {
  const at::Tensor one = at::ones({}, x.options().dtype(at::kDouble));
  at::Tensor states = x;
  Progress progress(op, n_steps);
  for (int64_t step = 0; step < n_steps; ++step) {
    states = moved(op, sampler, path, states, one, generator).x;
    progress.step(step + 1);
  }
  return states;
}

}  // namespace detail

namespace {

/// What Python's loops over stages and batches decide by. The name of their function comes first, for messages.

at::Tensor betas_to_model_op(const std::string& op, const std::optional<at::Tensor>& betas) {
  return detail::checked_path_to_model(op.c_str(), betas);
}

void check_annealing_start_op(const std::string& op, const at::Tensor& x,
                              const std::optional<at::Tensor>& rbm_weight) {
  if (rbm_weight) detail::check_shape(op.c_str(), "rbm_weight", *rbm_weight, {-1, -1}, "(V, H)");
  detail::check_annealing_start(op.c_str(), x, rbm_weight);
}

int64_t n_pilot_chains_op() { return detail::kPilotChains; }

/// Temperatures of a pilot run and its steps at each: as many in all as the run moves, within limits. 11 x 100 where
/// there are as many, as tune_path makes by default, and never fewer than 3 x 20: step sizes found in fewer are worth
/// nothing.
std::tuple<at::Tensor, int64_t> pilot_run_op(int64_t n_stages) {
  detail::check_at_least("_pilot_run", "n_stages", n_stages, 1);
  const int64_t n_temperatures = std::clamp<int64_t>(n_stages / 20, 3, 11);
  return {linear_schedule(n_temperatures - 1),
          std::clamp<int64_t>(n_stages / (n_temperatures - 1), 20, 100)};
}

/// The sampler that suits the states of a base: "gibbs", "categorical gibbs", or "hmc", with step sizes from a pilot
/// run. x: samples of it, (N, ...). support: what is known of all its states: "unknown", "real", "discrete", "counts"
/// or "one-hot".
std::string default_sampler_op(const std::string& op, const at::Tensor& x,
                               const std::string& support) {
  detail::check_chains(op.c_str(), "x", x);
  const bool binary = x.eq(0).logical_or(x.eq(1)).all().item<bool>();
  if (support == "unknown") return binary ? "gibbs" : "hmc";
  if (support == "real") return "hmc";
  if (support == "one-hot") return "categorical gibbs";
  TORCH_CHECK_VALUE(support == "discrete" || support == "counts",
                    "_default_sampler: support must "
                    "be unknown, real, discrete, counts or one-hot, got ",
                    support);
  // Few counts may happen to be zeros and ones.
  TORCH_CHECK_VALUE(binary && support == "discrete", op,
                    ": sampler must be given for a base of discrete states other than zeros and "
                    "ones");
  return "gibbs";
}

at::Tensor effective_number_op(const at::Tensor& log_weights) {
  constexpr const char* kName = "_effective_number";
  detail::check_floating(kName, "log_weights", log_weights);
  TORCH_CHECK_VALUE(log_weights.dim() == 1 || log_weights.dim() == 2, kName,
                    ": log_weights must have shape (N,) or (G, M), got ",
                    detail::describe_shape(log_weights.sizes()));
  return detail::effective_number(log_weights.detach());
}

at::Tensor log_z_of_base_op(const std::string& op, const c10::IValue& path, const at::Tensor& x,
                            const at::Tensor& log_prob) {
  detail::check_floating(op.c_str(), "x", x);
  detail::check_chains(op.c_str(), "x", x);
  const detail::NoGradMode no_grad;
  // A copy of x: an energy may change it before that is noticed.
  return detail::log_z_of_base(op.c_str(), Energy::from_ivalue(op.c_str(), path), x.clone(),
                               log_prob);
}

at::Tensor chains_by_weight_op(const at::Tensor& log_weights,
                               std::optional<at::Generator> generator) {
  constexpr const char* kName = "_chains_by_weight";
  detail::check_floating(kName, "log_weights", log_weights);
  detail::check_shape(kName, "log_weights", log_weights, {-1}, "(N,)");
  detail::check_at_least(kName, "the number of log_weights", log_weights.size(0), 1);
  detail::check_not_meta(kName, "log_weights", log_weights);
  return detail::chains_by_weight(log_weights.detach().to(at::kDouble), generator);
}

at::Tensor moved_at_model_op(const std::string& op, const c10::IValue& path, const at::Tensor& x,
                             const c10::IValue& sampler, int64_t n_steps,
                             std::optional<at::Generator> generator) {
  const char* const name = op.c_str();
  detail::check_floating(name, "x", x);
  detail::check_chains(name, "x", x);
  detail::check_at_least(name, "n_steps", n_steps, 0);
  const detail::NoGradMode no_grad;
  // A copy: what an operator returns must not be its argument.
  return detail::moved_at_model(name, Energy::from_ivalue(name, path), x.detach().clone(),
                                Sampler::from_ivalue(name, sampler), n_steps, generator);
}

}  // namespace

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("_betas_to_model", &betas_to_model_op);
  m.impl("_check_annealing_start", &check_annealing_start_op);
  m.impl("_n_pilot_chains", &n_pilot_chains_op);
  m.impl("_pilot_run", &pilot_run_op);
  m.impl("_default_sampler", &default_sampler_op);
}
TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("_chains_by_weight", &chains_by_weight_op);
  m.impl("_effective_number", &effective_number_op);
}
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("_chains_by_weight", torch::CppFunction::makeFallthrough());
  m.impl("_effective_number", torch::CppFunction::makeFallthrough());
}
TORCH_EBM_DRIVER("_log_z_of_base", &log_z_of_base_op)
TORCH_EBM_DRIVER("_moved_at_model", &moved_at_model_op)

}  // namespace torch_ebm
