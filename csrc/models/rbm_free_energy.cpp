// The free energy of an RBM and its gradient. A composite of differentiable torch operators serves every transform, device
// and order of derivative. Plain tensors on the CPU, as in training, take a closed form: the hidden units' probabilities,
// which the gradient is made of, come with their softplus (cf. activations.h), and the backward pass is one
// product for each of x, the weights and the visible biases that needs a gradient.

#include "csrc/models/rbm_free_energy.h"

#include <torch/csrc/autograd/custom_function.h>

#include "csrc/models/rbm.h"
#include "csrc/passes/activation.h"
#include "csrc/passes/plain_tensors.h"

namespace torch_ebm::detail {

namespace {

struct FreeEnergies {
  at::Tensor values;  // (N,)
  at::Tensor hidden;  // P(h = 1 | v), (N, H)
};

FreeEnergies compute(const at::Tensor& visible, const at::Tensor& weight,
                     const at::Tensor& visible_bias, const at::Tensor& hidden_bias) {
  at::Tensor field = at::mm(visible, weight);
  const at::Tensor slope =
      passes::activate_(kernels::Activation::kSoftplus, field, hidden_bias.contiguous());
  return {at::mv(visible, visible_bias).add_(field.sum(1)).neg_(), slope};
}

class FreeEnergyFunction : public torch::autograd::Function<FreeEnergyFunction> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& visible,
                            const at::Tensor& weight, const at::Tensor& visible_bias,
                            const at::Tensor& hidden_bias) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const FreeEnergies result = compute(visible, weight, visible_bias, hidden_bias);
    context->save_for_backward({visible, weight, visible_bias, hidden_bias, result.hidden});
    return result.values;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor& visible = saved[0];
    const at::Tensor& weight = saved[1];
    const at::Tensor minus_g = gradients[0].neg().unsqueeze(1);
    const bool again = at::GradMode::is_enabled();  // a graph of the gradient is wanted
    const at::Tensor hidden =
        (again ? at::sigmoid(hidden_input(visible, weight, saved[3])) : saved[4]) * minus_g;
    const auto needs = [&](int input) { return context->needs_input_grad(input); };
    return {needs(0) ? at::addmm(minus_g * saved[2], hidden, weight.t()) : at::Tensor(),
            needs(1) ? at::mm(visible.t(), hidden) : at::Tensor(),
            needs(2) ? at::mv(visible.t(), minus_g.squeeze(1)) : at::Tensor(),
            needs(3) ? hidden.sum(0) : at::Tensor()};
  }
};

}  // namespace

std::optional<at::Tensor> closed_free_energy(const at::Tensor& visible, const at::Tensor& weight,
                                             const at::Tensor& visible_bias,
                                             const at::Tensor& hidden_bias) {
  if (is_traced()) return std::nullopt;
  bool with_gradient = false;
  for (const at::Tensor* part : {&visible, &weight, &visible_bias, &hidden_bias}) {
    if (!is_plain(*part)) return std::nullopt;
    with_gradient |= part->requires_grad();
  }
  if (with_gradient && at::GradMode::is_enabled()) {
    return FreeEnergyFunction::apply(visible, weight, visible_bias, hidden_bias);
  }
  const at::NoGradGuard no_grad;
  return compute(visible, weight, visible_bias, hidden_bias).values;
}

}  // namespace torch_ebm::detail
