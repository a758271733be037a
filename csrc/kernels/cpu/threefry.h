#pragma once
// Threefry4x32-20, a counter-based generator: random word = f(key, counter), with no state to carry.
// Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4.
//
// Its sibling Philox needs 32x32->64 multiplications, which compilers vectorise poorly; Threefry needs
// additions, rotations and xors alone (measured: 0.35 against 1.1 ns per word, AVX-512, one core).
//
// Layout: counter = (block, chain, step, stream). A tile of 64 sites takes 16 blocks of 4 words; word w
// of lane l serves site 64 * tile + 16 * w + l, so that each word of 16 lanes is contiguous in memory
// and the same site gets the same word whatever the width of the registers.

#include "csrc/kernels/cpu/kernels.h"
#include "csrc/kernels/cpu/lanes.h"

namespace torch_ebm::kernels {
namespace {

constexpr int kTileLanes = 16;
static_assert(kTileSites == 4 * kTileLanes);

/// 0, 1, ..., kLanes - 1
TORCH_EBM_INLINE Lanes<uint32_t> lane_numbers() {
  Lanes<uint32_t> numbers;
  for (int lane = 0; lane < kLanes; ++lane) numbers[lane] = lane;
  return numbers;
}

TORCH_EBM_INLINE Lanes<uint32_t> rotate_left(Lanes<uint32_t> x, int bits) {
  return x << bits | x >> (32 - bits);
}

/// Words for one block of one chain in every lane.
TORCH_EBM_INLINE void threefry(Draw draw, Lanes<uint32_t> chain, Lanes<uint32_t> block,
                               Lanes<uint32_t> words[4]) {
  constexpr int kRotations[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5},
                                    {6, 20},  {17, 11}, {25, 10}, {18, 20}};
  uint32_t key[5] = {static_cast<uint32_t>(draw.key), static_cast<uint32_t>(draw.key >> 32), 0, 0,
                     0};
  key[4] = 0x1BD11BDAu ^ key[0] ^ key[1] ^ key[2] ^ key[3];

  Lanes<uint32_t> x0 = block + key[0];
  Lanes<uint32_t> x1 = chain + key[1];
  Lanes<uint32_t> x2 = broadcast(draw.step + key[2]);
  Lanes<uint32_t> x3 = broadcast(draw.stream + key[3]);

#pragma GCC unroll 20
  for (int round = 0; round < 20; ++round) {
    const int* rotation = kRotations[round % 8];
    if (round % 2 == 0) {
      x0 += x1, x1 = rotate_left(x1, rotation[0]) ^ x0;
      x2 += x3, x3 = rotate_left(x3, rotation[1]) ^ x2;
    } else {
      x0 += x3, x3 = rotate_left(x3, rotation[0]) ^ x0;
      x2 += x1, x1 = rotate_left(x1, rotation[1]) ^ x2;
    }
    if (round % 4 == 3) {
      const uint32_t injection = round / 4 + 1;
      x0 += key[injection % 5];
      x1 += key[(injection + 1) % 5];
      x2 += key[(injection + 2) % 5];
      x3 += key[(injection + 3) % 5] + injection;
    }
  }
  words[0] = x0, words[1] = x1, words[2] = x2, words[3] = x3;
}

/// Words for the blocks block, block + 1, ..., block + kLanes - 1.
TORCH_EBM_INLINE void threefry(Draw draw, uint32_t chain, uint32_t block,
                               Lanes<uint32_t> words[4]) {
  threefry(draw, broadcast(chain), lane_numbers() + block, words);
}

/// Calls body(site, words) for every register-wide group of blocks of the tiles that hold the sites
/// [begin, end) of one row; begin is a multiple of kTileSites. words[w] serves the sites from
/// site + w * kTileLanes on.
template <typename Body>
TORCH_EBM_INLINE void for_each_block(Draw draw, int64_t chain, int64_t begin, int64_t end,
                                     Body body) {
  for (int64_t first = begin; first < end; first += kTileSites) {
    for (int lane = 0; lane < kTileLanes && first + lane < end; lane += kLanes) {
      Lanes<uint32_t> words[4];
      threefry(draw, static_cast<uint32_t>(chain), static_cast<uint32_t>(first / 4 + lane), words);
      body(first + lane, words);
    }
  }
}

/// Calls body(site, count, words) for every register-wide group of sites of one row.
template <typename Body>
TORCH_EBM_INLINE void for_each_site(Draw draw, int64_t chain, int64_t n_sites, Body body) {
  for_each_block(draw, chain, 0, n_sites,
                 [&](int64_t first, const Lanes<uint32_t>* words) TORCH_EBM_INLINE_LAMBDA {
                   for (int word = 0; word < 4; ++word) {
                     const int64_t site = first + word * kTileLanes;
                     if (site >= n_sites) break;
                     body(site, n_sites - site, words[word]);
                   }
                 });
}

/// Uniform in the open interval (0, 1), symmetric about 1/2, from the top bits of a word: 23 bits in
/// float and 32 in double. Never 0 and never 1, so that an event of probability 0 never happens and
/// one of probability 1 always does.
template <typename T>
TORCH_EBM_INLINE Lanes<T> uniform(Lanes<uint32_t> words) {
  constexpr int kBits = sizeof(T) == 4 ? 23 : 32;
  constexpr T kUnit = T(1) / static_cast<T>(uint64_t{1} << kBits);
  if constexpr (sizeof(T) == 4) {
    const auto bits =
        (Lanes<int32_t>)(words >> (32 - kBits));  // signed: one conversion instruction
    return (__builtin_convertvector(bits, Lanes<T>) + T(0.5)) * kUnit;
  } else {
    return (__builtin_convertvector(words, Lanes<T>) + T(0.5)) * kUnit;
  }
}

}  // namespace
}  // namespace torch_ebm::kernels
