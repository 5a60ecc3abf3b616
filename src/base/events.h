#pragma once
// What happens during a run, told once and heard by many: the terminal, metrics.jsonl, TensorBoard, the dashboard.
//
//   Events events;
//   events.listen([](const Event& e) { ... });
//   events.emit("step", {{"step", 12}, {"loss", 2.71}});
//
// Listeners are called on the emitting thread, in the order in which they were added.

#include <functional>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace sedum {

struct Event {
  const std::string& kind;
  const nlohmann::json& data;
};

class Events {
 public:
  using Listener = std::function<void(const Event&)>;
  void listen(Listener listener) { listeners_.push_back(std::move(listener)); }
  void emit(const std::string& kind, const nlohmann::json& data) const;

 private:
  std::vector<Listener> listeners_;
};

}  // namespace sedum
