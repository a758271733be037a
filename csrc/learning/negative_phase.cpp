#include "csrc/learning/negative_phase.h"

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>
#include <torch/library.h>

#include <cmath>
#include <cstdio>

#include "csrc/common/checks.h"
#include "csrc/common/random.h"
#include "csrc/passes/noise.h"

namespace torch_ebm {

namespace {

constexpr const char* kStartStates = "start_states";

struct Interval {
  double low;
  double high;
};

/// Of "uniform" and "uniform(low, high)"; nothing for another name.
std::optional<Interval> interval_of(const std::string& law) {
  if (law == "uniform") return Interval{0, 1};
  Interval interval{};
  int end = 0;
  const int found =
      std::sscanf(law.c_str(), "uniform( %lf , %lf )%n", &interval.low, &interval.high, &end);
  if (found != 2 || static_cast<size_t>(end) != law.size()) return std::nullopt;
  TORCH_CHECK_VALUE(std::isfinite(interval.high - interval.low) && interval.low < interval.high,
                    kStartStates, ": law must be \"uniform(low, high)\" with low < high, got \"",
                    law, "\"");
  return interval;
}

/// u, uniform on (0, 1) and at least float, moved to the interval.
at::Tensor on_interval(const at::Tensor& u, const Interval& interval, at::ScalarType dtype) {
  if (interval.low != 0 || interval.high != 1) {
    const at::Tensor moved = interval.low + (interval.high - interval.low) * u;
    return moved.clamp(interval.low, interval.high).to(dtype);
  }
  // Half precision rounds numbers just below 1 up to 1.
  const double epsilon = dtype == at::kHalf ? 0x1p-10 : 0x1p-7;
  return at::elementSize(dtype) < 4 ? u.to(dtype).clamp_max_(1 - epsilon / 2) : u;
}

/// One-hot states like x, (N, ..., K), all equally likely.
at::Tensor one_hot(const at::Tensor& x, kernels::Draw draw) {
  const int64_t n_states = x.size(-1);
  const at::Tensor like =
      at::empty({x.size(0), x.numel() / x.size(0) / n_states}, x.options().dtype(at::kDouble));
  const at::Tensor label = (passes::uniform_like(like, draw) * n_states).to(at::kLong);
  return at::zeros_like(x)
      .view({x.size(0), -1, n_states})
      .scatter_(2, label.unsqueeze(2), 1)
      .view(x.sizes());
}

/// What a function returned, like x.
at::Tensor checked_states(const at::Tensor& states, const at::Tensor& x) {
  const char* what = "what law returns";
  detail::check_shape(kStartStates, what, states, x.sizes().vec(), "size");
  const at::Tensor result = states.detach().to(x.options());
  detail::check_finite(kStartStates, what, result);
  return result;
}

at::Tensor start_states_op(const std::string& law, at::IntArrayRef size,
                           std::optional<int64_t> dtype, std::optional<at::Device> device,
                           std::optional<at::Generator> generator) {
  const auto options =
      at::TensorOptions().dtype(detail::checked_dtype(kStartStates, dtype)).device(device);
  return start_states(law, size, std::move(generator), options);
}

}  // namespace

std::vector<int64_t> detail::chains_shape(const char* name, int64_t n_chains,
                                          std::vector<int64_t> shape) {
  detail::check_at_least(name, "n_chains", n_chains, 1);
  for (int64_t size : shape) detail::check_at_least(name, "every size of shape", size, 1);
  shape.insert(shape.begin(), n_chains);
  return shape;
}

at::Tensor detail::checked_positive(const char* name, const at::Tensor& positive) {
  TORCH_CHECK_VALUE(positive.defined(), name, ": positive must be the batch of data");
  return positive.detach();
}

at::Tensor start_states(const StartLaw& law, at::IntArrayRef size,
                        std::optional<at::Generator> generator, const at::TensorOptions& options) {
  return law(size, generator, options);
}

at::Tensor StartLaw::operator()(at::IntArrayRef size, const std::optional<at::Generator>& generator,
                                const at::TensorOptions& options) const {
  for (int64_t n : size) {
    TORCH_CHECK_VALUE(n >= 0, kStartStates, ": size must hold numbers >= 0, got ",
                      detail::describe_shape(size));
  }
  const at::Tensor x = at::empty(size, options);
  detail::check_floating(kStartStates, "the result", x);
  detail::check_chains(kStartStates, "size", x);
  if (function_) return checked_states(function_(size, generator), x);
  const std::optional<Interval> interval = interval_of(name_);
  TORCH_CHECK_VALUE(interval || name_ == "bernoulli" || name_ == "categorical" || name_ == "normal",
                    kStartStates,
                    ": law must be \"bernoulli\", \"categorical\", \"uniform\", \"uniform(low, "
                    "high)\" or \"normal\", or a function, got \"",
                    name_, "\"");
  TORCH_CHECK_VALUE(name_ != "categorical" || (x.dim() >= 2 && x.size(-1) >= 2), kStartStates,
                    ": size must be (N, ..., K) with K >= 2 states of a site for law "
                    "\"categorical\", got ",
                    detail::describe_shape(size));
  const kernels::Draw draw{detail::draw_key(generator, at::kCPU), 0, detail::kStart};
  if (name_ == "normal") return passes::normal_like(x, draw);
  if (name_ == "categorical") return one_hot(x, draw);
  const at::Tensor u = passes::uniform_like(detail::at_least_float(x), draw);
  if (name_ == "bernoulli") return u.lt(0.5).to(x.dtype());
  return on_interval(u, *interval, x.scalar_type());
}

NegativePhaseImpl::NegativePhaseImpl(Sampler sampler, std::optional<uint64_t> seed)
    : sampler_(std::move(sampler)) {
  TORCH_CHECK_VALUE(sampler_, "NegativePhase: sampler must not be empty");
  const c10::InferenceMode normal_buffers(false);
  const uint64_t value = seed ? *seed : detail::draw_key(std::nullopt, at::kCPU);
  generator_state = register_buffer("generator_state",
                                    at::make_generator<at::CPUGeneratorImpl>(value).get_state());
}

at::Generator NegativePhaseImpl::make_generator() const {
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>();
  // In C++, Module::to(dtype) converts this buffer too; its bytes survive every dtype.
  generator.set_state(generator_state.to(at::kCPU, at::kByte));
  return generator;
}

at::Tensor NegativePhaseImpl::forward(const Energy& energy, const at::Tensor& positive) {
  const at::NoGradGuard no_grad;
  at::Generator generator = make_generator();
  const at::Tensor first = first_states(positive, generator);
  const at::Tensor last = transition(energy, first, generator);
  start = first;
  keep(last);
  generator_state.copy_(generator.get_state());
  return negatives(last);
}

at::Tensor NegativePhaseImpl::transition(const Energy& energy, const at::Tensor& first,
                                         at::Generator& generator) {
  // A copy: a sampler may work in place.
  const Samples samples = sampler_(energy, first.clone(), {.generator = generator});
  const at::Tensor& last = samples.x;
  TORCH_CHECK_VALUE(last.defined() && last.sizes() == first.sizes(),
                    "NegativePhase: sampler must return the shape of the chains, ",
                    detail::describe_shape(first.sizes()), ", got ",
                    last.defined() ? detail::describe_shape(last.sizes()) : "no tensor");
  detail::check_same_type("NegativePhase", "what sampler returns", last, "the chains", first);
  detail::check_finite("NegativePhase", "what sampler returns", last);
  acceptance_rate = samples.acceptance_rate;
  return last.detach();
}

void NegativePhaseImpl::keep(const at::Tensor&) {}

at::Tensor NegativePhaseImpl::negatives(const at::Tensor& last_states) const { return last_states; }

NaiveMCMCImpl::NaiveMCMCImpl(int64_t n_chains, std::vector<int64_t> shape, Sampler sampler,
                             StartLaw law, std::optional<uint64_t> seed)
    : NegativePhaseImpl(std::move(sampler), seed),
      shape_(detail::chains_shape("NaiveMCMC", n_chains, std::move(shape))),
      law_(std::move(law)) {
  const c10::InferenceMode normal_buffers(false);
  like_ = register_buffer("like", at::empty({0}));
}

at::Tensor NaiveMCMCImpl::first_states(const at::Tensor&, at::Generator& generator) {
  return start_states(law_, shape_, generator, like_.options());
}

CDImpl::CDImpl(Sampler sampler, std::optional<uint64_t> seed)
    : NegativePhaseImpl(std::move(sampler), seed) {}

at::Tensor CDImpl::first_states(const at::Tensor& positive, at::Generator&) {
  return detail::checked_positive("CD", positive).clone();
}

PCDImpl::PCDImpl(int64_t n_chains, std::vector<int64_t> shape, Sampler sampler, const StartLaw& law,
                 std::optional<uint64_t> seed)
    : NegativePhaseImpl(std::move(sampler), seed) {
  const c10::InferenceMode normal_buffers(false);
  at::Generator generator = make_generator();
  chains = register_buffer(
      "chains",
      start_states(law, detail::chains_shape("PCD", n_chains, std::move(shape)), generator));
  generator_state.copy_(generator.get_state());
}

at::Tensor PCDImpl::first_states(const at::Tensor&, at::Generator&) { return chains.clone(); }

void PCDImpl::keep(const at::Tensor& last_states) { chains.copy_(last_states); }

// Not composite: a tracer that looked inside would keep its numbers as constants.
TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("start_states", &start_states_op);
}

}  // namespace torch_ebm
