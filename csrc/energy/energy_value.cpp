#include "csrc/energy/energy_value.h"

#include <torch/custom_class.h>

namespace torch_ebm::detail {

namespace {

struct EnergyHolder : torch::CustomClassHolder {
  explicit EnergyHolder(Energy held) : energy(std::move(held)) {}
  Energy energy;
};

}  // namespace

c10::IValue as_ivalue(const Energy& energy) {
  return c10::IValue::make_capsule(c10::make_intrusive<EnergyHolder>(energy));
}

const Energy& held_energy(const char* op, const c10::IValue& capsule) {
  const auto* const holder = dynamic_cast<const EnergyHolder*>(capsule.toCapsule().get());
  TORCH_CHECK_TYPE(holder != nullptr, op, ": energy must be an energy, got another capsule");
  return holder->energy;
}

}  // namespace torch_ebm::detail
