#include "torch_ebm/learning/training_monitor.h"

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cmath>
#include <sstream>

#include "tests/cpp/testing.h"

namespace torch_ebm::training_monitor_test {
namespace {

using testing::seeded;

struct Update {
  at::Tensor positive_energies = at::randn({50}, seeded(1));
  at::Tensor negative_energies = at::randn({50}, seeded(2));
  at::Tensor positive = at::randn({50, 3}, seeded(3));
  at::Tensor negative = at::randn({50, 3}, seeded(4));
  at::Tensor start = at::randn({50, 3}, seeded(5));

  void apply(TrainingMonitor& monitor) const {
    monitor.update(positive_energies, negative_energies, positive, negative, start);
  }
};

std::vector<std::string> warnings_after(const Update& update, int n = 3) {
  TrainingMonitor monitor;
  for (int i = 0; i < n; ++i) update.apply(monitor);
  return monitor.end_epoch();
}

TEST(TrainingMonitor, IsSilentWhereAllIsWell) {
  EXPECT_TRUE(warnings_after({}).empty());
  EXPECT_TRUE(TrainingMonitor().end_epoch().empty());
}

TEST(TrainingMonitor, MeasuresWhatItWarnsOf) {
  TrainingMonitor monitor;
  EXPECT_TRUE(std::isnan(monitor.measures().at("gap")));
  Update update;
  update.start = update.negative.clone();
  update.start.slice(0, 0, 20) += 1;  // 20 of 50 chains moved
  for (int i = 0; i < 2; ++i) update.apply(monitor);
  const auto measure = [&](const char* name) { return monitor.measures().at(name); };
  const double gap =
      (update.negative_energies.mean() - update.positive_energies.mean()).item<double>();
  EXPECT_EQ(measure("updates"), 2);
  EXPECT_NEAR(measure("gap"), gap, 1e-6);
  EXPECT_NEAR(measure("absolute_gap"), std::abs(gap), 1e-6);
  EXPECT_NEAR(measure("moved"), 0.4, 1e-9);
  EXPECT_NEAR(measure("spread"), update.positive_energies.std(false).item<double>(), 0.02);
  monitor.end_epoch();
  EXPECT_NEAR(measure("gap"), gap, 1e-6);  // still those of the last epoch
}

TEST(TrainingMonitor, NoticesAnExplodingGap) {
  Update update;
  update.negative_energies = update.negative_energies - 100;
  const auto warnings = warnings_after(update);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("energy gap exploded"), std::string::npos) << warnings[0];
}

TEST(TrainingMonitor, NoticesFrozenChains) {
  Update update;
  update.start = update.negative.clone();
  const auto warnings = warnings_after(update);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("frozen"), std::string::npos) << warnings[0];
}

TEST(TrainingMonitor, NoticesCollapsedChains) {
  Update update;
  update.negative = update.negative * 0.01;
  const auto warnings = warnings_after(update);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("collapsed"), std::string::npos) << warnings[0];
}

TEST(TrainingMonitor, EpochsAreSeparate) {
  TrainingMonitor monitor;
  Update bad;
  bad.negative = bad.negative * 0.01;
  bad.apply(monitor);
  EXPECT_EQ(monitor.end_epoch().size(), 1u);
  Update().apply(monitor);
  EXPECT_TRUE(monitor.end_epoch().empty());
}

TEST(TrainingMonitor, NamesTheFirstEnergyThatIsNotFinite) {
  for (double bad : {static_cast<double>(NAN), static_cast<double>(INFINITY)}) {
    TrainingMonitor monitor;
    Update().apply(monitor);
    Update update;
    update.negative_energies[7] = bad;
    update.negative_energies[9] = bad;
    EXPECT_THROWS(update.apply(monitor), c10::Error, "chain 7");
    EXPECT_THROWS(update.apply(monitor), c10::Error, "at update 2");
    Update on_data;
    on_data.positive_energies[3] = bad;
    EXPECT_THROWS(on_data.apply(monitor), c10::Error, "example 3");
  }
}

TEST(TrainingMonitor, ARefusedUpdateIsNotCounted) {
  TrainingMonitor monitor;
  const std::vector<double> before = monitor.state();
  Update update;
  update.start = at::zeros({2, 3});
  EXPECT_THROWS(update.apply(monitor), c10::ValueError, "start must have the shape of negative");
  EXPECT_EQ(monitor.state(), before);
}

TEST(TrainingMonitor, StateGoesOn) {
  TrainingMonitor whole;
  Update bad;
  bad.negative = bad.negative * 0.01;
  bad.apply(whole);
  TrainingMonitor resumed;
  resumed.set_state(whole.state());
  Update().apply(whole);
  Update().apply(resumed);
  EXPECT_EQ(resumed.state(), whole.state());
  EXPECT_EQ(resumed.end_epoch(), whole.end_epoch());
  EXPECT_THROWS(resumed.set_state({1, 2}), c10::ValueError, "state must hold");
}

TEST(TrainingMonitor, SurvivesInAScriptedModule) {
  auto monitor = c10::make_intrusive<TrainingMonitor>();
  Update().apply(*monitor);
  torch::jit::Module module("Trainer");
  module.register_attribute(
      "monitor", c10::getCustomClassType<c10::intrusive_ptr<TrainingMonitor>>(), monitor);
  module.define(R"(
def forward(self, e: Tensor, x: Tensor, start: Tensor) -> List[str]:
    self.monitor.update(e, e, x, x, start)
    return self.monitor.end_epoch()
)");
  std::stringstream stream;
  module.save(stream);
  torch::jit::Module loaded = torch::jit::load(stream);
  const auto again = loaded.attr("monitor").toCustomClass<TrainingMonitor>();
  EXPECT_NE(again.get(), monitor.get());
  EXPECT_EQ(again->state(), monitor->state());
  const Update update;
  const auto frozen = loaded.forward({update.positive_energies, update.positive, update.positive});
  EXPECT_EQ(frozen.toList().size(), 0u);  // half of the epoch's chains moved
  EXPECT_NE(again->state(), monitor->state());
  EXPECT_EQ(again->state()[0], 2);
}

}  // namespace
}  // namespace torch_ebm::training_monitor_test
