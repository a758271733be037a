#include "torch_ebm/partition/exact/quadrature_log_z.h"

#include <torch/library.h>

#include <cmath>
#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/partition/exact/log_sum.h"

namespace torch_ebm {

namespace {

constexpr const char* kQuadratureLogZ = "quadrature_log_z";
constexpr int64_t kPointsOfPanel = 16;
constexpr int64_t kMaxPanels = 65536;
constexpr int64_t kDefaultPanels[] = {64, 32, 8};

/// Points in [-1, 1] and weights, float64, (n,).
struct Rule {
  at::Tensor points;
  at::Tensor weights;
};

/// The points are the eigenvalues of the matrix of the recurrence of the Legendre polynomials, the weights the squares of
/// the first components of its eigenvectors, twice (Golub & Welsch 1969).
Rule gauss_legendre(int64_t n) {
  const at::Tensor k = at::arange(1, n, at::kDouble);
  const at::Tensor off_diagonal = k / (4 * k.square() - 1).sqrt();
  const auto [points, vectors] = at::linalg_eigh(at::diag_embed(off_diagonal, -1), "L");
  return {points, 2 * vectors[0].square()};
}

/// The rule on every one of n_panels equal parts of [low, high]; weights as logarithms.
Rule in_panels(const Rule& rule, double low, double high, int64_t n_panels) {
  const double half = (high - low) / (2 * static_cast<double>(n_panels));
  const at::Tensor middle = low + half * (2 * at::arange(n_panels, at::kDouble) + 1);
  return {(middle.unsqueeze(1) + half * rule.points).flatten(),
          (half * rule.weights).log().repeat({n_panels})};
}

/// The points of all dimensions, as many in each.
class Grid {
 public:
  Grid(at::ArrayRef<double> low, at::ArrayRef<double> high, int64_t n_panels, int64_t per_panel,
       const at::TensorOptions& options)
      : per_side_(n_panels * per_panel), options_(options) {
    const Rule rule = gauss_legendre(per_panel);
    for (size_t i = 0; i < low.size(); ++i) {
      Rule side = in_panels(rule, low[i], high[i], n_panels);
      sides_.push_back({side.points.to(options.device()), side.weights.to(options.device())});
      size_ *= per_side_;
    }
  }

  int64_t size() const { return size_; }

  struct Points {
    at::Tensor x;           // (N, d)
    at::Tensor log_weight;  // (N,)
    at::Tensor at_border;   // (N,), true for the first and the last of a side
  };
  Points between(int64_t begin, int64_t end) const {
    at::Tensor number = at::arange(begin, end, options_.dtype(at::kLong));
    at::Tensor log_weight = at::zeros({end - begin}, options_.dtype(at::kDouble));
    at::Tensor at_border = at::zeros({end - begin}, options_.dtype(at::kBool));
    std::vector<at::Tensor> coordinates;
    for (const Rule& side : sides_) {
      const at::Tensor index = number.remainder(per_side_);
      number = number.floor_divide(per_side_);
      coordinates.push_back(side.points.index_select(0, index));
      log_weight += side.weights.index_select(0, index);
      at_border |= index.eq(0).logical_or(index.eq(per_side_ - 1));
    }
    return {at::stack(coordinates, 1).to(options_.dtype()), log_weight, at_border};
  }

 private:
  int64_t per_side_;
  at::TensorOptions options_;
  std::vector<Rule> sides_;
  int64_t size_ = 1;
};

struct Sum {
  at::Tensor log_z;
  at::Tensor border;
};

Sum sum_over(const Grid& grid, const Energy& energy) {
  constexpr double kNothing = -std::numeric_limits<double>::infinity();
  at::Tensor highest, highest_at_border;
  const auto raise = [](at::Tensor& bound, const at::Tensor& values) {
    bound = bound.defined() ? at::maximum(bound, values.max()) : values.max();
  };
  const at::Tensor log_z = detail::log_sum_in_batches(
      kQuadratureLogZ, grid.size(), detail::kStatesAtOnce, [&](int64_t begin, int64_t end) {
        const Grid::Points points = grid.between(begin, end);
        const at::Tensor log_density =
            detail::checked_negative_energies(kQuadratureLogZ, energy, points.x);
        raise(highest, log_density);
        raise(highest_at_border, log_density.masked_fill(~points.at_border, kNothing));
        return log_density + points.log_weight;
      });
  TORCH_CHECK_VALUE(!log_z.isneginf().item<bool>(), kQuadratureLogZ,
                    ": the energy is +inf at all points of the box");
  return {log_z, (highest_at_border - highest).exp()};
}

void check_box(at::ArrayRef<double> low, at::ArrayRef<double> high) {
  TORCH_CHECK_VALUE(low.size() >= 1 && low.size() <= 3, kQuadratureLogZ,
                    ": low must have 1, 2 or 3 numbers, one a dimension, got ", low.size());
  TORCH_CHECK_VALUE(high.size() == low.size(), kQuadratureLogZ,
                    ": high must have as many numbers as low, ", low.size(), ", got ", high.size());
  for (size_t i = 0; i < low.size(); ++i) {
    TORCH_CHECK_VALUE(std::isfinite(low[i]) && std::isfinite(high[i]) && low[i] < high[i],
                      kQuadratureLogZ, ": low must be below high, both finite, got ", low[i],
                      " and ", high[i], " in dimension ", i);
  }
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> quadrature_log_z_op(
    const c10::IValue& energy, at::ArrayRef<double> low, at::ArrayRef<double> high,
    std::optional<int64_t> n_panels, std::optional<int64_t> dtype,
    std::optional<at::Device> device) {
  const auto options =
      at::TensorOptions().dtype(detail::checked_dtype(kQuadratureLogZ, dtype)).device(device);
  auto result =
      quadrature_log_z(Energy::from_ivalue(kQuadratureLogZ, energy), low, high, n_panels, options);
  return {result.log_z, result.error, result.border};
}

}  // namespace

QuadratureLogZ quadrature_log_z(const Energy& energy, at::ArrayRef<double> low,
                                at::ArrayRef<double> high, std::optional<int64_t> n_panels,
                                const at::TensorOptions& options) {
  check_box(low, high);
  detail::check_dtype(kQuadratureLogZ, c10::typeMetaToScalarType(options.dtype()));
  TORCH_CHECK_NOT_IMPLEMENTED(!options.device().is_meta(), kQuadratureLogZ,
                              ": device must hold values, got meta");
  const int64_t panels = n_panels.value_or(kDefaultPanels[low.size() - 1]);
  TORCH_CHECK_VALUE(panels >= 1 && panels <= kMaxPanels, kQuadratureLogZ,
                    ": n_panels must be between 1 and ", kMaxPanels, ", got ", panels);
  const detail::NoGradMode no_grad;
  const auto sum = [&](int64_t per_panel) {
    return sum_over(Grid(low, high, panels, per_panel, options), energy);
  };
  const at::Tensor coarse = sum(kPointsOfPanel / 2).log_z;
  const Sum fine = sum(kPointsOfPanel);
  return {fine.log_z, (fine.log_z - coarse).abs(), fine.border};
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("quadrature_log_z", &quadrature_log_z_op);
}

}  // namespace torch_ebm
