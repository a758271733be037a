#include "csrc/criteria/site_changes.h"

#include "csrc/common/checks.h"
#include "csrc/criteria/chunked_sum.h"
#include "csrc/criteria/draws.h"
#include "csrc/samplers/gibbs_blocks.h"

namespace torch_ebm::detail {

namespace {

/// The blocks of every example: (1, B), all of them, or (N, m), drawn without replacement.
at::Tensor blocks_to_visit(const Criterion& criterion, int64_t n_blocks,
                           const std::optional<int64_t>& n_sites) {
  const auto integers = criterion.x.options().dtype(at::kLong);
  if (!n_sites) return at::arange(n_blocks, integers).unsqueeze(0);
  TORCH_CHECK_VALUE(*n_sites >= 1 && *n_sites <= n_blocks, criterion.op,
                    ": n_sites must be between 1 and ", n_blocks, ", got ", *n_sites);
  const at::Tensor like =
      at::empty({criterion.n_examples(), n_blocks}, criterion.x.options().dtype(at::kDouble));
  const at::Tensor uniform = Draws(criterion.generator, criterion.x).uniform(like, kSite);
  return std::get<1>(uniform.topk(*n_sites, 1));
}

/// The states that differ from x in one block.
class Neighbours {
 public:
  Neighbours(const at::Tensor& x, const DiscreteSites& layout, const GibbsBlocks& blocks)
      : blocks_(blocks), width_(layout.width()), sizes_(x.sizes().vec()) {
    sites_ = x.view({x.size(0), 1, 1, layout.n_sites(), width_});
  }

  /// Of the blocks `visited`, (N, c) or (1, c): (N c (M - 1), ...), in the order of examples, blocks and states, where
  /// the state of a block moves on by 1 ... M - 1 (modulo M).
  at::Tensor states(const at::Tensor& visited) const {
    const int64_t n = sizes_[0], c = visited.size(1), others = blocks_.n_states() - 1;
    const at::Tensor all = sites_.expand({n, c, others, -1, -1});
    const at::Tensor place = blocks_.sites.index_select(0, visited.flatten())
                                 .view({visited.size(0), c, 1, -1, 1})
                                 .expand({n, c, others, -1, width_});
    const at::Tensor now = all.narrow(2, 0, 1).gather(3, place.narrow(2, 0, 1));
    const at::Tensor number = (now * blocks_.powers).sum(at::IntArrayRef{3, 4}).to(at::kLong);
    const at::Tensor moved = number + at::arange(1, others + 1, number.options());
    const at::Tensor after =
        blocks_.states.index_select(0, moved.remainder(blocks_.n_states()).flatten());
    std::vector<int64_t> sizes = sizes_;
    sizes[0] = n * c * others;
    return all.scatter(3, place, after.view(place.sizes())).view(sizes);
  }

 private:
  const GibbsBlocks& blocks_;
  int64_t width_;
  std::vector<int64_t> sizes_;
  at::Tensor sites_;  // (N, 1, 1, S, width)
};

/// The sum of the terms of the blocks `visited` for any energy.
at::Tensor sum_by_energies(const Criterion& criterion, const Energy& energy,
                           const at::Tensor& visited, const DiscreteSites& layout,
                           const GibbsBlocks& blocks, const Chunks& chunks, const BlockTerm& term) {
  const at::Tensor energies = energy.value(criterion.x).clone();  // the energy may reuse its memory
  const Terms terms = [=, x = criterion.x](int64_t begin, int64_t end) {
    const at::Tensor these = visited.narrow(1, begin, end - begin);
    const at::Tensor others = energy.value(Neighbours(x, layout, blocks).states(these));
    const at::Tensor base = energies.view({-1, 1, 1});
    return term(others.view({x.size(0), end - begin, -1}) - base).sum(1);
  };
  return chunked_sum(criterion.op, visited.size(1), chunks, terms);
}

}  // namespace

at::Tensor sum_over_blocks(const Criterion& criterion, const Energy& energy,
                           const SiteOptions& options, const BlockTerm& term) {
  const DiscreteSites layout(criterion.op, criterion.x, options.categorical);
  const GibbsBlocks blocks(criterion.op, layout, options.blocks, /*cover=*/false);
  const int64_t others = blocks.n_states() - 1;  // of a block, for each example
  const Chunks chunks = chunks_of(criterion.op, options.chunk_size, criterion.n_examples() * others,
                                  criterion.x.numel() * others);
  const at::Tensor visited = blocks_to_visit(criterion, blocks.n_blocks(), options.n_sites);
  const double scale = static_cast<double>(blocks.n_blocks()) / visited.size(1);
  if (!layout.categorical() && blocks.n_states() == 2) {
    std::optional<at::Tensor> sites;
    if (options.blocks || options.n_sites) {
      sites = blocks.sites.squeeze(1).index_select(0, visited.flatten());
      sites = sites->view_as(visited).expand({criterion.n_examples(), -1});
    }
    if (const auto differences = energy.flip_differences(criterion.x, sites)) {
      return scale * term(differences->unsqueeze(2)).sum(1);
    }
  }
  return scale * sum_by_energies(criterion, energy, visited, layout, blocks, chunks, term);
}

}  // namespace torch_ebm::detail
