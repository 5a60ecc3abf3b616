#pragma once
// What a key of a recipe is: how it is read from YAML and how it is written back. Keys are listed by group: config.cc,
// config_kinds.cc and config_optimizer.cc.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <yaml-cpp/yaml.h>

#include "base/error.h"
#include "base/json.h"
#include "train/config.h"

namespace sedum {

using Json = nlohmann::ordered_json;

// One key: how it is read from YAML and how it is written back.
struct Key {
  std::function<void(const YAML::Node&)> read;
  std::function<Json()> write;
};

template <class T>
T scalar(const YAML::Node& node) {
  if (!node.IsScalar()) throw YAML::BadConversion(node.Mark());
  return node.as<T>();
}

template <class T>
Key plain(T& value) {
  return {[&value](const YAML::Node& node) { value = scalar<T>(node); }, [&value] { return Json(value); }};
}

// A list, or one value.
inline Key list(std::vector<std::string>& value) {
  return {[&value](const YAML::Node& node) {
            if (node.IsSequence())
              value = node.as<std::vector<std::string>>();
            else
              value = {scalar<std::string>(node)};
          },
          [&value] { return Json(value); }};
}

template <class T>
Key choice(T& value, const char* key, std::vector<std::pair<std::string, T>> choices) {
  return {[&value, key, choices](const YAML::Node& node) {
            const auto text = scalar<std::string>(node);
            std::string all;
            for (const auto& [name, meaning] : choices) {
              if (text == name) return void(value = meaning);
              all += (all.empty() ? "" : ", ") + name;
            }
            throw Error(std::string(key) + ": " + text + " is not known here", "choose one of " + all);
          },
          [&value, choices] {
            for (const auto& [name, meaning] : choices)
              if (value == meaning) return Json(name);
            return Json();
          }};
}

// A value that need not be given.
template <class T>
Key optional(std::optional<T>& value) {
  return {[&value](const YAML::Node& node) { value = scalar<T>(node); },
          [&value] { return value ? Json(*value) : Json(); }};
}

// The group of stages, adapters, regularisation and models to begin with.
std::map<std::string, Key> kind_keys(TrainConfig& config);
void check_kind_keys(const TrainConfig& config, const std::string& where);
// The group of the optimizer, its schedule and the numbers' precision.
std::map<std::string, Key> optimizer_keys(TrainConfig& config);
void check_optimizer_keys(const TrainConfig& config, const std::string& where);  // Error for values that cannot be

}  // namespace sedum
