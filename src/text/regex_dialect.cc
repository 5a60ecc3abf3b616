// Oniguruma's regular expressions, which tokenizer files are written in, for PCRE2 10.42.

#define PCRE2_CODE_UNIT_WIDTH 8
#include <algorithm>
#include <vector>

#include <pcre2.h>

#include "base/error.h"
#include "text/regex.h"

namespace sedum {

namespace {

// By trying every character. PCRE2's \w has no marks.
constexpr const char* kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{B2}\x{B3}\x{B9}\x{BC}-\x{BE})";
constexpr const char* kHex = "0-9A-Fa-f";

bool is_script(const std::string& name) {
  static constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP;
  const std::string pattern = "\\p{sc:" + name + "}";
  int error;
  PCRE2_SIZE offset;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), kOptions, &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

class Translation {
 public:
  explicit Translation(std::string_view pattern) : in_(pattern) {}

  std::string operator()() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '{' && interval()) continue;
      if (c == '+' || c == '*' || c == '?') {
        out_ += in_[at_++];
        continue;
      }
      const size_t begin = out_.size();
      if (c == '\\') {
        escape(false);
      } else if (c == '[') {
        set();
      } else {
        if (c == '(') groups_.push_back(begin);
        out_ += in_[at_++];
      }
      atom_ = begin;
      if (c == ')' && !groups_.empty()) atom_ = groups_.back(), groups_.pop_back();
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const char* what) const {
    throw Error("pre-tokenizer pattern " + std::string(in_) + ": " + what + " at offset " + std::to_string(at_),
                "this tokenizer needs a regular expression that is not known here");
  }

  std::string take(size_t count) {
    std::string taken(in_.substr(at_, count));
    at_ += taken.size();
    return taken;
  }

  // {3}+ repeats the group of three; to PCRE2 it would be possessive.
  bool interval() {
    const size_t end = in_.find('}', at_);
    if (end == in_.npos || in_.find_first_not_of("0123456789,", at_ + 1) != end || end == at_ + 1) return false;
    out_ += take(end + 1 - at_);
    if (at_ < in_.size() && in_[at_] == '+') {
      out_.insert(atom_, "(?:");
      out_ += ")";
    }
    return true;
  }

  // \p{Han} is the script; PCRE2 takes characters that several scripts share as well.
  void property() {
    out_ += take(2);
    const size_t end = in_.find('}', at_);
    if (at_ == in_.size() || in_[at_] != '{' || end == in_.npos) return;
    const bool negated = at_ + 1 < end && in_[at_ + 1] == '^';
    const std::string name(in_.substr(at_ + 1 + negated, end - at_ - 1 - negated));
    at_ = end + 1;
    out_ += std::string(negated ? "{^" : "{") + (name.size() > 2 && is_script(name) ? "sc:" : "") + name + "}";
  }

  void escape(bool in_set) {
    const char c = at_ + 1 < in_.size() ? in_[at_ + 1] : '\0';
    const auto one_of = [&](const std::string& set, bool negated) {
      at_ += 2;
      out_ += in_set ? set : (negated ? "[^" : "[") + set + "]";
    };
    const std::string word = std::string("[") + kWord + "]";
    const auto boundary = [&](const char* first, const char* second) {
      at_ += 2;
      out_ += "(?:(?<=" + word + ")(?" + first + word + ")|(?<!" + word + ")(?" + second + word + "))";
    };
    if (c == 'p' || c == 'P') {
      property();
    } else if (c == 's' || c == 'S') {  // PCRE2 counts U+180E
      at_ += 2;
      out_ += c == 's' ? R"(\p{White_Space})" : R"(\P{White_Space})";
    } else if (c == 'w' || (c == 'W' && !in_set)) {  // inside a set \W stays PCRE2's: no union of properties says it
      one_of(kWord, c == 'W');
    } else if (c == 'h' || (c == 'H' && !in_set)) {  // hexadecimal digits there, spaces in PCRE2
      one_of(kHex, c == 'H');
    } else if (c == 'b' && !in_set) {
      boundary("!", "=");
    } else if (c == 'B' && !in_set) {
      boundary("=", "!");
    } else if (c == 'u') {
      at_ += 2;
      out_ += "\\x{" + take(4) + "}";
    } else {
      out_ += take(2);
    }
  }

  bool skip(std::string_view text) {
    if (!in_.substr(std::min(at_, in_.size())).starts_with(text)) return false;
    at_ += text.size();
    return true;
  }

  // What a set has, up to its end or to an intersection.
  std::string members() {
    const size_t begin = out_.size();
    if (skip("]")) out_ += "\\]";
    while (at_ < in_.size() && in_[at_] != ']' && !in_.substr(at_).starts_with("&&")) {
      if (in_[at_] == '\\') {
        escape(true);
      } else if (in_[at_] != '[') {
        out_ += take(1);
      } else if (const size_t end = in_.find(":]", at_); in_.substr(at_).starts_with("[:") && end != in_.npos) {
        out_ += take(end + 2 - at_);
      } else {
        refuse("a set inside a set");
      }
    }
    std::string taken = out_.substr(begin);
    out_.resize(begin);
    return taken;
  }

  // [A&&[^B]] becomes (?:(?![B])[A]).
  void set() {
    skip("[");
    const std::string negated = skip("^") ? "^" : "";
    const std::string first = "[" + negated + members() + "]";
    if (skip("]")) {
      out_ += first;
      return;
    }
    if (!skip("&&[") || !negated.empty()) refuse("a set that does not end, or an intersection of another form");
    const std::string look = skip("^") ? "(?!" : "(?=", second = "[" + members() + "]";
    if (!skip("]]")) refuse("an intersection of sets of another form");
    out_ += "(?:" + look + second + ")" + first + ")";
  }

  std::string_view in_;
  size_t at_ = 0, atom_ = 0;
  std::string out_;
  std::vector<size_t> groups_;
};

}  // namespace

std::string pcre2_pattern(std::string_view oniguruma) { return Translation(oniguruma)(); }

}  // namespace sedum
