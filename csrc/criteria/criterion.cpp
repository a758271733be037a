#include "csrc/criteria/criterion.h"

#include "csrc/common/checks.h"

namespace torch_ebm::detail {

namespace {

at::Tensor checked_weights(const char* op, const at::Tensor& weights, const at::Tensor& x) {
  check_dense(op, "weights", weights);
  TORCH_CHECK_TYPE(weights.is_floating_point() ||
                       at::isIntegralType(weights.scalar_type(), /*includeBool=*/false),
                   op, ": weights must have a floating or an integer dtype, got ",
                   weights.scalar_type());
  check_shape(op, "weights", weights, {x.size(0)}, "(N,)");
  check_finite(op, "weights", weights);
  if (has_values(weights)) {
    TORCH_CHECK_VALUE(weights.ge(0).all().item<bool>(), op, ": weights must be >= 0, got ",
                      weights.min().item<double>());
    TORCH_CHECK_VALUE(weights.gt(0).any().item<bool>(), op, ": weights must not all be 0");
  }
  const at::Tensor result = weights.detach().to(x.device(), at::kDouble);
  return result.is_inference() ? result.clone() : result;
}

}  // namespace

Criterion::Criterion(const char* op_name, const at::Tensor& data, const CriterionOptions& options)
    : op(op_name), generator(options.generator), reduction_(options.reduction) {
  check_floating(op, "x", data);
  check_chains(op, "x", data);
  check_finite(op, "x", data);
  TORCH_CHECK_VALUE(reduction_ == "mean" || reduction_ == "sum" || reduction_ == "none", op,
                    ": reduction must be \"mean\", \"sum\" or \"none\", got \"", reduction_, "\"");
  // A copy: an energy may change it before that is noticed, and autograd does not take what was made in inference mode.
  x = data.detach().clone(at::MemoryFormat::Contiguous);
  if (options.weights && options.weights->defined()) {
    weights_ = checked_weights(op, *options.weights, x);
  }
}

at::Tensor Criterion::weights() const {
  return weights_.defined() ? weights_ : at::ones({n_examples()}, x.options().dtype(at::kDouble));
}

at::Tensor Criterion::reduce(const at::Tensor& terms) const {
  if (!weights_.defined()) {
    return reduction_ == "none" ? terms : reduction_ == "sum" ? terms.sum() : terms.mean();
  }
  // A weight of 0 leaves an example out, even where its term is infinite.
  const at::Tensor counted = terms.to(at::kDouble).masked_fill(weights_.eq(0), 0);
  const bool mean = reduction_ == "mean";
  const at::Tensor weighted = (mean ? weights_ / weights_.sum() : weights_) * counted;
  return (reduction_ == "none" ? weighted : weighted.sum()).to(terms.scalar_type());
}

}  // namespace torch_ebm::detail
