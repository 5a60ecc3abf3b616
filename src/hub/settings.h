#pragma once
// Where models come from and where they are kept.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace sedum::hub {

struct Settings {
  std::filesystem::path home;  // models are in home/models
  std::vector<std::string> endpoints = {"https://huggingface.co", "https://hf-mirror.com"};  // asked in turn
  std::string token = {};                                   // an account's, sent to the first endpoint alone
  std::vector<std::string> pip = {"python3", "-m", "pip"};  // the command that fetches wheels
  std::function<void(const std::string&)> say = {};         // told in a line which source is tried and why one failed
};

// From SEDUM_HOME, XDG_CACHE_HOME or HOME; HF_ENDPOINT; HF_TOKEN. `environment` is std::getenv or a test's.
Settings settings_from(const std::function<const char*(const char*)>& environment);

}  // namespace sedum::hub
