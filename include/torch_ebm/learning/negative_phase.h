#pragma once

#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "torch_ebm/common/export.h"
#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm {

/// The distribution of first states: a name, or a function.
class TORCH_EBM_API StartLaw {
 public:
  using Function = std::function<at::Tensor(at::IntArrayRef size,
                                            const std::optional<at::Generator>& generator)>;

  /// "bernoulli" (0 or 1 with probability 1/2), "categorical" (one-hot along the last dimension, all
  /// its K >= 2 states equally likely), "uniform" (on (0, 1)), "uniform(low, high)" (on that
  /// interval) or "normal" (N(0, 1)).
  StartLaw(std::string name) : name_(std::move(name)) {}  // NOLINT
  StartLaw(const char* name) : name_(name) {}             // NOLINT
  /// Returns states of that size, finite, which are then converted to the dtype and device that are
  /// asked for.
  StartLaw(Function function) : function_(std::move(function)) {}  // NOLINT

  at::Tensor operator()(at::IntArrayRef size, const std::optional<at::Generator>& generator,
                        const at::TensorOptions& options) const;

 private:
  std::string name_;
  Function function_;
};

/// Initial states for chains, of the given size. Throws ValueError for an unknown law, an empty
/// size, and a function that returns states of another size or states that are not finite.
TORCH_EBM_API at::Tensor start_states(const StartLaw& law, at::IntArrayRef size,
                                      std::optional<at::Generator> generator = std::nullopt,
                                      const at::TensorOptions& options = {});

/// The source of negative samples. It keeps its random state in the buffer `generator_state`, so
/// that a saved and reloaded module continues bit for bit. If a sampler throws, the module stays
/// unchanged.
class TORCH_EBM_API NegativePhaseImpl : public torch::nn::Module {
 public:
  NegativePhaseImpl(Sampler sampler, std::optional<uint64_t> seed);

  /// Negative samples, detached. `positive` is the batch of data, for those that need it: CD starts
  /// from it.
  at::Tensor forward(const Energy& energy, const at::Tensor& positive = {});

  /// The states that the chains of the last call started from; undefined before the first.
  at::Tensor start;
  /// Of the sampler in the last call, (N,), float64; undefined before the first, and with a sampler
  /// that returns states alone.
  at::Tensor acceptance_rate;
  /// State of the CPU generator that the next call draws from.
  at::Tensor generator_state;

 protected:
  virtual at::Tensor first_states(const at::Tensor& positive, at::Generator& generator) = 0;
  virtual at::Tensor transition(const Energy& energy, const at::Tensor& first,
                                at::Generator& generator);
  /// May replace `start`; must not throw.
  virtual void keep(const at::Tensor& last_states);
  /// The negative samples among the last states: all, by default.
  virtual at::Tensor negatives(const at::Tensor& last_states) const;
  at::Generator make_generator() const;
  const Sampler& sampler() const { return sampler_; }

 private:
  Sampler sampler_;
};

/// Algorithm 18.1 (Goodfellow, Bengio & Courville 2016): n_chains new chains for every gradient,
/// started from noise. Correct only if the sampler runs long enough to forget its start.
class TORCH_EBM_API NaiveMCMCImpl : public NegativePhaseImpl {
 public:
  NaiveMCMCImpl(int64_t n_chains, std::vector<int64_t> shape, Sampler sampler,
                StartLaw law = "bernoulli", std::optional<uint64_t> seed = std::nullopt);

 protected:
  at::Tensor first_states(const at::Tensor& positive, at::Generator& generator) override;

 private:
  std::vector<int64_t> shape_;  // of all chains, (n_chains, ...)
  StartLaw law_;
  at::Tensor like_;  // a buffer that only carries the dtype and device
};
TORCH_MODULE(NaiveMCMC);

/// Algorithm 18.2, contrastive divergence (Hinton 2002): chains start at the data. CD-k takes k
/// steps. It is biased: it does not see modes of the model that are far from the data.
class TORCH_EBM_API CDImpl : public NegativePhaseImpl {
 public:
  explicit CDImpl(Sampler sampler, std::optional<uint64_t> seed = std::nullopt);

 protected:
  at::Tensor first_states(const at::Tensor& positive, at::Generator& generator) override;
};
TORCH_MODULE(CD);

/// Algorithm 18.3, persistent contrastive divergence or stochastic maximum likelihood (Younes 1998;
/// Tieleman 2008): the chains continue from the last gradient. Correct as long as the model changes
/// slowly compared with their mixing.
class TORCH_EBM_API PCDImpl : public NegativePhaseImpl {
 public:
  PCDImpl(int64_t n_chains, std::vector<int64_t> shape, Sampler sampler,
          const StartLaw& law = "bernoulli", std::optional<uint64_t> seed = std::nullopt);

  /// The chains, (n_chains, ...); a buffer.
  at::Tensor chains;

 protected:
  at::Tensor first_states(const at::Tensor& positive, at::Generator& generator) override;
  void keep(const at::Tensor& last_states) override;
};
TORCH_MODULE(PCD);

}  // namespace torch_ebm
