#pragma once

#include "csrc/common/softplus.h"
#include "torch_ebm/models/rbm.h"

namespace torch_ebm::detail {

/// The most units that the smaller layer may have for exact samples.
constexpr int64_t kMaxSampledUnits = 20;

/// Shapes, dtype and device of an RBM's parameters, and that they are finite.
void check_rbm_shapes(const char* op, const at::Tensor& weight, const at::Tensor& visible_bias,
                      const at::Tensor& hidden_bias);
void check_rbm_finite(const char* op, const at::Tensor& weight, const at::Tensor& visible_bias,
                      const at::Tensor& hidden_bias);

/// Throws NotImplementedError if the energy is not that of the RBM's parameters.
void check_keeps_energy(const char* op, const RBMImpl& rbm);
/// Throws unless both layers have units.
void check_has_units(const char* op, const at::Tensor& weight);

/// c + v W, (N, H): the inputs of the hidden units.
at::Tensor hidden_input(const at::Tensor& visible, const at::Tensor& weight,
                        const at::Tensor& hidden_bias);

}  // namespace torch_ebm::detail
