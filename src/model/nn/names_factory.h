#pragma once
// Notes the names that a model asks for, as files store them, and gives nothing: what tensors an architecture has.

#include <string>
#include <vector>

#include "model/nn/linear.h"

namespace sedum {

class NamesFactory : public LayerFactory {
 public:
  std::unique_ptr<Linear> linear(const std::string& name, int64_t, int64_t, bool bias) override {
    names.push_back(name + ".weight");
    if (bias) names.push_back(name + ".bias");
    return nullptr;
  }
  Variable vector(const std::string& name, int64_t) override {
    names.push_back(vector_name(name));
    return {};
  }
  ops::Weight table(const std::string& name, int64_t, int64_t) override {
    names.push_back(name + ".weight");
    return {};
  }
  std::vector<std::string> names;
};

}  // namespace sedum
