// The regular expressions behind the names of GGUF's tokenizer.ggml.pre (llama.cpp's src/llama-vocab.cpp), as the models' own
// tokenizer files have them; where those put several pre-tokenizers together, as llama.cpp writes them.

#include "text/pre_tokenizer.h"

namespace sedum {

namespace {

const std::string kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string kSpaces = R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
const std::string kContractions = R"((?i:'s|'t|'re|'ve|'m|'ll|'d))";
const std::string kSymbols = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*)";

// Words with one other symbol before them, without contractions.
std::string words(const std::string& digits) { return R"([^\r\n\p{L}\p{N}]?\p{L}+|)" + digits + kSymbols; }

std::string qwen2(const std::string& digits) { return kContractions + "|" + words(digits) + kSpaces; }

// Words by their case: upper, then lower. `but` narrows both sets.
std::string cased(const std::string& digits, const std::string& contraction, const std::string& symbols,
                  const std::string& but = "") {
  const std::string upper = R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M})" + but + "]",
                    lower = R"([\p{Ll}\p{Lm}\p{Lo}\p{M})" + but + "]", lead = R"([^\r\n\p{L}\p{N}]?)";
  return lead + upper + "*" + lower + "+" + contraction + "|" + lead + upper + "+" + lower + "*" + contraction + "|" +
         digits + symbols + kSpaces;
}

const std::string kDeepSeekLead =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)";
const std::string kDeepSeekWords = kDeepSeekLead + R"(| ?[\p{P}\p{S}]+[\r\n]*)" + kSpaces;
// Chinese and Japanese as DeepSeek-V3 cuts them out.
const std::string kDeepSeekHan = "[一-龥぀-ゟ゠-ヿ]+";

struct Published {
  std::vector<std::string_view> names;  // the first is what the others are aliases of
  std::vector<std::string> patterns;
};

const std::vector<Published>& published() {
  static const std::vector<Published> all = {
      {{"gpt-2",        "gpt2",       "phi-2",           "mpt",      "olmo",    "roberta-bpe",
        "jais",         "trillion",   "granite-docling", "jina-es",  "jina-de", "jina-v1-en",
        "jina-v2-code", "jina-v2-es", "jina-v2-de",      "gigachat", "a.x-4.0", "mellum",
        "modern-bert",  "exaone4"},
       {kGpt2}},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
       {R"(\p{N})", kGpt2}},
      {{"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "hunyuan", "grok-2", "kormo", "f2llmv2", "solar-open"},
       {qwen2(R"(\p{N})")}},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "smaug-bpe", "dbrx",
        "glm4", "glm5", "chatglm-bpe", "jina-v5-nano"},
       {qwen2(R"(\p{N}{1,3})")}},
      // granite-embed-multi-97m: for what llama.cpp approximates as [\p{L}\p{M}] without a-z or without A-Z.
      {{"gpt-4o", "llama4", "minimax-m2", "kanana2", "talkie", "granite-embed-multi-97m"},
       {cased(R"(\p{N}{1,3})", kContractions + "?", R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)")}},
      {{"tekken"}, {cased(R"(\p{N})", "", R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)")}},
      {{"kimi-k2"}, {R"([\p{Han}]+|)" + cased(R"(\p{N}{1,3})", kContractions + "?", kSymbols, R"(&&[^\p{Han}])")}},
      {{"deepseek-v3", "hunyuan-dense", "hy_v4", "joyai-llm"}, {R"(\p{N}{1,3})", kDeepSeekHan, kDeepSeekWords}},
      {{"deepseek-coder"}, {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", "[一-龥ࠀ-一가-\xED\x9F\xBF]+", R"(\p{N})"}},
      // By number: what an editor that normalises would turn into other letters.
      {{"deepseek-llm"},
       {R"([\r\n])",
        R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\x{1F7D}ᾀ-ᾴᾶ-ᾼ\x{1FBE}ῂ-ῄῆ-ῌῐ-\x{1FD3}ῖ-\x{1FDB}ῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\x{2126}ℨ\x{212A}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)",
        R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)", R"(\s+$)", "[一-龥ࠀ-一가-\xED\x9F\xBF]+", R"(\p{N}+)"}},
      {{"falcon"}, {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, "[0-9][0-9][0-9]"}},
      {{"bloom", "gpt3-finnish", "poro-chat"}, {R"( ?[^(\s|.,!?…。，、।۔،)]+)"}},
      {{"viking"}, {R"( ?[^(\s|.,!?…。，、।۔،)]+)", R"(\p{N})"}},
      {{"chameleon"},
       {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", R"(([\t\n]|    |  ))", R"(\p{N})",
        R"([\p{P}!-/:-@\[-`{-~])", kGpt2}},
      // In groups of three from the right.
      {{"superbpe"}, {R"(\p{N}+)", R"((?=(\d{3})+(?!\d)))"}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"},
       {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}},
      {{"default"}, {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},  // where a file names none
      {{"qwen35"},
       {kContractions + R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" + kSpaces}},
      {{"ufakzeka"}, {words(R"(\p{N})") + kSpaces}},
      {{"minicpm5"}, {R"(\p{N}{1,3})", qwen2(R"(\p{N}+)")}},
      {{"jais-2"},
       {kContractions + "|" + words(R"(\p{N}{1,3})") +
        R"(|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"}},
      {{"exaone-moe"},
       {kContractions +
        R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"}},
      // Line breaks begin what follows them: published as (?:\r?\n)+(?!\r?\n), merged with what is next.
      {{"laguna"}, {R"((?:\r?\n)++(?:[^\r\n]|\r(?!\n))*+)", qwen2(R"(\p{N})")}},
      {{"tiny_aya", "cohere2moe"},
       {R"(\d{1,3}(?=(?:\d{3})*\b))", cased(R"(\p{N}{1,3})", kContractions + "?", R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)")}},
      {{"youtu"},
       {"[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + kDeepSeekHan,
        cased(R"(\p{N})", kContractions + "?", R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*)")}},
      {{"spark2_5"},
       {R"(\p{N}{1,3})", kDeepSeekHan, kDeepSeekLead + R"(| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)", R"(\p{N})"}},
      // Digits from the right in threes, by way of 510, so that no lookahead is long; then each script by itself. llama.cpp has the
      // scripts as one class, with U+8C48 where U+F900 was meant.
      {{"afmoe"},
       {R"(\p{Nd}{1,510}(?=(?>\p{Nd}{510})*(?:\P{Nd}|$))|\G\p{Nd}{510})", R"(\A\p{Nd}{1,2}(?=\p{Nd}{3}+\z))",
        R"(\A\p{Nd}{3}|\G\p{Nd}{3})",
        R"((?:[\u4E00-\u9FFF\u3040-\u309F\u30A0-\u30FF\u3400-\u4DBF\uf900-\uFAFF\uFF65-\uFF9F\u2F00-\u2FDF]+|[\u0E00-\u0E7F]+|[\u0E80-\u0EFF]+|[\u1780-\u17FF]+|[\u1000-\u109F\uAA60-\uAA7F\uA9E0-\uA9FF]+|[\uAC00-\uD7AF\u1100-\u11FF]+))",
        kDeepSeekWords}},
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
