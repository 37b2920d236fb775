// SPDX-License-Identifier: Apache-2.0
//
// CRC-32 as Ethernet, PNG and zlib have it, over bytes that come in pieces, with a table of 64 bytes: the checksum of
// what a microcontroller keeps. The one of hash.h is xxHash's, which like zlib's is packaged for hosts only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace thimble {

class Crc32 {
 public:
  void Add(std::span<const std::byte> bytes);

  /// Of all bytes so far.
  uint32_t value() const { return ~state_; }

 private:
  uint32_t state_ = 0xffffffff;
};

}  // namespace thimble
