// log Z of an RBM by summing over its smaller layer. The bits of a state are split into high and
// low ones. With a the inputs of the other layer from the high bits, the low bits change them as a
// flip does in rbm_flip_sums.h, so that a state costs a product over the other layer's units
// instead of their softplus.

#include <torch/library.h>

#include "csrc/common/operator.h"
#include "csrc/common/savable.h"
#include "csrc/models/rbm.h"
#include "csrc/partition/exact/log_sum.h"
#include "csrc/partition/exact/states.h"
#include "csrc/passes/rbm_flip_sums.h"

namespace torch_ebm {

namespace {

constexpr const char* kRbmLogZ = "rbm_log_z";
constexpr int64_t kLowUnits = 6;

/// sum_j [softplus(a_j + b_j) - softplus(a_j)] of rows a of `high` and rows b of `low`: (rows of high, rows of low).
at::Tensor softplus_sums(const at::Tensor& high, const at::Tensor& low) {
  static const auto op =
      detail::find_operator<decltype(passes::rbm_flip_sums)>("torch_ebm::_rbm_flip_sums");
  const at::Tensor unset =
      at::zeros({}, high.options()).expand_symint({high.sym_size(0), low.sym_size(0)});
  // Autograd functions in C++ do not go through torch.func.
  const auto keys = high.key_set() | low.key_set();
  const bool transformed = keys.has_any(c10::DispatchKeySet(
      {c10::DispatchKey::FuncTorchBatched, c10::DispatchKey::FuncTorchGradWrapper}));
  return transformed ? passes::rbm_flip_sums_with_graph(unset, high, low, std::nullopt)
                     : op.call(unset, high, low, std::nullopt);
}

/// Some units of the layer that is summed over: their biases and weights, (m,) and (m, O).
struct Units {
  at::Tensor bias;
  at::Tensor weight;

  Units between(int64_t begin, int64_t end) const {
    return {bias.slice(0, begin, end), weight.slice(0, begin, end)};
  }
  at::Tensor states(int64_t begin, int64_t end) const {
    return detail::binary_states(begin, end, weight.size(0), bias.options());
  }
};

at::Tensor log_z_of(const Units& summed, const at::Tensor& other_bias) {
  const int64_t n_units = summed.weight.size(0);
  const int64_t n_low = std::min(n_units, kLowUnits);
  const Units low = summed.between(0, n_low), high = summed.between(n_low, n_units);
  const at::Tensor low_states = low.states(0, int64_t{1} << n_low);
  const at::Tensor low_terms = at::matmul(low_states, low.bias);
  const at::Tensor low_input = at::matmul(low_states, low.weight);
  return detail::log_sum_in_batches(
      kRbmLogZ, int64_t{1} << (n_units - n_low), detail::kStatesAtOnce >> n_low,
      [&](int64_t begin, int64_t end) {
        const at::Tensor states = high.states(begin, end);
        const at::Tensor input = other_bias + at::matmul(states, high.weight);
        const at::Tensor high_terms =
            at::matmul(states, high.bias) + detail::exact_softplus(input).sum(1);
        return high_terms.unsqueeze(1) + low_terms + softplus_sums(input, low_input);
      });
}

/// The sum over the hidden states of an RBM is the sum over the visible states of its transpose.
at::Tensor rbm_log_z_composite(const at::Tensor& weight, const at::Tensor& visible_bias,
                               const at::Tensor& hidden_bias) {
  detail::check_rbm_shapes(kRbmLogZ, weight, visible_bias, hidden_bias);
  const bool visible_smaller = weight.size(0) < weight.size(1);
  detail::check_summed_units(kRbmLogZ, "the number of units in the smaller layer",
                             visible_smaller ? weight.size(0) : weight.size(1));
  const at::Tensor w = weight.to(at::kDouble);
  const at::Tensor b = visible_bias.to(at::kDouble), c = hidden_bias.to(at::kDouble);
  return visible_smaller ? log_z_of({b, w}, c) : log_z_of({c, w.t()}, b);
}

}  // namespace

at::Tensor rbm_log_z(const at::Tensor& weight, const at::Tensor& visible_bias,
                     const at::Tensor& hidden_bias) {
  static const auto op =
      detail::find_operator<decltype(rbm_log_z_composite)>("torch_ebm::rbm_log_z");
  return op.call(weight, visible_bias, hidden_bias);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("rbm_log_z", detail::with_savable<&rbm_log_z_composite>);
}
TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatchedDecomposition, m) {
  m.impl("rbm_log_z", detail::with_savable<&rbm_log_z_composite>);
}

}  // namespace torch_ebm
