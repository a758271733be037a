#include "torch_ebm/learning/fast_pcd.h"

#include <ATen/MemoryOverlap.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/learning/negative_phase.h"

namespace torch_ebm {

namespace {

constexpr const char* kName = "FastPCD";

/// Moves parameters in place for as long as it lives, then copies the saved values back: subtracting would round.
/// It uses variable_data, whose changes do not invalidate graphs recorded before.
class MovedParameters {
 public:
  explicit MovedParameters(const std::vector<at::Tensor>& parameters) {
    for (const at::Tensor& parameter : parameters) {
      data_.push_back(parameter.variable_data());
      saved_.push_back(data_.back().clone());
    }
  }
  MovedParameters(const MovedParameters&) = delete;
  MovedParameters& operator=(const MovedParameters&) = delete;
  ~MovedParameters() {
    try {
      restore();
    } catch (...) {  // while unwinding another exception, a second one would end the program
    }
  }

  /// To be called where an error may be thrown.
  void restore() {
    for (size_t i = 0; i < data_.size(); ++i) data_[i].copy_(saved_[i]);
    data_.clear();
  }

  void by(const std::vector<at::Tensor>& offsets) {
    for (size_t i = 0; i < data_.size(); ++i) data_[i].add_(offsets[i]);
  }

 private:
  std::vector<at::Tensor> data_;
  std::vector<at::Tensor> saved_;
};

/// Gradients of the estimated log-likelihood, mean E(negative) - mean E(positive); undefined where
/// it does not depend on a parameter.
std::vector<at::Tensor> log_likelihood_gradient(const Energy& energy, const at::Tensor& positive,
                                                const at::Tensor& negative,
                                                const std::vector<at::Tensor>& parameters) {
  const detail::InnerGradMode inner;
  const at::Tensor gap =
      energy.value(negative.clone()).mean() - energy.value(positive.clone()).mean();
  std::vector<at::Tensor> gradients(parameters.size());
  if (gap.requires_grad()) {
    gradients = torch::autograd::grad({gap}, parameters, {}, std::nullopt, false,
                                      /*allow_unused=*/true);
  }
  TORCH_CHECK_VALUE(std::any_of(gradients.begin(), gradients.end(),
                                [](const at::Tensor& gradient) { return gradient.defined(); }),
                    kName, ": energy must depend on the parameters of module");
  for (const at::Tensor& gradient : gradients) {
    if (gradient.defined()) detail::check_finite(kName, "the gradient of energy", gradient);
  }
  return gradients;
}

}  // namespace

FastPCDImpl::FastPCDImpl(int64_t n_chains, std::vector<int64_t> shape,
                         const torch::nn::Module& module, Sampler sampler,
                         double fast_learning_rate, double decay, StartLaw law,
                         std::optional<uint64_t> seed)
    : PCDImpl(n_chains, std::move(shape), std::move(sampler), std::move(law), seed),
      fast_learning_rate_(fast_learning_rate),
      decay_(decay) {
  TORCH_CHECK_VALUE(std::isfinite(fast_learning_rate) && fast_learning_rate >= 0, kName,
                    ": fast_learning_rate must be finite and >= 0, got ", fast_learning_rate);
  TORCH_CHECK_VALUE(decay >= 0 && decay <= 1, kName, ": decay must be in [0, 1], got ", decay);
  const c10::InferenceMode normal_buffers(false);
  const auto buffers = register_module("fast", std::make_shared<torch::nn::Module>());
  for (const at::Tensor& parameter : module.parameters()) {
    if (!parameter.requires_grad()) continue;
    TORCH_CHECK_VALUE(at::has_internal_overlap(parameter) == at::MemOverlap::No, kName,
                      ": parameters of module must not share memory between their elements (an "
                      "expanded tensor)");
    const at::Tensor zeros = at::zeros_like(parameter.detach());
    fast.push_back(buffers->register_buffer(std::to_string(fast.size()), zeros));
    parameters_.push_back(parameter);
  }
  TORCH_CHECK_VALUE(!fast.empty(), kName, ": module must have parameters that require a gradient");
}

at::Tensor FastPCDImpl::first_states(const at::Tensor& positive, at::Generator& generator) {
  positive_ = detail::checked_positive(kName, positive);
  return PCDImpl::first_states(positive, generator);
}

at::Tensor FastPCDImpl::transition(const Energy& energy, const at::Tensor& first,
                                   at::Generator& generator) {
  at::Tensor last;
  {
    MovedParameters moved(parameters_);
    moved.by(fast);
    last = PCDImpl::transition(energy, first, generator);
    moved.restore();
  }
  const auto gradients = log_likelihood_gradient(energy, positive_, last, parameters_);
  next_fast_.clear();
  for (size_t i = 0; i < fast.size(); ++i) {
    next_fast_.push_back(decay_ * fast[i]);
    if (gradients[i].defined()) next_fast_[i].add_(gradients[i], fast_learning_rate_);
  }
  return last;
}

void FastPCDImpl::keep(const at::Tensor& last_states) {
  PCDImpl::keep(last_states);
  for (size_t i = 0; i < fast.size(); ++i) fast[i].copy_(next_fast_[i]);
}

}  // namespace torch_ebm
