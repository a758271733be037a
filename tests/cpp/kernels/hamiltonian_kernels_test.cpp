// The passes of Hamiltonian dynamics, in every instruction set, against the same in float64, one number at a time.

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/cpp/kernels/kernels_probe.h"

namespace torch_ebm::kernels {
namespace {

constexpr int64_t kChains = 5;

template <typename T>
std::vector<T> normals(int64_t n_sites, uint32_t stream) {
  std::vector<T> out(kChains * n_sites);
  table_of<T>(baseline::probe).fill_normal(out.data(), {0, kChains, n_sites}, {7, 0, stream});
  return out;
}

/// One phase point of some chains, and the scales of a pass.
template <typename T>
struct Phase {
  explicit Phase(int64_t n)
      : n_sites(n), x(normals<T>(n, 1)), p(normals<T>(n, 2)), score(normals<T>(n, 3)), w(x.size()) {
    for (size_t i = 0; i < w.size(); ++i) w[i] = T(0.1) + T(i % 7);
  }

  /// The inverse mass of every chain, of one row for all, or one number for all.
  PerUnit<T> inverse_mass(int kind) const { return {w.data(), kind == 0 ? n_sites : 0, kind == 2}; }
  double inverse_mass(int kind, int64_t row, int64_t site) const {
    return kind == 2 ? w[0] : w[(kind == 0 ? row * n_sites : 0) + site];
  }

  int64_t n_sites;
  std::vector<T> x, p, score, w;
  std::vector<T> kick = {T(0.5), T(-1), T(0), T(2), T(0.25)};
  std::vector<T> drift = {T(1), T(0.5), T(-0.5), T(0), T(3)};
};

/// Calls check(table, phase, kind) for every instruction set, several widths and all three kinds of a mass.
template <typename T, typename Check>
void for_all(Check check) {
  for (int64_t n : {1, 3, 16, 17, 65, 130}) {
    const Phase<T> phase(n);
    for (const Probe* probe : instruction_sets()) {
      SCOPED_TRACE(probe->name);
      for (int kind : {0, 1, 2}) check(table_of<T>(*probe), phase, kind);
    }
  }
}

template <typename T>
class HamiltonianKernels : public ::testing::Test {
 protected:
  static constexpr double kTolerance = sizeof(T) == 4 ? 1e-5 : 1e-13;
};
using FloatingTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(HamiltonianKernels, FloatingTypes, );

TYPED_TEST(HamiltonianKernels, AKickAndADrift) {
  using T = TypeParam;
  for_all<T>([&](const Table<T>& table, const Phase<T>& phase, int kind) {
    const LeapScales<T> scales{
        {phase.kick.data(), 1}, {phase.drift.data(), 1}, phase.inverse_mass(kind)};
    std::vector<T> x = phase.x, p = phase.p;  // in place
    table.kick_and_drift(x.data(), p.data(), phase.score.data(), scales, x.data(), p.data(),
                         {0, kChains, phase.n_sites});
    for (int64_t i = 0; i < kChains * phase.n_sites; ++i) {
      const int64_t row = i / phase.n_sites;
      const double kicked = phase.p[i] + double(phase.kick[row]) * phase.score[i];
      const double speed = phase.inverse_mass(kind, row, i % phase.n_sites) * kicked;
      EXPECT_NEAR(p[i], kicked, this->kTolerance);
      EXPECT_NEAR(x[i], phase.x[i] + phase.drift[row] * speed, 30 * this->kTolerance);
    }
  });
}

TYPED_TEST(HamiltonianKernels, AKickAndItsKineticEnergy) {
  using T = TypeParam;
  for_all<T>([&](const Table<T>& table, const Phase<T>& phase, int kind) {
    std::vector<T> p(phase.p.size());
    std::vector<double> kinetic(kChains);
    table.kick(phase.p.data(), phase.score.data(), {phase.kick.data(), 1}, phase.inverse_mass(kind),
               p.data(), kinetic.data(), {0, kChains, phase.n_sites});
    for (int64_t row = 0; row < kChains; ++row) {
      double expected = 0;
      for (int64_t site = 0; site < phase.n_sites; ++site) {
        const int64_t i = row * phase.n_sites + site;
        const double kicked = phase.p[i] + double(phase.kick[row]) * phase.score[i];
        EXPECT_NEAR(p[i], kicked, this->kTolerance);
        expected += phase.inverse_mass(kind, row, site) * kicked * kicked / 2;
      }
      EXPECT_NEAR(kinetic[row] / expected, 1, this->kTolerance);
    }
  });
}

TYPED_TEST(HamiltonianKernels, MomentaAreTheNormalNumbersScaled) {
  using T = TypeParam;
  for_all<T>([&](const Table<T>& table, const Phase<T>& phase, int kind) {
    std::vector<T> p(phase.p.size());
    std::vector<double> kinetic(kChains);
    table.draw_momentum(phase.inverse_mass(kind), p.data(), kinetic.data(),
                        {0, kChains, phase.n_sites}, {7, 0, 2});
    for (int64_t row = 0; row < kChains; ++row) {
      double expected = 0;
      for (int64_t site = 0; site < phase.n_sites; ++site) {
        const int64_t i = row * phase.n_sites + site;
        EXPECT_NEAR(p[i], phase.inverse_mass(kind, row, site) * phase.p[i], 30 * this->kTolerance);
        expected += double(phase.p[i]) * phase.p[i] / 2;
      }
      EXPECT_NEAR(kinetic[row] / expected, 1, 10 * this->kTolerance);
    }
  });
}

}  // namespace
}  // namespace torch_ebm::kernels
