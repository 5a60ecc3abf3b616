#pragma once
// The git repository that a log lies in. A check-in is one commit of the files of its day, and of no other: what else is
// changed or staged stays as it is. Nothing is ever pushed.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace sedum::course {

class Repository {
 public:
  // Throws Error with the mend when git is missing or `folder` is in no repository.
  static Repository around(const std::filesystem::path& folder);

  const std::filesystem::path& root() const { return root_; }
  bool contains(const std::filesystem::path& path) const;

  // Tracked, and different from the last commit (staged changes included). A file that was never committed is not changed.
  bool changed(const std::filesystem::path& path) const;
  int changed_files() const;  // of the whole repository, untracked ones left out

  // One commit of exactly these paths; files that git does not know yet are added. The commit's short hash, or "" when there is
  // nothing to commit. Throws Error with git's own reason (no identity, a merge under way, a hook …); then nothing is staged.
  std::string commit(const std::vector<std::filesystem::path>& paths, const std::string& message) const;

 private:
  explicit Repository(std::filesystem::path root) : root_(std::move(root)) {}
  std::filesystem::path root_;
};

}  // namespace sedum::course
