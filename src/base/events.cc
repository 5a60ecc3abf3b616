#include "base/events.h"

#include "base/json.h"

namespace sedum {

void Events::emit(const std::string& kind, const nlohmann::json& data) const {
  for (const auto& listener : listeners_) listener({kind, data});
}

}  // namespace sedum
