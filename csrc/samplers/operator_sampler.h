#pragma once

#include <ATen/core/ivalue.h>

#include "torch_ebm/samplers/sampler.h"

namespace torch_ebm::detail {

/// A sampler operator of this library with its options: a tuple of its name, a tuple of the options' names, and one of
/// their values. It is called through the dispatcher, as any caller would, without Python. Its options are those of its
/// schema. Throws TypeError or ValueError for anything else.
Sampler operator_sampler(const char* op, const c10::ivalue::Tuple& description);

}  // namespace torch_ebm::detail
