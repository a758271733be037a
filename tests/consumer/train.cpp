// train energy ENERGY.pt OUT.pt: one update of a scripted energy by persistent contrastive divergence with
//   Langevin chains; saves the trained module.
// train rbm SCRIPTED.pt STATE.pt OUT.pt: reads an RBM as Python's torch.jit.save and torch.save(dict(state_dict))
//   wrote it, which must agree, makes one update with Gibbs chains, and writes it with torch::save, whose
//   files Python's torch.jit.load reads.

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/csrc/jit/serialization/pickle.h>
#include <torch/optim/sgd.h>
#include <torch/serialize.h>
#include <torch_ebm/torch_ebm.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace {

void update(const torch_ebm::Energy& energy, torch_ebm::PCD& pcd, const at::Tensor& data,
            std::vector<at::Tensor> parameters) {
  torch::optim::SGD optimizer(std::move(parameters), torch::optim::SGDOptions(0.1));
  optimizer.zero_grad();
  const at::Tensor negative = pcd(energy, data);
  const at::Tensor loss = energy.value(data).mean() + torch_ebm::log_partition(energy, negative);
  loss.backward();
  optimizer.step();
}

void train_energy(const std::string& in, const std::string& out) {
  torch::jit::Module module = torch::jit::load(in);
  const torch_ebm::Energy energy(module);
  torch_ebm::PCD pcd(16, std::vector<int64_t>{2}, torch_ebm::bind_sampler(torch_ebm::langevin, {.n_steps = 5}),
                     "normal", 1);
  std::vector<at::Tensor> parameters;
  for (const at::Tensor& parameter : module.parameters()) parameters.push_back(parameter);
  update(energy, pcd, at::ones({8, 2}), parameters);
  module.save(out);
}

void train_rbm(const std::string& scripted, const std::string& state, const std::string& out) {
  torch_ebm::RBM rbm(6, 4);
  torch::load(rbm, scripted);
  std::ifstream file(state, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  const auto parameters = torch::jit::pickle_load(bytes).toGenericDict();
  for (const auto& item : rbm->named_parameters()) {
    TORCH_CHECK(at::equal(item.value(), parameters.at(item.key()).toTensor()), item.key());
  }
  torch_ebm::PCD pcd(16, std::vector<int64_t>{6}, torch_ebm::bind_sampler(torch_ebm::gibbs, {.n_steps = 5}),
                     "bernoulli", 1);
  update(torch_ebm::Energy(rbm), pcd, at::ones({8, 6}), rbm->parameters());
  torch::save(rbm, out);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "energy" && argc == 4) {
    train_energy(argv[2], argv[3]);
  } else if (what == "rbm" && argc == 5) {
    train_rbm(argv[2], argv[3], argv[4]);
  } else {
    std::fprintf(stderr, "usage: see the head of train.cpp\n");
    return 2;
  }
}
