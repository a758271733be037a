#include "torch_ebm/learning/replay_buffer.h"

#include <c10/core/InferenceMode.h>

#include "csrc/common/checks.h"
#include "csrc/common/per_chain.h"
#include "csrc/learning/negative_phase.h"

namespace torch_ebm {

ReplayBufferImpl::ReplayBufferImpl(int64_t capacity, int64_t n_chains, std::vector<int64_t> shape,
                                   Sampler sampler, StartLaw law, double reinit_probability,
                                   std::optional<uint64_t> seed)
    : NegativePhaseImpl(std::move(sampler), seed),
      n_chains_(n_chains),
      law_(std::move(law)),
      reinit_probability_(reinit_probability) {
  detail::check_at_least("ReplayBuffer", "n_chains", n_chains, 1);
  detail::check_at_least("ReplayBuffer", "capacity", capacity, n_chains);
  TORCH_CHECK_VALUE(reinit_probability >= 0 && reinit_probability <= 1,
                    "ReplayBuffer: reinit_probability must be in [0, 1], got ", reinit_probability);
  const c10::InferenceMode normal_buffers(false);
  at::Generator generator = make_generator();
  states = register_buffer(
      "states", start_states(law_, detail::chains_shape("ReplayBuffer", capacity, std::move(shape)),
                             generator));
  age = register_buffer("age", at::zeros({capacity}, at::kLong));
  generator_state.copy_(generator.get_state());
}

at::Tensor ReplayBufferImpl::first_states(const at::Tensor&, at::Generator& generator) {
  const auto uniform = [&](int64_t n) {
    return start_states("uniform", {n}, generator, at::kDouble).to(states.device());
  };
  slots = uniform(states.size(0)).argsort().slice(0, 0, n_chains_);
  restart_ = uniform(n_chains_).lt(reinit_probability_);
  const at::Tensor kept = states.index_select(0, slots);
  const at::Tensor fresh = start_states(law_, kept.sizes(), generator, states.options());
  return at::where(detail::along_chains(restart_, kept), fresh, kept);
}

void ReplayBufferImpl::keep(const at::Tensor& last_states) {
  states.index_copy_(0, slots, last_states);
  age.index_copy_(0, slots, age.index_select(0, slots).masked_fill(restart_, 0) + 1);
}

}  // namespace torch_ebm
