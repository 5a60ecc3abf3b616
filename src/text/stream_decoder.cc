#include "text/tokenizer.h"
#include "text/unicode.h"

namespace sedum {

std::string StreamDecoder::push(int32_t id) {
  if (skip_special_ && tokenizer_->is_special(id)) return {};
  pending_ += tokenizer_->token_bytes(id);
  const size_t whole = pending_.size() - unicode::incomplete_tail(pending_);
  std::string out = unicode::replace_invalid(std::string_view(pending_).substr(0, whole));
  pending_.erase(0, whole);
  return out;
}

std::string StreamDecoder::finish() {
  std::string out = unicode::replace_invalid(pending_);
  pending_.clear();
  return out;
}

}  // namespace sedum
