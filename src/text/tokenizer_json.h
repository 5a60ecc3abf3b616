#pragma once
// Reading and writing of Hugging Face's tokenizer files.
//
//   TokenizerSpec spec = read_tokenizer_json("model/tokenizer.json");
//   TokenizerSpec gpt2 = read_vocab_and_merges("vocab.json", "merges.txt");
//
// Throws Error with the path and what is wrong or not known here; never silently ignores a component that changes ids.

#include <filesystem>
#include <optional>
#include <string_view>

#include "text/tokenizer.h"

namespace sedum {

// Reads `path` and, where they lie beside it, tokenizer_config.json and chat_template.jinja
// (names of the special tokens, chat template).
TokenizerSpec read_tokenizer_json(const std::filesystem::path& path);

// The same from memory; `config` (tokenizer_config.json) may be empty, `name` is for error messages.
TokenizerSpec parse_tokenizer_json(std::string_view json, std::string_view config = {},
                                   const std::string& name = "tokenizer.json");

// The older pair of files. `pre_tokenizer` as in TokenizerSpec.
TokenizerSpec read_vocab_and_merges(const std::filesystem::path& vocab_json, const std::filesystem::path& merges_txt,
                                    const std::string& pre_tokenizer = "gpt-2");
TokenizerSpec parse_vocab_and_merges(std::string_view vocab_json, std::string_view merges_txt,
                                     const std::string& pre_tokenizer, const std::string& name);

// BERT's list of tokens, one a line; lower-casing where no token has a capital letter.
TokenizerSpec read_vocab_txt(const std::filesystem::path& path);
TokenizerSpec parse_vocab_txt(std::string_view text, const std::string& name);
// The same from a list, "##" before what continues a word.
TokenizerSpec bert_tokenizer(std::vector<std::string> tokens, const std::string& name,
                             std::optional<bool> lowercase = {});

// tokenizer.json from a spec: what Hugging Face's `tokenizers` loads with equal ids.
std::string write_tokenizer_json(const TokenizerSpec& spec);

}  // namespace sedum
