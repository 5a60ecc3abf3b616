#pragma once
#include <memory>
#include <string>

#include "text/tokenizer.h"

namespace sedum::cli {

// The tokenizer of a model, of a tokenizer.json, a SentencePiece .model, a BERT vocab.txt, or a vocab.json with merges.txt beside it.
std::shared_ptr<const Tokenizer> open_tokenizer(const std::string& name);

}  // namespace sedum::cli
