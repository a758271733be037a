#include <torch/library.h>

#include <vector>

#include "csrc/common/checks.h"
#include "csrc/common/operator.h"
#include "torch_ebm/diagnostics/diagnostics.h"

namespace torch_ebm {

namespace {

constexpr const char* kRoundTrips = "round_trips";

void check_trace(const at::Tensor& trace) {
  TORCH_CHECK_TYPE(at::isIntegralType(trace.scalar_type(), /*includeBool=*/false), kRoundTrips,
                   ": replica_trace must have an integer dtype, got ", trace.scalar_type());
  detail::check_shape(kRoundTrips, "replica_trace", trace, {-1, -1, -1}, "(n_sweeps, R, N)");
  detail::check_at_least(kRoundTrips, "n_sweeps", trace.size(0), 1);
  detail::check_at_least(kRoundTrips, "the number of rungs R", trace.size(1), 2);
  detail::check_at_least(kRoundTrips, "the number of chains N", trace.size(2), 1);
  const at::Tensor rungs = at::arange(trace.size(1), trace.options()).view({1, -1, 1});
  TORCH_CHECK_VALUE(std::get<0>(trace.sort(1)).eq(rungs).all().item<bool>(), kRoundTrips,
                    ": replica_trace must have one replica at each of the rungs 0 to ",
                    trace.size(1) - 1, " in every sweep");
}

/// Where a replica is bound for. Before its first visit to rung 0 it is on no trip.
enum class Heading : char { kNone, kUp, kDown };

at::Tensor round_trips_kernel(const at::Tensor& replica_trace) {
  check_trace(replica_trace);
  const at::Tensor trace = replica_trace.to(at::kCPU, at::kLong).contiguous();
  const int64_t top = trace.size(1) - 1;
  const int64_t n_chains = trace.size(2);
  at::Tensor trips = at::zeros({n_chains}, at::kLong);
  int64_t* const count = trips.mutable_data_ptr<int64_t>();
  const int64_t n_replicas = trace.size(1) * n_chains;
  std::vector<Heading> heading(static_cast<size_t>(n_replicas), Heading::kNone);
  const int64_t* rung = trace.const_data_ptr<int64_t>();
  for (int64_t sweep = 0; sweep < trace.size(0); ++sweep) {
    for (int64_t i = 0; i < n_replicas; ++i, ++rung) {
      Heading& bound = heading[static_cast<size_t>(i)];
      if (*rung == 0) {
        if (bound == Heading::kDown) ++count[i % n_chains];
        bound = Heading::kUp;
      } else if (*rung == top && bound == Heading::kUp) {
        bound = Heading::kDown;
      }
    }
  }
  return trips.to(replica_trace.device());
}

at::Tensor round_trips_meta(const at::Tensor& replica_trace) {
  detail::check_shape(kRoundTrips, "replica_trace", replica_trace, {-1, -1, -1},
                      "(n_sweeps, R, N)");
  return at::empty_symint({replica_trace.sym_size(2)}, replica_trace.options().dtype(at::kLong));
}

}  // namespace

at::Tensor round_trips(const at::Tensor& replica_trace) {
  static const auto op =
      detail::find_operator<decltype(round_trips_kernel)>("torch_ebm::round_trips");
  return op.call(replica_trace);
}

TORCH_LIBRARY_IMPL(torch_ebm, CompositeExplicitAutograd, m) {
  m.impl("round_trips", &round_trips_kernel);
}
TORCH_LIBRARY_IMPL(torch_ebm, Meta, m) { m.impl("round_trips", &round_trips_meta); }

}  // namespace torch_ebm
