#include "csrc/models/mlp.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/library.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/linear.h>

#include <typeinfo>

#include "csrc/common/checks.h"
#include "csrc/energy/held_energies.h"

namespace torch_ebm {

namespace {

constexpr const char* kName = "MLP";

void push_activation(torch::nn::Sequential& layers, kernels::Activation activation) {
  switch (activation) {
    case kernels::Activation::kSilu:
      return layers->push_back(torch::nn::SiLU());
    case kernels::Activation::kSoftplus:
      return layers->push_back(
          torch::nn::Softplus(torch::nn::SoftplusOptions().threshold(detail::kSoftplusThreshold)));
    case kernels::Activation::kTanh:
      return layers->push_back(torch::nn::Tanh());
  }
}

void check_sizes(const std::vector<int64_t>& sizes) {
  const bool positive =
      std::all_of(sizes.begin(), sizes.end(), [](int64_t size) { return size >= 1; });
  TORCH_CHECK_VALUE(sizes.size() >= 3 && positive && sizes.back() == 1, kName,
                    ": sizes must be D, at least one hidden layer, and 1, all positive, got ",
                    fmt::format("[{}]", fmt::join(sizes, ", ")));
}

/// The sizes of a network with these parameters, which are checked.
std::vector<int64_t> sizes_of(const std::vector<at::Tensor>& weights,
                              const std::vector<at::Tensor>& biases) {
  TORCH_CHECK_VALUE(weights.size() >= 2 && biases.size() == weights.size(), kName,
                    ": weights and biases must be those of at least two layers, got ",
                    weights.size(), " and ", biases.size());
  detail::check_floating(kName, "weights[0]", weights[0]);
  detail::check_shape(kName, "weights[0]", weights[0], {-1, -1}, "(out, in)");
  std::vector<int64_t> sizes{weights[0].size(1)};
  for (size_t l = 0; l < weights.size(); ++l) {
    const std::string weight = fmt::format("weights[{}]", l), bias = fmt::format("biases[{}]", l);
    detail::check_shape(kName, weight.c_str(), weights[l], {-1, sizes.back()}, "(out, in)");
    sizes.push_back(weights[l].size(0));
    detail::check_shape(kName, bias.c_str(), biases[l], {sizes.back()}, "(out,)");
    detail::check_same_type(kName, weight.c_str(), weights[l], "weights[0]", weights[0]);
    detail::check_same_type(kName, bias.c_str(), biases[l], "weights[0]", weights[0]);
  }
  return sizes;
}

/// The energy and its closed-form score as functions of the parameters.
class MLPEnergy : public EnergyFunction {
 public:
  MLPEnergy(std::vector<at::Tensor> weights, std::vector<at::Tensor> biases, MLPOptions options)
      : weights_(std::move(weights)), biases_(std::move(biases)), options_(std::move(options)) {}

  at::Tensor value(const at::Tensor& x) const override {
    detail::check_shape(kName, "x", x, {-1, weights_[0].size(1)}, "(N, D)");
    at::Tensor h = at::linear(x, weights_[0], biases_[0]);
    for (size_t l = 1; l < weights_.size(); ++l) {
      h = at::linear(activated(h), weights_[l], biases_[l]);
    }
    const at::Tensor output = h.squeeze(1);
    if (options_.confinement == 0) return output;
    return output + 0.5 * options_.confinement * x.square().sum(1);
  }

  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override {
    return mlp_value_and_score(x, weights_, biases_, options_.activation, options_.confinement);
  }

  bool is_per_example() const override { return true; }

 private:
  at::Tensor activated(const at::Tensor& h) const {
    switch (detail::activation_of(kName, options_.activation)) {
      case kernels::Activation::kSilu:
        return at::silu(h);
      case kernels::Activation::kSoftplus:
        return at::softplus(h, /*beta=*/1, detail::kSoftplusThreshold);
      case kernels::Activation::kTanh:
        return at::tanh(h);
    }
    TORCH_INTERNAL_ASSERT(false);
  }

  std::vector<at::Tensor> weights_;
  std::vector<at::Tensor> biases_;
  MLPOptions options_;
};

int64_t hold_mlp(at::TensorList weights, at::TensorList biases, const std::string& activation,
                 double confinement) {
  check_sizes(sizes_of(weights.vec(), biases.vec()));
  detail::activation_of(kName, activation);
  detail::check_confinement(kName, confinement);
  return detail::hold(std::make_shared<MLPEnergy>(weights.vec(), biases.vec(),
                                                  MLPOptions{activation, confinement}));
}

}  // namespace

MLPImpl::MLPImpl(std::vector<int64_t> sizes, MLPOptions options)
    : sizes_(std::move(sizes)), options_(std::move(options)) {
  check_sizes(sizes_);
  detail::check_confinement(kName, options_.confinement);
  MLPImpl::reset();
}

MLPImpl::MLPImpl(const std::vector<at::Tensor>& weights, const std::vector<at::Tensor>& biases,
                 MLPOptions options)
    : MLPImpl(sizes_of(weights, biases), std::move(options)) {
  to(weights[0].device(), weights[0].scalar_type());
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> own = layers->parameters();
  for (size_t l = 0; l < weights.size(); ++l) {
    own[2 * l].copy_(weights[l]);
    own[2 * l + 1].copy_(biases[l]);
  }
}

void MLPImpl::reset() {
  const kernels::Activation activation = detail::activation_of(kName, options_.activation);
  torch::nn::Sequential stack;
  for (size_t l = 1; l < sizes_.size(); ++l) {
    if (l > 1) push_activation(stack, activation);
    stack->push_back(torch::nn::Linear(sizes_[l - 1], sizes_[l]));
  }
  layers = register_module("layers", stack);
}

void MLPImpl::pretty_print(std::ostream& stream) const {
  stream << fmt::format("torch_ebm::MLP(sizes=[{}], activation={}, confinement={})",
                        fmt::join(sizes_, ", "), options_.activation, options_.confinement);
}

bool MLPImpl::keeps_energy() const { return typeid(*this) == typeid(MLPImpl); }

std::shared_ptr<const EnergyFunction> MLPImpl::of_parameters() const {
  std::vector<at::Tensor> weights;
  std::vector<at::Tensor> biases;
  for (const at::Tensor& parameter : layers->parameters()) {
    (parameter.dim() == 2 ? weights : biases).push_back(parameter);
  }
  return std::make_shared<MLPEnergy>(std::move(weights), std::move(biases), options_);
}

at::Tensor MLPImpl::forward(const at::Tensor& x) const { return of_parameters()->value(x); }

std::tuple<at::Tensor, at::Tensor> MLPImpl::value_and_score(const at::Tensor& x) const {
  if (!keeps_energy()) return EnergyFunction::value_and_score(x);
  return of_parameters()->value_and_score(x);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) { m.impl("_hold_mlp", &hold_mlp); }

}  // namespace torch_ebm
