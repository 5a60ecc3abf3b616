#pragma once
// Reading config.json: its keys with errors that name file and key, and the readers of the families.

#include <string>
#include <vector>

#include "base/error.h"
#include "base/json.h"
#include "model/config.h"

namespace sedum {

// Reads keys of an object; a wrong type becomes an Error with file and key. null counts as absent, as in transformers.
class Keys {
 public:
  Keys(const nlohmann::json& object, std::string where) : object_(&object), where_(std::move(where)) {}
  bool has(const char* key) const { return object_->contains(key) && !(*object_)[key].is_null(); }

  template <class T>
  T get(const char* key) const {
    if (!has(key))
      throw Error(where_ + ": the key \"" + key + "\" is missing", "check that this is the model's own config.json");
    return value<T>(key);
  }
  template <class T>
  T get_or(const char* key, T fallback) const {
    return has(key) ? value<T>(key) : fallback;
  }

  Keys object(const char* key) const {
    if (!(*object_)[key].is_object()) throw Error(where_ + ": \"" + key + "\" is not an object");
    return {(*object_)[key], where_ + ": " + key};
  }
  const nlohmann::json& raw() const { return *object_; }

 private:
  template <class T>
  T value(const char* key) const {
    try {
      return (*object_)[key].get<T>();
    } catch (const nlohmann::json::exception&) {
      throw Error(where_ + ": the key \"" + std::string(key) +
                  "\" has the wrong type: " + (*object_)[key].dump().substr(0, 80));
    }
  }
  const nlohmann::json* object_;
  std::string where_;
};

// −1 where there is none. A list names several ends; the first is the usual one.
inline int32_t token_id(const Keys& keys, const char* key) {
  if (!keys.has(key)) return -1;
  if (!keys.raw()[key].is_array()) return keys.get<int32_t>(key);
  const auto several = keys.get<std::vector<int32_t>>(key);
  return several.empty() ? -1 : several[0];
}

// encoder_config.cc: BERT and RoBERTa, T5.
ModelConfig parse_encoder_config(const Keys& keys, const std::string& where);
nlohmann::ordered_json encoder_config_to_json(const ModelConfig& config);
int64_t encoder_parameter_count(const ModelConfig& config);

}  // namespace sedum
