#pragma once
// Notes: their headings with the anchors that GitHub gives them, their links, and the page they make.
//
//   Note note = Note::read("docs/phase1-notes.md");
//   note.find("day3-极大似然vs贝叶斯")->line;          // nullptr when no heading has that anchor
//   std::string html = note.html(*note.find("…"));     // one section, safe to show: raw HTML is left out

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace sedum::course {

struct Heading {
  int level = 1, line = 0;  // 1-based
  std::string text, anchor;
};

struct NoteLink {
  int line = 0;
  std::string url;  // percent-encoding undone
  bool image = false;
};

struct Note {
  std::string name;  // for messages
  std::string text;
  std::vector<Heading> headings;
  std::vector<NoteLink> links;

  static Note parse(std::string_view text, std::string name);
  static Note read(const std::filesystem::path& path);

  const Heading* find(std::string_view anchor) const;
  std::string section(const Heading& heading) const;        // Markdown, up to the next heading of its level or above
  std::pair<int, int> lines(const Heading& heading) const;  // first and one past the last
};

// GitHub's rule: letters in lower case, digits, marks, `_` and `-` stay, blanks become `-`, everything else goes. The second
// heading with the same anchor gets `-1`, and so on: `taken` is what the document has so far.
std::string github_anchor(std::string_view heading, const std::vector<std::string>& taken = {});

// Tables, strikethrough and automatic links as GitHub has them. Raw HTML is left out, addresses that run scripts too.
std::string render_markdown(std::string_view text);

std::string percent_decoded(std::string_view url);
std::string percent_encoded(std::string_view url);  // what is not ASCII, and blanks and quotes; `/ # : ? & =` stay

}  // namespace sedum::course
