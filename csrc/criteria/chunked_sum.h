#pragma once

#include <ATen/ATen.h>

#include <functional>

namespace torch_ebm::detail {

/// The sum of a criterion's terms [begin, end), one number for every example: (N,).
using Terms = std::function<at::Tensor(int64_t begin, int64_t end)>;

/// The sum of all n_terms terms, `chunk` at a time. Autograd keeps the graph of one chunk at a time: the backward pass
/// computes each chunk again (Griewank 1992; the parameters are the leaves of the graph of the first chunk).
/// A single chunk has its ordinary graph.
at::Tensor chunked_sum(int64_t n_terms, int64_t chunk, const Terms& terms);

/// How many terms fit in a chunk of about 2^20 numbers, if each takes `numbers` of them; at least 1. `asked`, if
/// given, is how many energies a chunk may ask for, and `states` how many each term does.
int64_t terms_per_chunk(const char* op, const std::optional<int64_t>& asked, int64_t states,
                        int64_t numbers);

}  // namespace torch_ebm::detail
