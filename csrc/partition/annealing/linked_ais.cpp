#include "torch_ebm/partition/annealing/linked_ais.h"

#include "csrc/common/checks.h"
#include "csrc/common/grad_mode.h"
#include "csrc/common/operator.h"
#include "csrc/common/progress.h"
#include "csrc/common/random.h"
#include "csrc/partition/annealing/path.h"
#include "csrc/passes/noise.h"
#include "csrc/samplers/any_sampler.h"
#include "csrc/samplers/chain_run.h"

namespace torch_ebm {

namespace {

constexpr const char* kLinkedAis = "linked_ais";

/// What is left of the states of all runs at one temperature.
struct Visit {
  at::Tensor
      log_down;       // log of the sum of b / f with the bridge b from the temperature before, (N,)
  at::Tensor log_up;  // the same with the bridge to the next
  at::Tensor link;    // one of the states of each run, with probabilities as the terms of log_up

  explicit Visit(const at::Tensor& first)
      : log_down(at::full({first.size(0)}, -INFINITY, first.options().dtype(at::kDouble))),
        log_up(log_down),
        link(first) {}
};

class Linking {
 public:
  Linking(const Energy& energy, const at::Tensor& x, const at::Tensor& path, const Sampler& sampler,
          const LinkedAISOptions& options)
      : energy_(energy),
        sampler_(sampler),
        options_(options),
        x_(x.detach().clone(at::MemoryFormat::Contiguous)),
        beta_(path.to(x.device()).unbind()),
        last_(static_cast<int64_t>(beta_.size()) - 1),
        number_(x.options().dtype(at::kDouble)),
        guesses_(options.log_ratios ? options.log_ratios->detach().to(number_)
                                    : at::zeros({last_}, number_)),
        progress_(kLinkedAis, (last_ + 1) * n_states()),
        key_(detail::draw_key(options.generator, x.device())) {}

  LinkedWeights run() {
    at::Tensor log_weights = at::zeros({x_.size(1)}, number_);
    std::vector<at::Tensor> log_ratios;
    Visit here = start();
    for (int64_t k = 0; k < last_; ++k) {
      Visit next = visit(k + 1, here.link);
      // A weight of 0 stays 0, whatever the states of its run are worth.
      const at::Tensor zero = at::isneginf(log_weights);
      const at::Tensor now_zero = zero.logical_or(at::isneginf(here.log_up));
      const at::Tensor log_factor = here.log_up - next.log_down + guesses_[k];
      log_weights = at::where(now_zero, -INFINITY, log_weights + log_factor);
      log_ratios.push_back(log_mean(here.log_up, zero) - log_mean(next.log_down, now_zero) +
                           guesses_[k]);
      here = std::move(next);
    }
    return {log_weights, at::stack(log_ratios)};
  }

 private:
  int64_t n_states() const { return x_.size(0); }
  at::Tensor uniform(int64_t k, int64_t i, detail::Stream stream) const {
    const auto step = static_cast<uint32_t>(k * n_states() + i);
    return passes::uniform_like(at::empty({x_.size(1)}, number_), {key_, step, stream});
  }

  /// log b / f at states of one of two temperatures; log_ratio is the guess of log Z of the other over its own.
  at::Tensor log_bridge(const at::Tensor& own, const at::Tensor& other,
                        const at::Tensor& log_ratio) const {
    const at::Tensor log_other = detail::log_weight_change(own, other);
    return options_.log_ratios ? at::log_sigmoid(log_other - log_ratio) : log_other / 2;
  }

  /// Exact samples.
  Visit start() {
    Visit here(x_[0]);
    for (int64_t i = 0; i < n_states(); ++i) add(here, 0, i, x_[i]);
    return here;
  }

  /// States on both sides of the link: the moves start from it, and start from it again once those
  /// of one side are made.
  Visit visit(int64_t k, const at::Tensor& link) {
    const at::Tensor one_side = at::floor(uniform(k, 0, detail::kPath) * n_states());
    Visit here(link);
    at::Tensor x = link;
    add(here, k, 0, x);
    for (int64_t i = 1; i < n_states(); ++i) {
      x = detail::where_chains(one_side.eq(i - 1), link, x);
      x = detail::moved(kLinkedAis, sampler_, energy_, x, beta_[k], options_.generator).x;
      add(here, k, i, x);
    }
    return here;
  }

  void add(Visit& here, int64_t k, int64_t i, const at::Tensor& x) {
    const auto begin = beta_.begin();
    const at::Tensor energies = detail::path_energies(
        kLinkedAis, energy_, x,
        {begin + std::max<int64_t>(k - 1, 0), begin + std::min(k + 1, last_) + 1});
    const at::Tensor own = energies[k > 0 ? 1 : 0];
    if (k > 0) {
      here.log_down = at::logaddexp(here.log_down, log_bridge(own, energies[0], -guesses_[k - 1]));
    }
    if (k < last_) {
      const at::Tensor log_term = log_bridge(own, energies[-1], guesses_[k]);
      here.log_up = at::logaddexp(here.log_up, log_term);
      const at::Tensor share = at::exp(log_term - here.log_up);
      here.link = detail::where_chains(uniform(k, i, detail::kChoice).lt(share), x, here.link);
    }
    progress_.step(k * n_states() + i + 1);
  }

  static at::Tensor log_mean(const at::Tensor& log_sums, const at::Tensor& left_out) {
    return at::logsumexp(at::where(left_out, -INFINITY, log_sums), {0}) -
           at::log(left_out.logical_not().sum());
  }

  const Energy& energy_;
  const Sampler& sampler_;
  const LinkedAISOptions& options_;
  const at::Tensor x_;
  const std::vector<at::Tensor> beta_;
  const int64_t last_;
  const at::TensorOptions number_;
  const at::Tensor guesses_;
  detail::Progress progress_;
  const uint64_t key_;
};

void check_linked_ais(const at::Tensor& x, const at::Tensor& path, const Sampler& sampler,
                      const LinkedAISOptions& options) {
  detail::check_floating(kLinkedAis, "x", x);
  TORCH_CHECK_VALUE(x.dim() >= 2 && x.numel() > 0, kLinkedAis,
                    ": x must hold states of runs, (M, N, ...), none of these empty, got ",
                    detail::describe_shape(x.sizes()));
  detail::check_finite(kLinkedAis, "x", x);
  TORCH_CHECK_VALUE(sampler, kLinkedAis, ": sampler must not be empty");
  if (options.log_ratios) {
    detail::check_floating(kLinkedAis, "log_ratios", *options.log_ratios);
    detail::check_shape(kLinkedAis, "log_ratios", *options.log_ratios, {path.size(0) - 1}, "(K,)");
    detail::check_finite(kLinkedAis, "log_ratios", *options.log_ratios);
  }
}

std::tuple<at::Tensor, at::Tensor> linked_ais_op(const c10::IValue& energy, const at::Tensor& x,
                                                 const at::Tensor& betas,
                                                 const c10::IValue& sampler,
                                                 const std::optional<at::Tensor>& log_ratios,
                                                 std::optional<at::Generator> generator) {
  LinkedWeights weights =
      linked_ais(Energy::from_ivalue(kLinkedAis, energy), x, betas,
                 Sampler::from_ivalue(kLinkedAis, sampler), {log_ratios, std::move(generator)});
  return {weights.log_weights, weights.log_ratios};
}

}  // namespace

LinkedWeights linked_ais(const Energy& energy, const at::Tensor& x, const at::Tensor& betas,
                         const Sampler& sampler, const LinkedAISOptions& options) {
  const at::Tensor path = detail::checked_path(kLinkedAis, betas);
  check_linked_ais(x, path, sampler, options);
  const detail::NoGradMode no_grad;
  return Linking(energy, x, path, sampler, options).run();
}

TORCH_EBM_DRIVER("linked_ais", &linked_ais_op)

}  // namespace torch_ebm
