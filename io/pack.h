// SPDX-License-Identifier: Apache-2.0
//
// What a pack says about itself: a GGUF whose matrices lie as fast kernels read them, with a stamp in its metadata
// (keys thimble.pack.*). Reads and proves stamps and checksums; making packs is pack_writer.h's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/error.h"
#include "io/gguf.h"
#include "quant/format.h"

namespace thimble {

/// The one layout that there is (quant/qb4.h, quant/qb3.h): tiles of 16 rows, four values of a row side by side. The
/// kernels of every processor read it.
inline constexpr std::string_view kPackLayout = "16x4";

/// What is kept of the weights.
enum class PackRecipe : uint8_t {
  kQ4,     // all matrices 4 bits
  kQ4s,    // the mixers (attn_*, ssm_out) 8 bits, the others 4
  kQ3,     // the feed-forward network 3 bits, the others 4
  kExact,  // the blocks of the source
};
inline constexpr std::string_view kPackRecipes[] = {"q4", "q4s", "q3", "exact"};

struct PackStamp {
  static constexpr uint32_t kVersion = 1;

  PackRecipe recipe;
  bool keep_exact;                // tensors that were quantised keep their blocks
  uint64_t source_bytes;          // of all parts
  std::string_view source_hash;   // XXH3 with 128 bits of them, as 32 hexadecimal digits
  std::string_view imatrix_hash;  // of the importance matrix; empty without one
  uint64_t header_bytes;          // everything before the data of the first tensor
  GgufValue tensor_hashes;        // uint64 for every tensor in order: the low half of XXH3 with 128 bits of its data
};

/// Whether the file says that it is a pack, or has tensors that only a pack can have.
bool IsPack(const Gguf& file);

/// The stamp of a pack of one part, whose bytes are `bytes`: the header agrees with its checksum and with itself. Does
/// not read the tensors. kNotFound: no stamp; kUnsupported: of another version, or a layout or recipe not known here;
/// kBadFile: changed, or never a pack.
Result<PackStamp> ReadPackStamp(const Gguf& file, std::span<const std::byte> bytes);

/// Reads the data of tensor `index`, which is `tensor`, and compares its checksum: kBadFile with its name.
Error VerifyPackTensor(const PackStamp& stamp, const GgufTensor& tensor, size_t index);

/// The keys of a stamp, in their order. kHeaderHash is the last: its value counts as zero in the checksum it holds.
namespace pack_keys {
inline constexpr std::string_view kPrefix = "thimble.pack.";
inline constexpr std::string_view kVersion = "thimble.pack.version";
inline constexpr std::string_view kLayout = "thimble.pack.layout";
inline constexpr std::string_view kRecipe = "thimble.pack.recipe";
inline constexpr std::string_view kKeepExact = "thimble.pack.keep_exact";
inline constexpr std::string_view kSourceBytes = "thimble.pack.source_bytes";
inline constexpr std::string_view kSourceHash = "thimble.pack.source_hash";
inline constexpr std::string_view kImatrixHash = "thimble.pack.imatrix_hash";
inline constexpr std::string_view kTensorHashes = "thimble.pack.tensor_hashes";
inline constexpr std::string_view kHeaderHash = "thimble.pack.header_hash";
inline constexpr size_t kCount = 9;
}  // namespace pack_keys

/// The checksum of a header whose kHeaderHash has its value at `at`.
uint64_t PackHeaderHash(std::span<const std::byte> header, size_t at);

}  // namespace thimble
