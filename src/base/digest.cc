#include "base/digest.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include <openssl/evp.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum {

namespace {

// SHA-256 or SHA-1 of two pieces, one after the other.
std::string hex_digest(const EVP_MD* kind, std::string_view head, const void* data, size_t length) {
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  SEDUM_CHECK(context && EVP_DigestInit_ex(context.get(), kind, nullptr));
  EVP_DigestUpdate(context.get(), head.data(), head.size());
  EVP_DigestUpdate(context.get(), data, length);
  unsigned char value[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  SEDUM_CHECK(EVP_DigestFinal_ex(context.get(), value, &size));
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[value[i] >> 4];
    hex += "0123456789abcdef"[value[i] & 15];
  }
  return hex;
}

}  // namespace

std::string digest(const std::filesystem::path& path, Checksum::Kind kind) {
  const MappedFile file(path);
  const size_t size = file.bytes().size();
  if (kind == Checksum::Kind::kSha256) return hex_digest(EVP_sha256(), "", file.bytes().data(), size);
  const std::string head = "blob " + std::to_string(size);
  return hex_digest(EVP_sha1(), {head.c_str(), head.size() + 1}, file.bytes().data(), size);
}

std::string sha256(std::string_view bytes) { return hex_digest(EVP_sha256(), "", bytes.data(), bytes.size()); }

bool Checksum::matches(const std::filesystem::path& file) const {
  if (!known()) return true;
  std::string expected = hex;
  std::transform(expected.begin(), expected.end(), expected.begin(), [](unsigned char c) { return std::tolower(c); });
  return digest(file, kind) == expected;
}

// Four chains, so that one's latency hides another's. Each step is a bijection of the chain for a given word, and of the word for a
// given chain.
uint64_t quick_sum(std::span<const std::byte> bytes) {
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio
  uint64_t chains[4] = {0x243F6A8885A308D3u, 0x13198A2E03707344u, 0xA4093822299F31D0u, 0x082EFA98EC4E6C89u};  // of π
  // The product carries a bit upwards, the shift brings it down: one bit becomes several before the chain's next word.
  const auto step = [](uint64_t chain, uint64_t word) {
    const uint64_t product = (chain ^ word) * kOdd;
    return product ^ product >> 32;
  };
  size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    uint64_t words[4];
    std::memcpy(words, bytes.data() + at, 32);
    for (int i = 0; i < 4; ++i) chains[i] = step(chains[i], words[i]);
  }
  uint64_t rest[4] = {};
  if (at < bytes.size()) std::memcpy(rest, bytes.data() + at, bytes.size() - at);
  uint64_t sum = step(0, bytes.size());
  for (int i = 0; i < 4; ++i) sum = step(sum, step(chains[i], rest[i]));
  return sum;
}

}  // namespace sedum
