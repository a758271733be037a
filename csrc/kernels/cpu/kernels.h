#pragma once
// Loops over raw memory: no at:: types, no autograd, no checks, no threads. Callers own all three.
//
// kernels.cpp is compiled once per instruction set (see CMakeLists.txt); kernels() picks the best one
// that this processor runs. All of them draw the same random words for the same (key, chain, step,
// stream, site).

#include <cstdint>

namespace torch_ebm::kernels {

/// Which random numbers a pass uses: one 64-bit key per op call, then a counter.
struct Draw {
  uint64_t key;
  uint32_t step;
  uint32_t stream;  // keeps apart the passes of one step (hidden, visible, start, ...)
};

/// Rows [begin, end) of a row-major matrix with `n_sites` columns. Row index = chain index.
struct Rows {
  int64_t begin;
  int64_t end;
  int64_t n_sites;
};

/// Random words come in tiles: a row is cut into tiles of this many sites, of which the last may be shorter.
constexpr int64_t kTileSites = 64;

/// The tiles [begin, end) of a row-major matrix with `n_sites` columns, counted through all rows: one range,
/// whether there are many short rows or one long row.
struct Tiles {
  int64_t begin;
  int64_t end;
  int64_t n_sites;
};

/// One value per row, or the same value for every row (stride 0).
template <typename T>
struct PerRow {
  const T* data;
  int64_t stride;
  T operator[](int64_t row) const { return data[row * stride]; }
};

template <typename T>
struct LangevinScales {
  PerRow<T> drift;
  PerRow<T> noise;
  T max_score;
  T low;
  T high;
};

/// One value per entry of a matrix, or the same in every row, or one for all.
template <typename T>
struct PerUnit {
  const T* data;
  int64_t row_stride;
  bool one_for_all;
};

template <typename T>
struct LeapScales {
  PerRow<T> kick;
  PerRow<T> drift;
  PerUnit<T> inverse_mass;
};

/// A row-major matrix whose rows are followed by zeros up to a multiple of kPaddedTo values, so that
/// kernels read whole registers.
template <typename T>
struct Padded {
  const T* data;
  int64_t n_rows;
  int64_t stride;
  const T* row(int64_t i) const { return data + i * stride; }
};
constexpr int64_t kPaddedTo = 32;
constexpr int64_t kFlipScratch = 5;

/// The hidden layer of an RBM as its visible units see it: at most kFlipExamples rows of sigmoid(a) and sigmoid(-a),
/// a = c + v W, and exp(W), a row for every visible unit. What pads them must make on + off * ratio = 1.
template <typename T>
struct HiddenLayer {
  Padded<T> on;
  Padded<T> off;
  Padded<T> ratio;
};
constexpr int64_t kFlipExamples = 64;

/// Visible units to be flipped, each in one example: in the order of `site`.
struct FlipPairs {
  const int64_t* site;
  const int64_t* example;
  const bool* bit;  // the state of the unit
};

/// A fully visible Boltzmann machine at the inverse temperature of every chain: p(x) ~ exp(beta (b.x + x J x / 2)),
/// J symmetric with a zero diagonal. `bias` is padded as the rows of J: one for all chains, or, with its stride, one for each.
template <typename T>
struct Boltzmann {
  Padded<T> coupling;
  const T* bias;
  PerRow<T> beta;
  int64_t bias_stride = 0;
};

/// Weights w_j = exp(d_j / 2 - m) of the flips of the units of every chain, m the largest d_j / 2: a row holds m and the
/// sum of w_j over each tile.
struct FlipWeights {
  double* data;
  int64_t row_stride;  // 1 + the number of tiles
  double& max(int64_t row) const { return data[row * row_stride]; }
  double* of_tiles(int64_t row) const { return data + row * row_stride + 1; }
};

/// The activation of a unit of a multilayer perceptron: smooth functions with smooth slopes.
enum class Activation { kSilu, kSoftplus, kTanh };

/// The steps [begin, end) of a chain.
struct Steps {
  uint32_t begin;
  uint32_t end;
};

template <typename T>
struct Table {
  /// field[i, j] <- 1 with probability sigmoid(beta[i] * (field[i, j] + bias[j])), else 0.
  /// Returns false if a logit was NaN; the matching entry is then 0.
  bool (*sample_bernoulli)(T* field, const T* bias, PerRow<T> beta, Rows rows, Draw draw);

  /// log_ratio[i] += sum_j softplus(beta * a) - softplus(beta_previous * a), a = field[i, j] + bias[j].
  /// Accurate relative to the difference itself, however close the two temperatures.
  void (*add_softplus_difference)(const T* field, const T* bias, T beta_previous, T beta,
                                  double* log_ratio, Rows rows);

  /// out[i, j] <- a standard normal number, by Box & Muller (1958). In float up to 6.76 away from 0, as
  /// in double; never infinite.
  void (*fill_normal)(T* out, Rows rows, Draw draw);

  /// out[i, j] <- a uniform number in (0, 1): the one that sample_bernoulli compares with.
  void (*fill_uniform)(T* out, Rows rows, Draw draw);

  bool (*all_binary)(const T* x, int64_t n);
  bool (*all_finite)(const T* x, int64_t n);

  /// out = x w: `rows` are those of out; x has w.n_rows columns. For a w that stays in the cache. Row i
  /// of out is rounded in the same way whatever the rows around it.
  void (*multiply)(const T* x, Padded<T> w, T* out, Rows rows);

  /// momentum[i, j] <- deviation[i, j] xi[i, j], with the normal numbers xi of fill_normal; kinetic[i] <- sum_j
  /// xi[i, j]^2 / 2.
  void (*draw_momentum)(PerUnit<T> deviation, T* momentum, double* kinetic, Rows rows, Draw draw);

  /// next_momentum = momentum + kick score, next_x = x + drift w next_momentum, w the inverse mass. next_x may
  /// be x, and next_momentum be momentum.
  void (*kick_and_drift)(const T* x, const T* momentum, const T* score, LeapScales<T> scales,
                         T* next_x, T* next_momentum, Rows rows);

  /// next_momentum = momentum + kick score, which may be momentum; kinetic[i] <- sum_j w[i, j] next_momentum[i, j]^2 /
  /// 2.
  void (*kick)(const T* momentum, const T* score, PerRow<T> kick, PerUnit<T> inverse_mass,
               T* next_momentum, double* kinetic, Rows rows);

  /// log_ratio[i] += scale * sum_j x[i, j] y[j].
  void (*add_dot)(const T* x, const T* y, double scale, double* log_ratio, Rows rows);

  /// next = x + drift * score + noise * xi, with the normal numbers xi of fill_normal, the score
  /// first clamped to [-max_score, max_score] and the result to [low, high] (infinite: not at all).
  /// next may be x. Clamping keeps NaN. Returns false if an entry of next is not finite.
  bool (*langevin_update)(const T* x, const T* score, LangevinScales<T> scales, T* next,
                          Tiles tiles, Draw draw);

  /// Sweeps over the units of every chain, in their order: x[i, j] <- 1 with probability
  /// sigmoid(beta[i] field_j), field = bias + x coupling, else 0; where clamp[i, j], x stays (clamp may be
  /// null). scratch: coupling.stride values. draw.step is not used. Returns false if a field is not finite.
  bool (*boltzmann_gibbs)(T* x, const bool* clamp, Boltzmann<T> model, T* scratch, Rows rows,
                          Steps steps, Draw draw);

  /// Updates of single units: of every chain the unit floor(u D), u drawn by `unit`, becomes 1 where u' >=
  /// sigmoid(-beta[i] field_j), u' drawn by `draw`. The rest is as above.
  bool (*boltzmann_random_scan)(T* x, const bool* clamp, Boltzmann<T> model, T* scratch, Rows rows,
                                Steps steps, Draw unit, Draw draw);

  /// Steps of Gibbs with gradients (Grathwohl et al. 2021, algorithm 1): one proposed flip each.
  /// acceptance[i] += the probability of accepting, for every step. scratch: kFlipScratch * coupling.stride
  /// values. draw.step is not used. Returns false if a field is not finite.
  bool (*gibbs_with_gradients)(T* x, double* acceptance, Boltzmann<T> model, T* scratch, Rows rows,
                               Steps steps, Draw draw);

  /// With a = field[i, j] + bias[j]: field[i, j] <- f(a), slope[i, j] <- f'(a). NaN stays NaN in both.
  void (*activate)(Activation f, T* field, const T* bias, T* slope, Rows rows);

  /// Weighs the flips of one unit of every binary chain: q_j ~ exp(d_j / 2), d_j = (1 - 2 x[i, j]) score[i, j] (Grathwohl
  /// et al. 2021, equation 6). The maximum is NaN unless all d_j are finite.
  void (*weigh_flips)(const T* x, const T* score, FlipWeights weights, Rows rows);

  /// site[i] <- a unit drawn with these weights, by inversion with uniform[i] in (0, 1), and log_probability[i] <- log
  /// q_j of it, NaN if the maximum is.
  void (*propose_flip)(const T* x, const T* score, FlipWeights weights, const double* uniform,
                       int64_t* site, double* log_probability, Rows rows);

  /// The same log_probability[i], of a flip of unit site[i].
  void (*flip_log_probability)(const T* x, const T* score, FlipWeights weights, const int64_t* site,
                               double* log_probability, Rows rows);

  /// next[i, j] <- x[i, j], flipped with probability sigmoid(a), a = (1 - 2 x[i, j]) score[i, j] / 2 - penalty[i]: the
  /// discrete Langevin proposal (Zhang, Liu & Liu 2022, equation 4) of binary units.
  void (*flip_all)(const T* x, const T* score, PerRow<T> penalty, T* next, Rows rows, Draw draw);

  /// log_probability[i] <- the log probability that flip_all makes next[i] of x[i]; NaN if a score is not finite.
  void (*flip_all_log_probability)(const T* x, const T* score, PerRow<T> penalty, const T* next,
                                   double* log_probability, Rows rows);

  /// sums[p] = sum_j log(1 - s_j + s_j exp(W[site, j])) of the pairs [begin, end), where s = sigmoid(a) of the pair's
  /// example if its bit is 0 and sigmoid(-a) if it is 1. |W| <= 20; `at_once` registers' widths of factors must not
  /// overflow.
  void (*rbm_flip_sums)(HiddenLayer<T> layer, FlipPairs pairs, int64_t at_once, T* sums,
                        int64_t begin, int64_t end);

  /// With t = (1 - s) / (1 - s + s exp(W)), s as above: weight_gradient[site, j] -= gradient[p] t for all pairs, and
  /// input_gradient[example, j] = sum of gradient[p] t, with a minus sign where the bit is 0. For the hidden units
  /// [begin, end), begin a multiple of kPaddedTo. Both have the stride of layer.ratio.
  void (*rbm_flip_sums_backward)(HiddenLayer<T> layer, FlipPairs pairs, int64_t n_pairs,
                                 const T* gradient, T* weight_gradient, T* input_gradient,
                                 int64_t begin, int64_t end);
};

template <typename T>
const Table<T>& kernels();
template <>
const Table<float>& kernels<float>();
template <>
const Table<double>& kernels<double>();

/// The instruction set that kernels() picked: "avx512", "avx2" or "baseline".
const char* instruction_set();

}  // namespace torch_ebm::kernels
