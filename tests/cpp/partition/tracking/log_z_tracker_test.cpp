#include "torch_ebm/partition/tracking/log_z_tracker.h"

#include "tests/cpp/statistics.h"
#include "tests/cpp/testing.h"
#include "torch_ebm/learning/tempered_pcd.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/samplers/gibbs.h"

namespace torch_ebm::log_z_tracker_test {
namespace {

const double kBase = 8 * std::log(2.0);

RBM make_rbm() {
  RBM rbm(5, 3);
  rbm->to(at::kDouble);
  const torch::NoGradGuard no_grad;
  at::Generator generator = testing::seeded(1);
  for (at::Tensor& parameter : rbm->parameters()) {
    parameter.copy_(at::randn(parameter.sizes(), generator, at::kDouble));
  }
  return rbm;
}

const at::Tensor& betas() {
  static const at::Tensor values = at::tensor({1.0, 0.5, 0.0}, at::kDouble);
  return values;
}

TemperedPCD make_chains(int64_t n_chains) {
  TemperedPCD chains(n_chains, std::vector<int64_t>{5}, betas(), bind_sampler(gibbs), 1,
                     "bernoulli", 3);
  chains->to(at::kDouble);
  return chains;
}

TEST(LogZTracker, FollowsParametersThatChange) {
  const RBM rbm = make_rbm(), previous = make_rbm();
  TemperedPCD pcd = make_chains(200);
  LogZTracker tracker(pcd->chains, betas());
  at::Generator generator = testing::seeded(2);
  for (int64_t i = 0; i < 30; ++i) {
    pcd->forward(Energy(rbm));
    tracker->update(Energy(rbm), Energy(previous), pcd->chains, kBase);
    const torch::NoGradGuard no_grad;
    previous->weight.copy_(rbm->weight);
    if (i < 29) rbm->weight.add_(at::randn({5, 3}, generator, at::kDouble), 0.02);
  }
  const LogZEstimate estimate = tracker->estimate();
  const double error = (estimate.log_z - rbm->log_z()).item<double>();
  EXPECT_LT(std::abs(error), testing::kMaxZ * estimate.std_error.item<double>());
  EXPECT_LT(estimate.std_error.item<double>(), 0.05);
  EXPECT_TRUE(estimate.warning.empty()) << estimate.warning;
  EXPECT_TRUE(at::equal(tracker->log_z()[0], estimate.log_z));
  EXPECT_EQ(tracker->log_z()[2].item<double>(), kBase);
}

TEST(LogZTracker, AnAnchorWithoutErrorIsBelieved) {
  const RBM rbm = make_rbm();
  TemperedPCD pcd = make_chains(20);
  LogZTracker tracker(pcd->chains, betas());
  pcd->forward(Energy(rbm));
  tracker->update(Energy(rbm), Energy(rbm), pcd->chains, kBase);
  LogZEstimate exact = tracker->estimate();
  exact.log_z = rbm->log_z().detach();
  exact.std_error = at::zeros({}, at::kDouble);
  tracker->anchor(exact);
  EXPECT_TRUE(testing::close(tracker->estimate().log_z, exact.log_z, 1e-12));
  EXPECT_LT(tracker->estimate().std_error.item<double>(), 1e-9);
}

TEST(LogZTracker, LawsWithoutOverlapAndWrongArgumentsAreNamed) {
  const auto message = [](const auto& call) -> std::string {
    try {
      call();
    } catch (const c10::ValueError& error) {
      return error.what_without_backtrace();
    }
    return "nothing";
  };
  const Energy steep([](const at::Tensor& x) { return x.sum(1) * 1e6 + 1e6; });
  const Energy walled([](const at::Tensor& x) { return at::where(x.sum(1) > 9, 0.0, INFINITY); });
  TemperedPCD pcd = make_chains(4);
  LogZTracker tracker(pcd->chains, betas());
  EXPECT_NE(message([&] { tracker->estimate(); }).find("before the first update"),
            std::string::npos);
  EXPECT_NE(message([&] { tracker->update(steep, steep, pcd->chains); }).find("do not overlap"),
            std::string::npos);
  EXPECT_NE(message([&] {
              tracker->update(walled, walled, pcd->chains);
            }).find("the energy of every chain at its own rung must be finite"),
            std::string::npos);
  EXPECT_NE(message([&] { LogZTracker(pcd->chains[0], betas()); }).find("chains must have shape"),
            std::string::npos);
}

}  // namespace
}  // namespace torch_ebm::log_z_tracker_test
