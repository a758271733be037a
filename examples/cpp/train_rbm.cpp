// Trains an RBM by persistent contrastive divergence, entirely in C++, on bars and stripes: all
// images of 4 x 4 pixels with some rows, or some columns, filled. There are 30, so no model has a
// mean log-probability above -log 30. The exact value for the model is printed beside it.

#include <torch/optim/sgd.h>
#include <torch/utils.h>
#include <torch_ebm/torch_ebm.h>

#include <cmath>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace {

constexpr int64_t kSide = 4;
constexpr int64_t kHidden = 16;
constexpr int64_t kChains = 500;
constexpr int64_t kGibbsSteps = 5;
constexpr int64_t kUpdates = 8000;
constexpr int64_t kUpdatesPerEpoch = 1000;
constexpr double kLearningRate = 0.2;

/// All bars and stripes, (2^(side + 1) - 2, side * side).
at::Tensor bars_and_stripes() {
  const int64_t n = int64_t{1} << kSide;
  at::Tensor images = at::empty({0, kSide * kSide});
  for (int64_t code = 0; code < n; ++code) {
    at::Tensor on = at::empty({kSide});
    for (int64_t i = 0; i < kSide; ++i) on[i] = static_cast<float>(code >> i & 1);
    const at::Tensor rows = on.unsqueeze(1).expand({kSide, kSide}).reshape({1, -1});
    const at::Tensor columns = on.unsqueeze(0).expand({kSide, kSide}).reshape({1, -1});
    images = at::cat({images, rows});
    // All rows is also all columns, and so is none: count them once.
    if (code != 0 && code != n - 1) images = at::cat({images, columns});
  }
  return images;
}

double mean_log_probability(torch_ebm::RBM& rbm, const at::Tensor& data) {
  const at::NoGradGuard no_grad;
  return (-rbm->forward(data).to(at::kDouble).mean() - rbm->log_z()).item<double>();
}

void set_learning_rate(torch::optim::Optimizer& optimizer, double value) {
  for (auto& group : optimizer.param_groups()) group.options().set_lr(value);
}

void run() {
  at::set_num_threads(1);  // the fastest for tensors this small
  torch::manual_seed(0);
  const at::Tensor data = bars_and_stripes();
  torch_ebm::RBM rbm(kSide * kSide, kHidden);
  {
    const at::NoGradGuard no_grad;
    rbm->weight.mul_(
        10);  // 0.1: with weights near 0 the hidden units are slow to become different
    rbm->visible_bias.copy_(torch_ebm::base_rate_bias(data));
  }
  torch_ebm::PCD pcd(kChains, std::vector<int64_t>{kSide * kSide},
                     torch_ebm::bind_sampler(torch_ebm::gibbs, {.n_steps = kGibbsSteps}),
                     "bernoulli", /*seed=*/0);
  torch::optim::SGD optimizer(rbm->parameters(), torch::optim::SGDOptions(kLearningRate));
  torch_ebm::TrainingMonitor monitor;
  const torch_ebm::Energy energy(rbm);

  const double optimum = -std::log(static_cast<double>(data.size(0)));
  std::printf("bars and stripes: %lld images; the optimum is -log %lld = %.4f\n",
              static_cast<long long>(data.size(0)), static_cast<long long>(data.size(0)), optimum);
  std::printf("%8s  %s\n", "updates", "mean log-probability (exact)");
  std::printf("%8d  %.4f\n", 0, mean_log_probability(rbm, data));
  for (int64_t update = 1; update <= kUpdates; ++update) {
    set_learning_rate(optimizer, kLearningRate * (1 - double(update - 1) / kUpdates));
    const at::Tensor negative = pcd->forward(energy);
    const at::Tensor on_data = energy.value(data);
    const at::Tensor on_chains = energy.value(negative);
    monitor.update(on_data, on_chains, data, negative, pcd->start);
    const at::Tensor loss = on_data.mean() + torch_ebm::log_partition(on_chains);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step();
    if (update % kUpdatesPerEpoch == 0) {
      for (const std::string& text : monitor.end_epoch()) std::printf("%s\n", text.c_str());
      std::printf("%8lld  %.4f\n", static_cast<long long>(update), mean_log_probability(rbm, data));
    }
  }
  const double reached = mean_log_probability(rbm, data);
  std::printf("reached %.4f, %.4f below the optimum\n", reached, optimum - reached);
}

}  // namespace

int main() {
  try {
    run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
