#include "torch_ebm/exact_log_z.h"

#include <torch/library.h>

#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"
#include "csrc/models/rbm.h"

namespace torch_ebm {

namespace {

constexpr int64_t kMaxUnits = 25;
constexpr int64_t kMaxStates = 16384;     // in one batch
constexpr int64_t kMaxNumbers = 1 << 22;  // in one batch of a matrix product

void check_units(const char* op, const char* what, int64_t n_units) {
  TORCH_CHECK_VALUE(n_units >= 1 && n_units <= kMaxUnits, op, ": ", what, " must be between 1 and ",
                    kMaxUnits, ", got ", n_units, "; use AIS for more");
}

/// The states [begin, end) of n_units binary units: row r holds the binary digits of r, the lowest first.
at::Tensor states_between(int64_t begin, int64_t end, int64_t n_units,
                          const at::TensorOptions& options) {
  const auto integers = options.dtype(at::kLong);
  const at::Tensor number = at::arange(begin, end, integers).unsqueeze(1);
  const at::Tensor shift = at::arange(n_units, integers).unsqueeze(0);
  return number.bitwise_right_shift(shift).bitwise_and(1).to(options.dtype());
}

/// log sum_x exp(-E(x)) over all states, in float64, batch by batch.
template <typename NegativeEnergy>
at::Tensor log_sum_over_states(const char* op, int64_t n_units, int64_t batch,
                               const at::TensorOptions& options, NegativeEnergy negative_energy) {
  const int64_t n_states = int64_t{1} << n_units;
  std::vector<at::Tensor> parts;
  detail::Progress progress(op, n_states);
  for (int64_t begin = 0; begin < n_states; begin += batch) {
    const int64_t end = std::min(begin + batch, n_states);
    const at::Tensor x = states_between(begin, end, n_units, options);
    parts.push_back(at::logsumexp(negative_energy(x).to(at::kDouble), {0}));
    progress.step(end);
  }
  return at::logsumexp(at::stack(parts), {0});
}

/// The sum over the hidden states of an RBM is the sum over the visible states of its transpose: swap the
/// layers so that the smaller one is summed over.
at::Tensor rbm_log_z_composite(const at::Tensor& weight, const at::Tensor& visible_bias,
                               const at::Tensor& hidden_bias) {
  const char* const op = "rbm_log_z";
  detail::check_rbm_shapes(op, weight, visible_bias, hidden_bias);
  const bool visible_smaller = weight.size(0) < weight.size(1);
  const auto as_double = [](const at::Tensor& t) { return t.to(at::kDouble); };
  const at::Tensor w = as_double(visible_smaller ? weight : weight.t());
  const at::Tensor summed_bias = as_double(visible_smaller ? visible_bias : hidden_bias);
  const at::Tensor other_bias = as_double(visible_smaller ? hidden_bias : visible_bias);
  check_units(op, "the number of units in the smaller layer", w.size(0));
  const int64_t batch = std::clamp<int64_t>(kMaxNumbers / w.size(1), 1, kMaxStates);
  return log_sum_over_states(op, w.size(0), batch, w.options(), [&](const at::Tensor& x) {
    return -rbm_free_energy(x, w, summed_bias, other_bias);
  });
}

at::Tensor exact_log_z_op(const c10::IValue& energy, int64_t n_units,
                          std::optional<at::ScalarType> dtype, std::optional<at::Device> device) {
  return exact_log_z(Energy::from_ivalue("exact_log_z", energy), n_units,
                     at::TensorOptions().dtype(dtype).device(device));
}

}  // namespace

at::Tensor exact_log_z(const Energy& energy, int64_t n_units, const at::TensorOptions& options) {
  const char* const op = "exact_log_z";
  check_units(op, "n_units", n_units);
  const detail::NoGradMode no_grad;
  return log_sum_over_states(op, n_units, kMaxStates, options, [&](const at::Tensor& x) {
    const at::Tensor energies = energy.value(x);
    TORCH_CHECK_VALUE(
        !at::isnan(energies).logical_or(at::isneginf(energies)).any().item<bool>(), op,
        ": the energy of some state is NaN or -inf; likely its parameters are not finite");
    return -energies;
  });
}

at::Tensor rbm_log_z(const at::Tensor& weight, const at::Tensor& visible_bias,
                     const at::Tensor& hidden_bias) {
  static const auto op =
      detail::find_operator<decltype(rbm_log_z_composite)>("torch_ebm::rbm_log_z");
  return op.call(weight, visible_bias, hidden_bias);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("rbm_log_z", &rbm_log_z_composite);
  m.impl("exact_log_z", &exact_log_z_op);
}
TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatchedDecomposition, m) {
  m.impl("rbm_log_z", &rbm_log_z_composite);
}

}  // namespace torch_ebm
