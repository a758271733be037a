// Loads the scripted model that examples/digits wrote and samples it, with nothing but libtorch and
// libtorch_ebm.
//
//   sample_digits model.pt [number of samples] [seed]
//
// The sampling happens inside the script, which calls torch.ops.torch_ebm.gibbs(self.energy, ...).

#include <ATen/CPUGeneratorImpl.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch_ebm/version.h>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

namespace {

constexpr int64_t kSteps = 5000;

/// The images of `states` (N, height * width), side by side.
void print_images(const at::Tensor& states, int64_t height, int64_t width) {
  const at::Tensor images = states.reshape({-1, height, width}).to(at::kBool).cpu();
  for (int64_t row = 0; row < height; ++row) {
    std::string line;
    for (int64_t i = 0; i < images.size(0); ++i) {
      for (int64_t column = 0; column < width; ++column) {
        line += images[i][row][column].item<bool>() ? "##" : " .";
      }
      line += "   ";
    }
    std::puts(line.c_str());
  }
}

int64_t number(const char* text, const char* what, int64_t least) {
  size_t used = 0;
  int64_t value = -1;
  try {
    value = std::stoll(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || text[used] != '\0' || value < least) {
    throw std::invalid_argument(std::string(what) + " must be a number of at least " +
                                std::to_string(least) + ", got " + text);
  }
  return value;
}

void run(const char* path, int64_t n_samples, uint64_t seed) {
  const c10::InferenceMode inference;
  torch::jit::Module model = torch::jit::load(path);
  const double stored = model.attr("log_z").toTensor().item<double>();
  const double computed =
      model.attr("energy").toModule().get_method("log_z")({}).toTensor().item<double>();
  std::printf("torch_ebm %s: log Z = %.4f, recomputed here: %.4f\n",
              torch_ebm::version().c_str(), stored, computed);

  const at::Generator generator = at::detail::createCPUGenerator(seed);
  const at::Tensor samples = model.get_method("sample")({n_samples, kSteps, generator}).toTensor();
  const at::Tensor log_probability = model.forward({samples}).toTensor();
  std::printf("%lld samples after %lld Gibbs steps; mean log-probability %.3f\n",
              static_cast<long long>(n_samples), static_cast<long long>(kSteps),
              log_probability.mean().item<double>());
  print_images(samples.slice(0, 0, 3), model.attr("height").toInt(), model.attr("width").toInt());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) {
    std::fprintf(stderr, "usage: %s model.pt [number of samples] [seed]\n", argv[0]);
    return 2;
  }
  try {
    const int64_t n_samples = argc > 2 ? number(argv[2], "the number of samples", 1) : 100;
    const int64_t seed = argc > 3 ? number(argv[3], "the seed", 0) : 0;
    run(argv[1], n_samples, static_cast<uint64_t>(seed));
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  } catch (const c10::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what_without_backtrace());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 1;
  }
  return 0;
}
