#pragma once
// Looking at a step's numbers as they are made, to find where one goes wrong.
//
//   const ScopedObserver watching([&](const Seen& seen) { … });   // until the end of the scope, on this thread
//
// Hears of every result that is recorded on a tape and of every gradient that going back hands on, in order; inside parts that are computed
// again too. One observer at a time for each thread: an operator's inputs and outputs are not to be changed by it.

#include <functional>
#include <string>

#include "compute/tensor/tensor.h"

namespace sedum {

// `name`: of the parameter among an operator's inputs, or whose gradient it is; "" without one.
struct Seen {
  const char* op;
  bool backward, parameter;  // parameter: the values are the gradient of one
  const std::string& name;
  const Tensor& values;
};
using Observer = std::function<void(const Seen&)>;

class ScopedObserver {
 public:
  explicit ScopedObserver(Observer observer);
  ~ScopedObserver();
  ScopedObserver(const ScopedObserver&) = delete;
  ScopedObserver& operator=(const ScopedObserver&) = delete;

 private:
  Observer observer_;
  const Observer* outer_;
};

}  // namespace sedum
