#include "torch_ebm/learning/unbiased_cd.h"

#include <ATen/CPUGeneratorImpl.h>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"
#include "csrc/learning/negative_phase.h"
#include "torch_ebm/samplers/gibbs.h"

namespace torch_ebm {

namespace {

constexpr const char* kUnbiasedCd = "unbiased_cd";

/// Pairs of chains, (n, ...) each, that take the same steps; `ahead` has made one more than `behind`.
struct CoupledChains {
  const Energy& energy;
  at::Generator generator;
  at::Tensor ahead;
  at::Tensor behind;
  at::Tensor chain;  // their numbers, (n,)

  void step() {
    const at::Generator same = generator.clone();
    ahead = gibbs(energy, ahead, {.generator = generator}).x;
    behind = gibbs(energy, behind, {.generator = same}).x;
  }

  void drop_those_that_met() {
    const at::Tensor differ = ahead.ne(behind).reshape({ahead.size(0), -1});
    const at::Tensor apart = differ.any(1).nonzero().squeeze(1);
    ahead = ahead.index_select(0, apart);
    behind = behind.index_select(0, apart);
    chain = chain.index_select(0, apart);
  }
};

/// The terms of the estimate, accumulated as the chains continue.
class WeightedStates {
 public:
  explicit WeightedStates(const at::Tensor& x)
      : options_(x.options().dtype(at::promote_types(x.scalar_type(), at::kFloat))),
        weight_(1.0 / static_cast<double>(x.size(0))) {}

  void add(const at::Tensor& states, const at::Tensor& chain, int sign) {
    x_.push_back(states);
    weights_.push_back(at::full({states.size(0)}, sign * weight_, options_));
    chain_.push_back(chain);
  }

  UnbiasedSamples all() const { return {at::cat(x_), at::cat(weights_), at::cat(chain_)}; }

 private:
  at::TensorOptions options_;
  double weight_;
  std::vector<at::Tensor> x_;
  std::vector<at::Tensor> weights_;
  std::vector<at::Tensor> chain_;
};

std::tuple<at::Tensor, at::Tensor, at::Tensor> unbiased_cd_op(
    const c10::IValue& energy, const at::Tensor& x, int64_t n_steps, int64_t max_steps,
    std::optional<at::Generator> generator) {
  const UnbiasedSamples samples = unbiased_cd(Energy::from_ivalue(kUnbiasedCd, energy), x,
                                              {n_steps, max_steps}, std::move(generator));
  return {samples.x, samples.weights, samples.chain};
}

}  // namespace

UnbiasedSamples unbiased_cd(const Energy& energy, const at::Tensor& x,
                            const UnbiasedCDOptions& options,
                            std::optional<at::Generator> generator) {
  const detail::NoGradMode no_grad;
  detail::check_floating(kUnbiasedCd, "x", x);
  detail::check_chains(kUnbiasedCd, "x", x);
  detail::check_binary(kUnbiasedCd, "x", x);
  detail::check_at_least(kUnbiasedCd, "n_steps", options.n_steps, 1);
  detail::check_at_least(kUnbiasedCd, "max_steps", options.max_steps, options.n_steps);
  if (!generator || !generator->defined()) generator = at::detail::getDefaultCPUGenerator();

  const at::Tensor start = x.detach().clone();
  CoupledChains chains{energy, *generator, gibbs(energy, start, {.generator = generator}).x, start,
                       at::arange(x.size(0), x.options().dtype(at::kLong))};
  WeightedStates states(x);
  detail::Progress progress(kUnbiasedCd, options.max_steps);
  for (int64_t t = 1;; ++t) {
    if (t == options.n_steps) states.add(chains.ahead, chains.chain, 1);
    if (t >= options.n_steps) {
      chains.drop_those_that_met();
      if (chains.chain.numel() == 0) return states.all();
    }
    if (t > options.n_steps) {
      states.add(chains.ahead, chains.chain, 1);
      states.add(chains.behind, chains.chain, -1);
    }
    TORCH_CHECK(t < options.max_steps, kUnbiasedCd, ": ", chains.chain.numel(), " of ", x.size(0),
                " chains have not met after max_steps = ", options.max_steps,
                " steps; likely the energy mixes slowly, or its own gibbs does not keep chains "
                "together that have the same state and random numbers");
    progress.step(t);
    chains.step();
  }
}

UnbiasedCDImpl::UnbiasedCDImpl(UnbiasedCDOptions options, std::optional<uint64_t> seed)
    : NegativePhaseImpl(bind_sampler(gibbs), seed), options_(options) {}

at::Tensor UnbiasedCDImpl::first_states(const at::Tensor& positive, at::Generator&) {
  return detail::checked_positive("UnbiasedCD", positive).clone();
}

at::Tensor UnbiasedCDImpl::transition(const Energy& energy, const at::Tensor& first,
                                      at::Generator& generator) {
  samples_ = unbiased_cd(energy, first, options_, generator);
  return samples_.x;
}

void UnbiasedCDImpl::keep(const at::Tensor&) {
  weights = samples_.weights;
  start = start.index_select(0, samples_.chain);
  samples_ = {};
}

TORCH_EBM_DRIVER("unbiased_cd", &unbiased_cd_op)

}  // namespace torch_ebm
