#include "csrc/passes/rbm_flip_sums.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "csrc/common/softplus.h"
#include "csrc/passes/padded.h"
#include "csrc/passes/form.h"

namespace torch_ebm::passes {

namespace {

/// How a factor of the kernels' products is bounded.
constexpr double kMaxWeight = 20;

// --- In torch operations, for other devices, large weights and second derivatives -------------------

/// The sites [begin, end) of every example: bits (N, c) and weights, (1, c, H) or (N, c, H).
struct SiteRange {
  SiteRange(const at::Tensor& visible, const at::Tensor& weight, const MaybeTensor& sites,
            int64_t begin, int64_t end) {
    if (sites) {
      const at::Tensor these = sites->slice(1, begin, end);
      bits = visible.gather(1, these);
      weights = at::index(weight, {these});
    } else {
      bits = visible.slice(1, begin, end);
      weights = weight.slice(0, begin, end).unsqueeze(0);
    }
    direction = (1 - 2 * bits).unsqueeze(2);
  }
  at::Tensor bits;
  at::Tensor weights;
  at::Tensor direction;  // (N, c, 1)
};

at::Tensor sums_of(const SiteRange& range, const at::Tensor& input) {
  const at::Tensor moved = input.unsqueeze(1) + range.direction * range.weights;
  return (detail::exact_softplus(moved) - detail::exact_softplus(input).unsqueeze(1)).sum(2);
}

int64_t n_flips(const at::Tensor& visible, const MaybeTensor& sites) {
  return sites ? sites->size(1) : visible.size(1);
}

/// Calls body(begin, end) for ranges of flips that hold about 2^20 pairs of units.
template <typename Body>
void for_each_range(const at::Tensor& input, int64_t flips, Body body) {
  const int64_t at_once = std::max<int64_t>(1, (1 << 20) / std::max<int64_t>(1, input.numel()));
  for (int64_t begin = 0; begin < flips; begin += at_once) {
    body(begin, std::min(begin + at_once, flips));
  }
}

at::Tensor sums_in_torch(const at::Tensor& visible, const at::Tensor& input,
                         const at::Tensor& weight, const MaybeTensor& sites) {
  std::vector<at::Tensor> parts;
  if (n_flips(visible, sites) == 0) return at::zeros({visible.size(0), 0}, input.options());
  for_each_range(input, n_flips(visible, sites), [&](int64_t begin, int64_t end) {
    parts.push_back(sums_of(SiteRange(visible, weight, sites, begin, end), input));
  });
  return at::cat(parts, 1);
}

TwoTensors backward_in_torch(const at::Tensor& gradient, const at::Tensor& visible,
                             const at::Tensor& input, const at::Tensor& weight,
                             const MaybeTensor& sites) {
  at::Tensor of_input = -at::sigmoid(input) * gradient.sum(1, /*keepdim=*/true);
  at::Tensor of_weight = at::zeros_like(weight);
  for_each_range(input, n_flips(visible, sites), [&](int64_t begin, int64_t end) {
    const SiteRange range(visible, weight, sites, begin, end);
    const at::Tensor slope = gradient.slice(1, begin, end).unsqueeze(2) *
                             at::sigmoid(input.unsqueeze(1) + range.direction * range.weights);
    of_input += slope.sum(1);
    const at::Tensor turned = slope * range.direction;
    if (sites) {
      of_weight.index_add_(0, sites->slice(1, begin, end).flatten(), turned.flatten(0, 1));
    } else {
      of_weight.slice(0, begin, end) += turned.sum(0);
    }
  });
  return {of_input, of_weight};
}

// --- In kernels -------------------------------------------------------------------------------------

bool flip_kernels_take(const at::Tensor& input, const at::Tensor& weight) {
  return kernels_take(input) && input.numel() > 0 && weight.numel() > 0 &&
         weight.abs().max().item<double>() <= kMaxWeight;  // not if NaN
}

/// Some examples and all their flips, in the order of the units.
struct Block {
  Block(const at::Tensor& visible, const at::Tensor& input, const at::Tensor& exp_weight,
        const MaybeTensor& sites)
      : on(at::sigmoid(input)), off(at::sigmoid(-input)), ratio(exp_weight) {
    const int64_t flips = n_flips(visible, sites);
    const at::Tensor examples = at::arange(visible.size(0)).unsqueeze(1).expand({-1, flips});
    const at::Tensor units = sites ? *sites : at::arange(flips).expand_as(examples);
    order = sites ? units.flatten().argsort()
                  : at::arange(units.numel()).view(units.sizes()).t().flatten();
    site = units.flatten().index_select(0, order);
    example = examples.flatten().index_select(0, order);
    bit = visible.gather(1, units).flatten().index_select(0, order).ne(0);
  }

  template <typename T>
  kernels::HiddenLayer<T> layer() const {
    return {detail::view_padded<T>(on), detail::view_padded<T>(off), detail::view_padded<T>(ratio)};
  }
  kernels::FlipPairs pairs() const {
    return {site.const_data_ptr<int64_t>(), example.const_data_ptr<int64_t>(),
            bit.const_data_ptr<bool>()};
  }

  at::Tensor on, off, ratio;
  at::Tensor order;  // of the pairs, among all flips of all examples
  at::Tensor site, example, bit;
};

/// Calls body(block, first) for all examples, kFlipExamples at a time.
template <typename Body>
void for_each_block(const at::Tensor& visible, const at::Tensor& input, const at::Tensor& weight,
                    const MaybeTensor& sites, Body body) {
  // The padding, weights of 0, makes factors of 1.
  const at::Tensor ratio = detail::padded(weight).exp();
  const at::Tensor wide = detail::padded(input);
  for (int64_t first = 0; first < visible.size(0); first += kernels::kFlipExamples) {
    const auto these = [&](const at::Tensor& t) {
      return t.slice(0, first, std::min(first + kernels::kFlipExamples, visible.size(0)));
    };
    body(Block(these(visible), these(wide), ratio, sites ? MaybeTensor(these(*sites)) : sites),
         first);
  }
}

/// How many registers' widths of factors, each within exp(+-kMaxWeight), a product of normal numbers may have.
int64_t factors_at_once(const at::Tensor& weight) {
  constexpr double kMaxLog = 80;
  const double largest = std::max(weight.abs().max().item<double>(), kMaxLog / 1024);
  return static_cast<int64_t>(kMaxLog / largest);
}

at::Tensor sums_in_kernels(const at::Tensor& visible, const at::Tensor& input,
                           const at::Tensor& weight, const MaybeTensor& sites) {
  const at::Tensor sums = at::empty({visible.size(0), n_flips(visible, sites)}, input.options());
  const int64_t at_once = factors_at_once(weight);
  for_each_block(visible, input, weight, sites, [&](const Block& block, int64_t first) {
    const at::Tensor sorted = at::empty({block.order.numel()}, input.options());
    AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), kRbmFlipDifferences, [&] {
      scalar_t* const out = sorted.mutable_data_ptr<scalar_t>();
      const int64_t grain = std::max<int64_t>(1, 16384 / block.ratio.size(1));
      at::parallel_for(0, sorted.numel(), grain, [&](int64_t begin, int64_t end) {
        kernels::kernels<scalar_t>().rbm_flip_sums(block.layer<scalar_t>(), block.pairs(), at_once,
                                                   out, begin, end);
      });
    });
    sums.slice(0, first, first + block.on.size(0)).flatten().index_copy_(0, block.order, sorted);
  });
  // The kernels leave out -W of the units that are on.
  const at::Tensor total = weight.sum(1);
  return sums - (sites ? visible.gather(1, *sites) *
                             total.index_select(0, sites->flatten()).view_as(*sites)
                       : visible * total);
}

TwoTensors backward_in_kernels(const at::Tensor& gradient, const at::Tensor& visible,
                               const at::Tensor& input, const at::Tensor& weight,
                               const MaybeTensor& sites) {
  const int64_t n_hidden = input.size(1);
  const at::Tensor of_weight =
      at::zeros({weight.size(0), detail::padded_size(n_hidden)}, input.options());
  const at::Tensor of_input =
      at::empty({visible.size(0), detail::padded_size(n_hidden)}, input.options());
  for_each_block(visible, input, weight, sites, [&](const Block& block, int64_t first) {
    const at::Tensor sorted =
        gradient.slice(0, first, first + block.on.size(0)).flatten().index_select(0, block.order);
    AT_DISPATCH_FLOATING_TYPES(input.scalar_type(), kRbmFlipDifferences, [&] {
      const scalar_t* const g = sorted.const_data_ptr<scalar_t>();
      scalar_t* const w = of_weight.mutable_data_ptr<scalar_t>();
      scalar_t* const a = of_input.mutable_data_ptr<scalar_t>() + first * of_input.size(1);
      at::parallel_for(0, of_weight.size(1) / kernels::kPaddedTo, 1,
                       [&](int64_t begin, int64_t end) {
                         kernels::kernels<scalar_t>().rbm_flip_sums_backward(
                             block.layer<scalar_t>(), block.pairs(), sorted.numel(), g, w, a,
                             begin * kernels::kPaddedTo, end * kernels::kPaddedTo);
                       });
    });
  });
  // What does not depend on the pair of units: sigmoid(a + d W) = [d = 1] - d t, t the kernels' quotient.
  const at::Tensor off = gradient * (1 - (sites ? visible.gather(1, *sites) : visible));
  at::Tensor per_unit;
  if (sites) {
    per_unit =
        at::zeros({weight.size(0)}, weight.options()).index_add(0, sites->flatten(), off.flatten());
  } else {
    per_unit = off.sum(0);
  }
  const at::Tensor per_example = off.sum(1, true) - at::sigmoid(input) * gradient.sum(1, true);
  return {of_input.slice(1, 0, n_hidden) + per_example,
          of_weight.slice(1, 0, n_hidden) + per_unit.unsqueeze(1)};
}

}  // namespace

at::Tensor rbm_flip_sums(const at::Tensor& visible, const at::Tensor& input,
                         const at::Tensor& weight, const MaybeTensor& sites) {
  return flip_kernels_take(input, weight)
             ? sums_in_kernels(visible, input.contiguous(), weight.contiguous(), sites)
             : sums_in_torch(visible, input, weight, sites);
}

TwoTensors rbm_flip_sums_backward(const at::Tensor& gradient, const at::Tensor& visible,
                                  const at::Tensor& input, const at::Tensor& weight,
                                  const MaybeTensor& sites) {
  return flip_kernels_take(input, weight)
             ? backward_in_kernels(gradient.contiguous(), visible, input.contiguous(), weight,
                                   sites)
             : backward_in_torch(gradient, visible, input, weight, sites);
}

at::Tensor rbm_flip_sums_with_graph(const at::Tensor& visible, const at::Tensor& input,
                                    const at::Tensor& weight, const MaybeTensor& sites) {
  return sums_of(SiteRange(visible, weight, sites, 0, INT64_MAX), input);
}

}  // namespace torch_ebm::passes
