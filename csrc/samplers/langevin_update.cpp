#include "csrc/samplers/langevin_update.h"

#include <atomic>

#include "csrc/common/parallel.h"
#include "csrc/common/per_chain.h"
#include "csrc/common/random.h"

namespace torch_ebm::detail {

bool langevin_update(const at::Tensor& x, const at::Tensor& score, const at::Tensor& drift,
                     const at::Tensor& noise, double max_score, double low, double high,
                     kernels::Draw draw, at::Tensor& next) {
  TORCH_INTERNAL_ASSERT(x.is_contiguous() && score.is_contiguous() && next.is_contiguous());
  TORCH_INTERNAL_ASSERT(score.sizes() == x.sizes() && next.sizes() == x.sizes());
  if (!has_kernel(x)) {
    const at::Tensor wide = at_least_float(x);
    const at::Tensor cut = at_least_float(score).clamp(-max_score, max_score);
    const at::Tensor moved =
        wide + along_chains(drift, x) * cut + along_chains(noise, x) * normal_like(wide, draw);
    next.copy_(moved.clamp(low, high));
    return at::isfinite(next).all().item<bool>();
  }
  std::atomic<bool> finite{true};
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "langevin_update", [&] {
    const scalar_t* const from = x.const_data_ptr<scalar_t>();
    const scalar_t* const gradient = score.const_data_ptr<scalar_t>();
    scalar_t* const to = next.mutable_data_ptr<scalar_t>();
    const kernels::LangevinScales<scalar_t> scales{
        per_row<scalar_t>(drift), per_row<scalar_t>(noise), static_cast<scalar_t>(max_score),
        static_cast<scalar_t>(low), static_cast<scalar_t>(high)};
    parallel_tiles(x.size(0), x.numel() / x.size(0), [&](kernels::Tiles tiles) {
      if (!kernels::kernels<scalar_t>().langevin_update(from, gradient, scales, to, tiles, draw)) {
        finite = false;
      }
    });
  });
  return finite;
}

}  // namespace torch_ebm::detail
