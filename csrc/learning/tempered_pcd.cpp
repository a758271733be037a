#include "torch_ebm/learning/tempered_pcd.h"

#include <c10/core/InferenceMode.h>

#include "csrc/common/checks.h"
#include "csrc/learning/negative_phase.h"
#include "csrc/samplers/ladder.h"
#include "torch_ebm/samplers/replica_exchange.h"

namespace torch_ebm {

TemperedPCDImpl::TemperedPCDImpl(int64_t n_chains, std::vector<int64_t> shape,
                                 const at::Tensor& betas, Sampler sampler, int64_t n_steps,
                                 const StartLaw& law, std::optional<uint64_t> seed)
    : NegativePhaseImpl(std::move(sampler), seed),
      betas_(detail::checked_ladder("TemperedPCD", betas).clone()),
      n_steps_(n_steps) {
  detail::check_at_least("TemperedPCD", "n_steps", n_steps, 1);
  std::vector<int64_t> size = detail::chains_shape("TemperedPCD", n_chains, std::move(shape));
  size.insert(size.begin(), betas_.size(0));
  const c10::InferenceMode normal_buffers(false);
  at::Generator generator = make_generator();
  chains = register_buffer("chains", start_states(law, size, generator));
  parity = register_buffer("parity", at::zeros({}, at::kLong));
  generator_state.copy_(generator.get_state());
}

at::Tensor TemperedPCDImpl::first_states(const at::Tensor&, at::Generator&) {
  return chains.clone();
}

at::Tensor TemperedPCDImpl::transition(const Energy& energy, const at::Tensor& first,
                                       at::Generator& generator) {
  const ReplicaSamples samples =
      replica_exchange(energy, first, betas_, sampler(),
                       {.n_steps = n_steps_, .generator = generator}, {parity.item<int64_t>()});
  swap_rate = samples.swap_rate;
  return samples.x;
}

void TemperedPCDImpl::keep(const at::Tensor& last_states) {
  chains.copy_(last_states);
  parity.fill_((parity.item<int64_t>() + n_steps_) % 2);
}

at::Tensor TemperedPCDImpl::negatives(const at::Tensor& last_states) const {
  return last_states[0].clone();
}

}  // namespace torch_ebm
