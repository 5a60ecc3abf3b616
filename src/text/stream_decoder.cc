#include <algorithm>

#include "text/tokenizer.h"
#include "text/unicode.h"

namespace sedum {

std::string StreamDecoder::push(int32_t id) {
  if (skip_special_ && tokenizer_->is_special(id) && std::find(shown_.begin(), shown_.end(), id) == shown_.end())
    return {};
  if (first_)
    pending_ += tokenizer_->first_token_bytes(id);
  else
    pending_ += tokenizer_->token_bytes(id);
  first_ = false;
  while (to_strip_ > 0 && !pending_.empty()) {
    to_strip_ = pending_[0] == ' ' ? to_strip_ - 1 : 0;
    if (pending_[0] == ' ') pending_.erase(0, 1);
  }
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
