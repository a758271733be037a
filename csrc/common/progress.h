#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace torch_ebm::detail {

/// Reports the steps of a long operation to the progress handler, at most every 100 ms. Construction and a
/// step that reports nothing cost one look at the clock.
class Progress {
 public:
  Progress(std::string operation, int64_t total);
  void step(int64_t done);

 private:
  std::string operation_;
  int64_t total_;
  std::chrono::steady_clock::time_point next_report_;
};

}  // namespace torch_ebm::detail
