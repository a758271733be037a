#include "csrc/passes/form.h"

#include <torch/library.h>

#include <utility>

namespace torch_ebm::passes {

namespace {

thread_local bool torch_forms_forced = false;

/// For the tests in Python; returns what was before.
bool use_torch_passes(bool forced) { return std::exchange(torch_forms_forced, forced); }

}  // namespace

bool is_in_reach(const at::Tensor& x) {
  return x.is_cpu() && x.has_storage() &&  // none of its own under vmap
         !torch_forms_forced;
}

bool kernels_take(const at::Tensor& x) {
  return is_in_reach(x) && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble);
}

TorchForms::TorchForms(bool forced) : before_(use_torch_passes(forced)) {}
TorchForms::~TorchForms() { torch_forms_forced = before_; }

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("_use_torch_passes", &use_torch_passes);
}

}  // namespace torch_ebm::passes
