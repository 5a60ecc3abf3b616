// Rows of training data: whatever the bytes, a row, an Error, or the end; what was read can be written and read again.

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "data/rows.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace sedum;
  try {
    data::RowReader reader(std::string_view(reinterpret_cast<const char*>(bytes), size), "fuzz.jsonl");
    while (const auto row = reader.next()) {
      try {
        const data::Conversation conversation = data::to_conversation(*row);
        const data::Conversation again = data::to_conversation(data::to_chat(conversation), row->origin);
        SEDUM_CHECK(again.messages == conversation.messages && again.text == conversation.text);
      } catch (const Error&) {
      }
    }
  } catch (const Error&) {
  }
  return 0;
}
