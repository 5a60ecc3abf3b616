#include "text/byte_trie.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "base/random.h"

namespace sedum {
namespace {

using Entries = std::vector<std::pair<std::string_view, int32_t>>;

// Every prefix of `text` that is an entry, by a plain map.
std::vector<std::pair<size_t, int32_t>> prefixes_of(const std::map<std::string, int32_t>& entries,
                                                    const std::string& text) {
  std::vector<std::pair<size_t, int32_t>> found;
  for (size_t length = 1; length <= text.size(); length++)
    if (const auto at = entries.find(text.substr(0, length)); at != entries.end())
      found.push_back({length, at->second});
  return found;
}

TEST(ByteTrie, FindsWhatAMapFinds) {
  const Random random(1, Purpose::kTest);
  uint64_t drawn = 0;
  // Few and many different bytes: long chains, and nodes with hundreds of children.
  for (const int alphabet : {1, 2, 5, 40, 256}) {
    std::map<std::string, int32_t> entries;
    const auto draw = [&] {
      std::string text(1 + random.below(12, drawn++), ' ');
      for (char& c : text) c = char(255 - random.below(uint64_t(alphabet), drawn++));
      return text;
    };
    for (int i = 0; i < 3000; i++) entries.try_emplace(draw(), i);
    const ByteTrie trie(Entries(entries.begin(), entries.end()));
    for (int i = 0; i < 3000; i++) {
      const std::string text = draw();
      std::vector<std::pair<size_t, int32_t>> found;
      trie.prefixes(text.data(), text.data() + text.size(), [&](size_t length, int32_t value) {
        found.push_back({length, value});
      });
      ASSERT_EQ(found, prefixes_of(entries, text)) << "alphabet " << alphabet;
      const auto next = entries.lower_bound(text);
      ASSERT_EQ(trie.begins(text.data(), text.data() + text.size()),
                next != entries.end() && next->first.starts_with(text));
    }
  }
}

TEST(ByteTrie, NothingEmptyAndTwice) {
  const std::string text = "ab";
  const ByteTrie none, empty(Entries{{"", 1}}), twice(Entries{{"a", 1}, {"", 2}, {"a", 3}});
  EXPECT_EQ(none.longest(text.data(), text.data() + 2).first, 0u);
  EXPECT_EQ(empty.longest(text.data(), text.data() + 2).first, 0u);
  EXPECT_EQ(twice.longest(text.data(), text.data() + 2), std::pair(size_t(1), 1));
}

// Places below a node's lowest byte stay free for ever: a search that begins at them took five seconds for these 64 KiB.
TEST(ByteTrie, OneLongEntryTakesItsOwnLength) {
  const std::string text(1 << 16, '\xff');
  const ByteTrie trie(Entries{{text, 7}});
  EXPECT_EQ(trie.longest(text.data(), text.data() + text.size()), std::pair(text.size(), 7));
  EXPECT_LT(trie.size(), text.size() + 512);
}

}  // namespace
}  // namespace sedum
