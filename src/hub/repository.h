#pragma once
// What a repository of the model hub holds, and which of its files make a model.
//
//   auto files = choose_files(list_repository("https://huggingface.co", "Qwen/Qwen2.5-0.5B", token), "");

#include <cstdint>
#include <string>
#include <vector>

#include "base/digest.h"

namespace sedum::hub {

struct RepositoryFile {
  std::string path;
  uint64_t size = 0;
  Checksum checksum = {};
};

// Throws http::HttpError when it cannot be reached or does not exist, Error when the answer makes no sense.
std::vector<RepositoryFile> list_repository(const std::string& endpoint, const std::string& repository,
                                            const std::string& token);
std::vector<RepositoryFile> parse_listing(const std::string& text);

// The files to fetch. `wanted` is a path in the repository, or what tells one of its GGUF files from the others ("Q4_K_M"); parts of
// a split GGUF come together. Without it: config, weights in safetensors, tokenizer and template; or else the only GGUF file.
std::vector<RepositoryFile> choose_files(const std::vector<RepositoryFile>& files, const std::string& wanted,
                                         const std::string& repository);

std::string file_url(const std::string& endpoint, const std::string& repository, const std::string& path);

}  // namespace sedum::hub
