#include "text/token_decoder.h"

#include "text/bpe.h"
#include "text/json_fields.h"
#include "text/regex.h"
#include "text/unicode.h"
#include "text/word_model.h"

namespace sedum {

namespace {

using fields::Json;

std::string replaced(const std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  size_t done = 0;
  for (size_t at; (at = text.find(from, done)) != std::string::npos; done = at + from.size()) {
    out.append(text, done, at - done);
    out += to;
  }
  return out.append(text, done);
}

// What BERT's decoder makes of spaces that were put before punctuation and English contractions.
std::string cleaned_up(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},   {" n't", "n't"},
      {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) text = replaced(text, from, to);
  return text;
}

std::string stripped(std::string text, std::string_view what, int64_t left, int64_t right) {
  for (; left > 0 && !what.empty() && text.starts_with(what); left--) text.erase(0, what.size());
  for (; right > 0 && !what.empty() && text.ends_with(what); right--) text.erase(text.size() - what.size());
  return text;
}

}  // namespace

TokenDecoder::TokenDecoder(const Json& json, const std::string& name) {
  if (json.is_null()) {
    steps_.push_back([](std::string t, bool first) { return first ? t : ' ' + t; });
  } else {
    add(json, name);
  }
}

void TokenDecoder::add(const Json& json, const std::string& name) {
  const std::string type = fields::text(json, "type");
  if (type == "Sequence") {
    for (const Json& part : fields::at(json, "decoders")) add(part, name);
  } else if (type == "ByteLevel") {
    steps_.push_back([](std::string t, bool) {
      std::string bytes;
      return from_byte_alphabet(t, bytes) ? bytes : t;
    });
  } else if (type == "Metaspace") {
    const std::string mark = fields::text(json, "replacement", "▁");
    const std::string scheme =
        fields::text(json, "prepend_scheme", fields::flag(json, "add_prefix_space", true) ? "always" : "never");
    steps_.push_back([mark, drops = scheme != "never"](std::string t, bool first) {
      return replaced(t, mark, first && drops ? "" : " ");
    });
  } else if (type == "WordPiece") {
    const std::string prefix = fields::text(json, "prefix", "##");
    steps_.push_back([prefix, cleanup = fields::flag(json, "cleanup", true)](std::string t, bool first) {
      if (!first) t = t.starts_with(prefix) ? t.substr(prefix.size()) : ' ' + t;
      return cleanup ? cleaned_up(t) : t;
    });
  } else if (type == "BPEDecoder") {  // the space belongs to the word before; given out before the next one
    const std::string suffix = fields::text(json, "suffix", "</w>");
    steps_.push_back([suffix](std::string t, bool) { return replaced(t, suffix, " "); });
  } else if (type == "ByteFallback") {
    steps_.push_back([](std::string t, bool) {
      const int byte = byte_of_token(t);
      return byte < 0 ? t : std::string(1, char(byte));
    });
  } else if (type == "Fuse") {
    fused_ = true;
  } else if (type == "Replace") {
    const Json& pattern = fields::at(json, "pattern");
    const std::string from = fields::text(pattern, "String"), regex = fields::text(pattern, "Regex"),
                      to = fields::text(json, "content");
    if (!from.empty())
      steps_.push_back([from, to](std::string t, bool) { return replaced(t, from, to); });
    else if (!regex.empty() && !fused_)  // behind Fuse a match could run over tokens
      steps_.push_back(
          [regex = Regex(regex), to](std::string t, bool) { return unicode::is_valid(t) ? regex.replace(t, to) : t; });
    else
      fields::not_supported(name, "the decoder", json);
  } else if (type == "Strip") {
    const std::string what = fields::text(json, "content", " ");
    const int64_t left = fields::number(json, "start"), right = fields::number(json, "stop");
    if (!fused_) {
      steps_.push_back([=](std::string t, bool) { return stripped(std::move(t), what, left, right); });
    } else if (what == " " && right == 0 && left >= 0 && left < 1000) {
      strip_left_ = int(left);
    } else {
      fields::not_supported(name, "the decoder", json);
    }
  } else {
    fields::not_supported(name, "the decoder", json);
  }
}

std::string TokenDecoder::token(std::string_view text, bool first) const {
  std::string out(text);
  for (const Step& step : steps_) out = step(std::move(out), first);
  return out;
}

}  // namespace sedum
