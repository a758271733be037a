#include "torch_ebm/samplers/gibbs.h"

#include <ATen/Dispatch.h>

#include <algorithm>
#include <cmath>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/passes/noise.h"
#include "csrc/passes/sole_owner.h"
#include "csrc/samplers/gibbs_blocks.h"

namespace torch_ebm {

namespace {

constexpr const char* kGibbs = "gibbs";

/// Steps of block updates, on the CPU: between two calls of the energy a site takes nanoseconds, where tensor operations
/// would take as long as the energy does. On another device the states are moved there for every call.
template <typename T>
class BlockUpdates {
 public:
  BlockUpdates(const Energy& energy, detail::ChainRun& chains, const detail::DiscreteSites& layout,
               const detail::GibbsBlocks& blocks, const std::optional<at::Tensor>& clamp)
      : energy_(energy),
        chains_(chains),
        n_chains_(chains.n_chains()),
        n_sites_(layout.n_sites()),
        n_labels_(layout.n_states()),
        width_(layout.width()),
        n_blocks_(blocks.n_blocks()),
        block_size_(blocks.sites.size(1)),
        n_states_(blocks.n_states()),
        sites_(blocks.sites.to(at::kCPU).contiguous()),
        read_(n_chains_),
        number_(n_chains_),
        candidates_(n_chains_ * n_states_) {
    set_states(copy_of_states());
    if (clamp) clamp_ = clamp->to(at::kCPU).reshape({n_chains_, n_sites_}).contiguous();
    const at::Tensor first_site = at::zeros({1}, at::kLong);
    read_energies(0, {first_site.const_data_ptr<int64_t>(), 0});
    energies_ = read_;
    uses_flips_ = has_flip_differences();
    for (int64_t block = 0; block < n_blocks_; ++block) {
      if (!all_clamped(block)) free_blocks_.push_back(block);
    }
  }

  /// Updates every block in turn. Returns the new states; those of the chains stay as they are.
  at::Tensor sweep(int64_t step) {
    set_states(copy_of_states());
    const at::Tensor uniform = passes::uniform_like(at::empty({n_chains_, n_blocks_}, at::kDouble),
                                                    chains_.draw(detail::kSite));
    const double* const u = uniform.const_data_ptr<double>();
    for (const int64_t block : free_blocks_) {
      update({sites_.const_data_ptr<int64_t>() + block * block_size_, 0}, {u + block, n_blocks_},
             step);
    }
    return states_.to(chains_.x.device());
  }

  /// Updates one block of every chain, each drawn for itself.
  at::Tensor random(int64_t step) {
    set_states(copy_of_states());
    drawn_sites_.resize(n_chains_ * block_size_);
    draw_uniform(detail::kChoice);
    for (int64_t chain = 0; chain < n_chains_; ++chain) {
      const auto block = static_cast<int64_t>(uniform_[chain] * static_cast<double>(n_blocks_));
      std::copy_n(sites_.const_data_ptr<int64_t>() + block * block_size_, block_size_,
                  &drawn_sites_[chain * block_size_]);
    }
    draw_uniform(detail::kSite);
    update({drawn_sites_.data(), block_size_}, {uniform_.data(), 1}, step);
    return states_.to(chains_.x.device());
  }

 private:
  /// A value or more for every chain, `stride` apart; 0: the same for all.
  template <typename Value>
  struct OfChains {
    const Value* data;
    int64_t stride;
    const Value* operator[](int64_t chain) const { return data + chain * stride; }
  };
  using Sites = OfChains<int64_t>;

  /// One uniform number for every chain.
  void draw_uniform(uint32_t stream) {
    uniform_.resize(n_chains_);
    kernels::kernels<double>().fill_uniform(uniform_.data(), {0, n_chains_, 1},
                                            chains_.draw(stream));
  }

  at::Tensor copy_of_states() const {
    return chains_.x.to(at::kCPU, /*non_blocking=*/false, /*copy=*/true);
  }

  void set_states(at::Tensor states) {
    states_ = std::move(states);
    x_ = states_.mutable_data_ptr<T>();
  }

  T* site(int64_t chain, int64_t site) const { return x_ + (chain * n_sites_ + site) * width_; }

  /// The joint state of some sites of a chain, as a number: the label of the first counts ones.
  int64_t number_at(int64_t chain, const int64_t* sites) const {
    int64_t number = 0;
    for (int64_t i = block_size_ - 1; i >= 0; --i) {
      const T* const values = site(chain, sites[i]);
      int64_t label = 0;
      if (width_ == 1) {
        label = values[0] != T(0);
      } else {
        while (values[label] == T(0)) ++label;
      }
      number = number * n_labels_ + label;
    }
    return number;
  }

  void write(int64_t chain, const int64_t* sites, int64_t number) {
    for (int64_t i = 0; i < block_size_; ++i, number /= n_labels_) {
      const int64_t label = number % n_labels_;
      T* const values = site(chain, sites[i]);
      for (int64_t k = 0; k < width_; ++k) values[k] = T(width_ == 1 ? label : k == label);
    }
  }

  bool all_clamped(int64_t block) const {
    return clamp_.defined() && clamp_.index_select(1, sites_[block]).all().template item<bool>();
  }

  /// Whether state `number` of the block differs from `before` at a clamped site.
  bool is_forbidden(int64_t chain, const int64_t* sites, int64_t before, int64_t number) const {
    if (!clamp_.defined()) return false;
    const bool* const kept = clamp_.const_data_ptr<bool>() + chain * n_sites_;
    for (int64_t i = 0; i < block_size_; ++i, before /= n_labels_, number /= n_labels_) {
      if (before % n_labels_ != number % n_labels_ && kept[sites[i]]) return true;
    }
    return false;
  }

  /// Closed forms of single flips serve where every other energy is not needed: no forbidden start, whose differences are
  /// not numbers, and no temperature at which the energy is another one.
  bool has_flip_differences() const {
    if (width_ != 1 || block_size_ != 1) return false;
    for (const double energy : energies_) {
      if (!std::isfinite(energy)) return false;
    }
    if (chains_.beta && energy_.has_path(chains_.x)) return false;
    const at::Tensor first = at::zeros({n_chains_, 1}, chains_.x.options().dtype(at::kLong));
    return energy_.flip_differences(chains_.x, first).has_value();
  }

  /// read_ <- `values`, (N,); +inf is a forbidden state. An error names the first of the sites.
  void read(const at::Tensor& values, int64_t step, Sites sites) {
    const at::Tensor here = values.detach().to(at::kCPU);
    const int64_t stride = here.stride(0);
    AT_DISPATCH_FLOATING_TYPES_AND2(at::kHalf, at::kBFloat16, here.scalar_type(), kGibbs, [&] {
      const scalar_t* const value = here.const_data_ptr<scalar_t>();
      for (int64_t i = 0; i < n_chains_; ++i) read_[i] = static_cast<double>(value[i * stride]);
    });
    for (int64_t chain = 0; chain < n_chains_; ++chain) {
      TORCH_CHECK_VALUE(read_[chain] > -INFINITY, kGibbs, ": the energy of chain ", chain, " is ",
                        read_[chain], " at step ", step, ", site ", sites[chain][0],
                        "; likely its parameters are not finite, or it overflows for this state");
    }
  }

  /// The energy may keep what it was given.
  void take_back_states() {
    if (!passes::is_sole_owner(states_)) set_states(states_.clone());
  }

  /// read_ <- the energies of states_, which the energy may keep.
  void read_energies(int64_t step, Sites sites) {
    read(energy_.value(states_.to(chains_.x.device()), chains_.beta), step, sites);
    take_back_states();
  }

  /// read_ <- by how much a flip of one site of each chain changes the energies.
  void read_flip_differences(int64_t step, Sites sites) {
    at::Tensor of_chains = at::empty({n_chains_, 1}, at::kLong);
    int64_t* const to = of_chains.mutable_data_ptr<int64_t>();
    for (int64_t chain = 0; chain < n_chains_; ++chain) to[chain] = sites[chain][0];
    const at::Device device = chains_.x.device();
    at::Tensor differences =
        energy_.flip_differences(states_.to(device), of_chains.to(device)).value().squeeze(1);
    if (chains_.beta) {
      differences = at::where(at::isposinf(differences), differences,
                              differences.to(at::kDouble) * *chains_.beta);
    }
    read(differences, step, sites);
    take_back_states();
  }

  /// Draws the joint state of some sites of every chain from its conditional distribution, from one uniform number.
  void update(Sites sites, OfChains<double> uniform, int64_t step) {
    for (int64_t chain = 0; chain < n_chains_; ++chain) {
      number_[chain] = number_at(chain, sites[chain]);
      candidate(chain, number_[chain]) = uses_flips_ ? 0 : energies_[chain];
    }
    for (int64_t shift = 1; shift < n_states_; ++shift) {
      if (uses_flips_) {
        read_flip_differences(step, sites);
      } else {
        for (int64_t chain = 0; chain < n_chains_; ++chain) {
          write(chain, sites[chain], shifted(chain, shift));
        }
        read_energies(step, sites);
      }
      for (int64_t chain = 0; chain < n_chains_; ++chain) {
        const int64_t number = shifted(chain, shift);
        const bool forbidden = is_forbidden(chain, sites[chain], number_[chain], number);
        candidate(chain, number) = forbidden ? INFINITY : read_[chain];
      }
      chains_.within_step();
    }
    for (int64_t chain = 0; chain < n_chains_; ++chain) {
      const int64_t drawn = draw(chain, *uniform[chain]);
      write(chain, sites[chain], drawn);
      if (!uses_flips_) energies_[chain] = candidate(chain, drawn);
    }
  }

  int64_t shifted(int64_t chain, int64_t shift) const {
    return (number_[chain] + shift) % n_states_;
  }
  double& candidate(int64_t chain, int64_t number) {
    return candidates_[chain * n_states_ + number];
  }

  /// A state with probability proportional to exp(-energy): by inversion, in the order of their numbers, so that chains
  /// with equal conditional distributions draw the same. A chain none of whose candidates is allowed stays.
  int64_t draw(int64_t chain, double uniform) {
    double* const weight = &candidate(chain, 0);
    const double least = *std::min_element(weight, weight + n_states_);
    if (least == INFINITY) return number_[chain];
    weights_.resize(n_states_);
    double total = 0;
    for (int64_t k = 0; k < n_states_; ++k) {
      weights_[k] = total += weight[k] == least ? 1 : std::exp(least - weight[k]);
    }
    return std::upper_bound(weights_.begin(), weights_.end(), uniform * total) - weights_.begin();
  }

  const Energy& energy_;
  detail::ChainRun& chains_;
  const int64_t n_chains_;
  const int64_t n_sites_;
  const int64_t n_labels_;  // of a site
  const int64_t width_;
  const int64_t n_blocks_;
  const int64_t block_size_;
  const int64_t n_states_;            // of a block
  at::Tensor sites_;                  // of the blocks, (B, k), int64
  at::Tensor clamp_;                  // (N, sites), undefined if nothing is clamped
  std::vector<int64_t> free_blocks_;  // not clamped in all chains
  at::Tensor states_;                 // during a step, like the chains' x, on the CPU
  T* x_ = nullptr;                    // their memory
  bool uses_flips_ = false;
  std::vector<double> energies_;  // of the states of the chains, unless flips are used
  std::vector<int64_t> drawn_sites_;
  std::vector<double> uniform_;
  std::vector<double> read_;        // from the last call of the energy
  std::vector<int64_t> number_;     // of the block's state in every chain
  std::vector<double> candidates_;  // energies of the block's states, (N, n_states_)
  std::vector<double> weights_;     // cumulative, of one chain
};

/// The steps of the energy's own sampler for these sites and this scan, if it has one. What it returns must keep to the
/// contract. `mask`: the checked clamp.
std::optional<Samples> run_own_gibbs(const Energy& energy, detail::ChainRun& chains,
                                     const RunOptions& run, bool random, bool categorical,
                                     const std::optional<at::Tensor>& clamp,
                                     const std::optional<at::Tensor>& mask) {
  if (random && categorical) return std::nullopt;  // no such method
  const auto own_steps =
      [&](const at::Tensor& x,
          const RunOptions& call) -> std::optional<std::tuple<at::Tensor, at::Tensor>> {
    const auto states = categorical ? energy.categorical_gibbs(x, call, clamp)
                        : random    ? energy.random_scan_gibbs(x, call, clamp)
                                    : energy.gibbs(x, call, clamp);
    if (!states) return std::nullopt;
    constexpr const char* kWhat = "what the energy's gibbs returns";
    detail::check_binary(kGibbs, kWhat, *states);
    if (categorical) detail::check_one_hot(kGibbs, kWhat, *states);
    const auto moved = [&] {
      const at::Tensor differs = states->ne(x);
      return categorical ? differs.any(-1) : differs;
    };
    TORCH_CHECK_VALUE(!mask || !moved().logical_and(*mask).any().item<bool>(), kGibbs,
                      ": the energy's gibbs must keep the units that clamp keeps");
    return std::tuple(*states, at::Tensor());
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
  const bool has_blocks = options.blocks && options.blocks->defined();
  const at::Tensor sites = layout.categorical() ? chains.x.select(-1, 0) : chains.x;
  const auto clamp = detail::checked_clamp(kGibbs, options.clamp, sites);

  if (!has_blocks) {
    if (auto samples = run_own_gibbs(energy, chains, run, random, layout.categorical(),
                                     options.clamp, clamp)) {
      return *std::move(samples);
    }
  }
  const detail::GibbsBlocks blocks(kGibbs, layout, options.blocks);
  return AT_DISPATCH_FLOATING_TYPES_AND2(
      at::kHalf, at::kBFloat16, chains.x.scalar_type(), kGibbs, [&] {
        BlockUpdates<scalar_t> updates(energy, chains, layout, blocks, clamp);
        return chains.run([&](int64_t step) {
          chains.x = random ? updates.random(step) : updates.sweep(step);
          return at::Tensor();
        });
      });
}

TORCH_EBM_DRIVER("gibbs", &gibbs_op)

}  // namespace torch_ebm
