#include "torch_ebm/learning/fast_pcd.h"

#include <torch/serialize.h>

#include <sstream>

#include "tests/cpp/testing.h"
#include "torch_ebm/models/rbm.h"
#include "torch_ebm/samplers/gibbs.h"

namespace torch_ebm::fast_pcd_test {
namespace {

using testing::close;
using testing::seeded;

RBM make_rbm() {
  RBM rbm(4, 3);
  rbm->weight.detach().normal_(0, 1, seeded(1));
  rbm->visible_bias.detach().normal_(0, 1, seeded(2));
  return rbm;
}

at::Tensor make_data() { return at::ones({6, 4}).bernoulli_(0.5, seeded(3)); }

FastPCD make_phase(RBM& rbm, Sampler sampler, double rate = 0.5, double decay = 0.9) {
  return FastPCD(5, std::vector<int64_t>{4}, *rbm, std::move(sampler), rate, decay, "bernoulli", 1);
}

std::vector<at::Tensor> values(RBM& rbm) {
  std::vector<at::Tensor> result;
  for (const at::Tensor& parameter : rbm->parameters()) {
    result.push_back(parameter.detach().clone());
  }
  return result;
}

bool equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const at::Tensor& x, const at::Tensor& y) { return at::equal(x, y); });
}

TEST(FastPCD, IsThePublishedAlgorithm) {
  RBM rbm = make_rbm();
  const Energy energy(rbm);
  const at::Tensor data = make_data();
  FastPCD phase = make_phase(rbm, bind_sampler(gibbs));
  at::Tensor chains = phase->chains.clone();
  at::Generator generator = seeded(1);
  generator.set_state(phase->generator_state);
  for (int call = 0; call < 4; ++call) {
    const std::vector<at::Tensor> theta = values(rbm);
    std::vector<at::Tensor> fast;
    for (const at::Tensor& f : phase->fast) fast.push_back(f.clone());
    const at::Tensor negative = phase(energy, data);
    chains = std::get<0>(rbm_gibbs(chains, theta[0] + fast[0], theta[1] + fast[1],
                                   theta[2] + fast[2], {.generator = generator}));
    EXPECT_TRUE(at::equal(negative, chains));
    EXPECT_TRUE(equal(values(rbm), theta));
    // The gradients of -F: v_i p_j, v_i and p_j, where p_j = P(h_j = 1 | v).
    const at::Tensor on_data = at::sigmoid(at::addmm(theta[2], data, theta[0]));
    const at::Tensor on_chains = at::sigmoid(at::addmm(theta[2], chains, theta[0]));
    const std::vector<at::Tensor> gradient = {
        at::mm(data.t(), on_data) / 6 - at::mm(chains.t(), on_chains) / 5,
        data.mean(0) - chains.mean(0), on_data.mean(0) - on_chains.mean(0)};
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(close(phase->fast[i], 0.9 * fast[i] + 0.5 * gradient[i], 1e-5, 1e-6));
    }
    for (at::Tensor& parameter : rbm->parameters()) parameter.detach().add_(0.1);
  }
  EXPECT_FALSE(rbm->weight.grad().defined());
}

TEST(FastPCD, WithoutFastLearningIsPCDBitForBit) {
  RBM rbm = make_rbm();
  const Energy energy(rbm);
  FastPCD phase = make_phase(rbm, bind_sampler(gibbs), 0, 0);
  PCD plain(5, std::vector<int64_t>{4}, bind_sampler(gibbs), "bernoulli", 1);
  for (int call = 0; call < 4; ++call) {
    EXPECT_TRUE(at::equal(phase(energy, make_data()), plain(energy)));
  }
}

TEST(FastPCD, AThrowingSamplerChangesNothing) {
  RBM rbm = make_rbm();
  const Energy energy(rbm);
  bool broken = false;
  std::vector<at::Tensor> seen;
  FastPCD phase =
      make_phase(rbm, [&](const Energy& energy, const at::Tensor& x, const RunOptions& run) {
        seen = values(rbm);
        if (broken) throw std::runtime_error("sampler broke");
        return gibbs(energy, x, run);
      });
  const std::vector<at::Tensor> theta = values(rbm);
  phase(energy, make_data());
  std::ostringstream before;
  torch::save(phase, before);
  broken = true;
  EXPECT_THROWS(phase(energy, make_data()), std::runtime_error, "sampler broke");
  std::ostringstream after;
  torch::save(phase, after);
  EXPECT_EQ(before.str(), after.str());
  EXPECT_FALSE(equal(seen, theta));
  EXPECT_TRUE(equal(values(rbm), theta));
}

TEST(FastPCD, OneMadeInInferenceModeWorksOutsideOfIt) {
  RBM rbm = make_rbm();
  FastPCD inside = [&] {
    const c10::InferenceMode mode;
    return make_phase(rbm, bind_sampler(gibbs));
  }();
  FastPCD outside = make_phase(rbm, bind_sampler(gibbs));
  for (int call = 0; call < 2; ++call) {
    EXPECT_TRUE(at::equal(inside(Energy(rbm), make_data()), outside(Energy(rbm), make_data())));
  }
  EXPECT_TRUE(equal(inside->fast, outside->fast));
}

TEST(FastPCD, LeavesRecordedGraphsAlone) {
  RBM rbm = make_rbm();
  FastPCD phase = make_phase(rbm, bind_sampler(gibbs));
  const at::Tensor loss = rbm->weight.square().sum();  // its graph holds the weights themselves
  phase(Energy(rbm), make_data());
  EXPECT_NO_THROW(loss.backward());
}

TEST(FastPCD, ResumesBitForBit) {
  RBM rbm = make_rbm();
  const Energy energy(rbm);
  FastPCD whole = make_phase(rbm, bind_sampler(gibbs));
  for (int call = 0; call < 3; ++call) whole(energy, make_data());
  std::stringstream bytes;
  torch::save(whole, bytes);
  FastPCD resumed = make_phase(rbm, bind_sampler(gibbs));
  torch::load(resumed, bytes);
  EXPECT_TRUE(equal(resumed->fast, whole->fast));
  for (int call = 0; call < 3; ++call) {
    EXPECT_TRUE(at::equal(resumed(energy, make_data()), whole(energy, make_data())));
  }
}

TEST(FastPCD, WrongArgumentsAreNamed) {
  RBM rbm = make_rbm();
  const Sampler sampler = bind_sampler(gibbs);
  EXPECT_THROWS(make_phase(rbm, sampler, -1), c10::ValueError, "fast_learning_rate must be finite");
  EXPECT_THROWS(make_phase(rbm, sampler, NAN), c10::ValueError, "fast_learning_rate must be");
  EXPECT_THROWS(make_phase(rbm, sampler, 1, 1.5), c10::ValueError, "decay must be in [0, 1]");
  FastPCD phase = make_phase(rbm, sampler);
  EXPECT_THROWS(phase(Energy(rbm)), c10::ValueError, "positive must be the batch of data");
  EXPECT_THROWS(phase(Energy(make_rbm()), make_data()), c10::ValueError,
                "energy must depend on the parameters of module");
  EXPECT_THROWS(phase(Energy(rbm), make_data() * NAN), c10::ValueError, "the gradient of energy");
  for (at::Tensor& parameter : rbm->parameters()) parameter.set_requires_grad(false);
  EXPECT_THROWS(make_phase(rbm, sampler), c10::ValueError, "module must have parameters");
}

TEST(FastPCD, RefusesParametersThatShareMemory) {
  torch::nn::Module module;
  module.register_parameter("shared", at::zeros({1}).expand({4}).detach());
  EXPECT_THROWS(FastPCD(3, std::vector<int64_t>{4}, module, bind_sampler(gibbs), 0.1),
                c10::ValueError, "parameters of module must not share memory");
}

}  // namespace
}  // namespace torch_ebm::fast_pcd_test
