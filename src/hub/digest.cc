#include "hub/digest.h"

#include <algorithm>
#include <memory>

#include <openssl/evp.h>

#include "base/error.h"
#include "base/file.h"

namespace sedum::hub {

std::string digest(const std::filesystem::path& path, Checksum::Kind kind) {
  const MappedFile file(path);
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  SEDUM_CHECK(context &&
              EVP_DigestInit_ex(context.get(), kind == Checksum::Kind::kSha256 ? EVP_sha256() : EVP_sha1(), nullptr));
  if (kind == Checksum::Kind::kGitBlob) {
    const std::string head = "blob " + std::to_string(file.bytes().size());
    EVP_DigestUpdate(context.get(), head.c_str(), head.size() + 1);
  }
  EVP_DigestUpdate(context.get(), file.bytes().data(), file.bytes().size());
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

bool Checksum::matches(const std::filesystem::path& file) const {
  if (!known()) return true;
  std::string expected = hex;
  std::transform(expected.begin(), expected.end(), expected.begin(), [](unsigned char c) { return std::tolower(c); });
  return digest(file, kind) == expected;
}

}  // namespace sedum::hub
