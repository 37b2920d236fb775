// SPDX-License-Identifier: Apache-2.0
//
// What may happen to a pack: bytes that change, files that end early, stamps of others, and models that make none.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "io/pack.h"
#include "io/pack_writer.h"
#include "tests/make_pack.h"

namespace thimble::test {
namespace {

size_t HeaderBytes(const Bytes& pack) {
  const Result<Gguf> file = OpenBytes(pack);
  RequireOk(file.error());
  return static_cast<size_t>((*file->tensors().begin()).data - pack.data());
}

/// Where the value of a key begins; for a text, its first character.
size_t ValueAt(const Bytes& pack, std::string_view key) {
  const Result<Gguf> file = OpenBytes(pack);
  RequireOk(file.error());
  const GgufValue value = *file->Find(key);
  return static_cast<size_t>(value.data - pack.data()) + (value.type == GgufType::kString ? 8 : 0);
}

/// Gives a changed header the checksum that fits.
void Sign(Bytes& pack) {
  const size_t at = ValueAt(pack, pack_keys::kHeaderHash), size = HeaderBytes(pack);
  const uint64_t hash = PackHeaderHash(std::span(pack).first(size), at);
  std::memcpy(pack.data() + at, &hash, sizeof hash);
}

template <class T>
Bytes Changed(Bytes pack, std::string_view key, T value, size_t offset = 0) {
  std::memcpy(pack.data() + ValueAt(pack, key) + offset, &value, sizeof value);
  Sign(pack);
  return pack;
}

bool Verified(const Bytes& pack) {
  const Result<Gguf> file = OpenBytes(pack);
  if (!file) return false;
  const Result<PackStamp> stamp = ReadPackStamp(*file, pack);
  if (!stamp) return false;
  size_t index = 0;
  for (const GgufTensor& tensor : file->tensors()) {
    if (!VerifyPackTensor(*stamp, tensor, index++).ok()) return false;
  }
  return true;
}

TEST_CASE("every changed byte is found: of the header when it is opened, of the data when it is verified") {
  const Source source(TinySource());
  const Bytes pack = MakePack(source.Order());
  REQUIRE(Verified(pack));
  const size_t header = HeaderBytes(pack);
  Bytes changed = pack;
  for (size_t i = 0; i < header; ++i) {
    changed[i] ^= static_cast<std::byte>(1u << i % 8);
    if (StampOf(changed).error().ok()) FAIL("a changed byte of the header is not seen: ", i);
    changed[i] = pack[i];
  }
  const Result<Gguf> file = OpenBytes(pack);
  for (const GgufTensor& tensor : file->tensors()) {
    const auto at = static_cast<size_t>(tensor.data - pack.data());
    for (const size_t i :
         {at, at + static_cast<size_t>(tensor.bytes) / 2, at + static_cast<size_t>(tensor.bytes) - 1}) {
      changed[i] ^= std::byte{0x10};
      CHECK(StampOf(changed).error().ok());
      CHECK_FALSE(Verified(changed));
      changed[i] = pack[i];
    }
  }
}

TEST_CASE("a pack that ends early is refused with the command that mends it") {
  const Source source(TinySource());
  const Bytes pack = MakePack(source.Order());
  const Result<Gguf> file = OpenBytes(pack);
  size_t end = 0;
  for (const GgufTensor& tensor : file->tensors()) {
    end = std::max(end, static_cast<size_t>(tensor.data - pack.data() + static_cast<ptrdiff_t>(tensor.bytes)));
  }
  for (size_t size = 1; size < end; size += size < 4096 ? 1 : 997) {
    if (StampOf({pack.begin(), pack.begin() + static_cast<ptrdiff_t>(size)}).error().ok()) FAIL("cut at ", size);
  }
  // Written, but not to its end: the header comes last.
  Bytes torn = pack;
  std::fill_n(torn.begin(), HeaderBytes(pack), std::byte{0});
  CHECK_FALSE(OpenBytes(torn).error().ok());
  Bytes changed = pack;
  changed[ValueAt(pack, "thimble.prompt")] ^= std::byte{1};
  const Told told(StampOf(changed).error());
  CHECK(told.status == Status::kBadFile);
  CHECK(told.text.find("thimble pack SOURCE -o THIS") != std::string::npos);
}

TEST_CASE("stamps that are somebody else's, or make no sense") {
  using namespace pack_keys;
  const Source source(TinySource());
  const Bytes pack = MakePack(source.Order());
  const auto refused = [](const Bytes& bytes, Status status, std::string_view part) {
    const Result<PackStamp> stamp = StampOf(bytes);
    REQUIRE_FALSE(stamp.error().ok());
    const Told told(stamp.error());
    CAPTURE(told.text);
    CHECK(told.status == status);
    CHECK(told.text.find(part) != std::string::npos);
    CHECK(told.text.find("thimble pack SOURCE") != std::string::npos);
  };
  refused(Changed(pack, kVersion, uint32_t{2}), Status::kUnsupported, "version");
  refused(Changed(pack, kVersion, uint32_t{0}), Status::kUnsupported, "version");
  refused(Changed(pack, kLayout, '2'), Status::kUnsupported, "26x4");
  refused(Changed(pack, kRecipe, 'x'), Status::kUnsupported, "x4");
  refused(Changed(pack, kSourceHash, 'Z'), Status::kBadFile, "source_hash");

  // Keys of another type or length, through a pack that is written anew.
  const Result<Gguf> file = OpenBytes(pack);
  const auto rewritten = [&](const auto& change) {
    GgufWriter writer;
    writer.alignment = 64;
    change(writer);
    for (const std::string_view key : {kVersion, kLayout, kRecipe, kKeepExact, kSourceBytes, kSourceHash, kImatrixHash,
                                       kTensorHashes, kHeaderHash}) {
      const auto has = [&](const GgufWriter::Value& value) { return value.key == key; };
      if (std::any_of(writer.values.begin(), writer.values.end(), has)) continue;
      const GgufValue value = *file->Find(key);
      if (const auto text = value.AsString())
        writer.Set(key, *text);
      else if (key == kVersion)
        writer.Set(key, uint32_t{1});
      else if (key == kKeepExact)
        writer.Set(key, false);
      else if (key != kTensorHashes)
        writer.Set(key, uint64_t{5});
      else
        writer.SetArray(key, std::vector<uint64_t>(static_cast<size_t>(file->tensor_count())));
    }
    writer.Set("general.alignment", uint32_t{64});
    for (const GgufTensor& tensor : file->tensors()) {
      writer.AddTensor(tensor.name, {tensor.ne.begin(), tensor.ne.begin() + tensor.dimensions}, tensor.type,
                       Bytes(tensor.data, tensor.data + tensor.bytes));
    }
    Bytes bytes = writer.Write();
    const Result<Gguf> opened = OpenBytes(bytes);
    RequireOk(opened.error());
    if (opened->Find(kHeaderHash)->type == GgufType::kU64) Sign(bytes);
    return bytes;
  };
  CHECK(StampOf(rewritten([](GgufWriter&) {})).error().ok());
  refused(rewritten([](GgufWriter& w) { w.Set(kKeepExact, uint32_t{1}); }), Status::kBadFile, "keep_exact");
  refused(rewritten([](GgufWriter& w) { w.Set(kSourceBytes, "many"); }), Status::kBadFile, "source_bytes");
  refused(rewritten([](GgufWriter& w) { w.Set(kImatrixHash, "12"); }), Status::kBadFile, "imatrix_hash");
  refused(rewritten([](GgufWriter& w) { w.Set(kLayout, uint32_t{7}); }), Status::kUnsupported, "layout");
  refused(rewritten([](GgufWriter& w) { w.Set(kLayout, "16x1"); }), Status::kUnsupported, "16x1");
  refused(rewritten([](GgufWriter& w) { w.Set(kHeaderHash, "none"); }), Status::kBadFile, "header_hash");
  refused(rewritten([](GgufWriter& w) { w.Set(kVersion, "1"); }), Status::kBadFile, "version");
  refused(rewritten([](GgufWriter& w) { w.SetArray(kTensorHashes, std::vector<uint64_t>(3)); }), Status::kBadFile,
          "tensor_hashes");
  refused(rewritten([](GgufWriter& w) { w.SetArray(kTensorHashes, std::vector<uint32_t>(200)); }), Status::kBadFile,
          "tensor_hashes");

  // Packed tensors in a file without a stamp.
  GgufWriter bare;
  bare.AddTensor("token_embd.weight", {32, 16}, static_cast<uint32_t>(Type::kQB4), Bytes(16 * 18 + 128));
  const Bytes foreign = bare.Write();
  CHECK(IsPack(*OpenBytes(foreign)));
  refused(foreign, Status::kBadFile, "no stamp");
  CHECK_FALSE(IsPack(source.file));
  CHECK(StampOf(source.files[0]).error().status == Status::kNotFound);
}

TEST_CASE("what cannot be packed") {
  const auto error_of = [](const PackOrder& order) {
    Bytes pack;
    return Told(Make(order, 2, pack).error());
  };
  const Source source(TinySource());
  const Source pack(MakePack(source.Order()));
  CHECK(error_of(pack.Order()).status == Status::kBadArgument);

  GgufWriter model = TinyQwen35();
  float* weights = reinterpret_cast<float*>(model.Find("blk.2.ffn_down.weight")->data.data());
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    weights[700] = bad;
    const Source broken(model.Write());
    const Told told = error_of(broken.Order());
    CHECK(told.status == Status::kBadFile);
    CHECK(told.name == "blk.2.ffn_down.weight");
    CHECK(error_of(broken.Order(PackRecipe::kExact)).status == Status::kOk);
  }
  weights[700] = 0;
  while (model.values.size() < 250) model.Set("more." + std::to_string(model.values.size()), true);
  CHECK(error_of(Source(model.Write()).Order()).status == Status::kUnsupported);
}

TEST_CASE("the memory is planned: it does not grow with the model, and a byte less is refused") {
  const auto bytes_for = [](const Source& source, size_t workers) {
    PackWriter writer;
    Arena measure;
    RequireOk(writer.Bind(source.Order(), workers, measure));
    return measure.used();
  };
  TinyOptions options;
  const Source small(MakeTinyQwen35(options));
  options.layers = 64;
  const Source large(MakeTinyQwen35(options));
  CHECK(bytes_for(large, 2) < bytes_for(small, 2) + 100000);  // the longer header
  CHECK(bytes_for(small, 2) < 5 << 20);
  const PackOrder order = small.Order();
  for (size_t bytes = bytes_for(small, 1) - 64; bytes > 0; bytes = bytes > 500000 ? bytes - 500000 : 0) {
    const HeapBlock block(bytes);
    PackWriter writer;
    CHECK(BindOn(writer, order, 1, block.span()).status == Status::kTooSmall);
  }
}

}  // namespace
}  // namespace thimble::test
