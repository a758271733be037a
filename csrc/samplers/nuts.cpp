#include "torch_ebm/samplers/nuts.h"

#include <vector>

#include "csrc/common/operator.h"
#include "csrc/samplers/transitions.h"

namespace torch_ebm {

namespace {

constexpr const char* kNuts = "nuts";
constexpr double kDivergence = 1000;
constexpr int64_t kMostDepth = 20;

using detail::ChainRun;
using detail::Hamiltonian;
using detail::PhasePoint;
using detail::Position;
using detail::where_chains;

/// Neighbouring points of a trajectory, in the order in which they were made: the momenta of the
/// first and of the last, and the sum of all, (N, ...).
struct Stretch {
  at::Tensor first;
  at::Tensor last;
  at::Tensor sum;

  Stretch then(const Stretch& next) const { return {first, next.last, sum + next.sum}; }
};

/// Points of which one was drawn.
struct Tree {
  Stretch momenta;
  PhasePoint end;         // the last that was made
  Position chosen;        // drawn with weights exp(H_0 - H)
  at::Tensor log_weight;  // the log of their sum, (N,), float64
  at::Tensor whole;       // the chains where no part turned or diverged, (N,), boolean
};

/// One transition of all chains.
class Trajectory {
 public:
  Trajectory(ChainRun& chains, const Hamiltonian& hamiltonian, const PhasePoint& start,
             const at::Tensor& step_size)
      : chains_(chains),
        hamiltonian_(hamiltonian),
        step_size_(step_size.to(start.energy.options())),
        start_energy_(start.total()),
        left_(start),
        right_(start),
        sum_(start.momentum),
        chosen_(start),
        log_weight_(at::zeros_like(start_energy_)),
        growing_(at::ones_like(start_energy_, at::kBool)),
        acceptance_(at::zeros_like(start_energy_)),
        n_points_(at::zeros_like(start_energy_)) {}

  bool growing() const { return growing_.any().item<bool>(); }

  /// Makes as many new points as there are, on a side drawn for every chain.
  void grow(int64_t depth) {
    const auto number = static_cast<uint32_t>(depth);
    const at::Tensor forwards = chains_.uniform(detail::kDirection + number).lt(0.5);
    const PhasePoint near = where_chains(forwards, right_, left_);
    const PhasePoint far = where_chains(forwards, left_, right_);
    const Tree added = subtree(near, at::where(forwards, step_size_, -step_size_), depth);

    // Towards the newer points (Betancourt 2017, appendix A.3.2).
    const at::Tensor moves = chains_.uniform(detail::kSubtree + number)
                                 .lt((added.log_weight - log_weight_).exp())
                                 .logical_and(added.whole);
    chosen_ = where_chains(moves, added.chosen, chosen_);
    log_weight_ = at::logaddexp(log_weight_, added.log_weight);
    const Stretch old{far.momentum, near.momentum, sum_};
    growing_ = added.whole.logical_and(moves_apart(old, added.momenta));
    right_ = where_chains(forwards, added.end, right_);
    left_ = where_chains(forwards, left_, added.end);
    sum_ = sum_ + added.momenta.sum;
  }

  const Position& chosen() const { return chosen_; }
  at::Tensor acceptance_rate() const { return acceptance_ / n_points_; }

 private:
  /// 2^depth leapfrog steps from `point` in the chains that grow.
  Tree subtree(PhasePoint point, const at::Tensor& step_size, int64_t depth) {
    Tree tree{{},
              point,
              point,
              at::full_like(start_energy_, -std::numeric_limits<double>::infinity()),
              growing_};
    // Complete balanced parts, each half as long as the one before it: new ones join as digits
    // carry when one counts.
    std::vector<Stretch> parts;
    for (uint32_t i = 0; i < uint32_t{1} << depth && tree.whole.any().item<bool>(); ++i) {
      add_point(tree, step_size, (uint32_t{1} << depth) + i);
      Stretch last{tree.end.momentum, tree.end.momentum, tree.end.momentum};
      for (uint32_t size = 1; (i & size) != 0; size <<= 1) {
        tree.whole = tree.whole.logical_and(moves_apart(parts.back(), last));
        last = parts.back().then(last);
        parts.pop_back();
      }
      parts.push_back(last);
    }
    tree.momenta = parts.front();
    return tree;
  }

  /// One leapfrog step. Chains whose tree is not whole stay at their last good point: their step
  /// size is 0.
  void add_point(Tree& tree, const at::Tensor& step_size, uint32_t number) {
    const PhasePoint next = hamiltonian_.leapfrog(tree.end, step_size * tree.whole);
    const at::Tensor energy = next.total();
    const at::Tensor log_weight = at::where(at::isfinite(energy), start_energy_ - energy,
                                            -std::numeric_limits<double>::infinity());
    acceptance_ = acceptance_ + log_weight.exp().clamp_max(1) * tree.whole;
    n_points_ = n_points_ + tree.whole;

    tree.whole = tree.whole.logical_and(log_weight.gt(-kDivergence));
    tree.end = where_chains(tree.whole, next, tree.end);
    tree.log_weight =
        at::where(tree.whole, at::logaddexp(tree.log_weight, log_weight), tree.log_weight);
    const at::Tensor moves = chains_.uniform(detail::kLeaf + number)
                                 .lt((log_weight - tree.log_weight).exp())
                                 .logical_and(tree.whole);
    tree.chosen = where_chains(moves, Position(next), tree.chosen);
  }

  /// Whether a stretch and the next one, joined, have not turned back (Betancourt 2017, appendix
  /// A.4.2), nor each of them with the nearest point of the other: a turn between the two may show
  /// in neither and not in both.
  at::Tensor moves_apart(const Stretch& a, const Stretch& b) const {
    return ends_move_apart(a.first, b.last, a.sum + b.sum)
        .logical_and(ends_move_apart(a.first, b.first, a.sum + b.first))
        .logical_and(ends_move_apart(a.last, b.last, a.last + b.sum));
  }

  at::Tensor ends_move_apart(const at::Tensor& first, const at::Tensor& last,
                             const at::Tensor& sum) const {
    const at::Tensor way = sum * hamiltonian_.inverse_mass();
    return detail::sum_units(first * way).gt(0).logical_and(detail::sum_units(last * way).gt(0));
  }

  ChainRun& chains_;
  const Hamiltonian& hamiltonian_;
  at::Tensor step_size_;
  at::Tensor start_energy_;
  PhasePoint left_;
  PhasePoint right_;
  at::Tensor sum_;  // of all momenta
  Position chosen_;
  at::Tensor log_weight_;
  at::Tensor growing_;
  at::Tensor acceptance_;
  at::Tensor n_points_;
};

detail::SamplesTuple nuts_op(const c10::IValue& energy, const at::Tensor& x,
                             const c10::IValue& step_size, int64_t max_depth,
                             const std::optional<at::Tensor>& inverse_mass, int64_t n_steps,
                             const std::optional<at::Tensor>& beta, int64_t thin, bool inplace,
                             std::optional<at::Generator> generator) {
  return detail::as_tuple(nuts(Energy::from_ivalue(kNuts, energy), x,
                               {n_steps, beta, thin, inplace, std::move(generator)},
                               {StepSize::from_ivalue(kNuts, step_size), max_depth, inverse_mass}));
}

}  // namespace

at::Tensor detail::nuts_transition(ChainRun& chains, const Hamiltonian& hamiltonian,
                                   PhasePoint& current, const at::Tensor& step_size,
                                   int64_t max_depth) {
  hamiltonian.draw_momentum(current, chains.draw(kNoise));
  Trajectory trajectory(chains, hamiltonian, current, step_size);
  for (int64_t depth = 0; depth < max_depth && trajectory.growing(); ++depth) {
    trajectory.grow(depth);
  }
  static_cast<Position&>(current) = trajectory.chosen();
  chains.x = current.x;
  chains.energy = current.energy;
  return trajectory.acceptance_rate();
}

void detail::check_max_depth(const char* op, int64_t max_depth) {
  TORCH_CHECK_VALUE(max_depth >= 1 && max_depth <= kMostDepth, op, ": max_depth must be in [1, ",
                    kMostDepth, "], got ", max_depth);
}

Samples nuts(const Energy& energy, const at::Tensor& x, const RunOptions& run,
             const NUTSOptions& options) {
  ChainRun chains(kNuts, x, run);
  options.step_size.check(kNuts, chains.n_chains(), run.n_steps);
  detail::check_max_depth(kNuts, options.max_depth);
  const Hamiltonian hamiltonian(kNuts, energy, chains, options.inverse_mass);
  PhasePoint current = hamiltonian.start();
  return chains.run([&](int64_t step) {
    return detail::nuts_transition(chains, hamiltonian, current, options.step_size.at(step),
                                   options.max_depth);
  });
}

TORCH_EBM_DRIVER("nuts", &nuts_op)

}  // namespace torch_ebm
