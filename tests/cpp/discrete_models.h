#pragma once
// Small discrete models as energies, and their samplers' transition matrices written down naively.

#include <ATen/ATen.h>

#include <cmath>
#include <memory>
#include <tuple>
#include <vector>

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm::testing {

/// E(x) = -x W x / 2 - b x - softplus(x U), of binary units or one-hot ones, x (N, ...); no quadratic function.
class CurvedEnergy {
 public:
  explicit CurvedEnergy(int64_t n_units)
      : weight_(at::randn({n_units, n_units}, seeded(42), at::kDouble)),
        bias_(at::randn({n_units}, seeded(43), at::kDouble)),
        curve_(2 * at::randn({n_units}, seeded(44), at::kDouble)) {}

  at::Tensor operator()(const at::Tensor& x) const {
    const at::Tensor rows = x.reshape({x.size(0), -1}).to(at::kDouble);
    return -0.5 * (rows.matmul(weight_) * rows).sum(1) - rows.matmul(bias_) -
           at::softplus(rows.matmul(curve_));
  }
  /// -dE/dx, in closed form.
  at::Tensor score(const at::Tensor& x) const {
    const at::Tensor rows = x.reshape({x.size(0), -1});
    const at::Tensor slope = at::sigmoid(rows.matmul(curve_)).unsqueeze(1) * curve_;
    return (0.5 * rows.matmul(weight_ + weight_.t()) + bias_ + slope).view(x.sizes());
  }

 private:
  at::Tensor weight_, bias_, curve_;
};

/// E(x) = 0, but where two units, or sites of state 1, are on the first component of the score is `value`.
class Cliff : public EnergyFunction {
 public:
  explicit Cliff(double value) : value_(value) {}

  static at::Tensor units_on(const at::Tensor& x) {
    return (x.dim() == 3 ? x.select(2, 1) : x).sum(1);
  }
  at::Tensor value(const at::Tensor& x) const override {
    return at::zeros({x.size(0)}, x.options());
  }
  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override {
    at::Tensor score = at::zeros_like(x);
    at::Tensor first = score.flatten(1).select(1, x.dim() == 3 ? 1 : 0);
    first.masked_fill_(units_on(x).gt(1.5), value_);
    return {value(x), score};
  }

 private:
  double value_;
};

/// That sample(energy, x) keeps chains off the states without a finite score.
template <typename Sample>
void expect_no_way_over_the_cliff(Sample sample, const at::Tensor& start) {
  for (double value : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
    const at::Tensor units_on =
        Cliff::units_on(sample(Energy(std::make_shared<Cliff>(value)), start));
    EXPECT_TRUE(units_on.le(1).all().item<bool>()) << value;
    EXPECT_TRUE(units_on.eq(1).any().item<bool>()) << value;
  }
}

/// All states of n sites of K states, one-hot, (K^n, n, K): site i of row r is digit i of r, the lowest first.
inline at::Tensor all_one_hot(int64_t n_sites, int64_t n_states) {
  at::Tensor numbers = at::arange(static_cast<int64_t>(std::pow(n_states, n_sites)));
  std::vector<at::Tensor> digits;
  for (int64_t site = 0; site < n_sites; ++site) {
    digits.push_back(numbers.remainder(n_states));
    numbers = numbers.floor_divide(n_states);
  }
  return at::one_hot(at::stack(digits, 1), n_states).to(at::kDouble);
}

/// The Metropolis-Hastings kernel of a proposal (R, R) with a zero only where its reverse is zero.
inline at::Tensor metropolis_hastings(const at::Tensor& proposal, const at::Tensor& energies) {
  const at::Tensor weight = at::exp(-energies).unsqueeze(1);
  const at::Tensor flow = weight * proposal;
  at::Tensor kernel = at::minimum(flow, flow.t()) / weight;
  kernel.diagonal().add_(1 - kernel.sum(1));
  return kernel;
}

/// Which row of `states`, (R, ...), each of x, (N, ...), is.
inline at::Tensor row_numbers(const at::Tensor& x, const at::Tensor& states) {
  const at::Tensor rows = states.reshape({states.size(0), -1});
  return x.reshape({x.size(0), 1, -1}).eq(rows).all(2).to(at::kInt).argmax(1);
}

/// That one step, `step(x)`, of n chains from every state follows the rows of `kernel`.
template <typename Step>
void expect_kernel(Step step, const at::Tensor& states, const at::Tensor& kernel, int64_t n) {
  for (int64_t row = 0; row < states.size(0); ++row) {
    const at::Tensor start = states.narrow(0, row, 1).repeat_interleave(n, 0);
    const at::Tensor numbers = row_numbers(step(start), states);
    EXPECT_TRUE(counts_fit(at::bincount(numbers, {}, states.size(0)), kernel[row])) << row;
  }
}

}  // namespace torch_ebm::testing
