// SPDX-License-Identifier: Apache-2.0
//
// See linked_model.h.
#include "io/linked_model.h"

#include "io/crc32.h"

namespace thimble {

Error LinkedModel::Check(std::span<const std::byte> given) const {
  Crc32 crc;
  crc.Add(given);
  if (given.size() == bytes && crc.value() == crc32) return {};
  return {Status::kBadFile, "the model in flash is not the one that this firmware was built for"};
}

}  // namespace thimble
