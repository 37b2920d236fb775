// SPDX-License-Identifier: Apache-2.0
//
// What stands before a session's memory when it is kept: enough to know, before anything is changed, whether it fits.
// Written as the machine has it: all that this runs on is little-endian.
#pragma once

#include <cstdint>

#include "core/config.h"

namespace thimble {

/// The head of a session's image. Everything up to `length` must be the same in the session that takes it back.
struct SnapshotHeader {
  static constexpr uint64_t kMagic = 0x31736c626d696874;  // "thimbls1"
  static constexpr uint32_t kVersion = 1;

  uint64_t magic = kMagic;
  uint32_t version = kVersion;
  uint32_t k_type = 0;       // Type of the cache's keys
  uint32_t v_type = 0;       // and of its values
  uint32_t state_form = 0;   // StateForm of the DeltaNet states
  uint32_t window = 0;       // Limits::window
  uint32_t sinks = 0;        // Limits::sinks; 0 without a window
  uint64_t ring_rows = 0;    // rows of the cache behind the sinks, which are used again and again; 0: no window
  uint64_t state_bytes = 0;  // of everything but the cache
  uint64_t token_bytes = 0;  // of one token in the cache, all layers
  uint64_t rope = 0;         // what keys and queries were turned by, in one number
  uint64_t length = 0;       // tokens fed
  uint64_t chain = 0;        // Session::chain of them
  uint64_t rows = 0;         // tokens in the cache
};
static_assert(sizeof(SnapshotHeader) == 88);

}  // namespace thimble
