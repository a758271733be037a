// How the free energy of an RBM changes as one visible unit flips. With a = c + v W, d_i = 1 - 2 v_i:
//     F(v^i) - F(v) = -d_i b_i - sum_j [softplus(a_j + d_i W_ij) - softplus(a_j)],
// for all units of all examples in O(N D H) time and O(N (D + H) + D H) memory, forward and backward. The sum over j is
// an operator (rbm_flip_sums.h); its derivative is another.

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/savable.h"
#include "csrc/models/rbm.h"
#include "csrc/passes/rbm_flip_sums.h"

namespace torch_ebm {

namespace {

using passes::MaybeTensor;
using passes::TwoTensors;

at::Tensor call_sums(const at::Tensor& visible, const at::Tensor& input, const at::Tensor& weight,
                     const MaybeTensor& sites) {
  static const auto op =
      detail::find_operator<decltype(passes::rbm_flip_sums)>("torch_ebm::_rbm_flip_sums");
  return op.call(visible, input, weight, sites);
}

TwoTensors call_backward(const at::Tensor& gradient, const at::Tensor& visible,
                         const at::Tensor& input, const at::Tensor& weight,
                         const MaybeTensor& sites) {
  static const auto op = detail::find_operator<decltype(passes::rbm_flip_sums_backward)>(
      "torch_ebm::_rbm_flip_sums_backward");
  return op.call(gradient, visible, input, weight, sites);
}

MaybeTensor as_optional(const at::Tensor& tensor) {
  return tensor.defined() ? MaybeTensor(tensor) : std::nullopt;
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// The derivative of the derivative, in torch operations: rare enough to pay for a tensor of (N, m, H).
class FlipSumsBackward : public torch::autograd::Function<FlipSumsBackward> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& gradient,
                               const at::Tensor& visible, const at::Tensor& input,
                               const at::Tensor& weight, const MaybeTensor& sites) {
    const at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({gradient, visible, input, weight, sites.value_or(at::Tensor())});
    const auto [of_input, of_weight] = call_backward(gradient, visible, input, weight, sites);
    return {of_input, of_weight};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const bool create_graph = at::GradMode::is_enabled();
    const at::AutoGradMode grad(true);
    const auto leaf = [&](size_t i) {
      return create_graph ? saved[i].view_as(saved[i]) : saved[i].detach().requires_grad_();
    };
    const at::Tensor gradient = leaf(0), input = leaf(2), weight = leaf(3);
    const at::Tensor sums =
        passes::rbm_flip_sums_with_graph(saved[1], input, weight, as_optional(saved[4]));
    const variable_list first =
        torch::autograd::grad({sums}, {input, weight}, {gradient}, true, true);
    const variable_list second = torch::autograd::grad(first, {gradient, input, weight}, gradients,
                                                       true, create_graph, /*allow_unused=*/true);
    return {second[0], {}, second[1], second[2], {}};
  }
};

class FlipSums : public torch::autograd::Function<FlipSums> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& visible,
                            const at::Tensor& input, const at::Tensor& weight,
                            const MaybeTensor& sites) {
    const at::AutoDispatchBelowADInplaceOrView below;
    context->save_for_backward({visible, input, weight, sites.value_or(at::Tensor())});
    return call_sums(visible, input, weight, sites);
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto [of_input, of_weight] =
        call_backward(gradients[0], saved[0], saved[1], saved[2], as_optional(saved[3]));
    return {{}, of_input, of_weight, {}};
  }
};

at::Tensor flip_sums_autograd(const at::Tensor& visible, const at::Tensor& input,
                              const at::Tensor& weight, const MaybeTensor& sites) {
  using detail::savable;
  return FlipSums::apply(savable(visible), savable(input), savable(weight), savable(sites));
}

TwoTensors flip_sums_backward_autograd(const at::Tensor& gradient, const at::Tensor& visible,
                                       const at::Tensor& input, const at::Tensor& weight,
                                       const MaybeTensor& sites) {
  using detail::savable;
  const variable_list results = FlipSumsBackward::apply(
      savable(gradient), savable(visible), savable(input), savable(weight), savable(sites));
  return {results[0], results[1]};
}

constexpr const char* kFlipSums = "_rbm_flip_sums";
constexpr const char* kFlipSumsBackward = "_rbm_flip_sums_backward";

/// The shapes and types that the kernels rely on; the shape of the sums.
std::vector<int64_t> checked_flips(const char* op, const at::Tensor& visible,
                                   const at::Tensor& input, const at::Tensor& weight,
                                   const MaybeTensor& sites) {
  detail::check_floating(op, "weight", weight);
  detail::check_shape(op, "weight", weight, {-1, -1}, "(V, H)");
  detail::check_shape(op, "visible", visible, {-1, weight.size(0)}, "(N, V)");
  detail::check_shape(op, "hidden_input", input, {visible.size(0), weight.size(1)}, "(N, H)");
  detail::check_same_type(op, "visible", visible, "weight", weight);
  detail::check_same_type(op, "hidden_input", input, "weight", weight);
  detail::check_sites(op, sites, visible);
  if (!sites) return visible.sizes().vec();
  detail::check_units(op, *sites, visible.size(1));
  return sites->sizes().vec();
}

at::Tensor flip_sums(const at::Tensor& visible, const at::Tensor& input, const at::Tensor& weight,
                     const MaybeTensor& sites) {
  checked_flips(kFlipSums, visible, input, weight, sites);
  return passes::rbm_flip_sums(visible, input, weight, sites);
}

TwoTensors flip_sums_backward(const at::Tensor& gradient, const at::Tensor& visible,
                              const at::Tensor& input, const at::Tensor& weight,
                              const MaybeTensor& sites) {
  const auto shape = checked_flips(kFlipSumsBackward, visible, input, weight, sites);
  detail::check_shape(kFlipSumsBackward, "gradient", gradient, shape, "that of the sums");
  detail::check_same_type(kFlipSumsBackward, "gradient", gradient, "weight", weight);
  return passes::rbm_flip_sums_backward(gradient, visible, input, weight, sites);
}

at::Tensor flip_sums_meta(const at::Tensor& visible, const at::Tensor& input, const at::Tensor&,
                          const MaybeTensor& sites) {
  return at::empty_symint(sites ? sites->sym_sizes() : visible.sym_sizes(), input.options());
}

TwoTensors flip_sums_backward_meta(const at::Tensor&, const at::Tensor&, const at::Tensor& input,
                                   const at::Tensor& weight, const MaybeTensor&) {
  return {at::empty_symint(input.sym_sizes(), input.options()),
          at::empty_symint(weight.sym_sizes(), weight.options())};
}

at::Tensor rbm_flip_differences_composite(const at::Tensor& visible, const at::Tensor& weight,
                                          const at::Tensor& visible_bias,
                                          const at::Tensor& hidden_bias, const MaybeTensor& sites) {
  detail::check_rbm_shapes(passes::kRbmFlipDifferences, weight, visible_bias, hidden_bias);
  detail::check_shape(passes::kRbmFlipDifferences, "visible", visible, {-1, weight.size(0)},
                      "(N, V)");
  detail::check_same_type(passes::kRbmFlipDifferences, "visible", visible, "weight", weight);
  detail::check_sites(passes::kRbmFlipDifferences, sites, visible);
  const at::Tensor bits = visible.detach();
  // Autocast may have lowered its precision.
  const at::Tensor input = detail::hidden_input(bits, weight, hidden_bias).to(weight.scalar_type());
  if (sites) detail::check_units(passes::kRbmFlipDifferences, *sites, visible.size(1));
  const at::Tensor sums = call_sums(bits, input, weight, sites);
  const at::Tensor field = (1 - 2 * bits) * visible_bias;
  return -(sites ? field.gather(1, *sites) : field) - sums;
}

}  // namespace

at::Tensor rbm_flip_differences(const at::Tensor& visible, const at::Tensor& weight,
                                const at::Tensor& visible_bias, const at::Tensor& hidden_bias,
                                const std::optional<at::Tensor>& sites) {
  static const auto op = detail::find_operator<decltype(rbm_flip_differences_composite)>(
      "torch_ebm::rbm_flip_differences");
  return op.call(visible, weight, visible_bias, hidden_bias, sites);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("rbm_flip_differences", detail::with_savable<&rbm_flip_differences_composite>);
}
TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("_rbm_flip_sums", &flip_sums);
  m.impl("_rbm_flip_sums_backward", &flip_sums_backward);
}
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) {
  m.impl("_rbm_flip_sums", &flip_sums_meta);
  m.impl("_rbm_flip_sums_backward", &flip_sums_backward_meta);
}
TORCH_LIBRARY_IMPL(torch_ebm, Autograd, m) {
  m.impl("_rbm_flip_sums", &flip_sums_autograd);
  m.impl("_rbm_flip_sums_backward", &flip_sums_backward_autograd);
}

}  // namespace torch_ebm
