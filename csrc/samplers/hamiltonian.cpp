#include "csrc/samplers/hamiltonian.h"

#include "csrc/common/checks.h"
#include "csrc/common/parallel.h"

namespace torch_ebm::detail {

namespace {

int64_t units_of(const at::Tensor& x) { return x.numel() / x.size(0); }

/// A weight of the shape of x, of one of its rows, or (), for the kernels.
template <typename T>
kernels::PerUnit<T> per_unit(const at::Tensor& weight, const at::Tensor& x) {
  const bool in_every_row = weight.numel() == x.numel();
  return {weight.const_data_ptr<T>(), in_every_row ? units_of(x) : 0, weight.dim() == 0};
}

/// x + scale weight y: scale () or (N,), float64; weight of the shape of x, of one of its rows, or ().
at::Tensor add_scaled(const at::Tensor& x, const at::Tensor& scale, const at::Tensor& weight,
                      const at::Tensor& y) {
  if (!has_kernel(x) || y.scalar_type() != x.scalar_type()) {
    return x.addcmul(weight * y, per_chain(scale, x));
  }
  at::Tensor out = at::empty_like(x);
  const at::Tensor other = y.contiguous();
  const at::Tensor row_scale = scale.to(x.scalar_type()).contiguous();
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "add_scaled", [&] {
    const kernels::PerRow<scalar_t> rows_of{row_scale.const_data_ptr<scalar_t>(), row_scale.dim()};
    const auto weights = per_unit<scalar_t>(weight, x);
    const scalar_t* const from = x.const_data_ptr<scalar_t>();
    const scalar_t* const added = other.const_data_ptr<scalar_t>();
    scalar_t* const to = out.mutable_data_ptr<scalar_t>();
    parallel_rows(x.size(0), units_of(x), [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().add_scaled(from, rows_of, weights, added, to, rows);
    });
  });
  return out;
}

/// sum weight x^2 over the units, (N,), float64.
at::Tensor sum_squares(const at::Tensor& x, const at::Tensor& weight) {
  if (!has_kernel(x)) return sum_units(x.square() * weight);
  at::Tensor sums = at::empty({x.size(0)}, x.options().dtype(at::kDouble));
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "sum_squares", [&] {
    const auto weights = per_unit<scalar_t>(weight, x);
    const scalar_t* const from = x.const_data_ptr<scalar_t>();
    double* const to = sums.mutable_data_ptr<double>();
    parallel_rows(x.size(0), units_of(x), [&](kernels::Rows rows) {
      kernels::kernels<scalar_t>().sum_squares(from, weights, to, rows);
    });
  });
  return sums;
}

}  // namespace

PhasePoint PhasePoint::where(const at::Tensor& mask, const PhasePoint& other) const {
  return {where_chains(mask, x, other.x), at::where(mask, energy, other.energy),
          where_chains(mask, score, other.score), where_chains(mask, momentum, other.momentum)};
}

Hamiltonian::Hamiltonian(const char* op, const Energy& energy, const ChainRun& chains,
                         const std::optional<at::Tensor>& inverse_mass)
    : op_(op), energy_(energy), chains_(chains), one_(at::ones({}, chains.x.options())) {
  const at::Tensor& x = chains.x;
  check_finite(op, "x", x);
  if (!inverse_mass || !inverse_mass->defined()) {
    inverse_mass_ = one_;
    return;
  }
  const auto shape = inverse_mass->sizes();
  TORCH_CHECK_VALUE(shape.empty() || shape == x.sizes() || shape == x.sizes().slice(1), op,
                    ": inverse_mass must have the shape of one state, ",
                    describe_shape(x.sizes().slice(1)), ", of all, ", describe_shape(x.sizes()),
                    ", or (), got ", describe_shape(shape));
  inverse_mass_ = inverse_mass->detach().to(x.options()).contiguous();
  check_finite(op, "inverse_mass", inverse_mass_);
  TORCH_CHECK_VALUE(inverse_mass_.gt(0).all().item<bool>(), op,
                    ": inverse_mass must be positive, got ", inverse_mass_.min().item<double>());
}

PhasePoint Hamiltonian::at(const at::Tensor& x) const {
  const auto [energy, score] = energy_.value_and_score(x, chains_.beta);
  return {x, energy.to(at::kDouble), score, {}};
}

PhasePoint Hamiltonian::start() const {
  PhasePoint point = at(chains_.x);
  check_chains_finite(op_, "energy", point.energy, 0);
  check_chains_finite(op_, "score", point.score, 0);
  return point;
}

at::Tensor Hamiltonian::momentum(kernels::Draw draw) const {
  at::Tensor noise = normal_like(chains_.x, draw);
  return inverse_mass_.is_same(one_) ? noise : noise.div_(inverse_mass_.sqrt());
}

at::Tensor Hamiltonian::kick(const at::Tensor& momentum, const at::Tensor& score,
                             const at::Tensor& time) const {
  return add_scaled(momentum, time, one_, score);
}

at::Tensor Hamiltonian::drift(const at::Tensor& x, const at::Tensor& momentum,
                              const at::Tensor& time) const {
  return add_scaled(x, time, inverse_mass_, momentum);
}

at::Tensor Hamiltonian::total(const PhasePoint& point) const {
  return point.energy + 0.5 * sum_squares(point.momentum, inverse_mass_);
}

PhasePoint Hamiltonian::leapfrog(const PhasePoint& point, const at::Tensor& step_size) const {
  const at::Tensor half = step_size / 2;
  const at::Tensor momentum = kick(point.momentum, point.score, half);
  PhasePoint next = at(drift(point.x, momentum, step_size));
  next.momentum = kick(momentum, next.score, half);
  return next;
}

}  // namespace torch_ebm::detail
