#pragma once

#include <ATen/ATen.h>
#include <torch/custom_class.h>

#include <string>
#include <vector>

#include "torch_ebm/export.h"

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
  /// next epoch. Detected are an exploding energy gap, frozen chains, and collapsed chains.
  std::vector<std::string> end_epoch();

  /// The whole state, for checkpoints: pickling and state_dict use these.
  std::vector<double> state() const;
  void set_state(const std::vector<double>& state);

 private:
  int64_t updates_ = 0;  // since training began
  double epoch_updates_ = 0;
  double gap_ = 0;  // sums over the epoch's updates
  double spread_ = 0;
  double moved_ = 0;
  double chain_variance_ = 0;
  double data_variance_ = 0;
};

}  // namespace torch_ebm
