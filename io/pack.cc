// SPDX-License-Identifier: Apache-2.0
//
// See pack.h. A pack has passed Gguf::Open, so that every tensor lies in the file; what is proven here is that it is
// the file that was written.
#include "io/pack.h"

#include <array>
#include <cstring>
#include <iterator>

#include "io/hash.h"

namespace thimble {
namespace {

constexpr const char* kChanged =
    "this pack was changed, or its writing was cut off; make it again with: thimble pack SOURCE -o THIS";

bool IsPacked(uint32_t type) {
  const Format* format = FindFormat(type);
  return format != nullptr && format->packed();
}

std::string_view TextOf(const Gguf& file, std::string_view key) {
  const std::optional<GgufValue> value = file.Find(key);
  return value ? value->AsString().value_or("") : "";
}

bool IsHash(std::string_view text) {
  for (const char c : text) {
    if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
  }
  return text.size() == 32;
}

/// The header is the one that was written: everything before the data of the first tensor, which a pack has at 0.
Error CheckHeader(const Gguf& file, std::span<const std::byte> bytes, PackStamp& stamp) {
  const std::optional<GgufValue> hash = file.Find(pack_keys::kHeaderHash);
  if (!hash || hash->type != GgufType::kU64 || file.tensor_count() == 0)
    return {Status::kBadFile, kChanged, pack_keys::kHeaderHash};
  stamp.header_bytes = static_cast<uint64_t>((*file.tensors().begin()).data - bytes.data());
  if (stamp.header_bytes > bytes.size()) return {Status::kBadFile, kChanged, pack_keys::kHeaderHash};
  const auto at = static_cast<size_t>(hash->data - bytes.data());
  uint64_t announced;
  std::memcpy(&announced, hash->data, sizeof announced);
  const std::span<const std::byte> header(bytes.data(), static_cast<size_t>(stamp.header_bytes));
  if (at + sizeof announced > header.size() || PackHeaderHash(header, at) != announced) {
    return {Status::kBadFile, kChanged, pack_keys::kHeaderHash};
  }
  return {};
}

/// The rest of a stamp, whose header is what somebody wrote.
Error ReadFields(const Gguf& file, PackStamp& stamp) {
  constexpr const char* kUnknown =
      "this pack has a layout or recipe that is not known here; make it again with: thimble pack SOURCE -o THIS";
  constexpr const char* kImpossible =
      "the stamp of this pack makes no sense; make it again with: thimble pack SOURCE -o THIS";
  const std::string_view layout = TextOf(file, pack_keys::kLayout), recipe = TextOf(file, pack_keys::kRecipe);
  if (layout != kPackLayout) return {Status::kUnsupported, kUnknown, pack_keys::kLayout, layout};
  size_t r = 0;
  while (r < std::size(kPackRecipes) && kPackRecipes[r] != recipe) ++r;
  if (r == std::size(kPackRecipes)) return {Status::kUnsupported, kUnknown, pack_keys::kRecipe, recipe};
  stamp.recipe = static_cast<PackRecipe>(r);

  const std::optional<GgufValue> keep = file.Find(pack_keys::kKeepExact),
                                 source_bytes = file.Find(pack_keys::kSourceBytes),
                                 hashes = file.Find(pack_keys::kTensorHashes);
  stamp.source_hash = TextOf(file, pack_keys::kSourceHash);
  stamp.imatrix_hash = TextOf(file, pack_keys::kImatrixHash);
  if (!keep || !keep->AsBool()) return {Status::kBadFile, kImpossible, pack_keys::kKeepExact};
  if (!source_bytes || !source_bytes->AsUnsigned()) return {Status::kBadFile, kImpossible, pack_keys::kSourceBytes};
  if (!IsHash(stamp.source_hash)) return {Status::kBadFile, kImpossible, pack_keys::kSourceHash};
  if (!stamp.imatrix_hash.empty() && !IsHash(stamp.imatrix_hash))
    return {Status::kBadFile, kImpossible, pack_keys::kImatrixHash};
  if (!hashes || hashes->type != GgufType::kArray || hashes->element != GgufType::kU64 ||
      hashes->count != file.tensor_count()) {
    return {Status::kBadFile, kImpossible, pack_keys::kTensorHashes};
  }
  stamp.keep_exact = *keep->AsBool();
  stamp.source_bytes = *source_bytes->AsUnsigned();
  stamp.tensor_hashes = *hashes;
  return {};
}

}  // namespace

bool IsPack(const Gguf& file) {
  if (file.Find(pack_keys::kVersion) || file.Find(pack_keys::kHeaderHash)) return true;
  for (const GgufTensor& tensor : file.tensors()) {
    if (IsPacked(tensor.type)) return true;
  }
  return false;
}

Result<PackStamp> ReadPackStamp(const Gguf& file, std::span<const std::byte> bytes) {
  const std::optional<GgufValue> version = file.Find(pack_keys::kVersion);
  if (!version) {
    return Error{IsPack(file) ? Status::kBadFile : Status::kNotFound,
                 "this file has no stamp, so it is no pack; make one with: thimble pack SOURCE -o PACK",
                 pack_keys::kVersion};
  }
  if (version->type != GgufType::kU32) return Error{Status::kBadFile, kChanged, pack_keys::kVersion};
  if (version->AsUnsigned() != PackStamp::kVersion) {
    return Error{Status::kUnsupported,
                 "this pack was made by another version of thimble; make it again with: thimble pack SOURCE -o THIS",
                 pack_keys::kVersion,
                 {},
                 *version->AsUnsigned()};
  }
  PackStamp stamp = {};
  if (Error error = CheckHeader(file, bytes, stamp); !error.ok()) return error;
  if (Error error = ReadFields(file, stamp); !error.ok()) return error;
  return stamp;
}

Error VerifyPackTensor(const PackStamp& stamp, const GgufTensor& tensor, size_t index) {
  uint64_t announced;
  std::memcpy(&announced, stamp.tensor_hashes.data + index * sizeof announced, sizeof announced);
  if (HashOf({tensor.data, static_cast<size_t>(tensor.bytes)}) == announced) return {};
  return {Status::kBadFile,
          "the data of this tensor was changed; make the pack again with: thimble pack SOURCE -o THIS", tensor.name};
}

uint64_t PackHeaderHash(std::span<const std::byte> header, size_t at) {
  constexpr std::array<std::byte, sizeof(uint64_t)> kZeros = {};
  Hash hash;
  hash.Add(header.first(at));
  hash.Add(kZeros);
  hash.Add(header.subspan(at + kZeros.size()));
  return hash.low64();
}

}  // namespace thimble
