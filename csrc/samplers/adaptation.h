#pragma once
// What warm_up learns about a target: a step size and the variances.

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace torch_ebm::detail {

/// A step size at which the mean acceptance probability is `target`: dual averaging (Nesterov 2009;
/// Hoffman & Gelman 2014, algorithm 5).
class DualAveraging {
 public:
  explicit DualAveraging(double target) : target_(target) {}

  /// Forgets all but a first guess.
  void restart(double step_size) {
    log_step_ = std::log(step_size);
    centre_ = std::log(10 * step_size);
    n_ = error_ = log_mean_ = 0;
  }

  /// Takes the acceptance at step_size().
  void update(double acceptance) {
    constexpr double kGamma = 0.05, kT0 = 10, kKappa = 0.75;
    n_ += 1;
    error_ += (target_ - acceptance - error_) / (n_ + kT0);
    log_step_ = centre_ - std::sqrt(n_) / kGamma * error_;
    log_mean_ += std::pow(n_, -kKappa) * (log_step_ - log_mean_);
  }

  /// The step size to try next.
  double step_size() const { return std::exp(log_step_); }
  /// The weighted mean of those tried (of logarithms), which is what to sample with.
  double mean_step_size() const { return std::exp(log_mean_); }

 private:
  double target_;
  double log_step_ = 0;
  double centre_ = 0;
  double n_ = 0;
  double error_ = 0;
  double log_mean_ = 0;
};

/// The variance of every unit over all batches added, by joining means and sums of squares (Chan,
/// Golub & LeVeque 1979), in float64.
class PooledVariance {
 public:
  void add(const at::Tensor& x) {
    const at::Tensor batch = x.to(at::kDouble);
    const at::Tensor batch_mean = batch.mean(0);
    const at::Tensor batch_squares = (batch - batch_mean).square().sum(0);
    const auto n_batch = static_cast<double>(x.size(0));
    if (n_ == 0) mean_ = squares_ = at::zeros_like(batch_mean);
    const at::Tensor shift = batch_mean - mean_;
    const double n = n_ + n_batch;
    squares_ = squares_ + batch_squares + shift.square() * (n_ * n_batch / n);
    mean_ = mean_ + shift * (n_batch / n);
    n_ = n;
  }

  /// Shrunk towards 1e-3 with the weight of five states, as Stan does: always positive.
  at::Tensor regularised() const {
    return squares_ / (n_ - 1) * (n_ / (n_ + 5)) + 1e-3 * 5 / (n_ + 5);
  }

 private:
  double n_ = 0;
  at::Tensor mean_;
  at::Tensor squares_;
};

/// When warm_up learns what: first the step size alone, then the variances too, in windows of 25,
/// 50, 100, ... steps after each of which both start anew, and then the step size alone. As Stan
/// does, but with a fifth of the steps for the last part instead of 50: the mean acceptance of many
/// chains responds so steeply to the step size that 50 steps of dual averaging leave it off by more
/// than 0.1.
struct Windows {
  explicit Windows(int64_t n_steps) : begin(std::min<int64_t>(75, n_steps * 3 / 20)) {
    const int64_t last = n_steps - n_steps / 5;
    int64_t length = 25;
    for (int64_t end = begin; end < last; ends.push_back(end)) {
      end += length;
      length *= 2;
      if (end + length > last) end = last;
    }
  }

  bool collects(int64_t step) const { return step >= begin && step < ends.back(); }
  /// Whether a window ends with this step.
  bool ends_with(int64_t step) const {
    return std::find(ends.begin(), ends.end(), step + 1) != ends.end();
  }

  int64_t begin;
  std::vector<int64_t> ends;  // the numbers of steps after which a window is closed
};

}  // namespace torch_ebm::detail
