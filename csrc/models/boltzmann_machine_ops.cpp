// The Boltzmann machine's operators: the energy is a composite of differentiable torch ops; the samplers
// run every chain within one thread, by kernels that keep its field in the cache.

#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/common/savable.h"
#include "csrc/models/boltzmann_machine.h"
#include "csrc/passes/padded.h"

namespace torch_ebm {

namespace {

constexpr const char* kGibbs = "boltzmann_gibbs";
constexpr const char* kWithGradients = "boltzmann_gibbs_with_gradients";

/// A sampler takes one bias for all chains, or one for each.
void check_machine(const char* op, const at::Tensor& x, const at::Tensor& weight,
                   const at::Tensor& bias, bool bias_for_each = false) {
  detail::check_floating(op, "weight", weight);
  detail::check_shape(op, "weight", weight, {-1, -1}, "(D, D)");
  detail::check_shape(op, "weight", weight, {weight.size(0), weight.size(0)}, "(D, D)");
  if (bias_for_each && bias.dim() == 2) {
    detail::check_shape(op, "bias", bias, {x.size(0), weight.size(0)}, "(N, D)");
  } else {
    detail::check_shape(op, "bias", bias, {weight.size(0)}, "(D,)");
  }
  detail::check_same_type(op, "bias", bias, "weight", weight);
  detail::check_shape(op, "x", x, {-1, weight.size(0)}, "(N, D)");
  detail::check_same_type(op, "x", x, "weight", weight);
}

at::Tensor boltzmann_energy_composite(const at::Tensor& x, const at::Tensor& weight,
                                      const at::Tensor& bias) {
  check_machine("boltzmann_energy", x, weight, bias);
  const at::Tensor pairs = (at::matmul(x, detail::coupling(weight)) * x).sum(1);
  return -(at::matmul(x, bias) + 0.5 * pairs);
}

at::Tensor boltzmann_flip_differences_composite(const at::Tensor& x, const at::Tensor& weight,
                                                const at::Tensor& bias,
                                                const std::optional<at::Tensor>& sites) {
  const char* const op = "boltzmann_flip_differences";
  check_machine(op, x, weight, bias);
  detail::check_sites(op, sites, x);
  const at::Tensor states = x.detach();
  const at::Tensor field = at::addmm(bias, states, detail::coupling(weight));
  const at::Tensor differences = (2 * states - 1) * field;
  if (!sites) return differences;
  detail::check_units(op, *sites, x.size(1));
  return differences.gather(1, *sites);
}

void check_chains(const char* op, const at::Tensor& x, const at::Tensor& weight,
                  const at::Tensor& bias, int64_t n_steps) {
  detail::check_chains(op, "x", x);
  check_machine(op, x, weight, bias, /*bias_for_each=*/true);
  detail::check_at_least(op, "n_steps", n_steps, 1);
  TORCH_CHECK_VALUE(n_steps <= UINT32_MAX, op, ": n_steps must be below 2^32, got ", n_steps);
  detail::check_finite(op, "weight", weight);
  detail::check_finite(op, "bias", bias);
  detail::check_binary(op, "x", x);
}

/// A copy that the kernels take.
at::Tensor for_kernels(const at::Tensor& x) {
  return detail::at_least_float(x.detach().to(at::kCPU)).clone();
}

/// The parameters as the kernels take them.
struct Model {
  Model(const at::Tensor& weight, const at::Tensor& b, at::Tensor inverse_temperature)
      : coupling(detail::padded(detail::coupling(for_kernels(weight)))),
        bias(detail::padded(for_kernels(b))),
        beta(std::move(inverse_temperature)) {}

  template <typename T>
  kernels::Boltzmann<T> view() const {
    return {detail::view_padded<T>(coupling),
            bias.const_data_ptr<T>(),
            {beta.const_data_ptr<T>(), beta.dim()},
            bias.dim() == 1 ? 0 : bias.size(1)};
  }

  /// Numbers in a padded row.
  int64_t row_size() const { return coupling.size(1); }

  at::Tensor coupling;
  at::Tensor bias;
  at::Tensor beta;
};

/// How the steps of many chains are cut into pieces. A piece starts with a fresh field, which ends the growth of
/// its rounding errors: so `steps_at_once` may depend on the model, not on the number of chains.
struct Pieces {
  const char* op;
  int64_t n_chains;
  int64_t n_steps;
  int64_t steps_at_once;
  int64_t work;  // additions in a step of a chain
};

/// kernel(rows, steps) for all chains and steps, over the threads, with reports of progress between pieces.
/// Throws if the kernel returns false.
template <typename Kernel>
void run_pieces(const Pieces& pieces, int64_t n_units, Kernel kernel) {
  constexpr int64_t kWorkAtOnce = 1 << 26;
  constexpr int64_t kWorthAThread = 1 << 16;
  const int64_t work = pieces.work * std::min(pieces.steps_at_once, pieces.n_steps);
  const int64_t rows_at_once = std::max<int64_t>(at::get_num_threads(), kWorkAtOnce / work);
  const int64_t grain = std::max<int64_t>(1, kWorthAThread / work);
  detail::Progress progress(pieces.op, pieces.n_steps);
  for (int64_t first = 0; first < pieces.n_steps; first += pieces.steps_at_once) {
    const int64_t last = std::min(pieces.n_steps, first + pieces.steps_at_once);
    const kernels::Steps steps{static_cast<uint32_t>(first), static_cast<uint32_t>(last)};
    for (int64_t row = 0; row < pieces.n_chains; row += rows_at_once) {
      progress.step(first);
      std::atomic<bool> valid{true};
      at::parallel_for(row, std::min(pieces.n_chains, row + rows_at_once), grain,
                       [&](int64_t begin, int64_t end) {
                         if (!kernel(kernels::Rows{begin, end, n_units}, steps)) valid = false;
                       });
      TORCH_CHECK_VALUE(
          valid, pieces.op,
          ": the input of a unit is not finite: the weights are so large that their sums overflow");
    }
  }
  progress.step(pieces.n_steps);
}

at::Tensor boltzmann_gibbs_kernel(const at::Tensor& x, const at::Tensor& weight,
                                  const at::Tensor& bias, int64_t n_steps,
                                  const std::optional<at::Tensor>& beta,
                                  const std::optional<at::Tensor>& clamp,
                                  std::optional<at::Generator> generator, c10::string_view scan) {
  constexpr int64_t kSweepsAtOnce = 16;
  constexpr int64_t kUpdatesAtOnce = 4;  // for every unit
  const at::NoGradGuard no_grad;
  const bool random = scan == "random";
  TORCH_CHECK_VALUE(random || scan == "systematic", kGibbs,
                    ": scan must be \"systematic\" or \"random\", got \"", scan, "\"");
  check_chains(kGibbs, x, weight, bias, n_steps);
  const at::Tensor states = for_kernels(x);
  const Model model(weight, bias, detail::checked_beta(kGibbs, beta, states));
  std::optional<at::Tensor> mask = detail::checked_clamp(kGibbs, clamp, x);
  if (mask) mask = mask->cpu().contiguous();
  const bool* const clamped = mask ? mask->const_data_ptr<bool>() : nullptr;

  const int64_t n_units = x.size(1);
  const uint64_t key = detail::draw_key(generator, x.device());
  const Pieces pieces =
      random ? Pieces{kGibbs, x.size(0), n_steps, kUpdatesAtOnce * n_units, n_units + 256}
             : Pieces{kGibbs, x.size(0), n_steps, kSweepsAtOnce, n_units * (n_units + 64)};
  AT_DISPATCH_FLOATING_TYPES(states.scalar_type(), kGibbs, [&] {
    scalar_t* const data = states.mutable_data_ptr<scalar_t>();
    run_pieces(pieces, n_units, [&](kernels::Rows rows, kernels::Steps steps) {
      std::vector<scalar_t> scratch(model.row_size());
      const auto& table = kernels::kernels<scalar_t>();
      if (random) {
        return table.boltzmann_random_scan(data, clamped, model.view<scalar_t>(), scratch.data(),
                                           rows, steps, {key, 0, detail::kChoice},
                                           {key, 0, detail::kSite});
      }
      return table.boltzmann_gibbs(data, clamped, model.view<scalar_t>(), scratch.data(), rows,
                                   steps, {key, 0, detail::kSite});
    });
  });
  return states.to(x.options());
}

std::tuple<at::Tensor, at::Tensor> gibbs_with_gradients_kernel(
    const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, int64_t n_steps,
    const std::optional<at::Tensor>& beta, std::optional<at::Generator> generator) {
  constexpr int64_t kStepsAtOnce = 4;  // for every unit
  const at::NoGradGuard no_grad;
  check_chains(kWithGradients, x, weight, bias, n_steps);
  const at::Tensor states = for_kernels(x);
  const Model model(weight, bias, detail::checked_beta(kWithGradients, beta, states));
  const at::Tensor acceptance = at::zeros({x.size(0)}, at::kDouble);

  const int64_t n_units = x.size(1);
  const uint64_t key = detail::draw_key(generator, x.device());
  const Pieces pieces{kWithGradients, x.size(0), n_steps, kStepsAtOnce * n_units,
                      8 * n_units + 256};
  AT_DISPATCH_FLOATING_TYPES(states.scalar_type(), kWithGradients, [&] {
    scalar_t* const data = states.mutable_data_ptr<scalar_t>();
    double* const accepted = acceptance.mutable_data_ptr<double>();
    run_pieces(pieces, n_units, [&](kernels::Rows rows, kernels::Steps steps) {
      std::vector<scalar_t> scratch(kernels::kFlipScratch * model.row_size());
      return kernels::kernels<scalar_t>().gibbs_with_gradients(
          data, accepted, model.view<scalar_t>(), scratch.data(), rows, steps,
          {key, 0, detail::kSite});
    });
  });
  return {states.to(x.options()), (acceptance / n_steps).to(x.device())};
}

/// One meta tensor among others sends the whole call to the meta kernels.
void check_meta(const char* op, const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& bias) {
  check_machine(op, x, weight, bias, /*bias_for_each=*/true);
  TORCH_CHECK_VALUE(x.is_meta(), op, ": beta and clamp must be on the device of x, ", x.device(),
                    ", got meta");
}

at::Tensor boltzmann_gibbs_meta(const at::Tensor& x, const at::Tensor& weight,
                                const at::Tensor& bias, int64_t, const std::optional<at::Tensor>&,
                                const std::optional<at::Tensor>&, std::optional<at::Generator>,
                                c10::string_view) {
  check_meta(kGibbs, x, weight, bias);
  return at::empty_symint(x.sym_sizes(), x.options());
}

std::tuple<at::Tensor, at::Tensor> gibbs_with_gradients_meta(const at::Tensor& x,
                                                             const at::Tensor& weight,
                                                             const at::Tensor& bias, int64_t,
                                                             const std::optional<at::Tensor>&,
                                                             std::optional<at::Generator>) {
  check_meta(kWithGradients, x, weight, bias);
  return {at::empty_symint(x.sym_sizes(), x.options()),
          at::empty_symint({x.sym_size(0)}, x.options().dtype(at::kDouble))};
}

}  // namespace

at::Tensor boltzmann_energy(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  static const auto op =
      detail::find_operator<decltype(boltzmann_energy_composite)>("torch_ebm::boltzmann_energy");
  return op.call(x, weight, bias);
}

at::Tensor boltzmann_flip_differences(const at::Tensor& x, const at::Tensor& weight,
                                      const at::Tensor& bias,
                                      const std::optional<at::Tensor>& sites) {
  static const auto op = detail::find_operator<decltype(boltzmann_flip_differences_composite)>(
      "torch_ebm::boltzmann_flip_differences");
  return op.call(x, weight, bias, sites);
}

namespace {

at::Tensor call_gibbs(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                      const RunOptions& run, const std::optional<at::Tensor>& clamp,
                      c10::string_view scan) {
  static const auto op =
      detail::find_operator<decltype(boltzmann_gibbs_kernel)>("torch_ebm::boltzmann_gibbs");
  return op.call(x, weight, bias, run.n_steps, run.beta, clamp, run.generator, scan);
}

}  // namespace

at::Tensor boltzmann_gibbs(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                           const RunOptions& run, const std::optional<at::Tensor>& clamp) {
  return call_gibbs(x, weight, bias, run, clamp, "systematic");
}

at::Tensor boltzmann_random_scan_gibbs(const at::Tensor& x, const at::Tensor& weight,
                                       const at::Tensor& bias, const RunOptions& run,
                                       const std::optional<at::Tensor>& clamp) {
  return call_gibbs(x, weight, bias, run, clamp, "random");
}

std::tuple<at::Tensor, at::Tensor> boltzmann_gibbs_with_gradients(const at::Tensor& x,
                                                                  const at::Tensor& weight,
                                                                  const at::Tensor& bias,
                                                                  const RunOptions& run) {
  static const auto op = detail::find_operator<decltype(gibbs_with_gradients_kernel)>(
      "torch_ebm::boltzmann_gibbs_with_gradients");
  return op.call(x, weight, bias, run.n_steps, run.beta, run.generator);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("boltzmann_energy", detail::with_savable<&boltzmann_energy_composite>);
  m.impl("boltzmann_flip_differences", detail::with_savable<&boltzmann_flip_differences_composite>);
}
// As a vmap rule: see rbm_ops.cpp.
TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatchedDecomposition, m) {
  m.impl("boltzmann_energy", detail::with_savable<&boltzmann_energy_composite>);
  m.impl("boltzmann_flip_differences", detail::with_savable<&boltzmann_flip_differences_composite>);
}
// Samples have no gradient.
TORCH_EBM_NO_GRADIENT("boltzmann_gibbs", &boltzmann_gibbs_kernel, &boltzmann_gibbs_meta)
TORCH_EBM_NO_GRADIENT("boltzmann_gibbs_with_gradients", &gibbs_with_gradients_kernel,
                      &gibbs_with_gradients_meta)

}  // namespace torch_ebm
