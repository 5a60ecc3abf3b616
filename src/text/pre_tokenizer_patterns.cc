// The regular expressions behind the names of GGUF's tokenizer.ggml.pre, as the models' own tokenizer files have them; where those put
// several pre-tokenizers together, as llama.cpp writes them (src/llama-vocab.cpp).

#include "text/pre_tokenizer.h"

namespace sedum {

namespace {

const std::string kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string kSpaces = R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kContractions = R"((?i:'s|'t|'re|'ve|'m|'ll|'d))";
const std::string kSymbols = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)";

std::string qwen2(const std::string& digits) {
  return kContractions + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)" + digits + kSymbols + kSpaces;
}

// Words by their case: upper, then lower. `not_here` is looked for before every letter.
std::string cased(const std::string& digits, const std::string& contraction, const std::string& symbols,
                  const std::string& not_here = "") {
  const auto letters = [&](const std::string& set, const char* repeat) {
    return not_here.empty() ? "[" + set + "]" + repeat : "(?:" + not_here + "[" + set + "])" + repeat;
  };
  const std::string upper = R"(\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M})", lower = R"(\p{Ll}\p{Lm}\p{Lo}\p{M})",
                    lead = R"([^\r\n\p{L}\p{N}]?)";
  return lead + letters(upper, "*") + letters(lower, "+") + contraction + "|" + lead + letters(upper, "+") +
         letters(lower, "*") + contraction + "|" + digits + symbols + kSpaces;
}

const std::string kDeepSeekWords =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*)" +
    kSpaces;

struct Published {
  std::vector<std::string_view> names;  // the first is what the others are aliases of
  std::vector<std::string> patterns;
};

const std::vector<Published>& published() {
  static const std::vector<Published> all = {
      {{"gpt-2", "gpt2", "phi-2", "mpt", "olmo", "roberta-bpe", "jais", "trillion", "granite-docling", "jina-es",
        "jina-de", "jina-v1-en", "jina-v2-es", "jina-v2-de", "gigachat", "a.x-4.0", "mellum", "modern-bert", "exaone4"},
       {kGpt2}},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}, {R"(\p{N})", kGpt2}},
      {{"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "grok-2", "kormo"}, {qwen2(R"(\p{N})")}},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "smaug-bpe", "dbrx",
        "glm4", "chatglm-bpe"},
       {qwen2(R"(\p{N}{1,3})")}},
      {{"gpt-4o", "llama4", "minimax-m2", "kanana2"},
       {cased(R"(\p{N}{1,3})", kContractions + "?", R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)")}},
      {{"tekken"}, {cased(R"(\p{N})", "", R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)")}},
      {{"kimi-k2"}, {R"(\p{Han}+|)" + cased(R"(\p{N}{1,3})", kContractions + "?", kSymbols, R"((?!\p{Han}))")}},
      {{"deepseek-v3", "hunyuan-dense"}, {R"(\p{N}{1,3})", "[一-龥぀-ゟ゠-ヿ]+", kDeepSeekWords}},
      {{"deepseek-coder"}, {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-\xED\x9F\xBF]+", R"(\p{N})"}},
      {{"deepseek-llm"},
       {R"([\r\n])",
        R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)",
        R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)", R"(\s+$)", "[一-龥ࠀ-一가-\xED\x9F\xBF]+", R"(\p{N}+)"}},
      {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, "[0-9][0-9][0-9]"}},
      {{"bloom", "gpt3-finnish", "poro-chat"}, {R"( ?[^(\s|.,!?…。，、।۔،)]+)"}},
      {{"viking"}, {R"( ?[^(\s|.,!?…。，、।۔،)]+)", R"(\p{N})"}},
      {{"chameleon"},
       {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", R"(([\t\n]|    |  ))", R"(\p{N})",
        R"([\p{P}!-/:-@\[-`{-~])", kGpt2}},
      // In groups of three from the right.
      {{"superbpe"}, {R"(\p{N}+)", R"(\d{1,3}?(?=(?:\d{3})+(?!\d))|\d+)"}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"},
       {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}},
      {{"seed-coder"}, {kContractions + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+)" + kSpaces}},
  };
  return all;
}

const Published* find(std::string_view name) {
  for (const Published& p : published())
    for (const std::string_view alias : p.names)
      if (alias == name) return &p;
  return nullptr;
}

}  // namespace

std::string_view canonical_pre_tokenizer(std::string_view name) {
  const Published* found = find(name);
  return found ? found->names[0] : std::string_view();
}

std::vector<std::string> pre_tokenizer_patterns(std::string_view name) {
  const Published* found = find(name);
  return found ? found->patterns : std::vector<std::string>();
}

std::string_view pre_tokenizer_of_patterns(const std::vector<std::string>& patterns) {
  for (const Published& p : published())
    if (p.patterns == patterns) return p.names[0];
  return {};
}

std::vector<std::string> known_pre_tokenizers() {
  std::vector<std::string> names;
  for (const Published& p : published()) names.insert(names.end(), p.names.begin(), p.names.end());
  return names;
}

}  // namespace sedum
