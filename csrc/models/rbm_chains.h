#pragma once
// Chains of an RBM, on which an algorithm (block Gibbs sampling, AIS) is written once, as a step
//     [](auto& chains, int64_t k) { chains.hidden_input(); chains.sample(...); ... }
// and run in the way that suits the model:
//
// * TensorChains: all chains at once, the products by torch. For any size, dtype and device.
// * ResidentChains: an RBM whose weights fit in the cache of a core. A step of a chain is then so short that
//   threads would spend it waiting for each other after every product; instead each thread takes its own
//   chains through many steps.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <vector>

#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/kernels/cpu/kernels.h"
#include "csrc/passes/padded.h"
#include "csrc/models/rbm.h"
#include "csrc/passes/bernoulli.h"
#include "csrc/passes/form.h"
#include "csrc/passes/softplus_difference.h"

namespace torch_ebm::detail {

/// An RBM and the states of its chains, v (N, V) and h (N, H), contiguous. A step changes v and h in place.
struct RBMChains {
  const char* op;  // for error messages
  at::Tensor weight;
  at::Tensor visible_bias;
  at::Tensor hidden_bias;
  at::Tensor v;
  at::Tensor h;
};

class TensorChains {
 public:
  explicit TensorChains(const RBMChains& chains) : c_(chains), bias_(chains.visible_bias) {}

  /// Inverse temperature, () or (N,).
  void set_beta(const at::Tensor& beta) { beta_ = beta; }

  /// A point of AIS's path: p(v | h) has the logits (1 - beta) base + beta b + beta W h, that is beta times
  /// (b + (1 - beta) / beta base + W h).
  void set_beta(double beta, const at::Tensor& base) {
    beta_ = at::full({}, beta, c_.v.options());
    bias_ = c_.visible_bias + base * ((1 - beta) / beta);
  }

  /// h <- v W
  void hidden_input() { at::mm_out(c_.h, c_.v, c_.weight); }

  /// From the inputs of the hidden units in h: h ~ p(h | v), then v ~ p(v | h).
  void sample(uint64_t key, uint32_t step) {
    passes::sample_bernoulli_(c_.h, c_.hidden_bias, beta_, {key, step, kHidden}, nan_);
    at::mm_out(c_.v, c_.h, c_.weight.t());
    passes::sample_bernoulli_(c_.v, bias_, beta_, {key, step, kVisible}, nan_);
    passes::check_no_nan_logit(c_.op, nan_.is_up());
  }

  /// v <- from where the mask is true.
  void restore(const at::Tensor& from, const at::Tensor& mask) {
    c_.v.copy_(at::where(mask, from, c_.v));
  }

  /// From the inputs of the hidden units in h: log_weights += the change of log f_t(v) of AIS's path.
  void add_log_ratio(at::Tensor& log_weights, const at::Tensor& bias_change, double beta_previous,
                     double beta) {
    log_weights.add_(at::mv(c_.v, bias_change), beta - beta_previous);
    passes::add_softplus_difference_(log_weights, c_.h, c_.hidden_bias, beta_previous, beta);
  }

  /// Throws if the input of a unit was NaN in any step. A kernel's steps have thrown by themselves.
  void finish() const { passes::check_no_nan_logit(c_.op, nan_.read()); }

 private:
  RBMChains c_;
  at::Tensor beta_;
  at::Tensor bias_;
  passes::Flag nan_;
};

/// W and its transpose with their rows padded for kernels::Table::multiply.
template <typename T>
class ResidentWeights {
 public:
  explicit ResidentWeights(const at::Tensor& weight)
      : weight_(padded(weight)), transposed_(padded(weight.t())) {}

  kernels::Padded<T> weight() const { return view_padded<T>(weight_); }
  kernels::Padded<T> transposed() const { return view_padded<T>(transposed_); }

 private:
  at::Tensor weight_;
  at::Tensor transposed_;
};

/// The chains [begin, end), within one thread: no torch operator is called here. The methods do what those of
/// TensorChains do.
template <typename T>
class ResidentChains {
 public:
  ResidentChains(const RBMChains& chains, const ResidentWeights<T>& weights, int64_t begin,
                 int64_t end)
      : c_(chains),
        weights_(weights),
        v_(chains.v.mutable_data_ptr<T>()),
        h_(chains.h.mutable_data_ptr<T>()),
        visible_{begin, end, chains.v.size(1)},
        hidden_{begin, end, chains.h.size(1)},
        bias_(chains.visible_bias.const_data_ptr<T>()) {}

  void set_beta(const at::Tensor& beta) { beta_ = {beta.const_data_ptr<T>(), beta.dim()}; }

  void set_beta(double beta, const at::Tensor& base) {
    path_beta_ = static_cast<T>(beta);
    beta_ = {&path_beta_, 0};
    const T share = static_cast<T>((1 - beta) / beta);
    const T* const b = c_.visible_bias.const_data_ptr<T>();
    const T* const from = base.const_data_ptr<T>();
    path_bias_.resize(visible_.n_sites);
    for (int64_t i = 0; i < visible_.n_sites; ++i) path_bias_[i] = b[i] + share * from[i];
    bias_ = path_bias_.data();
  }

  void hidden_input() { kernels_.multiply(v_, weights_.weight(), h_, hidden_); }

  void sample(uint64_t key, uint32_t step) {
    const T* const hidden_bias = c_.hidden_bias.const_data_ptr<T>();
    bool valid = kernels_.sample_bernoulli(h_, hidden_bias, beta_, hidden_, {key, step, kHidden});
    kernels_.multiply(h_, weights_.transposed(), v_, visible_);
    valid &= kernels_.sample_bernoulli(v_, bias_, beta_, visible_, {key, step, kVisible});
    passes::check_no_nan_logit(c_.op, !valid);
  }

  void restore(const at::Tensor& from, const at::Tensor& mask) {
    const T* const kept = from.const_data_ptr<T>();
    const bool* const clamped = mask.const_data_ptr<bool>();
    for (int64_t i = visible_.begin * visible_.n_sites; i < visible_.end * visible_.n_sites; ++i) {
      if (clamped[i]) v_[i] = kept[i];
    }
  }

  void add_log_ratio(at::Tensor& log_weights, const at::Tensor& bias_change, double beta_previous,
                     double beta) {
    double* const out = log_weights.mutable_data_ptr<double>();
    kernels_.add_dot(v_, bias_change.const_data_ptr<T>(), beta - beta_previous, out, visible_);
    kernels_.add_softplus_difference(h_, c_.hidden_bias.const_data_ptr<T>(),
                                     static_cast<T>(beta_previous), static_cast<T>(beta), out,
                                     hidden_);
  }

 private:
  const RBMChains& c_;
  const ResidentWeights<T>& weights_;
  const kernels::Table<T>& kernels_ = kernels::kernels<T>();
  T* v_;
  T* h_;
  kernels::Rows visible_;
  kernels::Rows hidden_;
  kernels::PerRow<T> beta_{};
  const T* bias_;
  T path_beta_{};
  std::vector<T> path_bias_;
};

/// Whether ResidentChains can and should do the work.
inline bool weights_fit_in_cache(const at::Tensor& weight) {
  return passes::kernels_take(weight) && fits_in_cache(weight);
}

/// step(chains, k) for k = 0, ..., n_steps - 1, with ResidentChains: in parallel over chains, and reporting
/// progress every few milliseconds.
template <typename T, typename Step>
void run_resident(const RBMChains& chains, int64_t n_steps, Step step) {
  constexpr int64_t kWorkAtOnce = 1 << 25;  // additions
  constexpr int64_t kWorthAThread = 1 << 16;
  constexpr int64_t kWorkOfADraw = 64;
  const ResidentWeights<T> weights(chains.weight);
  const int64_t n_chains = chains.v.size(0);
  const int64_t n_units = chains.v.size(1) + chains.h.size(1);
  const int64_t work = chains.weight.numel() + kWorkOfADraw * n_units;  // of a step of one chain
  const int64_t steps_at_once = std::max<int64_t>(1, kWorkAtOnce / (work * n_chains));
  Progress progress(chains.op, n_steps);
  for (int64_t first = 0; first < n_steps; first += steps_at_once) {
    const int64_t last = std::min(n_steps, first + steps_at_once);
    const int64_t grain = std::max<int64_t>(1, kWorthAThread / (work * (last - first)));
    at::parallel_for(0, n_chains, grain, [&](int64_t begin, int64_t end) {
      ResidentChains<T> mine(chains, weights, begin, end);
      for (int64_t k = first; k < last; ++k) step(mine, k);
    });
    progress.step(last);
  }
}

/// step(chains, k) for k = 0, ..., n_steps - 1, in the way that suits the model.
template <typename Step>
void run_chains(const RBMChains& chains, int64_t n_steps, Step step) {
  if (weights_fit_in_cache(chains.weight)) {
    AT_DISPATCH_FLOATING_TYPES(chains.weight.scalar_type(), "run_chains",
                               [&] { run_resident<scalar_t>(chains, n_steps, step); });
    return;
  }
  TensorChains all(chains);
  Progress progress(chains.op, n_steps);
  for (int64_t k = 0; k < n_steps; ++k) {
    step(all, k);
    progress.step(k + 1);
  }
  all.finish();
}

}  // namespace torch_ebm::detail
