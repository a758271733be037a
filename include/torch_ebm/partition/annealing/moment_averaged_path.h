#pragma once

#include "torch_ebm/common/export.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/partition/annealing/rbm_path.h"

namespace torch_ebm {

struct TORCH_EBM_API MomentAveragingOptions {
  /// Including the base and the model, at least 2.
  int64_t n_knots = 9;
  /// Samples of the model, (N, V), from which its moments are taken. Default: chains of the model.
  std::optional<at::Tensor> x = std::nullopt;
  /// Block Gibbs steps of these chains, at least 2; the first half takes them from the base to the
  /// model.
  int64_t n_model_steps = 1000;
  /// For the model and for every knot.
  int64_t n_chains = 100;
  /// Updates of every knot, with one block Gibbs step each.
  int64_t n_updates = 500;
  /// It falls linearly to 0 over the updates of a knot.
  double learning_rate = 0.1;
  std::optional<at::Generator> generator = std::nullopt;
};

/// The moment-averaged path to an RBM (Grosse, Maddison & Salakhutdinov 2013): knot r of n + 1 is
/// the RBM whose moments E[v], E[h] and E[v h'] are 1 - r / n times those of the base plus r / n
/// times those of the model. The base has independent visible units with biases base_visible_bias,
/// (V,), and fair hidden ones. Knots are trained by stochastic approximation, one after the other,
/// on persistent chains (section 3.2), with the gradient in centred units (Montavon & Mueller
/// 2012). They are placed so that, for a piecewise linear path, evenly spaced inverse temperatures
/// are optimal.
///
/// This is a pilot run: the path is fixed before an estimate begins, which therefore stays
/// unbiased, however good the knots are. Whether it beats the geometric path depends on the base
/// and on how well chains mix: compare the ess.
/// Throws ValueError for parameters that are not finite, other shapes, x other than 0 and 1,
/// options out of range.
TORCH_EBM_API RBMPath moment_averaged_path(const RBM& rbm, const at::Tensor& base_visible_bias,
                                           const MomentAveragingOptions& options = {});

}  // namespace torch_ebm
