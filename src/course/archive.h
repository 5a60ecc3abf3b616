#pragma once
// Files packed into one: NAME.zip or NAME.tar.zst, with their checksums inside as SHA256SUMS (`sha256sum -c SHA256SUMS` checks
// what was unpacked). The same files give the same bytes: entries are sorted and carry no time and no owner.
//
//   Archive archive;
//   archive.add("table.pdf", pdf_bytes);
//   archive.add_folder("code", "course/code");      // hidden files and symbolic links are left out
//   archive.write("course.tar.zst");

#include <filesystem>
#include <map>
#include <string>

namespace sedum::course {

class Archive {
 public:
  void add(const std::string& name, std::string content);
  void add_file(const std::string& name, const std::filesystem::path& file);
  void add_folder(const std::string& name, const std::filesystem::path& folder);  // nothing when there is none
  size_t files() const { return files_.size(); }
  void write(const std::filesystem::path& path) const;  // throws Error for another suffix

 private:
  std::map<std::string, std::string> files_;
};

}  // namespace sedum::course
