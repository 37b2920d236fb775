// SPDX-License-Identifier: Apache-2.0
//
// See snapshot_flash.h. The order of writing is all there is to it: erase, image, proof that it can be read, seal.
// Until the last unit of the seal is written the sector is not believed, and the other one is not touched.
#include "io/snapshot_flash.h"

#include <algorithm>
#include <cstring>
#include <span>

#include "io/crc32.h"

namespace thimble {
namespace {

constexpr std::string_view kNames[] = {"sector 0", "sector 1"};

/// Of a sector. Those of more worth are restored rather, and written over later.
struct Found {
  Error error;    // why it cannot be restored
  int worth = 0;  // 1: it is whole; 2: it also fits
  uint32_t sequence = 0;
  std::span<const std::byte> image = {};
};

uint32_t Sum(std::span<const std::byte> bytes) {
  Crc32 sum;
  sum.Add(bytes);
  return sum.value();
}

uint32_t CheckOf(const FlashSeal& seal) {
  return Sum(std::as_bytes(std::span(&seal, 1)).first(offsetof(FlashSeal, check)));
}

/// Where the image begins.
size_t ImageAt(const Flash& flash) { return FlashBytes(0, flash.unit); }

Error Usable(const Flash& flash) {
  const Status no = Status::kBadArgument;
  if (flash.unit == 0 || flash.unit > Flash::kUnitMost) {
    return {no, "the flash writes units of 1 to 256 bytes, not of this many", {}, {}, flash.unit};
  }
  if (flash.sector_bytes % flash.unit != 0) {
    return {no, "the flash's sectors must be of whole units", {}, {}, flash.sector_bytes};
  }
  return {};
}

Found Examine(const Flash& flash, size_t sector, uint64_t model, const Session& session) {
  Found found;
  const auto refuse = [&](Status status, const char* what) {
    found.error = {status, what, kNames[sector]};
    return found;
  };
  FlashSeal seal;
  if (flash.sector_bytes < ImageAt(flash)) return refuse(Status::kNotFound, "the sector is too small for a snapshot");
  std::memcpy(&seal, flash.sectors[sector], sizeof seal);
  const std::span<const std::byte> bytes = std::as_bytes(std::span(&seal, 1));
  if (std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0xff}; })) {
    return refuse(Status::kNotFound, "no snapshot was finished here");
  }
  if (seal.magic != FlashSeal::kMagic || seal.check != CheckOf(seal)) {
    return refuse(Status::kBadFile, "this is no snapshot, or its seal was changed or only half written");
  }
  found.sequence = seal.sequence;
  if (seal.version != FlashSeal::kVersion) {
    return refuse(Status::kUnsupported, "the snapshot was made by another version of thimble");
  }
  SnapshotHeader header;
  if (seal.bytes < sizeof header || seal.bytes > flash.sector_bytes - ImageAt(flash)) {
    return refuse(Status::kBadFile,
                  "the snapshot cannot be as long as it says; it was made for other sectors, or changed");
  }
  found.image = {flash.sectors[sector] + ImageAt(flash), static_cast<size_t>(seal.bytes)};
  if (Sum(found.image) != seal.sum) {
    return refuse(Status::kBadFile, "the snapshot was changed since it was written, or is half erased");
  }
  found.worth = 1;
  if (seal.model != model) return refuse(Status::kBadArgument, "the snapshot is of another model");
  std::memcpy(&header, found.image.data(), sizeof header);
  found.error = session.Fits(header);
  if (found.error.ok()) found.worth = 2;
  return found;
}

/// The sector that is restored before the other one, and that is not written over. Sequence numbers go round: of two,
/// the newer is the one that is less than half the round ahead.
size_t Best(const Found (&found)[2]) {
  if (found[0].worth != found[1].worth) return found[0].worth > found[1].worth ? 0 : 1;
  return static_cast<int32_t>(found[0].sequence - found[1].sequence) > 0 ? 0 : 1;
}

/// Bytes that come in pieces, to the flash in units.
class Writer {
 public:
  Writer(const Flash& flash, size_t sector, size_t offset) : flash_(flash), sector_(sector), offset_(offset) {}

  void Add(std::span<const std::byte> bytes) {
    while (!bytes.empty() && code_ == 0) {
      const size_t n = std::min(bytes.size(), flash_.unit - filled_);
      std::memcpy(unit_ + filled_, bytes.data(), n);
      bytes = bytes.subspan(n);
      filled_ += n;
      if (filled_ == flash_.unit) Program();
    }
  }

  /// 0, or what the flash's function returned.
  int Finish() {
    if (filled_ > 0 && code_ == 0) {
      std::memset(unit_ + filled_, 0xff, flash_.unit - filled_);
      Program();
    }
    return code_;
  }

 private:
  void Program() {
    code_ = flash_.program(flash_.context, sector_, offset_, unit_);
    offset_ += flash_.unit;
    filled_ = 0;
  }

  const Flash& flash_;
  size_t sector_;
  size_t offset_;
  size_t filled_ = 0;
  int code_ = 0;
  alignas(8) std::byte unit_[Flash::kUnitMost];
};

/// Calls f(std::span<const std::byte>) for all parts of the session's image.
template <class F>
void ForEachPart(const Session& session, const SnapshotHeader& header, F f) {
  f(std::as_bytes(std::span(&header, 1)));
  session.ForEachPiece(f);
}

Error Failed(const char* what, size_t sector, int code = 0) {
  return {Status::kSystem, what, kNames[sector], {}, static_cast<uint32_t>(code)};
}

constexpr char kNotWritten[] = "the flash could not be written";
constexpr char kOtherwise[] = "the flash reads otherwise than it was written; its cells or its driver are bad";

/// The image, into an erased sector, and its checksum into `seal`.
Error WriteImage(const Flash& flash, size_t sector, const Session& session, FlashSeal& seal) {
  const SnapshotHeader header = session.Describe();
  Writer writer(flash, sector, ImageAt(flash));
  Crc32 sum;
  ForEachPart(session, header, [&](std::span<const std::byte> piece) {
    sum.Add(piece);
    writer.Add(piece);
  });
  if (const int code = writer.Finish(); code != 0) return Failed(kNotWritten, sector, code);
  seal.sum = sum.value();
  const std::byte* at = flash.sectors[sector] + ImageAt(flash);
  bool same = true;
  ForEachPart(session, header, [&](std::span<const std::byte> piece) {
    same = same && std::memcmp(at, piece.data(), piece.size()) == 0;
    at += piece.size();
  });
  return same ? Error{} : Failed(kOtherwise, sector);
}

Error WriteSeal(const Flash& flash, size_t sector, FlashSeal& seal) {
  seal.check = CheckOf(seal);
  Writer writer(flash, sector, 0);
  writer.Add(std::as_bytes(std::span(&seal, 1)));
  if (const int code = writer.Finish(); code != 0) return Failed(kNotWritten, sector, code);
  return std::memcmp(flash.sectors[sector], &seal, sizeof seal) == 0 ? Error{} : Failed(kOtherwise, sector);
}

}  // namespace

Error SaveToFlash(const Flash& flash, uint64_t model, const Session& session) {
  if (const Error error = Usable(flash); !error.ok()) return error;
  FlashSeal seal;
  seal.model = model;
  seal.bytes = session.image_bytes();
  if (const size_t needed = FlashBytes(session.image_bytes(), flash.unit); needed > flash.sector_bytes) {
    return {Status::kTooSmall, "the flash's sectors are too small; each needs this many bytes", {}, {}, needed};
  }
  const Found found[2] = {Examine(flash, 0, model, session), Examine(flash, 1, model, session)};
  const size_t spared = Best(found);
  const size_t sector = 1 - spared;
  seal.sequence = found[spared].sequence + 1;
  if (const int code = flash.erase(flash.context, sector); code != 0) {
    return Failed("the flash could not be erased", sector, code);
  }
  if (const Error error = WriteImage(flash, sector, session, seal); !error.ok()) return error;
  return WriteSeal(flash, sector, seal);
}

Error RestoreFromFlash(const Flash& flash, uint64_t model, Session& session, FlashReport* report) {
  FlashReport unread;
  FlashReport& said = report != nullptr ? *report : unread;
  said = {};
  if (const Error error = Usable(flash); !error.ok()) return error;
  const Found found[2] = {Examine(flash, 0, model, session), Examine(flash, 1, model, session)};
  const size_t best = Best(found);
  for (size_t i = 0; i < 2; ++i) said.sectors[i] = found[i].error;
  for (const size_t sector : {best, 1 - best}) {
    Error& error = said.sectors[sector];
    if (!error.ok()) continue;
    error = session.Restore(found[sector].image);
    if (!error.ok()) continue;
    said.restored = sector;
    return {};
  }
  return {Status::kNotFound, "the flash holds no snapshot that is whole and fits"};
}

}  // namespace thimble
