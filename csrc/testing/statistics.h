#pragma once

#include <vector>

#include "torch_ebm/testing/testing.h"

namespace torch_ebm::testing {

/// A float64 scalar.
at::Tensor scalar(double value);

/// x as float64 on the CPU, without its graph. Throws unless it holds real numbers.
at::Tensor real_numbers(const char* op, const char* name, const at::Tensor& x);

/// Several checks as one: the worst of them, its p-value multiplied by their number.
Check together(const std::vector<Check>& checks, const std::string& what);

}  // namespace torch_ebm::testing
