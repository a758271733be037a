#pragma once

#include "torch_ebm/partition/log_z_estimate.h"

namespace torch_ebm::detail {

/// The 97.5% point of Student's t.
double t_quantile(int64_t degrees);

/// A warning about an estimate from this many weights, with this effective number of them and this
/// 95% interval; empty if there is none.
std::string log_z_warning(double ess, int64_t n_weights, double lower, double upper);

}  // namespace torch_ebm::detail
