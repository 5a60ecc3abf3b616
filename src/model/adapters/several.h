#pragma once
// Several low-rank adapters over one frozen base, chosen row by row: for serving.
//
//   AdapterRows rows;                                          // shared by all layers
//   SeveralFactory factory(base_factory, {adapter_a, adapter_b}, rows);
//   auto model = build_model(config, factory);  factory.check_complete();
//   rows.select({{0, 12, 1}, {12, 13, 0}});                     // before a step: rows 0 … 11 are adapter 1's, row 12 is the base's
//
// A row's result does not depend on the adapters of the others (Chen et al.: "Punica", Sheng et al.: "S-LoRA", 2023; here a product for each run
// of rows of one adapter).

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/adapters/peft.h"

namespace sedum {

class AdapterRows {
 public:
  struct Run {
    int64_t begin, end;
    int adapter;  // counted from 1; 0: none
  };
  // In order and without gaps, for the steps until the next call. None: all rows are the base's. Not while a step runs.
  void select(std::vector<Run> runs) { runs_ = std::move(runs); }
  const std::vector<Run>& runs() const { return runs_; }

 private:
  std::vector<Run> runs_;
};

class SeveralFactory : public LayerFactory {
 public:
  // `rows` outlives the layers.
  SeveralFactory(LayerFactory& base, std::vector<StoredAdapter> adapters, const AdapterRows& rows)
      : base_(base), adapters_(std::move(adapters)), rows_(rows) {}
  std::unique_ptr<Linear> linear(const std::string& name, int64_t out_features, int64_t in_features,
                                 bool bias) override;
  Variable vector(const std::string& name, int64_t size) override { return base_.vector(name, size); }
  ops::Weight table(const std::string& name, int64_t rows, int64_t cols) override {
    return base_.table(name, rows, cols);
  }
  void check_complete() const;  // Error when a stored weight fits no layer

 private:
  LayerFactory& base_;
  std::vector<StoredAdapter> adapters_;
  const AdapterRows& rows_;
};

}  // namespace sedum
