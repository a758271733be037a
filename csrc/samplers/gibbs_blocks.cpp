#include "csrc/samplers/gibbs_blocks.h"

#include "csrc/common/checks.h"

namespace torch_ebm::detail {

namespace {

constexpr int64_t kMaxStates = 4096;

at::Tensor checked_blocks(const char* op, const DiscreteSites& layout, const at::Tensor& blocks,
                          bool cover) {
  const int64_t n_sites = layout.n_sites();
  check_not_meta(op, "blocks", blocks);
  TORCH_CHECK_TYPE(at::isIntegralType(blocks.scalar_type(), /*includeBool=*/false), op,
                   ": blocks must have an integer dtype, got ", blocks.scalar_type());
  TORCH_CHECK_VALUE(blocks.dim() == 2 && blocks.numel() > 0, op,
                    ": blocks must have shape (B, k) with k >= 1, got ",
                    describe_shape(blocks.sizes()));
  const at::Tensor sites = blocks.to(at::kCPU, at::kLong);
  const at::Tensor outside = sites.lt(0).logical_or(sites.ge(n_sites));
  TORCH_CHECK_VALUE(!outside.any().item<bool>(), op, ": blocks must hold sites 0 to ", n_sites - 1,
                    ", got ", sites.masked_select(outside)[0].item<int64_t>());
  // In a sorted row, repeated sites are adjacent.
  const at::Tensor twice = std::get<0>(sites.sort(1)).diff(1, 1).eq(0).any(1);
  TORCH_CHECK_VALUE(!twice.any().item<bool>(), op,
                    ": blocks must hold a site at most once per row, got it twice in row ",
                    twice.to(at::kInt).argmax().item<int64_t>());
  const at::Tensor visits = at::bincount(sites.flatten(), {}, n_sites);
  TORCH_CHECK_VALUE(!cover || visits.gt(0).all().item<bool>(), op,
                    ": blocks must hold every site, got none with site ",
                    visits.eq(0).to(at::kInt).argmax().item<int64_t>());
  return sites;
}

/// K^k, if it is small enough to enumerate.
int64_t count_states(const char* op, int64_t n_states, int64_t size) {
  int64_t count = 1;
  for (int64_t i = 0; i < size && count <= kMaxStates; ++i) count *= n_states;
  TORCH_CHECK_VALUE(count <= kMaxStates, op, ": blocks must have at most ", kMaxStates,
                    " joint states, got ", n_states, "^", size);
  return count;
}

}  // namespace

GibbsBlocks::GibbsBlocks(const char* op, const DiscreteSites& layout,
                         const std::optional<at::Tensor>& blocks, bool cover) {
  const bool given = blocks && blocks->defined();
  const int64_t n_states = layout.n_states();
  sites = given ? checked_blocks(op, layout, *blocks, cover)
                : at::arange(layout.n_sites(), at::kLong).unsqueeze(1);
  const int64_t count = count_states(op, n_states, sites.size(1));
  const at::Tensor place = at::full({}, n_states, at::kLong).pow(at::arange(sites.size(1)));
  const at::Tensor numbers = at::arange(count, at::kLong).unsqueeze(1);
  states = layout.encode(numbers.floor_divide(place).remainder(n_states));
  sites = sites.to(states.device());
  const at::Tensor label = layout.width() == 1 ? at::ones({1}, at::kLong) : at::arange(n_states);
  powers = (place.unsqueeze(1) * label).to(states.options().dtype(at::kDouble));
}

}  // namespace torch_ebm::detail
