#include "csrc/common/checks.h"

#include <ATen/TensorSubclassLikeUtils.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::detail {

namespace {

/// Applies a yes/no kernel to a contiguous copy, or returns nothing if there is no kernel for the
/// tensor.
template <typename Kernel>
std::optional<bool> ask_kernel(const at::Tensor& tensor, Kernel kernel) {
  if (!tensor.is_cpu() || !tensor.has_storage()) return std::nullopt;
  const at::Tensor x = tensor.contiguous();
  if (x.scalar_type() == at::kFloat) {
    return kernel(kernels::kernels<float>(), x.const_data_ptr<float>(), x.numel());
  }
  if (x.scalar_type() == at::kDouble) {
    return kernel(kernels::kernels<double>(), x.const_data_ptr<double>(), x.numel());
  }
  return std::nullopt;
}

/// Narrower floating types have no arithmetic.
bool is_floating(at::ScalarType dtype) {
  return dtype == at::kFloat || dtype == at::kDouble || dtype == at::kHalf ||
         dtype == at::kBFloat16;
}

}  // namespace

std::string describe_shape(at::IntArrayRef shape) {
  return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

void check_dense(const char* op, const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.defined(), op, ": ", name, " must be a tensor, got none");
  TORCH_CHECK_TYPE(!tensor.is_nested(), op, ": ", name,
                   " must be a dense tensor, got a nested one; use .to_padded_tensor()");
  TORCH_CHECK_TYPE(tensor.layout() == at::kStrided, op, ": ", name,
                   " must be a dense tensor, got one of layout ", tensor.layout(),
                   "; use .to_dense()");
  TORCH_CHECK_TYPE(!tensor.is_quantized(), op, ": ", name,
                   " must be a dense tensor, got a quantized one; use .dequantize()");
}

void check_not_meta(const char* op, const char* name, const at::Tensor& tensor) {
  check_dense(op, name, tensor);
  TORCH_CHECK_NOT_IMPLEMENTED(!tensor.is_meta(), op, ": ", name,
                              " must hold values, got a meta tensor");
}

void check_floating(const char* op, const char* name, const at::Tensor& tensor) {
  check_dense(op, name, tensor);
  TORCH_CHECK_TYPE(is_floating(tensor.scalar_type()), op, ": ", name,
                   " must have a floating dtype, got ", tensor.scalar_type());
}

void check_dtype(const char* op, at::ScalarType dtype) {
  TORCH_CHECK_TYPE(is_floating(dtype), op, ": dtype must be floating, got ", dtype);
}

std::optional<at::ScalarType> checked_dtype(const char* op, std::optional<int64_t> number) {
  if (!number) return std::nullopt;
  const bool exists = *number >= 0 && *number < static_cast<int64_t>(at::ScalarType::NumOptions);
  TORCH_CHECK_TYPE(exists, op, ": dtype must be floating, got ", *number, ", which is none");
  const auto dtype = static_cast<at::ScalarType>(*number);
  check_dtype(op, dtype);
  return dtype;
}

void check_same_type(const char* op, const char* name, const at::Tensor& tensor,
                     const char* reference_name, const at::Tensor& reference) {
  check_dense(op, name, tensor);
  TORCH_CHECK_TYPE(tensor.scalar_type() == reference.scalar_type(), op, ": ", name,
                   " must have the dtype of ", reference_name, ", ", reference.scalar_type(),
                   ", got ", tensor.scalar_type());
  TORCH_CHECK_VALUE(tensor.device() == reference.device(), op, ": ", name,
                    " must be on the device of ", reference_name, ", ", reference.device(),
                    ", got ", tensor.device());
}

void check_shape(const char* op, const char* name, const at::Tensor& tensor,
                 std::vector<int64_t> expected, const char* symbols) {
  check_dense(op, name, tensor);
  bool matches = tensor.dim() == static_cast<int64_t>(expected.size());
  for (size_t i = 0; matches && i < expected.size(); ++i) {
    // sym_size: looking at size(i) would freeze a dynamic batch.
    matches = expected[i] < 0 || tensor.sym_size(static_cast<int64_t>(i)) == expected[i];
  }
  if (matches) return;
  std::vector<std::string> sizes;
  for (int64_t size : expected) sizes.push_back(size < 0 ? "any" : std::to_string(size));
  TORCH_CHECK_VALUE(false,
                    fmt::format("{}: {} must have shape {} = ({}{}), got {}", op, name, symbols,
                                fmt::join(sizes, ", "), sizes.size() == 1 ? "," : "",
                                describe_shape(tensor.sizes())));
}

void check_chains(const char* op, const char* name, const at::Tensor& x) {
  check_dense(op, name, x);
  TORCH_CHECK_VALUE(x.dim() >= 1, op, ": ", name, " must have shape (N, ...), got ()");
  TORCH_CHECK_VALUE(x.numel() > 0, op, ": ", name,
                    " must hold at least one chain of at least one unit, got shape ",
                    describe_shape(x.sizes()));
}

bool has_values(const at::Tensor& tensor) {
  if (tensor.unsafeGetTensorImpl()->is_python_dispatch() || tensor.numel() == 0) return false;
  if (tensor.has_storage()) return true;
  try {  // torch.func lets one look at what grad transforms, but not at what vmap does
    tensor.flatten()[0].item();
  } catch (const c10::Error&) {
    return false;
  }
  return true;
}

void check_finite(const char* op, const char* name, const at::Tensor& tensor) {
  if (!has_values(tensor)) return;
  check_not_meta(op, name, tensor);
  const auto answer = ask_kernel(
      tensor, [](const auto& table, auto x, int64_t n) { return table.all_finite(x, n); });
  const bool finite = answer ? *answer : at::isfinite(tensor).all().item<bool>();
  TORCH_CHECK_VALUE(finite, op, ": ", name, " must be finite, got ",
                    at::isnan(tensor).sum().item<int64_t>(), " NaN and ",
                    at::isinf(tensor).sum().item<int64_t>(), " infinite values");
}

void check_binary(const char* op, const char* name, const at::Tensor& tensor) {
  if (!has_values(tensor)) return;
  check_not_meta(op, name, tensor);
  const auto answer = ask_kernel(
      tensor, [](const auto& table, auto x, int64_t n) { return table.all_binary(x, n); });
  const auto bad = [&] { return (tensor != 0).logical_and(tensor != 1); };
  const bool binary = answer ? *answer : !bad().any().item<bool>();
  if (binary) return;
  const bool grey = tensor.ge(0).logical_and(tensor.le(1)).all().item<bool>();
  TORCH_CHECK_VALUE(false, op, ": ", name, " must hold zeros and ones only, got ",
                    tensor.masked_select(bad())[0].item<double>(),
                    grey ? "; torch.bernoulli draws binary states from grey levels" : "");
}

void check_one_hot(const char* op, const char* name, const at::Tensor& x) {
  TORCH_CHECK_VALUE(x.dim() >= 2 && x.size(-1) >= 2, op, ": ", name,
                    " must have shape (N, ..., K) with K >= 2 states of a site, got ",
                    describe_shape(x.sizes()));
  if (!has_values(x)) return;
  const at::Tensor ones = x.sum(-1, /*keepdim=*/false, at::kLong);
  TORCH_CHECK_VALUE(ones.eq(1).all().item<bool>(), op, ": ", name,
                    " must be one-hot along its last dimension, got a site with ",
                    ones.masked_select(ones.ne(1))[0].item<int64_t>(), " ones");
}

void check_sites(const char* op, const std::optional<at::Tensor>& sites, const at::Tensor& x) {
  if (!sites) return;
  check_dense(op, "sites", *sites);
  TORCH_CHECK_TYPE(sites->scalar_type() == at::kLong, op, ": sites must have dtype Long, got ",
                   sites->scalar_type());
  TORCH_CHECK_VALUE(sites->dim() == 2 && sites->sym_size(0) == x.sym_size(0), op,
                    ": sites must have shape (N, m), got ", describe_shape(sites->sizes()));
}

void check_units(const char* op, const at::Tensor& sites, int64_t n_units) {
  if (sites.is_meta() || at::areAnyTensorSubclassLike({sites}) || sites.numel() == 0) return;
  const auto [least, most] = sites.aminmax();
  TORCH_CHECK_VALUE(least.item<int64_t>() >= 0 && most.item<int64_t>() < n_units, op,
                    ": sites must be numbers from 0 to ", n_units - 1, ", got ",
                    (least.item<int64_t>() < 0 ? least : most).item<int64_t>());
}

void check_at_least(const char* op, const char* name, int64_t value, int64_t least) {
  TORCH_CHECK_VALUE(value >= least, op, ": ", name, " must be at least ", least, ", got ", value);
}

at::Tensor checked_beta(const char* op, const std::optional<at::Tensor>& beta,
                        const at::Tensor& x) {
  return checked_beta(op, beta, x.size(0), x.options());
}

at::Tensor checked_beta(const char* op, const std::optional<at::Tensor>& beta, int64_t n_chains,
                        const at::TensorOptions& options) {
  if (!beta || !beta->defined()) return at::ones({}, options);
  check_dense(op, "beta", *beta);
  TORCH_CHECK_VALUE(beta->dim() == 0 || (beta->dim() == 1 && beta->size(0) == n_chains), op,
                    ": beta must be one number or one for every chain, shape () or (", n_chains,
                    ",), got ", describe_shape(beta->sizes()));
  TORCH_CHECK_TYPE(!beta->is_complex(), op, ": beta must be real, got ", beta->scalar_type());
  const at::Tensor result = beta->detach().to(options).contiguous();
  check_finite(op, "beta", result);
  TORCH_CHECK_VALUE(result.ge(0).all().item<bool>(), op, ": beta must not be negative, got ",
                    result.min().item<double>());
  return result;
}

std::optional<at::Tensor> checked_clamp(const char* op, const std::optional<at::Tensor>& clamp,
                                        const at::Tensor& x) {
  if (!clamp || !clamp->defined()) return std::nullopt;
  check_dense(op, "clamp", *clamp);
  TORCH_CHECK_TYPE(clamp->scalar_type() == at::kBool, op, ": clamp must be boolean, got ",
                   clamp->scalar_type());
  TORCH_CHECK_VALUE(clamp->device() == x.device(), op,
                    ": clamp must be on the device of the chains, ", x.device(), ", got ",
                    clamp->device());
  TORCH_CHECK_VALUE(clamp->sizes() == x.sizes() || clamp->sizes() == x.sizes().slice(1), op,
                    ": clamp must have shape ", describe_shape(x.sizes().slice(1)), " or ",
                    describe_shape(x.sizes()), ", got ", describe_shape(clamp->sizes()));
  return clamp->expand(x.sizes());
}

}  // namespace torch_ebm::detail
