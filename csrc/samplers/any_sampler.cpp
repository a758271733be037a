#include "csrc/samplers/any_sampler.h"

#include <torch/csrc/jit/api/module.h>

#include "csrc/common/checks.h"
#include "csrc/common/python_operator.h"
#include "csrc/common/script_method.h"
#include "csrc/samplers/operator_sampler.h"

namespace torch_ebm {

namespace detail {

namespace {

Samples call_python(int64_t handle, const at::Tensor& x, const RunOptions& run) {
  using StatesAndEnergy = std::tuple<at::Tensor, std::optional<at::Tensor>>;
  static const auto op = implemented_in_python<StatesAndEnergy(
      const at::Tensor&, int64_t, const std::optional<at::Tensor>&, std::optional<at::Generator>)>(
      "torch_ebm::_call_sampler");
  const auto [states, energy] = op.call(x, handle, run.beta, run.generator);
  return {.x = states, .energy = energy};
}

Samples call_script(torch::jit::Module module, const at::Tensor& x, const RunOptions& run) {
  const at::Tensor beta = run.beta ? *run.beta : at::ones({}, x.options().dtype(at::kDouble));
  const std::vector<c10::IValue> arguments = {x, beta, run.generator};
  check_takes("sampler", module, "forward", arguments);
  const c10::IValue states = module.forward(arguments);
  TORCH_CHECK_TYPE(states.isTensor(), "sampler: forward must return the new states, got ",
                   states.tagKind());
  return {.x = states.toTensor()};
}

}  // namespace

Moved moved(const char* op, const Sampler& sampler, const Energy& energy, const at::Tensor& x,
            const at::Tensor& beta, const std::optional<at::Generator>& generator) {
  const Samples samples = sampler(energy, x.clone(), {.beta = beta, .generator = generator});
  const at::Tensor& states = samples.x;
  if (states.defined()) check_dense(op, "what sampler returns", states);
  TORCH_CHECK_VALUE(states.defined() && states.sizes() == x.sizes(), op,
                    ": sampler must return the shape of the states, ", describe_shape(x.sizes()),
                    ", got ", states.defined() ? describe_shape(states.sizes()) : "no tensor");
  check_same_type(op, "what sampler returns", states, "x", x);
  if (!samples.energy) return {states.detach().contiguous()};
  check_shape(op, "the energy that sampler returns", *samples.energy, {x.size(0)}, "(N,)");
  return {states.detach().contiguous(), samples.energy->detach().to(x.device(), at::kDouble)};
}

}  // namespace detail

Sampler Sampler::of_this_library(Function function) {
  Sampler sampler(std::move(function));
  sampler.knows_energies_ = true;
  return sampler;
}

Sampler Sampler::from_ivalue(const char* op, const c10::IValue& value) {
  if (value.isModule()) {
    TORCH_CHECK_VALUE(value.toModule().find_method("forward"), op,
                      ": sampler must have a method forward(x, beta, generator)");
    return Sampler(
        [module = value.toModule()](const Energy&, const at::Tensor& x, const RunOptions& run) {
          return detail::call_script(module, x, run);
        });
  }
  if (value.isTuple()) return detail::operator_sampler(op, value.toTupleRef());
  TORCH_CHECK_TYPE(value.isInt(), op,
                   ": sampler must be a scripted module, the handle of a registered callable, or a "
                   "tuple of an operator's name and options, got ",
                   value.tagKind());
  // Python passes on only the energies that are known to be right.
  return of_this_library(
      [handle = value.toInt()](const Energy&, const at::Tensor& x, const RunOptions& run) {
        return detail::call_python(handle, x, run);
      });
}

}  // namespace torch_ebm
