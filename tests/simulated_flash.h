// SPDX-License-Identifier: Apache-2.0
//
// For tests, on the host and on boards: two flash sectors in memory. Programming only clears bits and erasing sets
// them, a block at a time, the last one first; nothing is programmed twice. The power fails in the middle of any
// operation, or just before it, and from then on nothing happens until it is back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "io/snapshot_flash.h"

namespace thimble {

class SimulatedFlash {
 public:
  static constexpr size_t kNever = SIZE_MAX;
  static constexpr int kNoPower = 5;

  /// In `memory`, each sector half of it, of `blocks` blocks that are erased one by one. Blank.
  SimulatedFlash(std::span<std::byte> memory, size_t unit, size_t blocks)
      : memory_(memory), sector_bytes_(memory.size() / 2), unit_(unit), blocks_(blocks) {
    std::memset(memory_.data(), 0xff, memory_.size());
  }

  Flash flash() {
    return {.context = this,
            .erase = &Erase,
            .program = &Program,
            .sector_bytes = sector_bytes_,
            .unit = unit_,
            .sectors = {memory_.data(), memory_.data() + sector_bytes_}};
  }

  /// After `operations` more the power fails: the next one is left half done, each bit changed or not, or not begun.
  void CutAfter(size_t operations, bool half_done, uint32_t seed) {
    left_ = operations;
    half_done_ = half_done;
    random_ = seed;
  }
  void PowerOn() { left_ = kNever; }

  size_t operations() const { return operations_; }               // begun so far
  size_t erased(size_t sector) const { return erased_[sector]; }  // how often
  size_t mistakes() const { return mistakes_; }                   // calls that no flash would bear

  std::span<std::byte> sector(size_t i) { return memory_.subspan(i * sector_bytes_, sector_bytes_); }

 private:
  static int Erase(void* context, size_t sector) {
    auto& self = *static_cast<SimulatedFlash*>(context);
    if (sector > 1) return self.Mistake();
    if (self.left_ != 0) ++self.erased_[sector];
    const std::span<std::byte> all = self.sector(sector);
    const size_t bytes = all.size() / self.blocks_;
    for (size_t block = self.blocks_; block-- > 0;) {
      const bool whole = self.Begin();
      if (!whole && !self.half_done_) return kNoPower;
      for (std::byte& b : all.subspan(block * bytes, bytes)) b |= whole ? std::byte{0xff} : self.SomeBits();
      if (!whole) return self.Off();
    }
    return 0;
  }

  static int Program(void* context, size_t sector, size_t offset, const void* bytes) {
    auto& self = *static_cast<SimulatedFlash*>(context);
    if (sector > 1 || offset % self.unit_ != 0 || offset > self.sector_bytes_ - self.unit_) return self.Mistake();
    if (reinterpret_cast<uintptr_t>(bytes) % 8 != 0) return self.Mistake();
    const bool whole = self.Begin();
    if (!whole && !self.half_done_) return kNoPower;
    const std::span<std::byte> unit = self.sector(sector).subspan(offset, self.unit_);
    for (size_t i = 0; i < unit.size(); ++i) {
      if (unit[i] != std::byte{0xff}) ++self.mistakes_;
      unit[i] &= static_cast<const std::byte*>(bytes)[i] | (whole ? std::byte{0} : self.SomeBits());
    }
    return whole ? 0 : self.Off();
  }

  /// False: the power fails during this operation, or has failed.
  bool Begin() {
    if (left_ == 0) return false;
    if (left_ != kNever) --left_;
    ++operations_;
    return true;
  }
  int Off() {
    half_done_ = false;
    return kNoPower;
  }
  int Mistake() {
    ++mistakes_;
    return -1;
  }
  std::byte SomeBits() {
    random_ = random_ * 1664525u + 1013904223u;
    return static_cast<std::byte>(random_ >> 24);
  }

  std::span<std::byte> memory_;
  size_t sector_bytes_;
  size_t unit_;
  size_t blocks_;
  size_t left_ = kNever;
  bool half_done_ = false;
  uint32_t random_ = 1;
  size_t operations_ = 0;
  size_t erased_[2] = {};
  size_t mistakes_ = 0;
};

}  // namespace thimble
