#include "torch_ebm/partition/exact/lattice_log_z.h"

#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "csrc/common/savable.h"
#include "csrc/partition/exact/log_sum.h"
#include "csrc/passes/plain_tensors.h"

namespace torch_ebm {

namespace {

constexpr const char* kLatticeLogZ = "lattice_log_z";
constexpr int kMaxLogStates = 24;
constexpr int64_t kNumbersAtOnce = 1 << 20;
/// The log weight of what is forbidden: -inf would make the gradient of a logarithm of zeros NaN.
constexpr double kForbidden = -1e300;

/// The negative energies, float64. `along` and `across` have as many couplings as their sides, or one less.
struct Lattice {
  at::Tensor site, along, across;

  int64_t length() const { return site.size(0); }
  int64_t width() const { return site.size(1); }
  int64_t n_states() const { return site.size(2); }
  bool periodic_length() const { return along.size(0) == length(); }
  bool periodic_width() const { return across.size(1) == width(); }

  /// How many sites have their states enumerated: those of a row, and of the first one too if the last is its
  /// neighbour.
  int64_t enumerated() const { return periodic_length() ? 2 * width() : width(); }

  Lattice transposed() const {
    return {site.transpose(0, 1), across.transpose(0, 1), along.transpose(0, 1)};
  }
};

/// n_states^exponent.
int64_t power(int64_t n_states, int64_t exponent) {
  int64_t result = 1;
  for (int64_t i = 0; i < exponent; ++i) result *= n_states;
  return result;
}

/// Log weights of the states of a row, site by site: (F, Q^W), the first site being the slowest digit; F rows at once.
class Row {
 public:
  Row(const Lattice& lattice, at::Tensor log_weights)
      : lattice_(lattice), log_weights_(std::move(log_weights)) {}

  const at::Tensor& log_weights() const { return log_weights_; }

  /// The energies within row l.
  void weigh(int64_t l) {
    const int64_t width = lattice_.width();
    for (int64_t w = 0; w < width; ++w) add_at(w, lattice_.site[l][w], n_states());
    for (int64_t w = 0; w + 1 < width; ++w) {
      add_at(w, lattice_.across[l][w], n_states() * n_states());
    }
    if (lattice_.periodic_width()) close(lattice_.across[l][width - 1]);
  }

  /// From row l to the next.
  void step(int64_t l) {
    for (int64_t w = 0; w < lattice_.width(); ++w) {
      const at::Tensor table = lattice_.along[l][w].unsqueeze(2);  // (Q, Q', 1)
      const at::Tensor from = split(w, n_states()).unsqueeze(2);   // (., Q, 1, .)
      log_weights_ = at::logsumexp(from + table, {1}).reshape(log_weights_.sizes());
    }
  }

 private:
  int64_t n_states() const { return lattice_.n_states(); }

  /// As (., size, .), the middle beginning with site w.
  at::Tensor split(int64_t w, int64_t size) const {
    return log_weights_.reshape({log_weights_.size(0) * power(n_states(), w), size, -1});
  }

  /// A function of site w, (Q,), or of w and w + 1, (Q, Q).
  void add_at(int64_t w, const at::Tensor& table, int64_t size) {
    log_weights_ = (split(w, size) + table.reshape({-1, 1})).reshape(log_weights_.sizes());
  }

  /// A function of the last site and the first.
  void close(const at::Tensor& table) {
    if (lattice_.width() == 1) return add_at(0, table.diagonal(), n_states());
    const at::Tensor ends =
        log_weights_.reshape({log_weights_.size(0), n_states(), -1, n_states()});
    log_weights_ = (ends + table.t().unsqueeze(1)).reshape(log_weights_.sizes());
  }

  const Lattice& lattice_;
  at::Tensor log_weights_;
};

at::Tensor free_log_z(const Lattice& lattice) {
  const int64_t n_rows = power(lattice.n_states(), lattice.width());
  Row row(lattice, at::zeros({1, n_rows}, lattice.site.options()));
  detail::Progress progress(kLatticeLogZ, lattice.length());
  for (int64_t l = 0; l < lattice.length(); ++l) {
    if (l > 0) row.step(l - 1);
    row.weigh(l);
    progress.step(l + 1);
  }
  return at::logsumexp(row.log_weights(), {0, 1});
}

/// log of the trace of the product of transfer matrices, for some states of the first row at a
/// time: after the last step the row must be in its first state again.
at::Tensor periodic_log_z(const Lattice& lattice) {
  const int64_t n_rows = power(lattice.n_states(), lattice.width());
  const at::Tensor number = at::arange(n_rows, lattice.site.options().dtype(at::kLong));
  return detail::log_sum_in_batches(
      kLatticeLogZ, n_rows, std::max<int64_t>(1, kNumbersAtOnce / n_rows),
      [&](int64_t begin, int64_t end) {
        const at::Tensor first = number.slice(0, begin, end).unsqueeze(1);
        const at::Tensor start = at::zeros({end - begin, n_rows}, lattice.site.options())
                                     .masked_fill(number.ne(first), kForbidden);
        Row row(lattice, start);
        for (int64_t l = 0; l < lattice.length(); ++l) {
          row.weigh(l);
          row.step(l);
        }
        return row.log_weights().gather(1, first);
      });
}

/// Energies of pairs of neighbouring rows: log of the matrix that a periodic length multiplies, (Q^W, Q^W).
at::Tensor log_transfer_matrix(const Lattice& row) {
  const int64_t q = row.n_states();
  Row weights(row, at::zeros({1, power(q, row.width())}, row.site.options()));
  weights.weigh(0);
  at::Tensor matrix = at::zeros({1, 1}, row.site.options());
  for (int64_t w = 0; w < row.width(); ++w) {  // as Kronecker's product, in logarithms
    const int64_t n = matrix.size(0) * q;
    const at::Tensor table = row.along[0][w].view({1, q, 1, q});
    matrix = (matrix.unsqueeze(1).unsqueeze(3) + table).reshape({n, n});
  }
  return matrix + weights.log_weights().t();
}

/// scale exp(log_scale): a product of positive matrices without overflow.
struct Scaled {
  at::Tensor matrix, log_scale;

  static Scaled of(const at::Tensor& matrix, const at::Tensor& log_scale) {
    const at::Tensor largest = matrix.detach().max();
    return {matrix / largest, log_scale + at::log(largest)};
  }
};

/// Some rows at a time, between which it can be stopped.
at::Tensor product(const at::Tensor& a, const at::Tensor& b, detail::Progress& progress,
                   int64_t done) {
  constexpr int64_t kProductsAtOnce = 1 << 30;
  const int64_t rows = std::max<int64_t>(1, kProductsAtOnce / b.numel());
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : a.split(rows)) {
    parts.push_back(at::mm(part, b));
    progress.step(done);
  }
  return at::cat(parts);
}

/// log of the trace of the matrix to the power of `length`, by squaring.
at::Tensor log_trace_of_power(const at::Tensor& log_matrix, int64_t length) {
  detail::Progress progress(kLatticeLogZ, length);
  const at::Tensor largest = log_matrix.detach().max();
  Scaled square{at::exp(log_matrix - largest), largest};
  std::optional<Scaled> odd;  // the factors that squaring leaves over
  for (int64_t left = length, done = 1; left > 1; left /= 2, done *= 2) {
    if (left % 2 == 1) {
      odd = odd ? Scaled::of(product(odd->matrix, square.matrix, progress, done),
                             odd->log_scale + square.log_scale)
                : square;
    }
    if (left < 4 && !odd) {  // the trace of a square takes no product
      return at::log((square.matrix * square.matrix.t()).sum()) + 2 * square.log_scale;
    }
    square =
        Scaled::of(product(square.matrix, square.matrix, progress, done), 2 * square.log_scale);
  }
  if (!odd) return at::log(square.matrix.trace()) + square.log_scale;
  return at::log((odd->matrix * square.matrix.t()).sum()) + odd->log_scale + square.log_scale;
}

/// log Z of `length` equal rows in a ring, or nothing where the weights of a pair of rows differ by so much that the
/// smallest could vanish. In a product of positive matrices, ratios of elements are at most the square of those in a factor.
std::optional<at::Tensor> equal_rows_log_z(const Lattice& row, int64_t length) {
  constexpr double kLargestLogRatio = 300;
  const at::Tensor log_matrix = log_transfer_matrix(row);
  const at::Tensor range = log_matrix.detach().max() - log_matrix.detach().min();
  if (!(range.item<double>() < kLargestLogRatio)) return std::nullopt;
  return log_trace_of_power(log_matrix, length);
}

/// Whether the rows of a lattice that is periodic in its length are equal, and no derivative tells them apart.
bool has_equal_rows(const Lattice& lattice) {
  for (const at::Tensor* energies : {&lattice.site, &lattice.along, &lattice.across}) {
    if (!detail::is_plain(*energies) || (at::GradMode::is_enabled() && energies->requires_grad()) ||
        !energies->eq(energies->slice(0, 0, 1)).all().item<bool>()) {
      return false;
    }
  }
  return true;
}

Lattice first_row(const Lattice& lattice) {
  return {lattice.site.slice(0, 0, 1), lattice.along.slice(0, 0, 1), lattice.across.slice(0, 0, 1)};
}

/// One by one: a tracer's tensor has no sizes() but fixes a size that is asked for.
std::vector<int64_t> sizes_of(const at::Tensor& tensor) {
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < tensor.dim(); ++i) sizes.push_back(tensor.size(i));
  return sizes;
}

void check_couplings(const char* name, const at::Tensor& couplings, const at::Tensor& site_energy,
                     int64_t side) {
  detail::check_same_type(kLatticeLogZ, name, couplings, "site_energy", site_energy);
  const int64_t q = site_energy.size(2);
  const std::vector<int64_t> periodic = {site_energy.size(0), site_energy.size(1), q, q};
  std::vector<int64_t> free = periodic;
  free[side] -= 1;
  const std::vector<int64_t> got = sizes_of(couplings);
  TORCH_CHECK_VALUE(got == periodic || got == free, kLatticeLogZ, ": ", name, " must have shape ",
                    detail::describe_shape(free), ", or where it is periodic ",
                    detail::describe_shape(periodic), ", got ", detail::describe_shape(got));
}

void check_size(int64_t n_states, int64_t enumerated) {
  const double log_states = static_cast<double>(enumerated) * std::log2(n_states);
  TORCH_CHECK_VALUE(log_states <= kMaxLogStates, kLatticeLogZ, ": at most 2^", kMaxLogStates,
                    " states are enumerated, Q^W, or Q^(2W) if the length is periodic, got ",
                    n_states, "^", enumerated);
}

at::Tensor lattice_log_z_composite(const at::Tensor& site_energy, const at::Tensor& along,
                                   const at::Tensor& across) {
  detail::check_floating(kLatticeLogZ, "site_energy", site_energy);
  const std::vector<int64_t> sizes = sizes_of(site_energy);
  TORCH_CHECK_VALUE(sizes.size() == 3 && std::ranges::min(sizes) > 0, kLatticeLogZ,
                    ": site_energy must have shape (L, W, Q), none of them 0, got ",
                    detail::describe_shape(sizes));
  check_couplings("along", along, site_energy, 0);
  check_couplings("across", across, site_energy, 1);
  const auto negative = [](const at::Tensor& energies) {
    return (-energies.to(at::kDouble)).clamp_min(kForbidden);
  };
  const Lattice given{negative(site_energy), negative(along), negative(across)};
  const Lattice turned = given.transposed();
  const Lattice& lattice = turned.enumerated() < given.enumerated() ? turned : given;
  check_size(lattice.n_states(), lattice.enumerated());
  if (lattice.periodic_length() && !detail::is_traced() && has_equal_rows(lattice)) {
    if (auto log_z = equal_rows_log_z(first_row(lattice), lattice.length())) return *log_z;
  }
  const at::Tensor log_z =
      lattice.periodic_length() ? periodic_log_z(lattice) : free_log_z(lattice);
  return log_z.masked_fill(log_z < kForbidden / 2, -std::numeric_limits<double>::infinity());
}

at::Tensor ising_log_z_composite(const at::Tensor& coupling, const std::optional<at::Tensor>& field,
                                 at::IntArrayRef size, std::array<bool, 2> periodic) {
  const char* const op = "ising_log_z";
  detail::check_floating(op, "coupling", coupling);
  detail::check_shape(op, "coupling", coupling, {}, "()");
  if (field) {
    detail::check_same_type(op, "field", *field, "coupling", coupling);
    detail::check_shape(op, "field", *field, {}, "()");
  }
  constexpr int64_t kLongest = 1 << 24;
  TORCH_CHECK_VALUE(size.size() == 2 && size[0] >= 1 && size[1] >= 1 && size[0] <= kLongest &&
                        size[1] <= kLongest,
                    op, ": size must be a length and a width between 1 and 2^24, got ",
                    detail::describe_shape(size));
  const int64_t length = size[0], width = size[1];
  const at::Tensor spin = at::arange(-1, 2, 2, coupling.options());
  const at::Tensor bond = -coupling * spin * spin.unsqueeze(1);
  const at::Tensor site = field ? -*field * spin : at::zeros_like(spin);
  if (periodic[0] && periodic[1] && !detail::is_traced() && detail::is_plain(site) &&
      detail::is_plain(bond)) {
    const int64_t row = std::min(length, width);
    check_size(2, 2 * row);
    const at::Tensor along = bond.to(at::kDouble).neg().expand({1, row, 2, 2});
    const Lattice one_row{site.to(at::kDouble).neg().expand({1, row, 2}), along, along};
    if (auto log_z = equal_rows_log_z(one_row, std::max(length, width))) return *log_z;
  }
  return lattice_log_z(site.expand({length, width, 2}),
                       bond.expand({periodic[0] ? length : length - 1, width, 2, 2}),
                       bond.expand({length, periodic[1] ? width : width - 1, 2, 2}));
}

}  // namespace

at::Tensor lattice_log_z(const at::Tensor& site_energy, const at::Tensor& along,
                         const at::Tensor& across) {
  static const auto op =
      detail::find_operator<decltype(lattice_log_z_composite)>("torch_ebm::lattice_log_z");
  return op.call(site_energy, along, across);
}

at::Tensor ising_log_z(const at::Tensor& coupling, const std::optional<at::Tensor>& field,
                       std::array<int64_t, 2> size, std::array<bool, 2> periodic) {
  static const auto op =
      detail::find_operator<decltype(ising_log_z_composite)>("torch_ebm::ising_log_z");
  return op.call(coupling, field, size, periodic);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeImplicitAutograd, m) {
  m.impl("ising_log_z", detail::with_savable<&ising_log_z_composite>);
  m.impl("lattice_log_z", detail::with_savable<&lattice_log_z_composite>);
}
TORCH_LIBRARY_IMPL(torch_ebm, FuncTorchBatchedDecomposition, m) {
  m.impl("ising_log_z", detail::with_savable<&ising_log_z_composite>);
  m.impl("lattice_log_z", detail::with_savable<&lattice_log_z_composite>);
}

}  // namespace torch_ebm
