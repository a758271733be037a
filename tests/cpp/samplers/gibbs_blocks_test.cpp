// Gibbs sampling of blocks and of categorical states, and by random scans.

#include <algorithm>

#include "tests/cpp/discrete_models.h"
#include "torch_ebm/samplers/gibbs.h"

namespace torch_ebm::gibbs_blocks_test {
namespace {

using testing::all_one_hot;
using testing::all_states;
using testing::CurvedEnergy;
using testing::expect_kernel;
using testing::seeded;

/// The kernel that draws the units `block` of `states`, (R, n, width), from their conditional law.
at::Tensor block_kernel(const at::Tensor& states, const at::Tensor& energies,
                        at::IntArrayRef block) {
  at::Tensor agree = at::ones({states.size(0), states.size(0)}, at::kBool);
  for (int64_t site = 0; site < states.size(1); ++site) {
    if (std::find(block.begin(), block.end(), site) != block.end()) continue;
    const at::Tensor values = states.select(1, site);
    agree.logical_and_(values.unsqueeze(1).eq(values).all(2));
  }
  const at::Tensor weights = agree * at::exp(-energies);
  return weights / weights.sum(1, true);
}

TEST(GibbsBlocks, ASweepIsTheProductOfTheBlocks) {
  const CurvedEnergy energy(4);
  const at::Tensor states = all_states(4), energies = energy(states);
  const at::Tensor sites = states.unsqueeze(2);
  const at::Tensor kernel = block_kernel(sites, energies, {2, 0})
                                .matmul(block_kernel(sites, energies, {1, 3}))
                                .matmul(block_kernel(sites, energies, {0, 1}));
  const at::Tensor blocks = at::tensor({2, 0, 1, 3, 0, 1}).view({3, 2});
  expect_kernel(
      [&](const at::Tensor& x) {
        return gibbs(Energy(energy), x, {.generator = seeded(1)}, {.blocks = blocks}).x;
      },
      states, kernel, 8000);
}

TEST(GibbsBlocks, TwoStepsOfARandomScan) {
  const CurvedEnergy energy(4);
  const at::Tensor states = all_states(4), energies = energy(states);
  at::Tensor kernel = at::zeros({16, 16}, at::kDouble);
  for (int64_t site = 0; site < 4; ++site) {
    kernel += block_kernel(states.unsqueeze(2), energies, {site}) / 4;
  }
  expect_kernel(
      [&](const at::Tensor& x) {
        return gibbs(Energy(energy), x, {.n_steps = 2, .generator = seeded(2)}, {.scan = "random"})
            .x;
      },
      states, kernel.matmul(kernel), 8000);
}

TEST(GibbsBlocks, CategoricalSites) {
  const CurvedEnergy energy(6);
  const at::Tensor states = all_one_hot(2, 3), energies = energy(states);
  const at::Tensor kernel =
      block_kernel(states, energies, {0}).matmul(block_kernel(states, energies, {1}));
  expect_kernel(
      [&](const at::Tensor& x) {
        return gibbs(Energy(energy), x, {.generator = seeded(3)}, {.categorical = true}).x;
      },
      states, kernel, 8000);
}

TEST(GibbsBlocks, AClampIsOverTheSites) {
  const CurvedEnergy energy(6);
  const at::Tensor start = all_one_hot(2, 3)[5].expand({100, 2, 3});
  const at::Tensor clamp = at::tensor({1, 0}).to(at::kBool);
  const at::Tensor x = gibbs(Energy(energy), start, {.n_steps = 5, .generator = seeded(4)},
                             {.clamp = clamp, .categorical = true})
                           .x;
  EXPECT_TRUE(at::equal(x.select(1, 0), start.select(1, 0)));
  EXPECT_FALSE(at::equal(x.select(1, 1), start.select(1, 1)));
}

TEST(GibbsBlocks, WrongOptionsAreNamed) {
  const Energy energy([](const at::Tensor& x) { return x.sum(1); });
  const at::Tensor x = at::zeros({2, 3});
  const auto with = [&](const GibbsOptions& options) { return gibbs(energy, x, {}, options); };
  EXPECT_THROWS(with({.scan = "none"}), c10::ValueError,
                "scan must be \"systematic\" or \"random\"");
  EXPECT_THROWS(with({.categorical = true}), c10::ValueError, "must be one-hot");
  EXPECT_THROWS(with({.blocks = at::zeros({3, 1})}), c10::TypeError, "integer dtype");
  EXPECT_THROWS(with({.blocks = at::arange(3)}), c10::ValueError, "shape (B, k)");
  EXPECT_THROWS(with({.blocks = at::arange(4).view({2, 2})}), c10::ValueError, "got 3");
  EXPECT_THROWS(with({.blocks = at::ones({1, 2}, at::kLong)}), c10::ValueError, "twice in row 0");
  EXPECT_THROWS(with({.blocks = at::arange(2).view({1, 2})}), c10::ValueError, "none with site 2");
  EXPECT_THROWS(gibbs(energy, at::zeros({1, 13}), {}, {.blocks = at::arange(13).view({1, 13})}),
                c10::ValueError, "got 2^13");
}

TEST(GibbsBlocks, ThreadsAndOtherChainsChangeNothing) {
  const CurvedEnergy energy(4);
  for (const char* scan : {"systematic", "random"}) {
    testing::expect_same_for_any_threads_and_chains(
        [&](int64_t n) {
          return gibbs(Energy(energy), at::zeros({n, 4}), {.n_steps = 5, .generator = seeded(5)},
                       {.scan = scan, .blocks = at::arange(4).view({2, 2})})
              .x;
        },
        100);
  }
}

}  // namespace
}  // namespace torch_ebm::gibbs_blocks_test
