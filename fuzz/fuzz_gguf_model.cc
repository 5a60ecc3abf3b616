// A GGUF file as a model: sizes, every tensor under its Hugging Face name, the tokenizer. A model or an Error.

#include <filesystem>
#include <fstream>
#include <string>

#include <unistd.h>

#include "base/error.h"
#include "model/checkpoint/checkpoint.h"

namespace sedum {
namespace {

template <class Ask>
void ask(Ask question) {
  try {
    question();
  } catch (const Error&) {
  }
}

}  // namespace
}  // namespace sedum

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace sedum;
  static const auto path = std::filesystem::temp_directory_path() / ("fuzz-" + std::to_string(::getpid()) + ".gguf");
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes), std::streamsize(size));
  ask([&] {
    const Checkpoint checkpoint = Checkpoint::open(path);
    volatile uint64_t sum = 0;
    // Layers are alike: of a file that claims thousands the first will do.
    if (checkpoint.config().num_hidden_layers <= 8)
      for (const std::string& name : checkpoint.tensor_names())
        ask([&] {
          const Tensor t = checkpoint.tensor(name);
          for (size_t i = 0; i < t.bytes(); ++i) sum = sum + static_cast<const uint8_t*>(t.raw())[i];
        });
    ask([&] {
      const auto tokenizer = checkpoint.tokenizer();
      tokenizer->decode(tokenizer->encode("Two words, 12 <s>", {.add_special = true}));
    });
    ask([&] { checkpoint.chat_template(); });
  });
  return 0;
}
