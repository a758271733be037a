#pragma once
// Randomness: an op draws one 64-bit key from its generator; everything else is a function of (key, chain,
// step, stream, site). See csrc/kernels/cpu/threefry.h.

#include <ATen/ATen.h>
#include <ATen/core/Generator.h>

#include "csrc/kernels/cpu/kernels.h"

namespace torch_ebm::detail {

/// Which pass of a step a random number is for.
enum Stream : uint32_t {
  kHidden = 0,
  kVisible = 1,
  kStart = 2,
  kNoise = 3,
  kSite = 4,
  kAccept = 5,
  kPath = 6,
  kChoice = 7,
  // Each of these is the first of many: kDirection + depth, and so on.
  kSearch = 1 << 8,
  kDirection = 1 << 9,
  kSubtree = 1 << 10,
  kLeaf = 1 << 16
};

/// The next key of `generator`, or of the default generator of `device` if there is none.
uint64_t draw_key(const std::optional<at::Generator>& generator, at::Device device);

/// Whether the CPU kernels take x. Other devices and half precision compute their random numbers on the CPU
/// in float and move them there: slow, but the same numbers as everywhere.
bool has_kernel(const at::Tensor& x);

/// x, contiguous, in float if its precision is half. Half precision is too coarse to sample in: it
/// rounds uniform numbers up to 1, probabilities to 3 digits, and temperatures to each other.
at::Tensor at_least_float(const at::Tensor& x);

/// Throws what sample_bernoulli_ throws if a logit was NaN.
void check_no_nan_logit(const char* op, bool valid);

/// field <- 1 with probability sigmoid(beta (field + bias)), else 0, in place. field: (N, M), contiguous;
/// beta: () or (N,). At least float. Throws if a logit is NaN.
void sample_bernoulli_(const char* op, at::Tensor& field, const at::Tensor& bias,
                       const at::Tensor& beta, kernels::Draw draw);

/// Uniform numbers in (0, 1) and normal numbers like x, (N, ...).
at::Tensor uniform_like(const at::Tensor& x, kernels::Draw draw);
at::Tensor normal_like(const at::Tensor& x, kernels::Draw draw);

}  // namespace torch_ebm::detail
