#include <torch/library.h>

#include <algorithm>
#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/models/rbm.h"
#include "csrc/passes/bernoulli.h"
#include "csrc/passes/noise.h"

namespace torch_ebm {

namespace {

constexpr const char* kRbmSample = "rbm_sample";
constexpr int64_t kMaxNumbers = 1 << 22;  // in one batch of a matrix product

/// The states of these numbers: unit i is binary digit i.
at::Tensor digits(const at::Tensor& numbers, int64_t n_units, at::ScalarType dtype) {
  const at::Tensor shift = at::arange(n_units, numbers.options());
  return numbers.unsqueeze(1).bitwise_right_shift(shift).bitwise_and(1).to(dtype);
}

/// log p of all 2^n states of the layer that has this bias, up to a constant; weight (n, m), all in float64.
at::Tensor marginal_log_weights(const at::Tensor& weight, const at::Tensor& bias,
                                const at::Tensor& other_bias) {
  const int64_t n_states = int64_t{1} << weight.size(0);
  const int64_t batch = std::clamp<int64_t>(kMaxNumbers / weight.size(1), 1, n_states);
  std::vector<at::Tensor> parts;
  detail::Progress progress(kRbmSample, n_states);
  for (const at::Tensor& numbers :
       at::arange(n_states, weight.options().dtype(at::kLong)).split(batch)) {
    progress.step(static_cast<int64_t>(parts.size()) * batch);
    const at::Tensor states = digits(numbers, weight.size(0), at::kDouble);
    parts.push_back(-rbm_free_energy(states, weight, bias, other_bias));
  }
  return at::cat(parts);
}

/// n independent states of that layer, by inversion with one uniform number each.
at::Tensor drawn(const at::Tensor& log_weights, int64_t n, int64_t n_units, uint64_t key) {
  const at::Tensor share = at::softmax(log_weights, 0).cumsum(0);
  const at::Tensor uniform =
      passes::uniform_like(at::empty({n}, share.options()), {key, 0, detail::kChoice});
  // The last share may be rounded to less than 1.
  const at::Tensor numbers = at::searchsorted(share, uniform).clamp_max(share.size(0) - 1);
  return digits(numbers, n_units, at::kDouble);
}

/// states (n, m) times weight (m, o), some at once.
at::Tensor products(const at::Tensor& states, const at::Tensor& weight) {
  const int64_t n = states.size(0);
  const at::Tensor result = at::empty({n, weight.size(1)}, states.options());
  const int64_t batch = std::max<int64_t>(1, kMaxNumbers / weight.size(1));
  detail::Progress progress(kRbmSample, n);
  for (int64_t begin = 0; begin < n; begin += batch) {
    at::Tensor some = result.slice(0, begin, std::min(begin + batch, n));
    at::mm_out(some, states.slice(0, begin, begin + batch), weight);
    progress.step(begin);
  }
  return result;
}

at::Tensor rbm_sample_kernel(const at::Tensor& weight, const at::Tensor& visible_bias,
                             const at::Tensor& hidden_bias, int64_t n,
                             std::optional<at::Generator> generator) {
  const at::NoGradGuard no_grad;
  detail::check_rbm_shapes(kRbmSample, weight, visible_bias, hidden_bias);
  detail::check_at_least(kRbmSample, "n", n, 1);
  const int64_t smaller = std::min(weight.size(0), weight.size(1));
  TORCH_CHECK_VALUE(smaller >= 1 && smaller <= detail::kMaxSampledUnits, kRbmSample,
                    ": the smaller layer must have between 1 and ", detail::kMaxSampledUnits,
                    " units, got ", smaller, "; use Gibbs sampling for more");
  detail::check_has_units(kRbmSample, weight);
  detail::check_rbm_finite(kRbmSample, weight, visible_bias, hidden_bias);
  const auto as_double = [](const at::Tensor& t) { return t.detach().to(at::kDouble); };
  const at::Tensor w = as_double(weight), b = as_double(visible_bias), c = as_double(hidden_bias);
  const uint64_t key = detail::draw_key(generator, weight.device());
  if (weight.size(0) <= weight.size(1)) {
    return drawn(marginal_log_weights(w, b, c), n, w.size(0), key).to(weight.scalar_type());
  }
  const at::Tensor hidden = drawn(marginal_log_weights(w.t(), c, b), n, w.size(1), key);
  at::Tensor visible = products(hidden, w.t());
  passes::sample_bernoulli_(kRbmSample, visible, b.contiguous(), at::ones({}, b.options()),
                            {key, 0, detail::kVisible});
  return visible.to(weight.scalar_type());
}

at::Tensor rbm_sample_meta(const at::Tensor& weight, const at::Tensor& visible_bias,
                           const at::Tensor& hidden_bias, c10::SymInt n,
                           std::optional<at::Generator>) {
  detail::check_rbm_shapes(kRbmSample, weight, visible_bias, hidden_bias);
  return at::empty_symint({n, weight.sym_size(0)}, weight.options());
}

}  // namespace

at::Tensor rbm_sample(const at::Tensor& weight, const at::Tensor& visible_bias,
                      const at::Tensor& hidden_bias, int64_t n,
                      std::optional<at::Generator> generator) {
  static const auto op =
      detail::find_operator<decltype(rbm_sample_kernel)>("torch_ebm::rbm_sample");
  return op.call(weight, visible_bias, hidden_bias, n, std::move(generator));
}

at::Tensor RBMImpl::sample(int64_t n, std::optional<at::Generator> generator) const {
  detail::check_keeps_energy("RBM.sample", *this);
  return rbm_sample(weight, visible_bias, hidden_bias, n, std::move(generator));
}

// Samples have no gradient.
TORCH_EBM_NO_GRADIENT("rbm_sample", &rbm_sample_kernel, &rbm_sample_meta)

}  // namespace torch_ebm
