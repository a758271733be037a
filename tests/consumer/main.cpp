// Loads a scripted model and prints what its method `sample` returns, number by number. Names no symbol of
// torch_ebm, whose operators the model calls: linking the library must be enough to have them.

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: consumer MODEL.pt\n");
    return 2;
  }
  torch::jit::Module model = torch::jit::load(argv[1]);
  const at::Tensor x =
      model.run_method("sample", 7).toTensor().to(at::kDouble).flatten().contiguous();
  for (int64_t i = 0; i < x.numel(); ++i) std::printf("%a\n", x.const_data_ptr<double>()[i]);
}
