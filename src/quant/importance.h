#pragma once
// How much each column of a matrix matters: the mean square of what it is multiplied with, over calibration rows.
//
//   ImportanceMatrix m = measure_importance(runtime, checkpoint, rows);
//   m.write("model.imatrix.gguf");                                  // as llama.cpp's llama-imatrix writes it
//   ImportanceMatrix again = ImportanceMatrix::read("model.imatrix.gguf");   // or its older binary form
//   const std::vector<float>* columns = again.find("blk.0.attn_q.weight");
//
// Files: GGUF with general.type "imatrix" and, for each tensor, NAME.in_sum2 and NAME.counts; or (older) entries of name, calls and
// sums, little endian.

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "quant/calibration.h"

namespace sedum {

class ImportanceMatrix {
 public:
  static ImportanceMatrix read(const std::filesystem::path& path);
  static ImportanceMatrix parse(std::span<const std::byte> bytes, const std::string& label);  // 8-byte aligned
  void write(const std::filesystem::path& path) const;
  const std::vector<float>* find(const std::string& gguf_name) const;
  size_t size() const { return entries_.size(); }
  // Adds rows of x (rows, columns): Σ x² in order, in double.
  void add(const std::string& gguf_name, const float* x, int64_t rows, int64_t columns);
  void finish();  // means of the sums

 private:
  struct Entry {
    std::vector<double> sums;
    double count = 0;
    std::vector<float> means;
  };
  std::map<std::string, Entry, std::less<>> entries_;
};

ImportanceMatrix measure_importance(Runtime& runtime, const Checkpoint& checkpoint, const Calibration& rows);

}  // namespace sedum
