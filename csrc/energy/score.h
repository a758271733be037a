#pragma once

#include <ATen/ATen.h>

namespace torch_ebm::detail {

/// The score -dE/dx, like x, of energies (N,) that were computed from x. With `create_graph` it can be
/// differentiated again. Throws ValueError if the energies do not depend differentiably on x.
at::Tensor score_of(const at::Tensor& energies, const at::Tensor& x, bool create_graph);

}  // namespace torch_ebm::detail
