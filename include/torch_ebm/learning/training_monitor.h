#pragma once

#include <ATen/ATen.h>
#include <ATen/core/Dict.h>
#include <torch/custom_class.h>

#include <string>
#include <vector>

#include "torch_ebm/common/export.h"

namespace torch_ebm {

/// Detects training that goes wrong and explains why. Call update() after every gradient and
/// end_epoch() after every epoch. Thresholds are fixed and stated in the messages.
class TORCH_EBM_API TrainingMonitor : public torch::CustomClassHolder {
 public:
  /// positive_energies, negative_energies: (N,), (M,). negative: the negative samples (M, ...),
  /// start: the states their chains started from, positive: the data (N, ...).
  /// Throws RuntimeError at once if an energy is not finite. The message names the first such
  /// example or chain, the update, the likely cause and the remedy.
  void update(const at::Tensor& positive_energies, const at::Tensor& negative_energies,
              const at::Tensor& positive, const at::Tensor& negative, const at::Tensor& start);

  /// The problems of the epoch, each with cause and remedy; empty if there were none. Starts the
  /// next epoch. Detected are an energy gap that explodes, swings from side to side or stays
  /// below zero, an energy that is constant, and chains that are frozen, collapsed, ran away, or are stuck at bounds. The
  /// last updates of the epoch count most, each 1 / 0.95 times as much as the one before.
  std::vector<std::string> end_epoch();

  /// What the warnings are based on, of the epoch so far or, after end_epoch, of the last one; NaN
  /// before the first update:
  ///   updates          since training began
  ///   gap              mean energy of the negative samples minus that of the data
  ///   absolute_gap     the mean of its size
  ///   spread           standard deviation of the energies of the data
  ///   moved            fraction of the chains that moved in an update
  ///   variance_ratio   variance of the negative samples over that of the data
  ///   chains_at_edge   fraction of their numbers that equal the largest or the smallest
  ///   data_at_edge     the same of the data
  c10::Dict<std::string, double> measures() const;

  /// The whole state, for checkpoints: pickling and state_dict use these.
  std::vector<double> state() const;
  void set_state(const std::vector<double>& state);

 private:
  /// Weighted sums over the updates of an epoch.
  struct Sums {
    double count = 0;
    double gap = 0;
    double absolute_gap = 0;
    double spread = 0;
    double moved = 0;
    double chain_variance = 0;
    double data_variance = 0;
    double chains_at_edge = 0;
    double data_at_edge = 0;
    double differences = 0;  // of energies, relative to their size
    double root_units = 0;   // of one state
    double noise = 0;        // of the gap, in spreads, at most

    static constexpr int64_t kSize = 12;
    double* numbers() { return &count; }
    const double* numbers() const { return &count; }
    void add(const Sums& update);
  };

  int64_t updates_ = 0;  // since training began
  bool epoch_is_over_ = false;
  Sums sums_;
};

}  // namespace torch_ebm
