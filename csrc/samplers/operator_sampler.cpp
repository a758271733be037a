#include "csrc/samplers/operator_sampler.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <algorithm>

#include "csrc/energy/energy_value.h"

namespace torch_ebm::detail {

namespace {

class OperatorCall {
 public:
  OperatorCall(const char* op, const std::string& name, c10::OperatorHandle sampler)
      : op_(op), name_(name), sampler_(std::move(sampler)) {
    const auto& arguments = sampler_.schema().arguments();
    TORCH_CHECK_TYPE(arguments.size() >= 2 && arguments[0].name() == "energy" &&
                         arguments[1].name() == "x" && sampler_.schema().returns().size() == 4,
                     op, ": sampler must be a sampler of this library, got \"", name, "\"");
    for (const c10::Argument& argument : arguments) {
      values_.push_back(argument.default_value().value_or(c10::IValue()));
    }
    beta_ = index_of("beta");
    generator_ = index_of("generator");
  }

  void set(const std::string& option, c10::IValue value) {
    const size_t index = index_of(option);
    TORCH_CHECK_VALUE(index != 0 && index != 1 && index != beta_ && index != generator_, op_, ": ",
                      option, " must not be an option of the sampler: it is given in each call");
    const c10::TypePtr& type = sampler_.schema().arguments()[index].type();
    if (value.isInt() && c10::FloatType::get()->isSubtypeOf(*type)) {
      value = static_cast<double>(value.toInt());
    }
    TORCH_CHECK_TYPE(value.type()->isSubtypeOf(*type), name_, ": ", option, " must be of type ",
                     type->str(), ", got ", value.type()->str());
    values_[index] = std::move(value);
  }

  /// Throws unless every option without a default was set.
  void check_complete() const {
    const auto& arguments = sampler_.schema().arguments();
    for (size_t i = 2; i < arguments.size(); ++i) {
      const bool given = i == beta_ || !values_[i].isNone() || arguments[i].default_value();
      TORCH_CHECK_TYPE(given, name_, ": ", arguments[i].name(), " must be given");
    }
  }

  Samples operator()(const Energy& energy, const at::Tensor& x, const RunOptions& run) const {
    torch::jit::Stack stack = values_;
    stack[0] = as_ivalue(energy);
    stack[1] = x;
    stack[beta_] = run.beta;
    stack[generator_] = run.generator;
    sampler_.callBoxed(&stack);
    return {stack[0].toTensor(), stack[1].toTensor(), stack[2].toTensor(),
            stack[3].toOptional<at::Tensor>()};
  }

 private:
  size_t index_of(const std::string& option) const {
    const auto index = sampler_.schema().argumentIndexWithName(option);
    TORCH_CHECK_TYPE(index, name_, ": it has no option ", option);
    return static_cast<size_t>(*index);
  }

  const char* op_;
  std::string name_;
  c10::OperatorHandle sampler_;
  torch::jit::Stack values_;  // of its arguments
  size_t beta_ = 0;
  size_t generator_ = 0;
};

}  // namespace

Sampler operator_sampler(const char* op, const c10::ivalue::Tuple& description) {
  const auto& parts = description.elements();
  TORCH_CHECK_TYPE(parts.size() == 3 && parts[0].isString() && parts[1].isTuple() &&
                       parts[2].isTuple() &&
                       parts[1].toTupleRef().size() == parts[2].toTupleRef().size(),
                   op,
                   ": sampler must be the name of an operator, the names of its options and "
                   "their values, if it is a tuple");
  const std::string& name = parts[0].toStringRef();
  auto sampler = c10::Dispatcher::singleton().findSchema({"torch_ebm::" + name, ""});
  TORCH_CHECK_TYPE(sampler, op, ": sampler must be a sampler of this library, got \"", name, "\"");
  OperatorCall call(op, name, *std::move(sampler));
  const auto& names = parts[1].toTupleRef().elements();
  const auto& values = parts[2].toTupleRef().elements();
  for (size_t i = 0; i < names.size(); ++i) {
    TORCH_CHECK_TYPE(names[i].isString(), op,
                     ": the names of the sampler's options must be strings");
    call.set(names[i].toStringRef(), values[i]);
  }
  call.check_complete();
  return Sampler::of_this_library(std::move(call));
}

}  // namespace torch_ebm::detail
