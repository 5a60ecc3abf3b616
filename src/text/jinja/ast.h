#pragma once
// The parsed template: one kind of node for expressions, one for statements. What the slots hold stands beside each kind.

#include <memory>
#include <string>
#include <vector>

#include "text/jinja/value.h"

namespace sedum::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct CallArguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr spread, named_spread;  // *args, **kwargs
};

enum class ExprKind {
  kConstant,   // constant
  kName,       // text
  kList,       // children
  kTuple,      // children
  kDict,       // children: key, value, key, value, ...
  kAttribute,  // children[0] . text
  kItem,       // children[0] [ children[1] ]
  kSlice,      // children: start, stop, step (each may be null); only as children[1] of kItem
  kCall,       // children[0] ( arguments )
  kFilter,     // children[0] | text ( arguments ); children[0] null inside a filter block
  kTest,       // children[0] is text ( arguments )
  kUnary,      // text: - + not
  kBinary,     // text: + - * / // % ** and or
  kConcat,     // children, joined as text
  kCompare,    // children[0] operators[0] children[1] operators[1] ...
  kCondition,  // children: value, condition, otherwise (may be null)
};

struct Expr {
  ExprKind kind;
  int line;
  int depth = 1;
  std::string text;
  Value constant;
  std::vector<ExprPtr> children;
  std::vector<std::string> operators;
  CallArguments arguments;
};

struct Stmt;
using StmtPtr = std::unique_ptr<Stmt>;
using Body = std::vector<StmtPtr>;

// A target of set and for: a name, a namespace's attribute, or a tuple of targets.
struct Target {
  std::string name, attribute;
  std::vector<Target> parts;  // not empty: unpacks
};

enum class StmtKind {
  kText,         // text
  kOutput,       // value
  kIf,           // branches in order; the last condition may be null (else)
  kFor,          // for target in value if condition; body, else_body; recursive
  kSet,          // set target = value
  kSetBlock,     // set target | value ... body endset; value: filters or null
  kMacro,        // macro text(parameters) body
  kCallBlock,    // call(parameters) value: body becomes caller()
  kFilterBlock,  // filter value: body
  kWith,         // with assignments: body
  kGeneration,   // generation: body
  kBlock,        // a body in a scope of its own
  kBreak,
  kContinue,
};

struct Parameter {
  std::string name;
  ExprPtr otherwise;  // default value, or null
};

struct Branch {
  ExprPtr condition;
  Body body;
};

struct Stmt {
  StmtKind kind;
  int line;
  std::string text;
  Target target;
  ExprPtr value, condition;
  Body body, else_body;
  bool recursive = false;
  std::vector<Branch> branches;
  std::vector<Parameter> parameters;
  std::vector<std::pair<Target, ExprPtr>> assignments;
};

}  // namespace sedum::jinja
