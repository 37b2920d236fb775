// SPDX-License-Identifier: Apache-2.0
//
// A session's image in one of two flash sectors, written in turn: whenever the power fails, one of them is good. For
// microcontrollers: no memory but some hundred bytes of stack. Knows no flash controller; a board brings the functions.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/error.h"
#include "core/session.h"

namespace thimble {

/// Two sectors of flash memory, 0 and 1, each of one erase block or more, which nothing else writes to. The functions
/// return 0, or a number of their own for what went wrong.
struct Flash {
  static constexpr size_t kUnitMost = 256;

  void* context = nullptr;

  /// Makes every byte of the sector 0xff.
  int (*erase)(void* context, size_t sector) = nullptr;

  /// Writes `unit` bytes, which begin on a multiple of 8, at `offset`, a multiple of `unit`. Between two erasures no
  /// place is written twice. When it returns, `sectors` must show the new bytes: behind a data cache it invalidates.
  int (*program)(void* context, size_t sector, size_t offset, const void* bytes) = nullptr;

  size_t sector_bytes = 0;  // of either, a multiple of `unit`
  size_t unit = 1;          // bytes of one program operation, at most kUnitMost

  /// Where the sectors are mapped. Any content must be readable: where a word that a power cut left half written faults
  /// (ECC), the board's handler must let the read go on.
  std::array<const std::byte*, 2> sectors = {};
};

/// The record with which a sector begins, written behind everything else. The image follows on the next unit; what is
/// left of its last unit is 0xff.
struct FlashSeal {
  static constexpr uint64_t kMagic = 0x68736c66626d6874;  // "thmbflsh"
  static constexpr uint32_t kVersion = 1;

  uint64_t magic = kMagic;
  uint64_t model = 0;
  uint64_t bytes = 0;  // of the image
  uint32_t version = kVersion;
  uint32_t sequence = 0;  // one more than the other sector's, of 32 bits
  uint32_t sum = 0;       // Crc32 of the image
  uint32_t check = 0;     // Crc32 of this record up to here
};
static_assert(sizeof(FlashSeal) == 40);

/// The bytes of a sector that an image takes. With that of sizeof(SnapshotHeader) + plan.state + plan.cache bytes, for
/// the SessionPlan of its limits, a session always fits.
constexpr size_t FlashBytes(size_t image_bytes, size_t unit) {
  return (sizeof(FlashSeal) + unit - 1) / unit * unit + (image_bytes + unit - 1) / unit * unit;
}

/// What was found in each sector: kOk, a snapshot that could be restored; kNotFound, none was finished there; kBadFile,
/// changed or torn; kUnsupported, of another version; kBadArgument, of another model or limits; kFull, more tokens than
/// the context.
struct FlashReport {
  static constexpr size_t kNone = 2;
  std::array<Error, 2> sectors;
  size_t restored = kNone;  // the sector
};

/// Writes the session into the sector that Restore would not take, stamped with a number for the model, any that the
/// caller has. kTooSmall, with the bytes of a sector needed, before anything is erased; kBadArgument: no such Flash can
/// be. kSystem: erasing or writing failed (`at` is the function's number), or the flash reads otherwise than it was
/// written (`at` is 0); `name` is the sector. On any error the snapshot in the other sector is as good as before.
Error SaveToFlash(const Flash& flash, uint64_t model, const Session& session);

/// Becomes the newest session in the flash that is whole and fits (Session::Fits), bit for bit. kNotFound: there is
/// none, `report` says why, and nothing has changed.
Error RestoreFromFlash(const Flash& flash, uint64_t model, Session& session, FlashReport* report = nullptr);

}  // namespace thimble
