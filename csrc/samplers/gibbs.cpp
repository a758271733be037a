#include "torch_ebm/gibbs.h"

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/samplers/gibbs_blocks.h"

namespace torch_ebm {

namespace {

constexpr const char* kGibbs = "gibbs";

/// Tempered energies in float64, with +inf allowed (a forbidden state) and NaN and -inf rejected;
/// the error names the first of `sites`, (N, k), or (k,) for all chains. A copy: an energy may
/// return the same memory every time, or a view of x.
at::Tensor checked_energies(const Energy& energy, const at::Tensor& x,
                            const std::optional<at::Tensor>& beta, int64_t step,
                            const at::Tensor& sites) {
  const at::Tensor energies = energy.value(x, beta).detach().to(at::kDouble, false, /*copy=*/true);
  const at::Tensor bad = at::isnan(energies).logical_or(at::isneginf(energies));
  if (bad.any().item<bool>()) {
    const int64_t chain = bad.nonzero()[0][0].item<int64_t>();
    const at::Tensor of_chain = sites.dim() == 1 ? sites : sites[chain];
    TORCH_CHECK_VALUE(false, kGibbs, ": the energy of chain ", chain, " is ",
                      energies[chain].item<double>(), " at step ", step, ", site ",
                      of_chain[0].item<int64_t>(),
                      "; likely its parameters are not finite, or it overflows for this state");
  }
  return energies;
}

/// Steps of block updates. `states` (N, sites, width) is changed in place, a block at a time.
class BlockUpdates {
 public:
  BlockUpdates(const Energy& energy, detail::ChainRun& chains, const detail::DiscreteSites& layout,
               const detail::GibbsBlocks& blocks, const std::optional<at::Tensor>& clamp)
      : energy_(energy),
        chains_(chains),
        width_(layout.width()),
        blocks_(blocks),
        clamp_(clamp ? clamp->reshape({chains.n_chains(), -1}) : at::Tensor()),
        energies_(checked_energies(energy, chains.x, chains.beta, 0, at::zeros({1}, at::kLong))) {
    for (int64_t block = 0; block < blocks.n_blocks(); ++block) {
      if (!clamp_.defined() || !clamped(blocks.sites[block]).all().item<bool>()) {
        free_blocks_.push_back(block);
      }
    }
  }

  /// Updates every block in turn. Returns the new states; those of the chains stay as they are.
  at::Tensor sweep(int64_t step) {
    at::Tensor states = copy_of_states();
    const at::Tensor uniform = detail::uniform_like(
        at::empty({chains_.n_chains(), blocks_.n_blocks()}, energies_.options()),
        chains_.draw(detail::kSite));
    at::Tensor energies = energies_;
    for (const int64_t block : free_blocks_) {
      const at::Tensor sites = blocks_.sites[block].expand({chains_.n_chains(), -1});
      energies = update(states, energies, sites, uniform.select(1, block), step);
    }
    energies_ = energies;
    return states.view(chains_.x.sizes());
  }

  /// Updates one block of every chain, each drawn for itself.
  at::Tensor random(int64_t step) {
    at::Tensor states = copy_of_states();
    const at::Tensor block = (chains_.uniform(detail::kChoice) * blocks_.n_blocks()).to(at::kLong);
    energies_ = update(states, energies_, blocks_.sites.index_select(0, block),
                       chains_.uniform(detail::kSite), step);
    return states.view(chains_.x.sizes());
  }

 private:
  at::Tensor copy_of_states() const {
    return chains_.x.clone().view({chains_.n_chains(), -1, width_});
  }

  at::Tensor clamped(const at::Tensor& sites) const { return clamp_.index_select(1, sites); }

  /// Draws the joint state of `sites`, (N, k), of every chain from its conditional distribution,
  /// from one uniform number. Returns the energies of the new states.
  at::Tensor update(at::Tensor& states, const at::Tensor& energies, const at::Tensor& sites,
                    const at::Tensor& uniform, int64_t step) const {
    const at::Tensor place = sites.unsqueeze(2).expand({-1, -1, width_});
    const at::Tensor before = states.gather(1, place);
    const at::Tensor number = (before * blocks_.powers).sum(at::IntArrayRef{1, 2}).to(at::kLong);
    // By the number of the block's state, so that chains with equal conditional distributions draw
    // the same state.
    at::Tensor candidates = at::empty({sites.size(0), blocks_.n_states()}, energies.options());
    candidates.scatter_(1, number.unsqueeze(1), energies.unsqueeze(1));
    for (int64_t shift = 1; shift < blocks_.n_states(); ++shift) {
      const at::Tensor other = (number + shift).remainder(blocks_.n_states());
      const at::Tensor after = blocks_.states.index_select(0, other);
      states.scatter_(1, place, after);
      at::Tensor energy = checked_energies(energy_, states.clone().view(chains_.x.sizes()),
                                           chains_.beta, step, sites);
      if (clamp_.defined()) {
        const at::Tensor changed = before.ne(after).any(2);
        energy.masked_fill_(changed.logical_and(clamp_.gather(1, sites)).any(1), INFINITY);
      }
      candidates.scatter_(1, other.unsqueeze(1), energy.unsqueeze(1));
      chains_.within_step();
    }
    // A chain none of whose candidates is allowed stays where it is.
    const at::Tensor drawn = at::where(at::isposinf(candidates).all(1), number,
                                       detail::draw_index(candidates.neg(), uniform));
    states.scatter_(1, place, blocks_.states.index_select(0, drawn));
    return candidates.gather(1, drawn.unsqueeze(1)).squeeze(1);
  }

  const Energy& energy_;
  detail::ChainRun& chains_;
  const int64_t width_;
  const detail::GibbsBlocks& blocks_;
  at::Tensor clamp_;                  // (N, sites), undefined if nothing is clamped
  std::vector<int64_t> free_blocks_;  // not clamped in all chains
  at::Tensor energies_;               // of the states of the chains
};

/// What an energy's own Gibbs sampler returned, if it keeps to the contract.
at::Tensor checked_states(const at::Tensor& states, const at::Tensor& x,
                          const std::optional<at::Tensor>& clamp) {
  detail::check_binary(kGibbs, "what the energy's gibbs returns", states);
  TORCH_CHECK_VALUE(!clamp || states.eq(x).logical_or(clamp->logical_not()).all().item<bool>(),
                    kGibbs, ": the energy's gibbs must keep the units that clamp keeps");
  return states;
}

std::optional<Samples> run_own_gibbs(const Energy& energy, detail::ChainRun& chains,
                                     const RunOptions& run, const GibbsOptions& options) {
  const auto mask = detail::checked_clamp(kGibbs, options.clamp, chains.x);
  const auto own_steps =
      [&](const at::Tensor& x,
          const RunOptions& call) -> std::optional<std::tuple<at::Tensor, at::Tensor>> {
    const auto states = energy.gibbs(x, call, options.clamp);
    if (!states) return std::nullopt;
    return std::tuple(checked_states(*states, x, mask), at::Tensor());
  };
  return detail::run_own_steps(chains, run, own_steps);
}

detail::SamplesTuple gibbs_op(const c10::IValue& energy, const at::Tensor& x,
                              const std::optional<at::Tensor>& clamp, c10::string_view scan,
                              std::optional<bool> categorical,
                              const std::optional<at::Tensor>& blocks, int64_t n_steps,
                              const std::optional<at::Tensor>& beta, int64_t thin, bool inplace,
                              std::optional<at::Generator> generator) {
  return detail::as_tuple(gibbs(Energy::from_ivalue(kGibbs, energy), x,
                                {n_steps, beta, thin, inplace, std::move(generator)},
                                {clamp, std::string(scan), categorical, blocks}));
}

}  // namespace

Samples gibbs(const Energy& energy, const at::Tensor& x, const RunOptions& run,
              const GibbsOptions& options) {
  detail::ChainRun chains(kGibbs, x, run);
  const bool random = options.scan == "random";
  TORCH_CHECK_VALUE(random || options.scan == "systematic", kGibbs,
                    ": scan must be \"systematic\" or \"random\", got \"", options.scan, "\"");
  const detail::DiscreteSites layout(kGibbs, chains.x, options.categorical);
  const detail::GibbsBlocks blocks(kGibbs, layout, options.blocks);
  const at::Tensor sites = layout.categorical() ? chains.x.select(-1, 0) : chains.x;
  const auto clamp = detail::checked_clamp(kGibbs, options.clamp, sites);

  const bool has_blocks = options.blocks && options.blocks->defined();
  if (!random && !layout.categorical() && !has_blocks) {
    if (auto samples = run_own_gibbs(energy, chains, run, options)) return *std::move(samples);
  }
  BlockUpdates updates(energy, chains, layout, blocks, clamp);
  return chains.run([&](int64_t step) {
    chains.x = random ? updates.random(step) : updates.sweep(step);
    return at::Tensor();
  });
}

TORCH_EBM_DRIVER("gibbs", &gibbs_op)

}  // namespace torch_ebm
