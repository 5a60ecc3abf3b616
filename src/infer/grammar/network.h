#pragma once
// The form that every grammar is compiled to: a recursive transition network over bytes.
//
//   Network net;
//   const Piece digits = net.plus(net.bytes('0', '9'));
//   const int number = net.add_rule();
//   net.define(number, net.sequence({net.optional(net.text("-")), digits}));
//   net.finish(number);                                    // what can never end is cut away; Error when nothing is left
//
// A rule is a Thompson automaton whose edges take a byte, take nothing, or call a rule. Calls are what makes nesting possible; without
// recursion it all is one finite automaton.

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <utility>
#include <vector>

namespace sedum::grammar {

// Part of an automaton: in at `begin`, out at `end`. Used once: a copy() is needed to have it twice.
struct Piece {
  int begin = -1, end = -1;
};

struct Node {
  struct Bytes {
    uint8_t low, high;
    int to;
  };
  struct Call {
    int rule, to;
  };
  std::vector<Bytes> bytes = {};
  std::vector<int> free = {};  // edges that take nothing
  std::vector<Call> calls = {};
  bool alive = false;  // the rule's end can be reached: set by finish()
};

class Network {
 public:
  static constexpr size_t kMostNodes = 400000;

  Piece empty();
  Piece bytes(uint8_t low, uint8_t high);
  Piece text(std::string_view literal);
  // One code point of [low, high] as UTF-8; surrogates are left out.
  Piece code_points(uint32_t low, uint32_t high);
  Piece sequence(std::initializer_list<Piece> pieces);
  Piece sequence(const std::vector<Piece>& pieces);
  Piece any_of(const std::vector<Piece>& pieces);  // of none: nothing, not even empty text
  Piece optional(Piece piece);
  Piece star(Piece piece);
  Piece plus(Piece piece);
  // From `least` to `most` times; most < 0: without end. Error when that takes too many nodes.
  Piece repeat(Piece piece, int64_t least, int64_t most);
  Piece copy(Piece piece);

  int add_rule();
  void define(int rule, Piece piece);
  Piece call(int rule);
  void finish(int start);  // throws Error when no text at all would do

  const Node& node(int i) const { return nodes_[size_t(i)]; }
  Piece rule(int i) const { return rules_[size_t(i)]; }
  size_t size() const { return nodes_.size(); }

 private:
  int add_node();
  std::vector<Node> nodes_;
  std::vector<Piece> rules_;
};

}  // namespace sedum::grammar
