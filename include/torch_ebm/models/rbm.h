#pragma once

#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>

#include <optional>
#include <tuple>

#include "torch_ebm/common/export.h"
#include "torch_ebm/energy/energy.h"

namespace torch_ebm {

// The Bernoulli restricted Boltzmann machine (Smolensky 1986; Goodfellow, Bengio & Courville 2016,
// section 20.2). Units are 0 or 1, V visible and H hidden:
//     E(v, h) = -b.v - c.h - v.W h,   F(v) = -b.v - sum_j softplus(c_j + (v W)_j),
// weight W (V, H), visible_bias b (V,), hidden_bias c (H,), all of one floating dtype and device.

/// Joint energies E(v, h), shape (N,), of visible (N, V) and hidden (N, H).
TORCH_EBM_API at::Tensor rbm_energy(const at::Tensor& visible, const at::Tensor& hidden,
                                    const at::Tensor& weight, const at::Tensor& visible_bias,
                                    const at::Tensor& hidden_bias);

/// Free energies F(v), shape (N,), of visible (N, V): exp(-F(v)) = sum_h exp(-E(v, h)). With beta,
/// () or (N,), the tempered one, -log sum_h exp(-beta E(v, h)), which is not beta F(v).
/// Differentiable any number of times.
TORCH_EBM_API at::Tensor rbm_free_energy(const at::Tensor& visible, const at::Tensor& weight,
                                         const at::Tensor& visible_bias,
                                         const at::Tensor& hidden_bias,
                                         const std::optional<at::Tensor>& beta = std::nullopt);

/// F(v with one unit flipped) - F(v) of visible (N, V), zeros and ones, for all units, (N, V), or
/// for the units `sites` of each, (N, m), int64: (N, m). Takes O(N m H) time and O(N (V + H) + V H)
/// memory, forward and backward. Differentiable in the parameters any number of times; from the
/// second time on with O(N m H) memory.
TORCH_EBM_API at::Tensor rbm_flip_differences(
    const at::Tensor& visible, const at::Tensor& weight, const at::Tensor& visible_bias,
    const at::Tensor& hidden_bias, const std::optional<at::Tensor>& sites = std::nullopt);

/// Block Gibbs: n_steps times h ~ p(h | v), then v ~ p(v | h), at inverse temperature beta, that is
/// for exp(-beta E(v, h)), which it leaves exactly invariant. Returns (visible, hidden) of the last
/// step.
///
/// visible: (N, V) of zeros and ones. clamp: (V,) or (N, V).
/// The random numbers of chain i depend on the generator's next key, i, the step and the unit
/// alone: not on the number of chains or threads.
/// Throws ValueError for states other than 0 and 1, N = 0, n_steps < 1, beta < 0, parameters that
/// are not finite, wrong shapes; TypeError for other dtypes.
TORCH_EBM_API std::tuple<at::Tensor, at::Tensor> rbm_gibbs(
    const at::Tensor& visible, const at::Tensor& weight, const at::Tensor& visible_bias,
    const at::Tensor& hidden_bias, const RunOptions& run = {},
    const std::optional<at::Tensor>& clamp = std::nullopt);

/// Exact log Z, float64, shape (), by summing over all states of the smaller layer, which may have
/// at most 25 units. Differentiable (the graph then holds 2^min(V, H) x max(V, H) numbers).
TORCH_EBM_API at::Tensor rbm_log_z(const at::Tensor& weight, const at::Tensor& visible_bias,
                                   const at::Tensor& hidden_bias);

/// n independent visible states of the model, (n, V), in the dtype of weight: exact. The smaller
/// layer, of at most 20 units, is enumerated; the other is drawn given it. The random numbers of
/// sample i depend on the generator's next key, i and the unit alone. Throws ValueError for more
/// units, n < 1, parameters that are not finite.
TORCH_EBM_API at::Tensor rbm_sample(const at::Tensor& weight, const at::Tensor& visible_bias,
                                    const at::Tensor& hidden_bias, int64_t n,
                                    std::optional<at::Generator> generator = std::nullopt);

/// The RBM as a module over the visible units: forward(v) is the free energy F(v). Its parameters
/// are named as in the Python module, so that state dicts can be exchanged freely.
class TORCH_EBM_API RBMImpl : public torch::nn::Cloneable<RBMImpl>, public EnergyFunction {
 public:
  /// Weights ~ N(0, 0.01^2), biases 0 (Hinton 2010, section 8).
  RBMImpl(int64_t n_visible, int64_t n_hidden);
  /// With copies of these parameters, (V, H), (V,) and (H,), floating and of one dtype and device.
  RBMImpl(const at::Tensor& weight, const at::Tensor& visible_bias, const at::Tensor& hidden_bias);
  /// Over these very tensors, which are not registered as parameters: those of another module.
  static std::shared_ptr<RBMImpl> over(at::Tensor weight, at::Tensor visible_bias,
                                       at::Tensor hidden_bias);

  void reset() override;
  void pretty_print(std::ostream& stream) const override;

  virtual at::Tensor forward(const at::Tensor& visible) const;
  at::Tensor energy(const at::Tensor& visible, const at::Tensor& hidden) const;

  /// P(h_j = 1 | v), shape (N, H).
  at::Tensor hidden_given_visible(const at::Tensor& visible) const;
  /// P(v_i = 1 | h), shape (N, V).
  at::Tensor visible_given_hidden(const at::Tensor& hidden) const;

  /// Whether the energy is still that of this class, so that the closed forms below apply. A class
  /// derived from it is taken to have another energy: it has no closed forms but those that it
  /// overrides, unless it overrides this too.
  virtual bool keeps_energy() const;

  /// As rbm_log_z. Throws NotImplementedError if the energy is another.
  at::Tensor log_z() const;
  /// Exact samples, (n, V), by rbm_sample. Throws as log_z does.
  at::Tensor sample(int64_t n, std::optional<at::Generator> generator = std::nullopt) const;

  at::Tensor value(const at::Tensor& x) const override { return forward(x); }
  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override;
  std::optional<at::Tensor> tempered(const at::Tensor& x, const at::Tensor& beta) const override;
  bool has_path(const at::Tensor& x) const override;
  std::optional<at::Tensor> gibbs(const at::Tensor& x, const RunOptions& run,
                                  const std::optional<at::Tensor>& clamp) const override;
  std::optional<at::Tensor> flip_differences(const at::Tensor& x,
                                             const std::optional<at::Tensor>& sites) const override;
  bool is_per_example() const override { return keeps_energy(); }

  at::Tensor weight;
  at::Tensor visible_bias;
  at::Tensor hidden_bias;

 private:
  RBMImpl() = default;

  int64_t n_visible_ = 0;
  int64_t n_hidden_ = 0;
};
TORCH_MODULE(RBM);

/// The visible biases of independent units with the frequencies of `data` (N, V): logit of the
/// mean, after adding `pseudocount` examples that are all ones and as many that are all zeros. The
/// base-rate model of Salakhutdinov & Murray (2008), and Hinton's (2010) first guess of an RBM's
/// visible_bias.
TORCH_EBM_API at::Tensor base_rate_bias(const at::Tensor& data, double pseudocount = 1.0);

}  // namespace torch_ebm
