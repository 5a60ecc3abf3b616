#include "base/digest.h"

#include <algorithm>
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

}  // namespace sedum
