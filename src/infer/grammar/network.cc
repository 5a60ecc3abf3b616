#include "infer/grammar/network.h"

#include <algorithm>
#include <unordered_map>

#include "base/error.h"

namespace sedum::grammar {

int Network::add_node() {
  if (nodes_.size() >= kMostNodes)
    throw Error("the grammar is too large", "shorten lists, limits of lengths and counted repetitions");
  nodes_.emplace_back();
  return int(nodes_.size()) - 1;
}

Piece Network::empty() {
  const int node = add_node();
  return {node, node};
}

Piece Network::bytes(uint8_t low, uint8_t high) {
  const Piece piece{add_node(), add_node()};
  nodes_[size_t(piece.begin)].bytes.push_back({low, high, piece.end});
  return piece;
}

Piece Network::text(std::string_view literal) {
  Piece piece = empty();
  for (const char c : literal) {
    const int next = add_node();
    nodes_[size_t(piece.end)].bytes.push_back({uint8_t(c), uint8_t(c), next});
    piece.end = next;
  }
  return piece;
}

namespace {

int utf8_length(uint32_t c) { return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4; }

void encode(uint32_t c, int length, uint8_t* to) {
  constexpr uint8_t kLead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  for (int i = length - 1; i > 0; --i, c >>= 6) to[i] = uint8_t(0x80 | (c & 0x3F));
  to[0] = uint8_t(kLead[length] | c);
}

// Cuts [low, high], of one encoded length, into runs whose bytes vary independently: (Thompson's way, as in RE2).
void cut(uint32_t low, uint32_t high, int length, std::vector<std::pair<uint32_t, uint32_t>>& runs) {
  for (int i = 1; i < length; ++i) {
    const uint32_t mask = (uint32_t{1} << (6 * i)) - 1;
    if ((low & ~mask) == (high & ~mask)) continue;
    if ((low & mask) != 0) {
      cut(low, low | mask, length, runs);
      return cut((low | mask) + 1, high, length, runs);
    }
    if ((high & mask) != mask) {
      cut(low, (high & ~mask) - 1, length, runs);
      return cut(high & ~mask, high, length, runs);
    }
  }
  runs.emplace_back(low, high);
}

}  // namespace

Piece Network::code_points(uint32_t low, uint32_t high) {
  std::vector<Piece> pieces;
  constexpr std::pair<uint32_t, uint32_t> kLengths[] = {
      {0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}};
  for (const auto& [first, last] : kLengths) {
    const uint32_t from = std::max(low, first), to = std::min(high, last);
    if (from > to) continue;
    std::vector<std::pair<uint32_t, uint32_t>> runs;
    const int length = utf8_length(from);
    cut(from, to, length, runs);
    for (const auto& [a, b] : runs) {
      uint8_t least[4], most[4];
      encode(a, length, least), encode(b, length, most);
      Piece piece = empty();
      for (int i = 0; i < length; ++i) piece = sequence({piece, bytes(least[i], most[i])});
      pieces.push_back(piece);
    }
  }
  return any_of(pieces);
}

Piece Network::sequence(std::initializer_list<Piece> pieces) { return sequence(std::vector<Piece>(pieces)); }

Piece Network::sequence(const std::vector<Piece>& pieces) {
  Piece whole = pieces.empty() ? empty() : pieces[0];
  for (size_t i = 1; i < pieces.size(); ++i) {
    nodes_[size_t(whole.end)].free.push_back(pieces[i].begin);
    whole.end = pieces[i].end;
  }
  return whole;
}

Piece Network::any_of(const std::vector<Piece>& pieces) {
  if (pieces.size() == 1) return pieces[0];
  const Piece whole{add_node(), add_node()};
  for (const Piece& piece : pieces) {
    nodes_[size_t(whole.begin)].free.push_back(piece.begin);
    nodes_[size_t(piece.end)].free.push_back(whole.end);
  }
  return whole;
}

Piece Network::optional(Piece piece) { return any_of({piece, empty()}); }

Piece Network::plus(Piece piece) {
  const Piece whole{add_node(), add_node()};
  nodes_[size_t(whole.begin)].free.push_back(piece.begin);
  nodes_[size_t(piece.end)].free.push_back(piece.begin);
  nodes_[size_t(piece.end)].free.push_back(whole.end);
  return whole;
}

Piece Network::star(Piece piece) { return optional(plus(piece)); }

Piece Network::repeat(Piece piece, int64_t least, int64_t most) {
  if (most >= 0 && least > most) return any_of({});
  if (most < 0 && least == 0) return star(piece);
  if (most == 0) return empty();
  const int64_t times = most < 0 ? least : most;
  std::vector<Piece> pieces;
  for (int64_t i = 0; i < times; ++i) pieces.push_back(i + 1 < times ? copy(piece) : piece);
  if (most < 0) pieces.back() = plus(pieces.back());
  Piece whole = empty();
  const int out = add_node();
  for (size_t i = 0; i < pieces.size(); ++i) {
    if (int64_t(i) >= least) nodes_[size_t(whole.end)].free.push_back(out);
    whole = sequence({whole, pieces[i]});
  }
  nodes_[size_t(whole.end)].free.push_back(out);
  return {whole.begin, out};
}

Piece Network::copy(Piece piece) {
  std::unordered_map<int, int> made;
  std::vector<int> waiting{piece.begin, piece.end};
  const auto copy_of = [&](int node) {
    const auto [at, is_new] = made.try_emplace(node, 0);
    if (is_new) at->second = add_node(), waiting.push_back(node);
    return at->second;
  };
  const Piece result{copy_of(piece.begin), copy_of(piece.end)};
  std::vector<int> done;
  while (!waiting.empty()) {
    const int node = waiting.back();
    waiting.pop_back();
    const int to = made.at(node);
    if (std::exchange(nodes_[size_t(to)].alive, true)) continue;  // filled already
    done.push_back(to);
    Node filled = nodes_[size_t(node)];
    for (auto& e : filled.bytes) e.to = copy_of(e.to);
    for (int& e : filled.free) e = copy_of(e);
    for (auto& e : filled.calls) e.to = copy_of(e.to);
    nodes_[size_t(to)].bytes = std::move(filled.bytes);
    nodes_[size_t(to)].free = std::move(filled.free);
    nodes_[size_t(to)].calls = std::move(filled.calls);
  }
  for (const int node : done) nodes_[size_t(node)].alive = false;
  return result;
}

int Network::add_rule() {
  rules_.push_back({add_node(), add_node()});
  return int(rules_.size()) - 1;
}

void Network::define(int rule, Piece piece) {
  nodes_[size_t(rules_[size_t(rule)].begin)].free.push_back(piece.begin);
  nodes_[size_t(piece.end)].free.push_back(rules_[size_t(rule)].end);
}

Piece Network::call(int rule) {
  const Piece piece{add_node(), add_node()};
  nodes_[size_t(piece.begin)].calls.push_back({rule, piece.end});
  return piece;
}

// Nodes from which their rule's end can be reached, through rules that can end: until nothing changes. Edges to others go.
void Network::finish(int start) {
  for (const Piece& rule : rules_) nodes_[size_t(rule.end)].alive = true;
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t i = nodes_.size(); i-- > 0;) {
      Node& n = nodes_[i];
      if (n.alive) continue;
      const auto alive = [&](int to) { return nodes_[size_t(to)].alive; };
      n.alive = std::any_of(n.bytes.begin(), n.bytes.end(), [&](const auto& e) { return alive(e.to); }) ||
                std::any_of(n.free.begin(), n.free.end(), alive) ||
                std::any_of(n.calls.begin(), n.calls.end(),
                            [&](const auto& e) { return alive(e.to) && alive(rules_[size_t(e.rule)].begin); });
      changed |= n.alive;
    }
  }
  if (!nodes_[size_t(rules_[size_t(start)].begin)].alive)
    throw Error("the grammar allows no text at all",
                "its demands contradict each other, or it refers to itself without an end");
  for (Node& n : nodes_) {
    const auto dead = [&](int to) { return !nodes_[size_t(to)].alive; };
    std::erase_if(n.bytes, [&](const auto& e) { return dead(e.to); });
    std::erase_if(n.free, dead);
    std::erase_if(n.calls, [&](const auto& e) { return dead(e.to) || dead(rules_[size_t(e.rule)].begin); });
  }
}

}  // namespace sedum::grammar
