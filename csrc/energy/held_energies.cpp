#include "csrc/energy/held_energies.h"

#include <torch/library.h>

#include <mutex>
#include <unordered_map>

namespace torch_ebm::detail {

namespace {

std::mutex mutex;
std::unordered_map<int64_t, std::shared_ptr<const EnergyFunction>> energies;
int64_t next_handle = -2;

void release_energy(int64_t handle) {
  std::shared_ptr<const EnergyFunction> last;  // destroyed after the lock
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = energies.find(handle);
  if (found == energies.end()) return;
  last = std::move(found->second);
  energies.erase(found);
}

}  // namespace

int64_t hold(std::shared_ptr<const EnergyFunction> energy) {
  const std::lock_guard<std::mutex> lock(mutex);
  energies.emplace(next_handle, std::move(energy));
  return next_handle--;
}

std::shared_ptr<const EnergyFunction> held(const char* op, int64_t handle) {
  const std::lock_guard<std::mutex> lock(mutex);
  const auto found = energies.find(handle);
  TORCH_CHECK_VALUE(found != energies.end(), op, ": energy: none is held by the handle ", handle);
  return found->second;
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("_release_energy", &release_energy);
}

}  // namespace torch_ebm::detail
