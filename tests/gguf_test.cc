// SPDX-License-Identifier: Apache-2.0
//
// io/gguf: what is written is read back, and every rule of the format that a file breaks is named.
#include "io/gguf.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <initializer_list>
#include <limits>
#include <string>

#include "io/decimal.h"
#include "io/error_text.h"
#include "quant/format.h"
#include "tests/gguf_writer.h"

namespace thimble::test {
namespace {

/// A small file with one value of every type and three tensors.
GgufWriter Sample() {
  GgufWriter out;
  out.Set("u8", uint8_t{200});
  out.Set("i8", int8_t{-100});
  out.Set("u16", uint16_t{60000});
  out.Set("i16", int16_t{-30000});
  out.Set("u32", uint32_t{4000000000});
  out.Set("i32", int32_t{-2000000000});
  out.Set("u64", std::numeric_limits<uint64_t>::max());
  out.Set("i64", std::numeric_limits<int64_t>::min());
  out.Set("f32", 1.5f);
  out.Set("f64", -2.25);
  out.Set("yes", true);
  out.Set("no", false);
  out.Set("text", "Grüße");
  out.Set("empty", "");
  out.SetArray<std::string>("texts", {"one", "", "three"});
  out.SetArray<int32_t>("numbers", {-1, 0, 7});
  out.SetArray<bool>("bools", {true, false});
  out.SetArray<uint32_t>("none", {});
  out.AddF32("a", {4}, {1, 2, 3, 4});
  out.AddF32("b", {2, 3}, {1, 2, 3, 4, 5, 6});
  out.AddTensor("c", {32, 2, 1, 1}, 8, Bytes(68, std::byte{1}));
  return out;
}

/// The error of a file that must not open.
Told Refused(const Bytes& bytes) {
  const Result<Gguf> file = OpenBytes(bytes);
  CHECK_FALSE(file);
  return Told(file.error());
}

template <class T>
void Patch(Bytes& bytes, size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

/// Where the bytes of `text` begin.
size_t Locate(const Bytes& bytes, std::string_view text) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const size_t at = all.find(text);
  REQUIRE(at != std::string_view::npos);
  return at;
}

std::string Text(const Error& error) { return Told(error).text; }

TEST_CASE("gguf: values of every type come back, in versions 2 and 3") {
  for (const uint32_t version : {2u, 3u}) {
    GgufWriter out = Sample();
    out.version = version;
    const Bytes bytes = out.Write();
    const Result<Gguf> file = OpenBytes(bytes);
    REQUIRE(file);
    CHECK(file->Find("u8")->AsUnsigned() == 200);
    CHECK(file->Find("u16")->AsUnsigned() == 60000);
    CHECK(file->Find("u32")->AsUnsigned() == 4000000000);
    CHECK(file->Find("u64")->AsUnsigned() == std::numeric_limits<uint64_t>::max());
    CHECK(file->Find("yes")->AsUnsigned() == 1);
    for (const char* negative : {"i8", "i16", "i32", "i64"}) CHECK_FALSE(file->Find(negative)->AsUnsigned());
    CHECK(file->Find("i8")->AsNumber() == -100);
    CHECK(file->Find("i16")->AsNumber() == -30000);
    CHECK(file->Find("i32")->AsNumber() == -2000000000);
    CHECK(file->Find("i64")->AsNumber() == -9223372036854775808.0);
    CHECK(file->Find("f32")->AsNumber() == 1.5);
    CHECK(file->Find("f64")->AsNumber() == -2.25);
    CHECK_FALSE(file->Find("f32")->AsUnsigned());
    CHECK(file->Find("yes")->AsBool() == true);
    CHECK(file->Find("no")->AsBool() == false);
    CHECK_FALSE(file->Find("u8")->AsBool());
    CHECK(file->Find("text")->AsString() == "Grüße");
    CHECK(file->Find("empty")->AsString() == "");
    CHECK_FALSE(file->Find("text")->AsNumber());
    CHECK_FALSE(file->Find("texts")->AsString());
    CHECK_FALSE(file->Find("absent"));

    std::vector<std::string> texts;
    const GgufStrings strings = *file->Find("texts")->AsStrings();
    for (const std::string_view text : strings) texts.emplace_back(text);
    CHECK(texts == std::vector<std::string>{"one", "", "three"});
    const GgufValue numbers = *file->Find("numbers");
    CHECK(numbers.count == 3);
    CHECK(numbers.NumberAt(0) == -1);
    CHECK(numbers.NumberAt(2) == 7);
    CHECK_FALSE(numbers.NumberAt(3));
    CHECK_FALSE(numbers.AsStrings());
    CHECK(file->Find("bools")->NumberAt(0) == 1);
    CHECK(file->Find("none")->count == 0);

    size_t i = 0;
    for (const GgufValue& value : file->values()) CHECK(value.key == out.values[i++].key);
    CHECK(i == file->values().size());
  }
}

TEST_CASE("gguf: tensors come back with shape, type and data") {
  GgufWriter out = Sample();
  for (const uint64_t alignment : {8u, 32u, 4096u}) {
    out.Set("general.alignment", static_cast<uint32_t>(alignment));
    out.alignment = alignment;
    const Bytes bytes = out.Write();
    const Result<Gguf> file = OpenBytes(bytes);
    REQUIRE(file);
    CHECK(file->tensor_count() == 3);
    const GgufTensor b = *file->FindTensor("b");
    CHECK(b.dimensions == 2);
    CHECK(b.ne == std::array<uint64_t, 4>{2, 3, 1, 1});
    CHECK(b.bytes == 24);
    CHECK(static_cast<size_t>(b.data - bytes.data()) % alignment == 0);
    CHECK(std::memcmp(b.data, out.Find("b")->data.data(), 24) == 0);
    const GgufTensor c = *file->FindTensor("c");
    CHECK(c.type == 8);
    CHECK(c.bytes == 68);
    CHECK(c.data[67] == std::byte{1});
    std::string names;
    for (const GgufTensor& tensor : file->tensors()) names += tensor.name;
    CHECK(names == "abc");
    CHECK_FALSE(file->FindTensor("d"));
  }
}

TEST_CASE("gguf: a type without a Format has no size, but must begin within the file") {
  GgufWriter out;
  out.AddTensor("x", {256}, 16, Bytes(10));
  Bytes bytes = out.Write();
  CHECK(OpenBytes(bytes)->FindTensor("x")->bytes == 0);
  Patch<uint64_t>(bytes, Locate(bytes, "x") + 1 + 4 + 8 + 4, 64);
  CHECK(Refused(bytes).name == "x");
}

TEST_CASE("gguf: a file split in three is one model") {
  GgufWriter out = Sample();
  std::vector<Bytes> files = out.WriteSplit(3);
  const Result<Gguf> file = OpenParts(files);
  REQUIRE(file);
  CHECK(file->tensor_count() == 3);
  CHECK(file->Find("text")->AsString() == "Grüße");
  CHECK(std::memcmp(file->FindTensor("c")->data, out.Find("c")->data.data(), 68) == 0);

  std::vector<Bytes> short_one = {files[0], files[1]};
  CHECK(OpenParts(short_one).error().status == Status::kBadArgument);
  CHECK(OpenParts(short_one).error().name == "split.count");
  std::vector<Bytes> swapped = {files[0], files[2], files[1]};
  CHECK(OpenParts(swapped).error().name == "split.no");
  CHECK(Refused(files[0]).name == "split.count");
  CHECK(Refused(files[1]).name == "split.no");
  const std::vector<Bytes> stranger = {files[0], out.Write(), files[2]};
  CHECK(OpenParts(stranger).error().status == Status::kBadFile);
  CHECK(OpenParts(stranger).error().at == 2);

  GgufWriter more = Sample();
  more.AddF32("d", {1}, {1});
  std::vector<Bytes> other = more.WriteSplit(3);
  other[0] = files[0];
  CHECK(OpenParts(other).error().name == "split.tensors.count");
  CHECK(OpenParts(other).error().status == Status::kBadFile);
  GgufWriter hollow;
  hollow.Set("split.no", uint16_t{2});
  hollow.Set("split.count", uint16_t{3});
  hollow.Set("split.tensors.count", int32_t{3});
  CHECK(OpenParts({files[0], files[1], hollow.Write()}).error().name == "split.tensors.count");
  GgufWriter twice = Sample();
  twice.tensors[2].name = "a";  // in another part than the first "a"
  CHECK(OpenParts(twice.WriteSplit(3)).error().name == "a");
  CHECK(Gguf::Open({}).error().status == Status::kBadArgument);
}

TEST_CASE("gguf: parts without tensors are passed over") {
  GgufWriter out;
  out.AddF32("only", {1}, {1});
  const std::vector<Bytes> files = out.WriteSplit(3);
  const Result<Gguf> file = OpenParts(files);
  REQUIRE(file);
  CHECK(file->FindTensor("only"));
  size_t count = 0;
  for (const GgufTensor& tensor : file->tensors()) count += tensor.name == "only";
  CHECK(count == 1);
  GgufWriter nothing;
  const Bytes bytes = nothing.Write();
  CHECK(OpenBytes(bytes)->tensor_count() == 0);
}

TEST_CASE("gguf: header refusals") {
  const Bytes good = Sample().Write();
  Bytes bytes = good;
  bytes[0] = std::byte{'g'};
  CHECK(Refused(bytes).status == Status::kBadFile);
  CHECK(Refused(bytes).text == "this is not a GGUF file: it does not begin with GGUF");
  CHECK(Refused({}).status == Status::kBadFile);
  for (const uint32_t version : {0u, 1u, 4u, 0x03000000u}) {
    bytes = good;
    Patch(bytes, 4, version);
    CHECK(Refused(bytes).status == Status::kUnsupported);
  }
  CHECK(Refused(bytes).text.find("big endian") != std::string::npos);
  for (const size_t field : std::initializer_list<size_t>{8u, 16u}) {
    bytes = good;
    Patch<uint64_t>(bytes, field, uint64_t{1} << 60);
    CHECK(Refused(bytes).status == Status::kBadFile);
    CHECK(Refused(bytes).at == field);
  }
  Bytes shifted(good.size() + 1);
  std::copy(good.begin(), good.end(), shifted.begin() + 1);
  const auto odd = std::span<const std::byte>(shifted).subspan(1);
  CHECK(Gguf::Open({&odd, 1}).error().status == Status::kBadArgument);
}

TEST_CASE("gguf: limits on counts are named") {
  GgufWriter many;
  for (size_t i = 0; i <= GgufValues::kMax; ++i) many.Set("key" + std::to_string(i), uint8_t{1});
  CHECK(Refused(many.Write()).status == Status::kUnsupported);
  CHECK(Refused(many.Write()).text == "the file has more than 256 metadata keys, the most that are read: 257");
  many.values.pop_back();
  CHECK(OpenBytes(many.Write()));

  GgufWriter tensors;
  for (size_t i = 0; i < Gguf::kMaxTensors; ++i) tensors.AddF32("t" + std::to_string(i), {1}, {1});
  CHECK(OpenBytes(tensors.Write()));
  tensors.AddF32("last", {1}, {1});
  CHECK(Refused(tensors.Write()).status == Status::kUnsupported);
  std::vector<Bytes> files = tensors.WriteSplit(2);
  CHECK(OpenParts(files).error().status == Status::kUnsupported);
}

TEST_CASE("gguf: metadata refusals name the key") {
  const Bytes good = Sample().Write();
  struct Case {
    const char* key;
    size_t behind;  // the key
    uint64_t value;
    size_t size;
  };
  for (const Case& c : {Case{"u32", 0, 13, 4}, Case{"yes", 4, 2, 1}, Case{"bools", 4 + 4 + 8 + 1, 255, 1},
                        Case{"text", 4, UINT64_MAX, 8}, Case{"texts", 4 + 4, UINT64_MAX, 8},
                        Case{"texts", 4 + 4 + 8, uint64_t{1} << 63, 8}, Case{"numbers", 4 + 4, uint64_t{1} << 62, 8},
                        Case{"numbers", 4, 99, 4}}) {
    CAPTURE(c.key);
    Bytes bytes = good;
    std::string field;
    field.append(1, static_cast<char>(std::strlen(c.key))).append(7, '\0').append(c.key);
    std::memcpy(bytes.data() + Locate(bytes, field) + field.size() + c.behind, &c.value, c.size);
    const Told error = Refused(bytes);
    CHECK(error.status == Status::kBadFile);
    CHECK(error.name == c.key);
    CHECK(error.at > 24);
  }
  GgufWriter out;
  Bytes nested;
  for (const uint32_t word : {9u, 9u, 1u, 0u}) Append(nested, word);  // an array of one array
  out.values.push_back({"nested", nested});
  CHECK(Refused(out.Write()).status == Status::kUnsupported);
  CHECK(Refused(out.Write()).name == "nested");

  GgufWriter twice = Sample();
  twice.values[3].key = "text";
  CHECK(Refused(twice.Write()).name == "text");
  GgufWriter empty = Sample();
  empty.values[3].key = "";
  CHECK(Refused(empty.Write()).status == Status::kBadFile);
  GgufWriter longest = Sample();
  longest.values[3].key = std::string(65535, 'k');
  CHECK(OpenBytes(longest.Write()));
  longest.values[3].key += 'k';
  CHECK(Refused(longest.Write()).status == Status::kBadFile);

  for (const uint32_t alignment : {0u, 4u, 24u, 131072u}) {
    GgufWriter aligned = Sample();
    aligned.Set("general.alignment", alignment);
    CHECK(Refused(aligned.Write()).name == "general.alignment");
  }
  GgufWriter worded = Sample();
  worded.Set("general.alignment", "32");
  CHECK(Refused(worded.Write()).name == "general.alignment");
}

TEST_CASE("gguf: tensor refusals name the tensor") {
  const auto refused = [](auto change) {
    GgufWriter out = Sample();
    change(out);
    return Refused(out.Write());
  };
  CHECK(refused([](GgufWriter& out) { out.tensors[2].ne = {16, 4}; }).name == "c");  // half a block
  CHECK(refused([](GgufWriter& out) { out.tensors[2].ne = {16, 4}; }).detail == "Q8_0");
  CHECK(refused([](GgufWriter& out) { out.tensors[1].ne = {}; }).name == "b");
  CHECK(refused([](GgufWriter& out) { out.tensors[1].ne = {1, 1, 1, 1, 6}; }).name == "b");
  CHECK(refused([](GgufWriter& out) { out.tensors[1].ne = {6, 0}; }).name == "b");
  CHECK(refused([](GgufWriter& out) { out.tensors[1].ne = {6, UINT64_MAX}; }).name == "b");
  CHECK(refused([](GgufWriter& out) { out.tensors[1].ne.assign(4, 1u << 31); }).name == "b");
  CHECK(refused([](GgufWriter& out) { out.tensors[1].ne.assign(4, 1u << 15); }).name == "b");  // beyond the end
  CHECK(refused([](GgufWriter& out) { out.tensors[1].name = "a"; }).name == "a");
  CHECK(refused([](GgufWriter& out) { out.tensors[1].name = ""; }).status == Status::kBadFile);
  CHECK(refused([](GgufWriter& out) { out.tensors[1].name = std::string(65, 'x'); }).status == Status::kBadFile);
  CHECK(refused([](GgufWriter& out) { out.tensors[2].data.pop_back(); }).name == "c");  // one byte short

  Bytes bytes = Sample().Write();
  const size_t offset = Locate(bytes, std::string("\1\0\0\0\0\0\0\0b", 9)) + 9 + 4 + 16 + 4;
  for (const uint64_t value : {uint64_t{8}, uint64_t{1} << 40, UINT64_MAX - 31}) {
    Patch(bytes, offset, value);
    CHECK(Refused(bytes).name == "b");
  }
}

TEST_CASE("gguf: the front of a full-sized file is read in a few milliseconds") {
  GgufWriter out;
  std::vector<std::string> tokens, merges;
  for (size_t i = 0; i < 248320; ++i) tokens.push_back("token" + std::to_string(i));
  for (size_t i = 0; i < 247587; ++i) merges.push_back("left" + std::to_string(i) + " right");
  out.SetArray("tokenizer.ggml.tokens", tokens);
  out.SetArray("tokenizer.ggml.token_type", std::vector<int32_t>(tokens.size(), 1));
  out.SetArray("tokenizer.ggml.merges", merges);
  for (size_t i = 0; i < 442; ++i) out.AddF32("blk." + std::to_string(i) + ".ffn_down.weight", {1}, {1});
  const Bytes bytes = out.Write();
  double open_ms = 1e9;
  double find_ms = 1e9;
  for (int run = 0; run < 5; ++run) {  // the best of five: other processes share the machine
    const auto begin = std::chrono::steady_clock::now();
    const Result<Gguf> file = OpenBytes(bytes);
    const auto opened = std::chrono::steady_clock::now();
    REQUIRE(file);
    size_t found = 0;
    for (const auto& tensor : out.tensors) found += file->FindTensor(tensor.name).has_value();
    const auto looked_up = std::chrono::steady_clock::now();
    CHECK(found == 442);
    open_ms = std::min(open_ms, std::chrono::duration<double, std::milli>(opened - begin).count());
    find_ms = std::min(find_ms, std::chrono::duration<double, std::milli>(looked_up - opened).count());
  }
  MESSAGE("open ", open_ms, " ms, 442 look-ups ", find_ms, " ms");
  CHECK(open_ms + find_ms < 500);  // far above what a loaded machine needs, far below a walk of the strings per look-up
}

TEST_CASE("error text: one line, with the number in its meaning") {
  CHECK(Text({Status::kUnsupported, "tensor type not supported; quantise with another type", "blk.3.ffn_down.weight",
              "IQ2_XXS"}) == "tensor type not supported (IQ2_XXS); quantise with another type: blk.3.ffn_down.weight");
  CHECK(Text({Status::kBadFile, "broken", "key", {}, 24}) == "broken: key at byte 24");
  CHECK(Text({Status::kBadFile, "broken", {}, {}, 18446744073709551615u}) == "broken: at byte 18446744073709551615");
  CHECK(Text({Status::kBadFile, "broken"}) == "broken");
  CHECK(Text({Status::kNotFound, "missing", "blk.N.attn_q.weight", {}, 0}) == "missing: blk.0.attn_q.weight");
  CHECK(Text({Status::kNotFound, "missing", "blk.N.attn_q.weight", {}, 12}) == "missing: blk.12.attn_q.weight");
  CHECK(Text({Status::kTooSmall, "needs this many bytes", {}, {}, 4096}) == "needs this many bytes: 4096");
  CHECK(Text({Status::kUnsupported, "out of range", "qwen35.ssm.conv_kernel", {}, 9}) ==
        "out of range: qwen35.ssm.conv_kernel = 9");
  CHECK(Text({Status::kSystem, "cannot be opened", "m.gguf", {}, EACCES}) ==
        "cannot be opened: m.gguf: permission denied");
  CHECK(Text({Status::kSystem, "cannot be opened", {}, {}, 9999}) == "cannot be opened: system error 9999");
  CHECK(Text({Status::kBadFile, "broken", "a\nb\x1b[31m\x7f"}) == "broken: a?b?[31m?");
  const std::string longest(65535, 'k');
  CHECK(Text({Status::kBadFile, "broken", longest}) == "broken: " + std::string(240, 'k') + "...");
  std::string umlauts;
  for (int i = 0; i < 200; ++i) umlauts += i == 0 ? "x" : "ü";
  CHECK(Text({Status::kBadFile, "b", umlauts}) == "b: " + umlauts.substr(0, 239) + "...");
  char small[8];
  CHECK(ErrorText({Status::kBadFile, "a long sentence"}, small) == "a long s");
  CHECK(ErrorText({Status::kBadFile, "a long sentence"}, {}).empty());
  char line[80];
  CHECK(ErrorText({Status::kSystem, "cannot be opened", {}, {}, EACCES}, line, nullptr) ==
        "cannot be opened: system error 13");
}

TEST_CASE("numbers in decimal, around every power of two and of ten") {
  char text[kDecimalDigits];
  const auto same = [&text](uint64_t number) { return Decimal(number, text) == std::to_string(number); };
  for (uint64_t power = 1; power != 0; power *= 2) CHECK((same(power - 1) && same(power) && same(~power)));
  for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10) CHECK((same(10 * power - 1) && same(10 * power)));
}

}  // namespace
}  // namespace thimble::test
