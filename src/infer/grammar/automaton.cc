#include "infer/grammar/automaton.h"

#include <algorithm>

#include "base/error.h"

namespace sedum::grammar {

Automaton::Automaton(Network net, int rule) : net_(std::move(net)) {
  State first;
  close({stack(net_.rule(rule).begin, -1)}, first);
  add(std::move(first));
}

int Automaton::stack(int node, int below) {
  const uint64_t key = uint64_t(uint32_t(node)) << 32 | uint32_t(below);
  const auto [at, is_new] = stack_ids_.try_emplace(key, int(stacks_.size()));
  if (is_new) stacks_.push_back({node, below, below < 0 ? 0 : stacks_[size_t(below)].depth + 1});
  return at->second;
}

// Follows what takes no byte: free edges, calls, and returns.
void Automaton::close(std::vector<int> waiting, State& state) {
  ++closure_;
  while (!waiting.empty()) {
    const int id = waiting.back();
    waiting.pop_back();
    if (seen_.size() < stacks_.size()) seen_.resize(stacks_.size() + stacks_.size() / 2);
    if (std::exchange(seen_[size_t(id)], closure_) == closure_) continue;
    const Stack top = stacks_[size_t(id)];
    const Node& node = net_.node(top.node);
    if (!node.bytes.empty()) state.stacks.push_back(id);
    for (const int to : node.free) waiting.push_back(stack(to, top.below));
    for (const Node::Call& call : node.calls)
      if (top.depth < kMostDepth) waiting.push_back(stack(net_.rule(call.rule).begin, stack(call.to, top.below)));
    // A node without a way on is the end of a rule: what could not end was cut away.
    if (node.bytes.empty() && node.free.empty() && node.calls.empty()) {
      if (top.below < 0)
        state.can_end = true;
      else
        waiting.push_back(top.below);
    }
    if (state.stacks.size() > kMostStacks)
      throw Error("the grammar can be read in too many ways at once", "make its alternatives more distinct");
  }
  std::sort(state.stacks.begin(), state.stacks.end());
}

int Automaton::add(State state) {
  if (state.stacks.empty() && !state.can_end) return kDead;
  const auto [at, is_new] = state_ids_.try_emplace({state.stacks, state.can_end}, int(states_.size()));
  if (!is_new) return at->second;
  if (states_.size() >= kMostStates) {
    state_ids_.erase(at);
    throw Error("the grammar needs too many states", "shorten counted repetitions and alternatives");
  }
  states_.push_back(std::move(state));
  return int(states_.size()) - 1;
}

int Automaton::next(int from, uint8_t byte) {
  State& state = states_[size_t(from)];
  if (!state.next) {
    state.next.reset(new int[256]);
    std::fill_n(state.next.get(), 256, kUnknown);
  }
  if (state.next[byte] != kUnknown) return state.next[byte];
  std::vector<int> reached;
  for (const int id : state.stacks) {
    const Stack top = stacks_[size_t(id)];
    for (const Node::Bytes& edge : net_.node(top.node).bytes)
      if (edge.low <= byte && byte <= edge.high) reached.push_back(stack(edge.to, top.below));
  }
  State to;
  if (!reached.empty()) close(std::move(reached), to);
  const int id = add(std::move(to));  // may move states_
  return states_[size_t(from)].next[byte] = id;
}

}  // namespace sedum::grammar
