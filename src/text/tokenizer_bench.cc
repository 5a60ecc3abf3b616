// Encoding and decoding of English, code-like and Chinese text with the test vocabulary. bench/ compares with the peers.

#include <cstdlib>

#include <benchmark/benchmark.h>

#include "base/file.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace sedum {
namespace {

// Folder with gpt2-vocab.json, gpt2-merges.txt and text/: the same as for the tests.
std::string data() {
  const char* folder = std::getenv("SEDUM_TEST_DATA");
  return folder ? folder : "";
}

void encode(benchmark::State& state, const char* file, const char* pre_tokenizer) {
  if (data().empty()) return state.SkipWithError("SEDUM_TEST_DATA is not set");
  const Tokenizer tokenizer(read_vocab_and_merges(data() + "/tokenizers/gpt2-vocab.json",
                                                  data() + "/tokenizers/gpt2-merges.txt", pre_tokenizer));
  const std::string text = read_file(data() + file);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.encode(text));
  state.SetBytesProcessed(int64_t(state.iterations() * text.size()));
}
BENCHMARK_CAPTURE(encode, english_gpt2, "/text/tinyshakespeare.txt", "gpt-2");
BENCHMARK_CAPTURE(encode, english_qwen2, "/text/tinyshakespeare.txt", "qwen2");
BENCHMARK_CAPTURE(encode, english_smollm, "/text/tinyshakespeare.txt", "smollm");
BENCHMARK_CAPTURE(encode, json_english, "/instructions/alpaca_en_demo.json", "qwen2");
BENCHMARK_CAPTURE(encode, json_chinese, "/instructions/alpaca_zh_demo.json", "qwen2");

void decode(benchmark::State& state) {
  if (data().empty()) return state.SkipWithError("SEDUM_TEST_DATA is not set");
  const Tokenizer tokenizer(
      read_vocab_and_merges(data() + "/tokenizers/gpt2-vocab.json", data() + "/tokenizers/gpt2-merges.txt"));
  const std::string text = read_file(data() + "/text/tinyshakespeare.txt");
  const std::vector<int32_t> ids = tokenizer.encode(text);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer.decode(ids));
  state.SetBytesProcessed(int64_t(state.iterations() * text.size()));
}
BENCHMARK(decode);

}  // namespace
}  // namespace sedum
