#pragma once

#include <ATen/ATen.h>

namespace torch_ebm::detail {

/// Whether x can be written to without anybody noticing: no other tensor shares its memory, and that memory is
/// torch's, not borrowed from a caller (which cannot be resized).
inline bool is_sole_owner(const at::Tensor& x) {
  return x.use_count() == 1 && x.storage().use_count() == 1 &&
         x.storage().unsafeGetStorageImpl()->resizable() && x.is_contiguous();
}

/// Room for a result in the place of x: its own memory, unless others may see that.
inline at::Tensor room_of(const at::Tensor& x) { return is_sole_owner(x) ? x : at::empty_like(x); }

}  // namespace torch_ebm::detail
