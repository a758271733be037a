#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <optional>

namespace torch_ebm::detail {

/// The sum of a criterion's terms [begin, end), one number for every example: (N,).
using Terms = std::function<at::Tensor(int64_t begin, int64_t end)>;

/// How many terms are computed at a time, and whether the graph of at most one chunk is held.
struct Chunks {
  int64_t size;
  bool recompute;
};

/// If `asked` is given, the graph is not kept, and a chunk computes about that many energies, each
/// term taking `states` of them; at least one term. Otherwise a chunk holds about 2^20 numbers,
/// each term taking `numbers` of them.
Chunks chunks_of(const char* op, const std::optional<int64_t>& asked, int64_t states,
                 int64_t numbers);

/// The sum of all n_terms terms. With `recompute` the backward pass recomputes each chunk (Griewank
/// 1992), and takes its gradients in the leaves that the chunks depended on: the terms must then be
/// the same function of the same leaves, which is checked by their values.
at::Tensor chunked_sum(const char* op, int64_t n_terms, const Chunks& chunks, const Terms& terms);

}  // namespace torch_ebm::detail
