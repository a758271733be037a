#pragma once

#include <ATen/ATen.h>

namespace torch_ebm::passes {

/// Whether x can be written to without side effects: no other tensor shares its memory, and that
/// memory is torch's, not borrowed from a caller (which cannot be resized).
inline bool is_sole_owner(const at::Tensor& x) {
  return x.use_count() == 1 && x.storage().use_count() == 1 &&
         x.storage().unsafeGetStorageImpl()->resizable() && x.is_contiguous();
}

/// Memory for a result that replaces x: that of x, unless it is shared.
inline at::Tensor room_of(const at::Tensor& x) { return is_sole_owner(x) ? x : at::empty_like(x); }

}  // namespace torch_ebm::passes
