#include "csrc/passes/langevin.h"

#include <ATen/Dispatch.h>

#include <atomic>

#include "csrc/common/random.h"
#include "csrc/passes/form.h"
#include "csrc/passes/noise.h"
#include "csrc/passes/parallel.h"
#include "csrc/passes/pointers.h"

namespace torch_ebm::passes {

at::Tensor langevin_update(const at::Tensor& x, const at::Tensor& score, const at::Tensor& drift,
                           const at::Tensor& noise, double max_score, double low, double high,
                           kernels::Draw draw, Flag& not_finite) {
  TORCH_INTERNAL_ASSERT(x.is_contiguous() && score.is_contiguous());
  TORCH_INTERNAL_ASSERT(score.sizes() == x.sizes());
  if (!kernels_take(x)) {
    const at::Tensor wide = detail::at_least_float(x);
    const at::Tensor cut = detail::at_least_float(score).clamp(-max_score, max_score);
    const at::Tensor moved =
        wide + along(wide, drift) * cut + along(wide, noise) * normal_like(wide, draw);
    const at::Tensor next = moved.clamp(low, high).to(x.scalar_type());
    not_finite.raise_if(at::isfinite(next).all().logical_not());
    return next;
  }
  const at::Tensor drifts = beside(x, drift), noises = beside(x, noise);
  at::Tensor next = at::empty_like(x);
  std::atomic<bool> finite{true};
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "langevin_update", [&] {
    const scalar_t* const from = x.const_data_ptr<scalar_t>();
    const scalar_t* const gradient = score.const_data_ptr<scalar_t>();
    scalar_t* const to = next.mutable_data_ptr<scalar_t>();
    const kernels::LangevinScales<scalar_t> scales{
        per_row<scalar_t>(drifts), per_row<scalar_t>(noises), static_cast<scalar_t>(max_score),
        static_cast<scalar_t>(low), static_cast<scalar_t>(high)};
    parallel_tiles(x.size(0), units_of(x), [&](kernels::Tiles tiles) {
      if (!kernels::kernels<scalar_t>().langevin_update(from, gradient, scales, to, tiles, draw)) {
        finite = false;
      }
    });
  });
  if (!finite) not_finite.raise();
  return next;
}

}  // namespace torch_ebm::passes
