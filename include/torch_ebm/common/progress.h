#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "torch_ebm/common/export.h"

namespace torch_ebm {

/// Called while a long operation runs, at most about ten times a second, with the operation's name,
/// the number of steps done and their total. An exception from the handler stops the operation and
/// reaches its caller.
using ProgressHandler =
    std::function<void(const std::string& operation, int64_t done, int64_t total)>;

/// Replaces the handler for the whole process; an empty one switches progress off. In a Python
/// process the default handler shows bars and responds to Ctrl-C; elsewhere there is none. Returns
/// the previous handler.
TORCH_EBM_API ProgressHandler set_progress_handler(ProgressHandler handler);

}  // namespace torch_ebm
