#include "text/sentencepiece.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "text/unicode.h"

namespace sedum {

namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81";  // ▁

// Protocol buffers, as far as they are needed: fields of numbers, 32-bit words and byte strings.
class Message {
 public:
  Message(std::string_view bytes, const std::string& name) : rest_(bytes), name_(name) {}

  // The next field; false at the end.
  bool next() {
    if (rest_.empty()) return false;
    const uint64_t key = varint();
    field_ = key >> 3;
    switch (key & 7) {
      case 0:
        number_ = varint();
        break;
      case 1:
        bytes_ = take(8);
        break;
      case 2:
        bytes_ = take(varint());
        break;
      case 5:
        bytes_ = take(4);
        break;
      default:
        damaged();
    }
    wire_ = int(key & 7);
    return true;
  }
  uint64_t field() const { return field_; }
  uint64_t number() const { return wire_ == 0 ? number_ : damaged(); }
  std::string_view bytes() const { return wire_ == 2 ? bytes_ : (damaged(), std::string_view()); }
  float real() const {
    if (wire_ != 5) damaged();
    float value;
    std::memcpy(&value, bytes_.data(), 4);
    return value;
  }

 private:
  [[noreturn]] uint64_t damaged() const {
    throw Error(name_ + ": is no SentencePiece model, or is damaged", "fetch the file again");
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) damaged();
      const auto byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      value |= uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    damaged();
  }
  std::string_view take(uint64_t size) {
    if (size > rest_.size()) damaged();
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }

  std::string_view rest_;
  const std::string& name_;
  uint64_t field_ = 0, number_ = 0;
  std::string_view bytes_;
  int wire_ = 0;
};

class ModelReader {
 public:
  explicit ModelReader(const std::string& name) : name_(name) {}

  TokenizerSpec read(std::string_view bytes) {
    spec_.model = "sentencepiece-unigram";
    spec_.sentencepiece.match_user_defined = spec_.sentencepiece.remove_extra_spaces = true;
    Message model(bytes, name_);
    while (model.next()) {
      if (model.field() == 1) piece(model.bytes());
      if (model.field() == 2) trainer(model.bytes());
      if (model.field() == 3) normalizer(model.bytes());
    }
    if (spec_.tokens.empty()) throw Error(name_ + ": holds no pieces", "is it a SentencePiece model?");
    for (int32_t* id : {&spec_.unk, &spec_.bos, &spec_.eos, &spec_.pad})
      if (*id >= int32_t(spec_.tokens.size())) *id = -1;
    spec_.add_bos = spec_.bos >= 0 && spec_.model == "sentencepiece-bpe";
    spec_.add_eos = spec_.eos >= 0 && spec_.model == "sentencepiece-unigram";
    return std::move(spec_);
  }

 private:
  void piece(std::string_view bytes) {
    Message message(bytes, name_);
    std::string text;
    float score = 0;
    TokenKind kind = TokenKind::kNormal;
    while (message.next()) {
      if (message.field() == 1) text = message.bytes();
      if (message.field() == 2) score = message.real();
      if (message.field() != 3) continue;
      const uint64_t type = message.number();
      if (type < 1 || type > 6)
        throw Error(name_ + ": a piece has the type " + std::to_string(type), "the file is damaged");
      kind = TokenKind(type);
    }
    if (!std::isfinite(score))
      throw Error(name_ + ": the score of piece " + std::to_string(spec_.tokens.size()) + " is no number");
    if (kind == TokenKind::kUnknown) spec_.unk = int32_t(spec_.tokens.size());
    spec_.tokens.push_back(std::move(text));
    spec_.scores.push_back(score);
    spec_.kinds.push_back(kind);
  }

  void trainer(std::string_view bytes) {
    Message message(bytes, name_);
    spec_.bos = 1, spec_.eos = 2;  // the format's defaults
    while (message.next()) {
      switch (message.field()) {
        case 3:
          if (message.number() == 2) spec_.model = "sentencepiece-bpe";
          if (message.number() > 2)
            throw Error(name_ + ": models of whole words or characters are not supported",
                        "unigram and BPE models can be used");
          break;
        case 24:
          spec_.sentencepiece.space_as_suffix = message.number() != 0;
          break;
        case 35:
          spec_.sentencepiece.byte_fallback = message.number() != 0;
          break;
        case 41:
          spec_.bos = int32_t(message.number());
          break;
        case 42:
          spec_.eos = int32_t(message.number());
          break;
        case 43:
          spec_.pad = int32_t(message.number());
          break;
        default:
          break;
      }
    }
  }

  void normalizer(std::string_view bytes) {
    Message message(bytes, name_);
    SentencePieceOptions& options = spec_.sentencepiece;
    options.remove_extra_spaces = true;
    while (message.next()) {
      if (message.field() == 2) options.charsmap = message.bytes();
      if (message.field() == 3) options.add_dummy_prefix = message.number() != 0;
      if (message.field() == 4) options.remove_extra_spaces = message.number() != 0;
      if (message.field() == 5) options.escape_spaces = message.number() != 0;
    }
  }

  const std::string& name_;
  TokenizerSpec spec_;
};

}  // namespace

TokenizerSpec parse_sentencepiece(std::string_view bytes, const std::string& name) {
  return ModelReader(name).read(bytes);
}

TokenizerSpec read_sentencepiece(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_sentencepiece(file.text(), path.string());
}

SentencePieceNormalizer::SentencePieceNormalizer(const TokenizerSpec& spec)
    : options_(spec.sentencepiece), charsmap_(spec.sentencepiece.charsmap) {
  std::vector<std::pair<std::string_view, int32_t>> entries;
  if (options_.match_user_defined)
    for (size_t id = 0; id < spec.kinds.size(); id++)
      if (spec.kinds[id] == TokenKind::kUserDefined) entries.emplace_back(spec.tokens[id], int32_t(id));
  has_user_defined_ = !entries.empty();
  user_defined_ = ByteTrie(std::move(entries));
}

std::pair<std::string_view, size_t> SentencePieceNormalizer::prefix(const char* p, const char* end) const {
  if (has_user_defined_)
    if (const size_t length = user_defined_.longest(p, end).first; length > 0) return {{p, length}, length};
  if (const Charsmap::Rule rule = charsmap_.longest(p, end); rule.length > 0) return {rule.to, rule.length};
  const unicode::Decoded c = unicode::decode(p, end);
  if (c.code == unicode::kInvalid) return {"\xEF\xBF\xBD", 1};
  return {{p, size_t(c.length)}, size_t(c.length)};
}

bool SentencePieceNormalizer::stands_for_itself(const char* p, const char* end) const {
  const auto byte = static_cast<unsigned char>(*p);
  return byte != ' ' && byte < 0x80 && !has_user_defined_ && charsmap_.plain(byte) &&
         (p + 1 == end || static_cast<unsigned char>(p[1]) < 0x80);
}

std::string SentencePieceNormalizer::operator()(std::string_view text) const {
  const bool removing = options_.remove_extra_spaces;
  const std::string_view space = options_.escape_spaces ? kSpace : " ";
  const char *p = text.data(), *end = p + text.size();
  std::string out;
  while (removing && p < end) {
    const auto [to, length] = prefix(p, end);
    if (to != " ") break;
    p += length;
  }
  if (p == end) return out;
  out.reserve(size_t(end - p) + size_t(end - p) / 2 + 8);
  if (options_.add_dummy_prefix && !options_.space_as_suffix) out += space;
  bool after_space = removing;
  while (p < end) {
    const auto byte = static_cast<unsigned char>(*p);
    // ASCII before ASCII mostly stands for itself, and so do ideographs.
    const char* q = p;
    if (byte < 0x80) {
      while (q < end && stands_for_itself(q, end)) q++;
    } else if (!has_user_defined_) {
      const unicode::Decoded c = unicode::decode_multibyte(p, end);
      if (c.code != unicode::kInvalid && charsmap_.untouched(c.code)) q += c.length;
    }
    if (q > p) {
      out.append(p, q);
      p = q;
      after_space = false;
      continue;
    }
    auto [to, length] = prefix(p, end);
    p += length;
    while (after_space && to.starts_with(' ')) to.remove_prefix(1);
    if (to.empty()) continue;
    for (const char c : to) c == ' ' ? void(out += space) : out.push_back(c);
    after_space = removing && to.ends_with(' ');
  }
  while (removing && out.ends_with(space)) out.erase(out.size() - space.size());
  if (options_.add_dummy_prefix && options_.space_as_suffix) out += space;
  return out;
}

}  // namespace sedum
