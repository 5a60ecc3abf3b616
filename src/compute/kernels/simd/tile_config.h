#pragma once
// The operand of ldtilecfg (Intel SDM, "TILECFG"): eight tiles of 16 rows × 64 bytes. Plain data: any file may include it.

#include <cstdint>

namespace sedum {

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);
constexpr TileConfig kWholeTiles = {};

}  // namespace sedum
