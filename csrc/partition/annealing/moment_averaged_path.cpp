#include "torch_ebm/partition/annealing/moment_averaged_path.h"

#include <torch/library.h>

#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/models/rbm.h"
#include "csrc/models/rbm_chains.h"
#include "csrc/passes/bernoulli.h"

namespace torch_ebm {

namespace {

constexpr const char* kMomentAveragedPath = "moment_averaged_path";

using Knots = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

struct Parameters {
  at::Tensor weight;
  at::Tensor visible_bias;
  at::Tensor hidden_bias;
};

struct Moments {
  at::Tensor visible;   // E[v], (V,)
  at::Tensor hidden;    // E[h], (H,)
  at::Tensor products;  // E[v h'], (V, H)
};

/// Interpolates between two RBMs or two sets of moments.
template <typename T>
T between(const T& from, const T& to, double share) {
  const auto& [a, b, c] = from;
  const auto& [x, y, z] = to;
  return {at::lerp(a, x, share), at::lerp(b, y, share), at::lerp(c, z, share)};
}

/// Moments of the visible states v, (N, V), with the exact means of the hidden units given v.
Moments moments_of(const at::Tensor& v, const Parameters& rbm) {
  const at::Tensor h = at::sigmoid(detail::hidden_input(v, rbm.weight, rbm.hidden_bias));
  return {v.mean(0), h.mean(0), at::mm(v.t(), h) / v.size(0)};
}

Moments moments_of_base(const Parameters& base) {
  const at::Tensor v = at::sigmoid(base.visible_bias);
  const at::Tensor h = at::sigmoid(base.hidden_bias);
  return {v, h, at::outer(v, h)};
}

/// A step up the expected log-likelihood, whose gradient is the difference of the moments (Grosse, Maddison &
/// Salakhutdinov 2013, section 3.2). It is taken in the parameters of the centred units v - E[v] and h - E[h], E those
/// of the target (Montavon & Mueller 2012): the optimum is the same, and without it the step size would be bounded by
/// what the means have in common.
void ascend(Parameters& rbm, const Moments& target, const Moments& now, double step_size) {
  const at::Tensor visible = target.visible - now.visible;
  const at::Tensor hidden = target.hidden - now.hidden;
  const at::Tensor centred = target.products - now.products - at::outer(target.visible, hidden) -
                             at::outer(visible, target.hidden);
  rbm.weight.add_(centred, step_size);
  rbm.visible_bias.add_(visible - at::mv(centred, target.hidden), step_size);
  rbm.hidden_bias.add_(hidden - at::mv(centred.t(), target.visible), step_size);
}

/// Persistent chains; every step counts as progress.
class Chains {
 public:
  Chains(const Parameters& base, int64_t n_chains, uint64_t key, detail::Progress& progress)
      : key_(key),
        progress_(progress),
        one_(at::ones({}, base.weight.options())),
        v_(at::empty({n_chains, base.weight.size(0)}, base.weight.options())),
        h_(at::empty({n_chains, base.weight.size(1)}, base.weight.options())) {
    restart(base);
  }

  /// Exact samples of the base.
  void restart(const Parameters& base) {
    v_.zero_();
    passes::sample_bernoulli_(kMomentAveragedPath, v_, base.visible_bias, one_,
                              {key_, step_, detail::kStart});
  }

  /// One block Gibbs step; the moments after it.
  Moments step(const Parameters& rbm) {
    const detail::RBMChains chains{kMomentAveragedPath, rbm.weight, rbm.visible_bias,
                                   rbm.hidden_bias,     v_,         h_};
    detail::run_chains(chains, 1, [&](auto& these, int64_t) {
      these.set_beta(one_);
      these.hidden_input();
      these.sample(key_, step_);
    });
    progress_.step(++step_);
    return moments_of(v_, rbm);
  }

 private:
  uint64_t key_;
  detail::Progress& progress_;
  uint32_t step_ = 0;
  at::Tensor one_;
  at::Tensor v_;
  at::Tensor h_;
};

double share(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

/// The mean over the second half of the steps; the first half goes from the base to the model.
Moments moments_of_model(const Parameters& base, const Parameters& model, Chains& chains,
                         int64_t n_steps) {
  const int64_t n_first = n_steps / 2;
  for (int64_t k = 1; k <= n_first; ++k) chains.step(between(base, model, share(k, n_first)));
  Moments mean = chains.step(model);
  for (int64_t k = 2; k <= n_steps - n_first; ++k) {
    mean = between(mean, chains.step(model), share(1, k));
  }
  return mean;
}

void check_moment_averaged_path(const Parameters& model, const at::Tensor& base_visible_bias,
                                const MomentAveragingOptions& options) {
  const auto& [weight, visible_bias, hidden_bias] = model;
  detail::check_rbm_shapes(kMomentAveragedPath, weight, visible_bias, hidden_bias);
  detail::check_shape(kMomentAveragedPath, "base_visible_bias", base_visible_bias, {weight.size(0)},
                      "(V,)");
  detail::check_same_type(kMomentAveragedPath, "base_visible_bias", base_visible_bias, "weight",
                          weight);
  detail::check_has_units(kMomentAveragedPath, weight);
  detail::check_rbm_finite(kMomentAveragedPath, weight, visible_bias, hidden_bias);
  detail::check_finite(kMomentAveragedPath, "base_visible_bias", base_visible_bias);
  if (options.x) {
    detail::check_shape(kMomentAveragedPath, "x", *options.x, {-1, weight.size(0)}, "(N, V)");
    detail::check_same_type(kMomentAveragedPath, "x", *options.x, "weight", weight);
    detail::check_chains(kMomentAveragedPath, "x", *options.x);
    detail::check_binary(kMomentAveragedPath, "x", *options.x);
  }
  detail::check_at_least(kMomentAveragedPath, "n_knots", options.n_knots, 2);
  detail::check_at_least(kMomentAveragedPath, "n_model_steps", options.n_model_steps, 2);
  detail::check_at_least(kMomentAveragedPath, "n_chains", options.n_chains, 1);
  detail::check_at_least(kMomentAveragedPath, "n_updates", options.n_updates, 1);
  TORCH_CHECK_VALUE(options.learning_rate > 0 && std::isfinite(options.learning_rate),
                    kMomentAveragedPath, ": learning_rate must be positive, got ",
                    options.learning_rate);
  const double n_steps = static_cast<double>(options.n_model_steps) +
                         static_cast<double>(options.n_knots) * options.n_updates;
  TORCH_CHECK_VALUE(n_steps < 0x1p32, kMomentAveragedPath,
                    ": n_model_steps + n_knots n_updates must be below 2^32, got ", n_steps);
}

Knots stacked(const std::vector<Parameters>& knots, const at::Tensor& betas, at::ScalarType dtype) {
  std::vector<at::Tensor> weight, visible_bias, hidden_bias;
  for (const auto& [w, b, c] : knots) {
    weight.push_back(w);
    visible_bias.push_back(b);
    hidden_bias.push_back(c);
  }
  return {at::stack(weight).to(dtype), at::stack(visible_bias).to(dtype),
          at::stack(hidden_bias).to(dtype), betas};
}

/// The inverse temperatures of the knots, if their moments are evenly spaced from first to last.
/// Distances are proportional to the square root of the cost of the piece between, change of
/// parameters times change of moments. Evenly spaced temperatures are then optimal for a piecewise
/// linear path (Grosse, Maddison & Salakhutdinov 2013).
at::Tensor betas_of(const std::vector<Parameters>& knots, const Moments& first,
                    const Moments& last) {
  constexpr double kLeast = 1e-4;  // of the largest cost: noise may make one negative
  std::vector<at::Tensor> costs;
  for (size_t r = 0; r + 1 < knots.size(); ++r) {
    const Parameters &from = knots[r], &to = knots[r + 1];
    costs.push_back(((to.weight - from.weight) * (last.products - first.products)).sum() +
                    at::dot(to.visible_bias - from.visible_bias, last.visible - first.visible) +
                    at::dot(to.hidden_bias - from.hidden_bias, last.hidden - first.hidden));
  }
  const at::Tensor cost = at::stack(costs).to(at::kDouble);
  const at::Tensor way =
      at::cumsum(at::sqrt(at::maximum(cost, (kLeast * cost.max()).clamp_min(1e-100))), 0);
  return at::cat({at::zeros({1}, way.options()), way / way[-1]});
}

/// The knots from base to model, both included.
Knots trained_knots(const Parameters& base, const Parameters& model,
                    const MomentAveragingOptions& options, uint64_t key, at::ScalarType dtype) {
  const int64_t n_intervals = options.n_knots - 1;
  const int64_t n_model_steps = options.x ? 0 : options.n_model_steps;
  detail::Progress progress(kMomentAveragedPath,
                            n_model_steps + (n_intervals - 1) * options.n_updates);
  Chains chains(base, options.n_chains, key, progress);
  const Moments first = moments_of_base(base);
  const Moments last = options.x ? moments_of(detail::at_least_float(*options.x), model)
                                 : moments_of_model(base, model, chains, n_model_steps);
  chains.restart(base);
  std::vector<Parameters> knots{base};
  for (int64_t r = 1; r < n_intervals; ++r) {
    const Moments target = between(first, last, share(r, n_intervals));
    Parameters knot = between(knots.back(), model, share(1, n_intervals - r + 1));
    for (int64_t u = 0; u < options.n_updates; ++u) {
      const double step_size = options.learning_rate * (1 - share(u, options.n_updates));
      ascend(knot, target, chains.step(knot), step_size);
    }
    knots.push_back(knot);
  }
  knots.push_back(model);
  return stacked(knots, betas_of(knots, first, last), dtype);
}

Knots moment_averaged_rbms(const at::Tensor& weight, const at::Tensor& visible_bias,
                           const at::Tensor& hidden_bias, const at::Tensor& base_visible_bias,
                           int64_t n_knots, const std::optional<at::Tensor>& x,
                           int64_t n_model_steps, int64_t n_chains, int64_t n_updates,
                           double learning_rate, std::optional<at::Generator> generator) {
  const at::NoGradGuard no_grad;
  const MomentAveragingOptions options{n_knots,       x,        n_model_steps, n_chains, n_updates,
                                       learning_rate, generator};
  check_moment_averaged_path({weight, visible_bias, hidden_bias}, base_visible_bias, options);
  const Parameters model{detail::at_least_float(weight), detail::at_least_float(visible_bias),
                         detail::at_least_float(hidden_bias)};
  const Parameters base{at::zeros_like(model.weight), detail::at_least_float(base_visible_bias),
                        at::zeros_like(model.hidden_bias)};
  const uint64_t key = detail::draw_key(generator, weight.device());
  return trained_knots(base, model, options, key, weight.scalar_type());
}

Knots moment_averaged_rbms_meta(const at::Tensor& weight, const at::Tensor& visible_bias,
                                const at::Tensor& hidden_bias, const at::Tensor&, int64_t n_knots,
                                const std::optional<at::Tensor>&, int64_t, int64_t, int64_t, double,
                                std::optional<at::Generator>) {
  detail::check_rbm_shapes(kMomentAveragedPath, weight, visible_bias, hidden_bias);
  detail::check_at_least(kMomentAveragedPath, "n_knots", n_knots, 2);
  const auto knots = [n_knots](const at::Tensor& of_model) {
    c10::SymDimVector sizes{n_knots};
    for (const c10::SymInt& size : of_model.sym_sizes()) sizes.push_back(size);
    return at::empty_symint(sizes, of_model.options());
  };
  return {knots(weight), knots(visible_bias), knots(hidden_bias),
          at::empty({n_knots}, weight.options().dtype(at::kDouble))};
}

}  // namespace

RBMPath moment_averaged_path(const RBM& rbm, const at::Tensor& base_visible_bias,
                             const MomentAveragingOptions& options) {
  detail::check_keeps_energy("moment_averaged_path", *rbm);
  static const auto op =
      detail::find_operator<decltype(moment_averaged_rbms)>("torch_ebm::moment_averaged_rbms");
  const auto [weight, visible_bias, hidden_bias, betas] =
      op.call(rbm->weight, rbm->visible_bias, rbm->hidden_bias, base_visible_bias, options.n_knots,
              options.x, options.n_model_steps, options.n_chains, options.n_updates,
              options.learning_rate, options.generator);
  return RBMPath(weight, visible_bias, hidden_bias, betas);
}

TORCH_EBM_NO_GRADIENT("moment_averaged_rbms", &moment_averaged_rbms, &moment_averaged_rbms_meta)

}  // namespace torch_ebm
