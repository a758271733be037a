#include "csrc/models/mlp_chains.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <utility>

#include "csrc/passes/padded.h"

namespace torch_ebm::detail {

namespace {

/// The states of this many chains stay in the cache from layer to layer.
constexpr int64_t kChainsAtOnce = 32;

/// The matrices as the kernels take them.
struct CachedNetwork {
  explicit CachedNetwork(const Network& network) {
    for (size_t l = 0; l < network.depth(); ++l) {
      const bool last = l + 1 == network.depth();
      const at::Tensor& w = network.weights[l];
      forward.push_back(padded(w.t()));
      backward.push_back(padded(last ? w * -network.output_weight.unsqueeze(1) : w));
    }
  }
  std::vector<at::Tensor> forward;   // (in, out)
  std::vector<at::Tensor> backward;  // (out, in), the last times minus the weights of the output
};

/// Takes chains through the network, within one thread: no torch operator is called except in the
/// constructor.
template <typename T>
class NetworkChains {
 public:
  NetworkChains(const Network& network, const CachedNetwork& weights)
      : network_(network), weights_(weights), slopes_(network.depth()) {
    int64_t widest = 0;
    for (size_t l = 0; l < network.depth(); ++l) {
      slopes_[l].resize(kChainsAtOnce * n_units(l));
      widest = std::max(widest, n_units(l));
    }
    field_.resize(kChainsAtOnce * widest);
    spare_.resize(kChainsAtOnce * widest);
  }

  /// x, score: (n, D); energy: (n,); n at most kChainsAtOnce.
  void run(const T* x, T* energy, T* score, int64_t n) {
    add_output(go_forward(x, n), energy, n);
    go_back(score, n);
    if (network_.confinement != 0) confine(x, energy, score, n);
  }

 private:
  int64_t n_units(size_t l) const { return network_.weights[l].size(0); }
  int64_t n_inputs(size_t l) const { return network_.weights[l].size(1); }

  /// The values of the last hidden layer; keeps the slopes of all.
  const T* go_forward(const T* from, int64_t n) {
    for (size_t l = 0; l < network_.depth(); ++l) {
      const kernels::Rows rows{0, n, n_units(l)};
      kernels_.multiply(from, view_padded<T>(weights_.forward[l]), field_.data(), rows);
      kernels_.activate(network_.activation, field_.data(), network_.biases[l].const_data_ptr<T>(),
                        slopes_[l].data(), rows);
      std::swap(field_, spare_);
      from = spare_.data();
    }
    return from;
  }

  void add_output(const T* h, T* energy, int64_t n) {
    std::array<double, kChainsAtOnce> sums;
    sums.fill(*network_.output_bias.const_data_ptr<T>());
    kernels_.add_dot(h, network_.output_weight.const_data_ptr<T>(), 1, sums.data(),
                     {0, n, n_units(network_.depth() - 1)});
    std::copy_n(sums.begin(), n, energy);
  }

  void go_back(T* score, int64_t n) {
    for (size_t l = network_.depth(); l-- > 0;) {
      const kernels::Rows rows{0, n, n_inputs(l)};
      const kernels::Padded<T> weight = view_padded<T>(weights_.backward[l]);
      if (l == 0) return kernels_.multiply(slopes_[l].data(), weight, score, rows);
      kernels_.multiply(slopes_[l].data(), weight, field_.data(), rows);
      T* const next = slopes_[l - 1].data();
      for (int64_t i = 0; i < n * rows.n_sites; ++i) next[i] *= field_[i];
    }
  }

  void confine(const T* x, T* energy, T* score, int64_t n) const {
    const T c = static_cast<T>(network_.confinement);
    const int64_t n_sites = n_inputs(0);
    for (int64_t row = 0; row < n; ++row) {
      T square = 0;
      for (int64_t i = row * n_sites; i < (row + 1) * n_sites; ++i) {
        square += x[i] * x[i];
        score[i] -= c * x[i];
      }
      energy[row] += c / 2 * square;
    }
  }

  const Network& network_;
  const CachedNetwork& weights_;
  const kernels::Table<T>& kernels_ = kernels::kernels<T>();
  std::vector<std::vector<T>> slopes_;
  std::vector<T> field_;
  std::vector<T> spare_;
};

/// About how many additions a chain takes.
int64_t work_of_a_chain(const Network& network) {
  constexpr int64_t kWorkOfAnActivation = 64;
  int64_t work = 0;
  for (const at::Tensor& w : network.weights) {
    work += 2 * w.numel() + kWorkOfAnActivation * w.size(0);
  }
  return work;
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> run_through(const Network& network, const at::Tensor& x) {
  constexpr int64_t kWorthAThread = 1 << 16;
  const CachedNetwork weights(network);
  const int64_t n_chains = x.size(0);
  const int64_t n_sites = x.size(1);
  const int64_t n_pieces = (n_chains + kChainsAtOnce - 1) / kChainsAtOnce;
  const int64_t grain =
      std::max<int64_t>(1, kWorthAThread / (work_of_a_chain(network) * kChainsAtOnce));
  at::Tensor energy = at::empty({n_chains}, x.options());
  at::Tensor score = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "mlp_value_and_score", [&] {
    at::parallel_for(0, n_pieces, grain, [&](int64_t begin, int64_t end) {
      NetworkChains<scalar_t> chains(network, weights);
      for (int64_t piece = begin; piece < end; ++piece) {
        const int64_t first = piece * kChainsAtOnce;
        chains.run(x.const_data_ptr<scalar_t>() + first * n_sites,
                   energy.mutable_data_ptr<scalar_t>() + first,
                   score.mutable_data_ptr<scalar_t>() + first * n_sites,
                   std::min(kChainsAtOnce, n_chains - first));
      }
    });
  });
  return {energy, score};
}

}  // namespace torch_ebm::detail
