#include "csrc/passes/choice.h"

#include <cstring>
#include <vector>

#include "csrc/common/per_chain.h"
#include "csrc/passes/form.h"
#include "csrc/passes/parallel.h"
#include "csrc/passes/sole_owner.h"

namespace torch_ebm::passes {

namespace {

/// The chains i with mask[i] false.
std::vector<int64_t> chains_without(const at::Tensor& mask) {
  const auto in_mask = mask.accessor<bool, 1>();
  std::vector<int64_t> chains;
  for (int64_t i = 0; i < in_mask.size(0); ++i) {
    if (!in_mask[i]) chains.push_back(i);
  }
  return chains;
}

/// to <- from in these chains. Both are contiguous.
void copy_chains_(const at::Tensor& to, const at::Tensor& from,
                  const std::vector<int64_t>& chains) {
  const int64_t n_units = to.numel() / to.size(0);
  const auto n_bytes = static_cast<size_t>(n_units * to.element_size());
  auto* const target = static_cast<char*>(to.mutable_data_ptr());
  const auto* const source = static_cast<const char*>(from.const_data_ptr());
  parallel_rows(static_cast<int64_t>(chains.size()), n_units, [&](kernels::Rows rows) {
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      std::memcpy(target + chains[i] * n_bytes, source + chains[i] * n_bytes, n_bytes);
    }
  });
}

}  // namespace

at::Tensor where_chains(const at::Tensor& mask, at::Tensor chosen, const at::Tensor& other) {
  if (!is_in_reach(other)) return at::where(detail::along_chains(mask, other), chosen, other);
  const std::vector<int64_t> left_out = chains_without(mask);
  if (left_out.empty()) return chosen;
  if (!is_sole_owner(chosen) || !other.is_contiguous()) {
    return at::where(detail::along_chains(mask, other), chosen, other);
  }
  copy_chains_(chosen, other, left_out);
  return chosen;
}

}  // namespace torch_ebm::passes
