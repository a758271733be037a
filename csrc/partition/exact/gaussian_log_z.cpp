#include "torch_ebm/partition/exact/gaussian_log_z.h"

#include <torch/library.h>

#include <cmath>
#include <numbers>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/savable.h"

namespace torch_ebm {

namespace {

constexpr const char* kGaussianLogZ = "gaussian_log_z";

at::Tensor checked_cholesky(const at::Tensor& matrix) {
  try {
    return at::linalg_cholesky(matrix);
  } catch (const c10::LinAlgError&) {
    TORCH_CHECK_VALUE(false, kGaussianLogZ,
                      ": the symmetric part of precision must be positive definite; otherwise Z is "
                      "infinite");
  }
}

at::Tensor gaussian_log_z_composite(const at::Tensor& precision,
                                    const std::optional<at::Tensor>& linear) {
  detail::check_floating(kGaussianLogZ, "precision", precision);
  TORCH_CHECK_VALUE(
      precision.dim() == 2 && precision.size(0) == precision.size(1) && precision.size(0) >= 1,
      kGaussianLogZ, ": precision must have shape (d, d) with d >= 1, got ",
      detail::describe_shape(precision.sizes()));
  const int64_t d = precision.size(0);
  const at::Tensor p = precision.to(at::kDouble);
  const at::Tensor factor = checked_cholesky((p + p.t()) / 2);
  const double log_two_pi = std::log(2 * std::numbers::pi);
  const at::Tensor log_z =
      0.5 * static_cast<double>(d) * log_two_pi - factor.diagonal().log().sum();
  if (!linear || !linear->defined()) return log_z;
  detail::check_same_type(kGaussianLogZ, "linear", *linear, "precision", precision);
  detail::check_shape(kGaussianLogZ, "linear", *linear, {d}, "(d,)");
  const at::Tensor whitened =
      at::linalg_solve_triangular(factor, linear->to(at::kDouble).unsqueeze(1), /*upper=*/false);
  return log_z + 0.5 * whitened.square().sum();
}

}  // namespace

at::Tensor gaussian_log_z(const at::Tensor& precision, const std::optional<at::Tensor>& linear) {
  static const auto op =
      detail::find_operator<decltype(gaussian_log_z_composite)>("torch_ebm::gaussian_log_z");
  return op.call(precision, linear);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("gaussian_log_z", detail::with_savable<&gaussian_log_z_composite>);
}
TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatchedDecomposition, m) {
  m.impl("gaussian_log_z", detail::with_savable<&gaussian_log_z_composite>);
}

}  // namespace torch_ebm
