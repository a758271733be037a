#include "csrc/criteria/criterion.h"

#include "csrc/common/checks.h"

namespace torch_ebm::detail {

namespace {

at::Tensor checked_weights(const char* op, const at::Tensor& weights, const at::Tensor& x) {
  check_floating(op, "weights", weights);
  check_shape(op, "weights", weights, {x.size(0)}, "(N,)");
  check_finite(op, "weights", weights);
  TORCH_CHECK_VALUE(weights.ge(0).all().item<bool>(), op, ": weights must be >= 0, got ",
                    weights.min().item<double>());
  TORCH_CHECK_VALUE(weights.gt(0).any().item<bool>(), op, ": weights must not all be 0");
  return weights.detach().to(x.options());
}

}  // namespace

Criterion::Criterion(const char* op_name, const at::Tensor& data, const CriterionOptions& options)
    : op(op_name), generator(options.generator), reduction_(options.reduction) {
  check_floating(op, "x", data);
  check_chains(op, "x", data);
  check_finite(op, "x", data);
  TORCH_CHECK_VALUE(reduction_ == "mean" || reduction_ == "sum" || reduction_ == "none", op,
                    ": reduction must be \"mean\", \"sum\" or \"none\", got \"", reduction_, "\"");
  x = data.detach().contiguous();
  if (x.is_inference()) x = x.clone();  // autograd does not take tensors made in inference mode
  if (options.weights && options.weights->defined()) {
    weights_ = checked_weights(op, *options.weights, x);
  }
}

at::Tensor Criterion::weights() const {
  return weights_.defined() ? weights_ : at::ones({n_examples()}, x.options());
}

at::Tensor Criterion::reduce(const at::Tensor& terms) const {
  const at::Tensor weighted = weights_.defined() ? weights_.to(terms.scalar_type()) * terms : terms;
  if (reduction_ == "none") return weighted;
  if (reduction_ == "sum") return weighted.sum();
  return weights_.defined() ? weighted.sum() / weights_.to(terms.scalar_type()).sum()
                            : weighted.mean();
}

}  // namespace torch_ebm::detail
