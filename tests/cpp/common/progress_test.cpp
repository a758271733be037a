#include "torch_ebm/common/progress.h"

#include <chrono>
#include <thread>

#include "tests/cpp/testing.h"
#include "torch_ebm/samplers/gibbs.h"
#include "torch_ebm/samplers/langevin.h"

namespace torch_ebm::progress_test {
namespace {

/// Takes 30 ms for every answer, so that an operation lasts long enough to report.
Energy slow_energy() {
  return Energy([](const at::Tensor& x) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return x.sum(1);
  });
}

class Progress : public ::testing::Test {
 protected:
  void TearDown() override { set_progress_handler(std::move(previous_)); }

  ProgressHandler previous_ = set_progress_handler({});
};

TEST_F(Progress, HandlerHearsOfLongOperations) {
  struct Report {
    std::string operation;
    int64_t done, total;
  };
  std::vector<Report> reports;
  set_progress_handler([&](const std::string& operation, int64_t done, int64_t total) {
    reports.push_back({operation, done, total});
  });
  gibbs(slow_energy(), at::zeros({2, 10}), {.n_steps = 2});
  ASSERT_GE(reports.size(), 2u);
  EXPECT_LE(reports.size(), 20u);
  int64_t last = 0;
  for (const Report& report : reports) {
    EXPECT_EQ(report.operation, "gibbs");
    EXPECT_EQ(report.total, 2);
    EXPECT_GE(report.done, last);
    EXPECT_LE(report.done, 2);
    last = report.done;
  }
}

TEST_F(Progress, ShortOperationsAreSilent) {
  int reports = 0;
  set_progress_handler([&](const std::string&, int64_t, int64_t) { ++reports; });
  langevin(Energy([](const at::Tensor& x) { return x.sum(1); }), at::zeros({1, 1}));
  EXPECT_EQ(reports, 0);
}

TEST_F(Progress, WhatTheHandlerThrowsStopsTheOperation) {
  struct Interrupt : std::exception {
    const char* what() const noexcept override { return "interrupted"; }
  };
  int calls = 0;
  const Energy energy([&](const at::Tensor& x) {
    ++calls;
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return x.sum(1);
  });
  set_progress_handler([](const std::string&, int64_t, int64_t) { throw Interrupt(); });
  const at::Tensor x = at::zeros({1, 2});
  EXPECT_THROWS(gibbs(energy, x, {.n_steps = 1000}), Interrupt, "interrupted");
  EXPECT_LT(calls, 100);
  EXPECT_TRUE(x.eq(0).all().item<bool>());
}

TEST_F(Progress, SettingReturnsThePreviousHandler) {
  int first = 0;
  set_progress_handler([&](const std::string&, int64_t, int64_t) { ++first; });
  const ProgressHandler previous = set_progress_handler({});
  ASSERT_TRUE(previous);
  previous("op", 1, 2);
  EXPECT_EQ(first, 1);
  EXPECT_FALSE(set_progress_handler({}));
}

TEST_F(Progress, HandlerMaySetAHandler) {
  int reports = 0;
  set_progress_handler([&](const std::string&, int64_t, int64_t) {
    ++reports;
    set_progress_handler({});
  });
  gibbs(slow_energy(), at::zeros({1, 10}), {.n_steps = 2});
  EXPECT_EQ(reports, 1);
}

TEST(DefaultProgress, IsSilentWithoutPython) {
  EXPECT_NO_THROW(gibbs(slow_energy(), at::zeros({1, 5})));
}

}  // namespace
}  // namespace torch_ebm::progress_test
