#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"
#include "torch_ebm/partition/log_z_estimate.h"

namespace torch_ebm {

/// Log-likelihoods of examples, or the differences between those of two models; all in float64. The
/// mean has two errors. That of the examples shrinks with their number; that of log Z is common to
/// all of them and does not.
struct TORCH_EBM_API LogLikelihood {
  at::Tensor values;       ///< one per example, (N,)
  at::Tensor mean;         ///< over the examples; shape ()
  at::Tensor data_error;   ///< standard error of the mean over independent examples; shape ()
  at::Tensor log_z_error;  ///< standard error of log Z, common to all values; shape ()
  at::Tensor std_error;    ///< both together: sqrt(data_error^2 + log_z_error^2); shape ()
  at::Tensor lower;        ///< 95% interval of the mean; shape ()
  at::Tensor upper;
  std::string warning = {};  ///< the warning of the log Z estimate
};

/// log p(x_i) = -E(x_i) - log Z of examples x, (N, ...), N >= 2, and their mean with its error.
///
/// The interval combines that of the examples, -+ t(N - 1) data_error, with that of log Z, which
/// need not be symmetric: the squares of their arms are added (Zou & Donner 2008, eq. 7). An
/// example that the model forbids, of energy +inf, has log p = -inf. The mean is then -inf too,
/// without an error.
///
/// batch_size: how many examples the energy is given at once; default: all. Throws ValueError for N
/// < 2, x that is not finite, energies that are NaN or -inf, log Z that is not finite or lies
/// outside its interval, batch_size < 1.
TORCH_EBM_API LogLikelihood log_likelihood(const Energy& energy, const at::Tensor& x,
                                           const LogZEstimate& log_z,
                                           std::optional<int64_t> batch_size = std::nullopt);
/// The same with log Z that is known exactly, shape ().
TORCH_EBM_API LogLikelihood log_likelihood(const Energy& energy, const at::Tensor& x,
                                           const at::Tensor& log_z,
                                           std::optional<int64_t> batch_size = std::nullopt);

/// log p_a(x_i) - log p_b(x_i) of the same examples x, as log_likelihood gives log p(x_i). What
/// makes an example hard for both models cancels: the error is that of the differences, usually far
/// below that of either mean. The two estimates of log Z must be independent. Throws ValueError as
/// log_likelihood does, and for an example that both forbid.
TORCH_EBM_API LogLikelihood
compare_log_likelihoods(const Energy& energy_a, const Energy& energy_b, const at::Tensor& x,
                        const LogZEstimate& log_z_a, const LogZEstimate& log_z_b,
                        std::optional<int64_t> batch_size = std::nullopt);
TORCH_EBM_API LogLikelihood compare_log_likelihoods(
    const Energy& energy_a, const Energy& energy_b, const at::Tensor& x, const at::Tensor& log_z_a,
    const at::Tensor& log_z_b, std::optional<int64_t> batch_size = std::nullopt);

}  // namespace torch_ebm
