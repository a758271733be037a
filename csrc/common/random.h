#pragma once
// Randomness: an op draws one 64-bit key from its generator; everything else is a function of (key, chain,
// step, stream, site). The numbers themselves are those of csrc/passes/noise.h.

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

/// x, contiguous, in float if its precision is half. Half precision is too coarse to sample in: it
/// rounds uniform numbers up to 1, probabilities to 3 digits, and temperatures to each other.
at::Tensor at_least_float(const at::Tensor& x);

}  // namespace torch_ebm::detail
