#pragma once
// A network read byte by byte, every way at once, with all states kept that were ever reached: a deterministic automaton that grows as it is used.
//
//   Automaton automaton(std::move(net), rule);
//   int state = automaton.start();
//   for (char c : text) if ((state = automaton.next(state, uint8_t(c))) < 0) …no text of the grammar begins so…
//   automaton.can_end(state)
//
// A state is the set of stacks (a node, and where each call returns to) that the bytes so far may have led to. Not for several threads.

#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "infer/grammar/network.h"

namespace sedum::grammar {

class Automaton {
 public:
  static constexpr int kDead = -1;
  static constexpr size_t kMostStates = 100000, kMostStacks = 2000;  // in all; in one state
  static constexpr int kMostDepth = 256;                             // of calls: deeper nesting is not generated

  // Error when the grammar branches into more than that at its start.
  Automaton(Network net, int rule);
  int start() const { return 0; }
  // Error when the automaton would grow beyond its limits.
  int next(int state, uint8_t byte);
  bool can_end(int state) const { return states_[size_t(state)].can_end; }
  bool can_go_on(int state) const { return !states_[size_t(state)].stacks.empty(); }
  size_t size() const { return states_.size(); }

 private:
  struct Stack {
    int node, below;  // below: a stack, or −1
    int depth;
  };
  struct State {
    std::vector<int> stacks;  // sorted; their nodes have bytes to take
    bool can_end = false;
    std::unique_ptr<int[]> next = nullptr;  // by byte; kUnknown before it was asked for
  };
  static constexpr int kUnknown = -2;
  int stack(int node, int below);
  void close(std::vector<int> waiting, State& state);
  int add(State state);

  const Network net_;
  std::vector<Stack> stacks_;
  std::unordered_map<uint64_t, int> stack_ids_;
  std::vector<State> states_;
  std::map<std::pair<std::vector<int>, bool>, int> state_ids_;
  std::vector<uint32_t> seen_;  // by stack: the closure that met it last
  uint32_t closure_ = 0;
};

}  // namespace sedum::grammar
