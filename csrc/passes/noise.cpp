#include "csrc/passes/noise.h"

#include <ATen/Dispatch.h>

#include <algorithm>
#include <array>
#include <vector>

#include "csrc/passes/form.h"
#include "csrc/passes/parallel.h"

namespace torch_ebm::passes {

namespace {

// --- By the CPU kernels -----------------------------------------------------------------------------

template <typename Fill>
void fill_by_kernel(const at::Tensor& out, Fill fill) {
  AT_DISPATCH_FLOATING_TYPES(out.scalar_type(), "fill", [&] {
    scalar_t* const data = out.mutable_data_ptr<scalar_t>();
    parallel_rows(out.size(0), out.size(1),
                  [&](kernels::Rows rows) { fill(kernels::kernels<scalar_t>(), data, rows); });
  });
}

// --- By torch's operations: csrc/kernels/cpu/threefry.h and normal.h, with words as int64 -----------

constexpr int64_t kWordMask = 0xffffffff;
constexpr int64_t kLanesOfTile = kernels::kTileSites / 4;

/// One half of a round: a += b, b = rotate_left(b, bits) ^ a, modulo 2^32. Only what is shifted must have no bits above
/// the word: in twenty rounds those of a sum stay few.
void mix(at::Tensor& a, at::Tensor& b, int bits) {
  b.bitwise_and_(kWordMask);
  a.add_(b);
  b = b.bitwise_right_shift(32 - bits).add_(b, int64_t{1} << bits).bitwise_xor_(a);
}

/// The four words of the first `n_blocks` blocks of the chains [begin, end), each (end - begin, n_blocks).
std::array<at::Tensor, 4> threefry(kernels::Draw draw, int64_t begin, int64_t end, int64_t n_blocks,
                                   at::Device device) {
  constexpr int kRotations[8][2] = {{10, 26}, {11, 21}, {13, 27}, {23, 5},
                                    {6, 20},  {17, 11}, {25, 10}, {18, 20}};
  int64_t key[5] = {static_cast<int64_t>(draw.key & kWordMask),
                    static_cast<int64_t>(draw.key >> 32), 0, 0, 0};
  key[4] = 0x1BD11BDA ^ key[0] ^ key[1] ^ key[2] ^ key[3];

  const auto words = at::TensorOptions().dtype(at::kLong).device(device);
  const at::Tensor zero = at::zeros({end - begin, n_blocks}, words);
  std::array<at::Tensor, 4> x = {
      zero + at::arange(n_blocks, words).bitwise_and_(kWordMask).add_(key[0]),
      zero + at::arange(begin, end, words).bitwise_and_(kWordMask).add_(key[1]).unsqueeze_(1),
      zero + (draw.step + key[2]), zero + (draw.stream + key[3])};

  for (int round = 0; round < 20; ++round) {
    const int* rotation = kRotations[round % 8];
    mix(x[0], x[round % 2 == 0 ? 1 : 3], rotation[0]);
    mix(x[2], x[round % 2 == 0 ? 3 : 1], rotation[1]);
    if (round % 4 == 3) {
      const int64_t injection = round / 4 + 1;
      for (int64_t i = 0; i < 4; ++i)
        x[i].add_(key[(injection + i) % 5] + (i == 3 ? injection : 0));
    }
  }
  for (at::Tensor& word : x) word.bitwise_and_(kWordMask);
  return x;
}

/// How many blocks serve n_sites sites: a word of a block serves one, and no word but the first is needed for few.
int64_t blocks_of(int64_t n_sites) {
  if (n_sites <= kLanesOfTile) return n_sites;
  return (n_sites + kernels::kTileSites - 1) / kernels::kTileSites * kLanesOfTile;
}

/// Values of the blocks' words 0, 1, ..., each (n, n_blocks), in the order of the sites, (n, n_sites).
at::Tensor in_order(const std::vector<at::Tensor>& of_words, int64_t n_sites) {
  const int64_t n = of_words[0].size(0), n_blocks = of_words[0].size(1);
  std::vector<at::Tensor> tiles;
  for (const at::Tensor& values : of_words) {
    tiles.push_back(values.view({n, -1, std::min(kLanesOfTile, n_blocks)}));
  }
  return at::stack(tiles, 2).view({n, -1}).narrow(1, 0, n_sites);
}

/// Uniform numbers in (0, 1) from words.
at::Tensor uniform_of(const at::Tensor& words, at::ScalarType dtype) {
  if (dtype == at::kFloat) return words.bitwise_right_shift(9).to(dtype).add_(0.5).mul_(0x1p-23);
  return words.to(dtype).add_(0.5).mul_(0x1p-32);
}

/// log((word + 1/2) / 2^32), accurate relative to itself up to both ends.
at::Tensor log_uniform_of(const at::Tensor& words, at::ScalarType dtype) {
  const at::Tensor from_zero = words.to(dtype).add_(0.5).mul_(0x1p-32);
  const at::Tensor from_one = (kWordMask - words).to(dtype).add_(0.5).mul_(-0x1p-32);
  return at::where(words.lt(int64_t{1} << 31), from_zero.log_(), from_one.log1p_());
}

/// The sine and the cosine of 2 pi (word + 1/2) / 2^32. The nearest quarter turn is exact, as in the kernel.
std::array<at::Tensor, 2> sin_cos_of(const at::Tensor& words, at::ScalarType dtype) {
  constexpr double kAngleOfUnit = 1.4629180792671596e-9;                            // 2 pi / 2^32
  const at::Tensor quarter = words.add(int64_t{1} << 29).bitwise_right_shift_(30);  // 0 ... 4
  const at::Tensor rest = words.sub(quarter, int64_t{1} << 30);
  const at::Tensor angle = rest.to(dtype).add_(0.5).mul_(kAngleOfUnit);
  const at::Tensor sin = angle.sin(), cos = angle.cos();
  const at::Tensor swapped = quarter.bitwise_and(1).ne(0);
  const auto with_sign = [](const at::Tensor& value, const at::Tensor& half_turns) {
    return at::where(half_turns.bitwise_and(2).ne(0), -value, value);
  };
  return {with_sign(at::where(swapped, cos, sin), quarter),
          with_sign(at::where(swapped, sin, cos), quarter + 1)};
}

at::Tensor uniform_by_torch(const std::array<at::Tensor, 4>& words, int64_t n_sites,
                            at::ScalarType dtype) {
  if (n_sites <= kLanesOfTile) return uniform_of(words[0], dtype);
  return uniform_of(in_order({words.begin(), words.end()}, n_sites), dtype);
}

/// Words 0 and 1 make the numbers of their two sites, words 2 and 3 those of the other two (Box & Muller 1958).
at::Tensor normal_by_torch(const std::array<at::Tensor, 4>& words, int64_t n_sites,
                           at::ScalarType dtype) {
  std::vector<at::Tensor> numbers;
  const int n_words = n_sites <= 2 * kLanesOfTile ? 2 : 4;
  for (int pair = 0; pair < n_words; pair += 2) {
    const at::Tensor radius = log_uniform_of(words[pair], dtype).mul_(-2).sqrt_();
    const auto [sin, cos] = sin_cos_of(words[pair + 1], dtype);
    numbers.push_back(radius * cos);
    numbers.push_back(radius * sin);
  }
  return in_order(numbers, n_sites);
}

/// body(words, n_sites, dtype) for some chains at a time, which bounds the memory: a word takes 8 bytes.
template <typename Body>
void fill_by_torch(const at::Tensor& out, kernels::Draw draw, Body body) {
  constexpr int64_t kNumbersAtOnce = 1 << 24;
  const int64_t n_sites = out.size(1);
  const int64_t at_once = std::max<int64_t>(1, kNumbersAtOnce / n_sites);
  for (int64_t begin = 0; begin < out.size(0); begin += at_once) {
    const int64_t end = std::min(begin + at_once, out.size(0));
    const auto words = threefry(draw, begin, end, blocks_of(n_sites), out.device());
    out.slice(0, begin, end).copy_(body(words, n_sites, out.scalar_type()));
  }
}

// --- Either -----------------------------------------------------------------------------------------

/// Memory for the numbers of x, one row a chain, at least float.
at::Tensor numbers_for(const at::Tensor& x) {
  const auto dtype = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  return at::empty({x.size(0), x.size(0) == 0 ? 0 : x.numel() / x.size(0)},
                   x.options().dtype(dtype));
}

}  // namespace

at::Tensor uniform_like(const at::Tensor& x, kernels::Draw draw) {
  const at::Tensor out = numbers_for(x);
  if (kernels_take(out)) {
    fill_by_kernel(out, [draw](const auto& table, auto* data, kernels::Rows rows) {
      table.fill_uniform(data, rows, draw);
    });
  } else if (out.numel() > 0) {
    fill_by_torch(out, draw, uniform_by_torch);
  }
  return out.view(x.sizes()).to(x.options());
}

at::Tensor normal_like(const at::Tensor& x, kernels::Draw draw) {
  const at::Tensor out = numbers_for(x);
  if (kernels_take(out)) {
    fill_by_kernel(out, [draw](const auto& table, auto* data, kernels::Rows rows) {
      table.fill_normal(data, rows, draw);
    });
  } else if (out.numel() > 0) {
    fill_by_torch(out, draw, normal_by_torch);
  }
  return out.view(x.sizes()).to(x.options());
}

}  // namespace torch_ebm::passes
