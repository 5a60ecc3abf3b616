#pragma once
// TensorBoard's event files, for curves that people watch while a run goes on.
//
//   TensorboardWriter board(run_folder, resumed_step);    // a new file in the folder; what later steps said before is dropped
//   board.scalar("train/loss", 2.31, step);
//   board.text("samples", "*Echeveria:* water when ...", step);
//
// A file is a sequence of TFRecords (length, masked CRC-32C of it, data, masked CRC-32C) of Event protocol buffers. Each event is
// written at once, so that a killed run loses none; a reader ignores a torn last record.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace sedum {

class TensorboardWriter {
 public:
  // first_step > 0 says that the run starts again there: TensorBoard drops what earlier files say of later steps.
  explicit TensorboardWriter(const std::filesystem::path& folder, int64_t first_step = 0);

  void scalar(std::string_view tag, double value, int64_t step);
  void text(std::string_view tag, std::string_view markdown, int64_t step);
  const std::filesystem::path& path() const { return path_; }

 private:
  void event(std::string_view fields, int64_t step);
  std::filesystem::path path_;
};

uint32_t crc32c(std::string_view bytes);       // Castagnoli: RFC 3720, appendix B.4 has test vectors
std::string tf_record(std::string_view data);  // one framed record

}  // namespace sedum
