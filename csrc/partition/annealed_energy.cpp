#include "torch_ebm/annealed_energy.h"

namespace torch_ebm {

namespace {

class AnnealedEnergy : public EnergyFunction {
 public:
  AnnealedEnergy(Energy energy, NoiseDistribution base)
      : energy_(std::move(energy)), base_(std::move(base)) {}

  at::Tensor value(const at::Tensor& x) const override { return energy_.value(x); }

  std::tuple<at::Tensor, at::Tensor> value_and_score(const at::Tensor& x) const override {
    return energy_.value_and_score(x);
  }

  std::optional<at::Tensor> base_energy(const at::Tensor& x) const override {
    return -base_.log_prob(x);
  }

 private:
  Energy energy_;
  NoiseDistribution base_;
};

}  // namespace

Energy annealed_energy(const Energy& energy, const NoiseDistribution& base) {
  TORCH_CHECK_VALUE(base.log_prob, "annealed_energy: the base must have a log_prob");
  return Energy(std::make_shared<AnnealedEnergy>(energy, base));
}

}  // namespace torch_ebm
