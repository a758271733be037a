#pragma once
// Argument checks. Every message reads "op: argument must be ..., got ...".

#include <ATen/ATen.h>

#include <string>
#include <vector>

namespace torch_ebm::detail {

/// "(3, 4)"
std::string describe_shape(at::IntArrayRef shape);

/// Throws unless it is a tensor with plain memory: not sparse, nested, quantised or MKL-DNN's. All checks of a tensor
/// below begin with this one.
void check_dense(const char* op, const char* name, const at::Tensor& tensor);
/// Throws for a tensor on the meta device.
void check_not_meta(const char* op, const char* name, const at::Tensor& tensor);
/// Half, BFloat16, Float or Double.
void check_floating(const char* op, const char* name, const at::Tensor& tensor);
void check_same_type(const char* op, const char* name, const at::Tensor& tensor,
                     const char* reference_name, const at::Tensor& reference);
/// `expected` holds sizes, or -1 where any size will do; `symbols` is how the message writes them.
void check_shape(const char* op, const char* name, const at::Tensor& tensor,
                 std::vector<int64_t> expected, const char* symbols);
/// A batch of at least one chain: (N, ...) with N >= 1 and no empty dimension.
void check_chains(const char* op, const char* name, const at::Tensor& x);
/// Whether the numbers of a tensor can be read: not under vmap, nor while torch.compile traces. The checks of
/// values below let such a tensor pass.
bool has_values(const at::Tensor& tensor);
void check_finite(const char* op, const char* name, const at::Tensor& tensor);
void check_binary(const char* op, const char* name, const at::Tensor& tensor);
/// A single 1 along the last dimension, which has at least two elements; x (N, ..., K) is binary.
void check_one_hot(const char* op, const char* name, const at::Tensor& x);
/// Some units of every example: absent, or (N, m), int64.
void check_sites(const char* op, const std::optional<at::Tensor>& sites, const at::Tensor& x);
/// Throws unless the sites are numbers of n_units units; not under a tracer, where they have no values.
void check_units(const char* op, const at::Tensor& sites, int64_t n_units);
void check_at_least(const char* op, const char* name, int64_t value, int64_t least);
void check_dtype(const char* op, at::ScalarType dtype);
/// A floating dtype, or none. Operators take it as the number that TorchScript passes: as a ScalarType it would be
/// narrowed to 8 bits before anyone could look.
std::optional<at::ScalarType> checked_dtype(const char* op, std::optional<int64_t> number);

/// Inverse temperatures as a contiguous tensor like `x`, shape () or (N,); 1 if there are none.
at::Tensor checked_beta(const char* op, const std::optional<at::Tensor>& beta, const at::Tensor& x);
/// The same for n_chains chains, in the dtype and on the device of `options`.
at::Tensor checked_beta(const char* op, const std::optional<at::Tensor>& beta, int64_t n_chains,
                        const at::TensorOptions& options);
/// The clamping mask, broadcast to the shape of x.
std::optional<at::Tensor> checked_clamp(const char* op, const std::optional<at::Tensor>& clamp,
                                        const at::Tensor& x);

}  // namespace torch_ebm::detail
