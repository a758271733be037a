#include "csrc/common/progress.h"

#include <ATen/core/dispatch/Dispatcher.h>

#include <mutex>

#include "torch_ebm/common/progress.h"

namespace torch_ebm {

namespace {

constexpr auto kReportInterval = std::chrono::milliseconds(100);

/// The operator `torch_ebm::_progress` has an implementation only where Python gave it one.
void report_to_python(const std::string& operation, int64_t done, int64_t total) {
  static const auto op = c10::Dispatcher::singleton().findSchemaOrThrow("torch_ebm::_progress", "");
  if (op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd)) {
    op.typed<void(c10::string_view, int64_t, int64_t)>().call(operation, done, total);
  }
}

std::mutex mutex;
ProgressHandler current = report_to_python;

}  // namespace

ProgressHandler set_progress_handler(ProgressHandler handler) {
  const std::lock_guard<std::mutex> lock(mutex);
  return std::exchange(current, std::move(handler));
}

namespace detail {

Progress::Progress(std::string operation, int64_t total)
    : operation_(std::move(operation)),
      total_(total),
      next_report_(std::chrono::steady_clock::now() + kReportInterval) {}

void Progress::step(int64_t done) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_report_) return;
  next_report_ = now + kReportInterval;
  ProgressHandler handler;
  {
    const std::lock_guard<std::mutex> lock(mutex);
    handler = current;
  }
  if (handler) handler(operation_, done, total_);
}

}  // namespace detail
}  // namespace torch_ebm
