// SPDX-License-Identifier: Apache-2.0
//
// Tokenizer and StreamDecoder against Hugging Face's ids (tests/golden/tokenizer.py makes them), broken vocabularies,
// bytes that are not UTF-8, and a vocabulary of Qwen3.5's size.
#include "io/tokenizer.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <unordered_set>
#include <vector>

#include "io/stream_decoder.h"
#include "io/unicode.h"
#include "tests/gguf_writer.h"
#include "tests/make_pack.h"

namespace thimble {
namespace {

using test::Bytes;
using test::GgufWriter;
using test::OpenBytes;
using test::Told;

constexpr size_t kMaxText = 4096;

Bytes ReadData(const char* name) {
  std::ifstream file(std::string(THIMBLE_SOURCE_DIR "/tests/data/tokenizer/") + name, std::ios::binary);
  REQUIRE(file.good());
  const std::string data{std::istreambuf_iterator<char>(file), {}};
  const auto bytes = std::as_bytes(std::span(data));
  return {bytes.begin(), bytes.end()};
}

/// Memory on a multiple of Arena::kAlign.
struct Block {
  struct alignas(Arena::kAlign) Line {
    std::byte bytes[Arena::kAlign];
  };
  explicit Block(size_t size) : lines(new Line[size / Arena::kAlign + 1]), bytes(lines[0].bytes, size) {}
  std::unique_ptr<Line[]> lines;
  std::span<std::byte> bytes;
};

/// The same file as a pack, which has an index of its tokens.
Bytes Packed(const Bytes& gguf) { return test::MakePack(test::Source(gguf).Order(PackRecipe::kExact)); }

/// The parts of a vocabulary, to be changed and written as a GGUF file.
struct VocabularyParts {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<std::string> merges;
  std::string model = "gpt2";
  std::string pre = "qwen35";
  GgufWriter more;  // other entries

  Bytes Write() const {
    GgufWriter writer = more;
    writer.Set("tokenizer.ggml.model", model);
    writer.Set("tokenizer.ggml.pre", pre);
    writer.SetArray("tokenizer.ggml.tokens", tokens);
    writer.SetArray("tokenizer.ggml.token_type", types);
    writer.SetArray("tokenizer.ggml.merges", merges);
    return writer.Write();
  }
};

/// An open file and its tokenizer, with the memory of both.
struct Bound {
  explicit Bound(Bytes gguf, size_t max_text = kMaxText, const TextRules& rules = kUnicode) : bytes(std::move(gguf)) {
    const auto opened = OpenBytes(bytes);
    REQUIRE(opened);
    file = *opened;
    Arena measure;
    const auto plan = Tokenizer::Bind(file, max_text, measure, rules);
    error = plan.error();
    if (!plan) return;
    planned = measure.used();
    memory = std::make_unique<Block>(planned);
    Arena arena(memory->bytes);
    const auto bound = Tokenizer::Bind(file, max_text, arena, rules);
    error = bound.error();
    if (bound) tokenizer = *bound;
    CHECK(arena.used() == planned);
  }

  std::vector<Token> Encode(std::string_view text, Specials specials = Specials::kRecognise) {
    std::vector<Token> tokens(tokenizer.MaxTokens(text.size()));
    const auto count = tokenizer.Encode(text, specials, tokens);
    REQUIRE(count);
    tokens.resize(*count);
    return tokens;
  }
  std::string Decode(const std::vector<Token>& tokens) const {
    std::string text, one(tokenizer.max_token_bytes(), '\0');
    for (const Token token : tokens) text.append(one.data(), tokenizer.Decode(token, one));
    return text;
  }

  Bytes bytes;
  Gguf file;
  size_t planned = 0;
  std::unique_ptr<Block> memory;
  Tokenizer tokenizer;
  Error error;
};

VocabularyParts ReadVocabulary() {
  const Bound bound(ReadData("vocab.gguf"), 0);
  VocabularyParts vocabulary;
  const auto tokens = bound.file.Find("tokenizer.ggml.tokens")->AsStrings();
  const auto merges = bound.file.Find("tokenizer.ggml.merges")->AsStrings();
  REQUIRE(tokens);
  REQUIRE(merges);
  for (const std::string_view text : *tokens) vocabulary.tokens.emplace_back(text);
  for (const std::string_view text : *merges) vocabulary.merges.emplace_back(text);
  const auto types = *bound.file.Find("tokenizer.ggml.token_type");
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i)
    vocabulary.types.push_back(static_cast<int32_t>(*types.NumberAt(i)));
  return vocabulary;
}

/// The byte alphabet, made the way that section 4.1's rule says it.
std::string Spell(unsigned byte) {
  const auto prints = [](unsigned b) { return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174; };
  unsigned others = 0;
  for (unsigned b = 0; b < byte; ++b) others += prints(b) ? 0 : 1;
  char text[4];
  return {text, WriteUtf8(prints(byte) ? byte : 256 + others, text)};
}

/// One record of golden.bin.
struct Golden {
  enum Mode : uint8_t { kRecognise, kText, kQwen2, kPlain, kDecode };
  Mode mode;
  std::string text;
  std::vector<Token> ids;
};

std::vector<Golden> ReadGoldens() {
  const Bytes data = ReadData("golden.bin");
  const std::byte* at = data.data();
  const auto take = [&at](auto& value) {
    std::memcpy(&value, at, sizeof value);
    at += sizeof value;
  };
  std::vector<Golden> goldens;
  while (at != data.data() + data.size()) {
    Golden golden;
    uint32_t bytes;
    uint16_t count, id;
    take(golden.mode);
    take(bytes);
    golden.text.assign(reinterpret_cast<const char*>(at), bytes);
    at += bytes;
    take(count);
    for (uint16_t i = 0; i < count; ++i) {
      take(id);
      golden.ids.push_back(id);
    }
    goldens.push_back(std::move(golden));
  }
  return goldens;
}

}  // namespace

TEST_CASE("tokens are Hugging Face's, whether the index is built or stands in a pack") {
  VocabularyParts vocabulary = ReadVocabulary();
  vocabulary.pre = "qwen2";
  const Bytes qwen2_file = vocabulary.Write();
  vocabulary.pre = "qwen35";
  vocabulary.more.Set("tokenizer.ggml.normalizer.nfc", false);
  const Bytes plain_file = vocabulary.Write();
  for (const bool packed : {false, true}) {
    CAPTURE(packed);
    const auto bound = [packed](const Bytes& gguf) { return Bound(packed ? Packed(gguf) : gguf); };
    Bound qwen35 = bound(ReadData("vocab.gguf")), qwen2 = bound(qwen2_file), plain = bound(plain_file);
    CHECK(plain.planned < qwen35.planned);
    CHECK((qwen35.planned <= 29 * kMaxText) == packed);
    size_t seen[5] = {};
    for (const Golden& golden : ReadGoldens()) {
      CAPTURE(golden.text);
      ++seen[golden.mode];
      if (golden.mode == Golden::kRecognise) CHECK(qwen35.Encode(golden.text) == golden.ids);
      if (golden.mode == Golden::kText) CHECK(qwen35.Encode(golden.text, Specials::kText) == golden.ids);
      if (golden.mode == Golden::kQwen2) CHECK(qwen2.Encode(golden.text) == golden.ids);
      if (golden.mode == Golden::kPlain) CHECK(plain.Encode(golden.text) == golden.ids);
      if (golden.mode == Golden::kPlain) CHECK(plain.Decode(golden.ids) == golden.text);
    }
    CHECK(seen[Golden::kRecognise] >= 1500);
    CHECK(seen[Golden::kText] >= 40);
    CHECK(seen[Golden::kQwen2] >= 200);
    CHECK(seen[Golden::kPlain] >= 200);
    CHECK(seen[Golden::kDecode] >= 100);
  }
}

bool IsLatin(uint32_t point) { return point < 0x300 || (point >= 0x2002 && point < 0x20d0); }

TEST_CASE("Latin rules know what form C leaves alone, and its classes") {
  size_t known = 0;
  for (uint32_t point = 0; point < kRawByte; ++point) {
    char bytes[4];
    const std::string_view text(bytes, WriteUtf8(point, bytes));
    CAPTURE(point);
    CHECK(FindUnknown(kUnicode, text) == text.size());
    if (FindUnknown(kLatin, text) != text.size()) {
      CHECK(!IsLatin(point));
      continue;
    }
    ++known;
    const bool surrogate = point >= 0xd800 && point < 0xe000;  // raw bytes
    CHECK((IsLatin(point) || surrogate));
    CHECK(ReadChar(kLatin, text, 0).kind == ReadChar(kUnicode, text, 0).kind);
    CHECK(IsSurelyNfc(text));
    uint32_t points[4 * kNfcGrowth], spare[4 * kNfcGrowth];
    char normal[4 * kNfcGrowth];
    CHECK(std::string_view(normal, ToNfc(text, points, spare, normal)) == text);
  }
  CHECK(known == 0x300 + 0x20d0 - 0x2002 + 0x800);
}

TEST_CASE("Latin rules give the same tokens, or say where another character stands") {
  Bound all(ReadData("vocab.gguf")), latin(ReadData("vocab.gguf"), kMaxText, kLatin);
  CHECK(latin.planned < all.planned);
  size_t taken = 0, refused = 0;
  for (const Golden& golden : ReadGoldens()) {
    if (golden.mode != Golden::kRecognise) continue;
    CAPTURE(golden.text);
    size_t stranger = golden.text.size();
    for (size_t at = 0; at < golden.text.size();) {
      const Utf8Char c = ReadUtf8(std::string_view(golden.text).substr(at));
      if (c.kind == Utf8Char::Kind::kWhole && !IsLatin(c.point)) stranger = std::min(stranger, at);
      at += c.bytes;
    }
    if (stranger == golden.text.size()) {
      CHECK(latin.Encode(golden.text) == golden.ids);
      ++taken;
      continue;
    }
    std::vector<Token> tokens(3 * golden.text.size());
    const auto count = latin.tokenizer.Encode(golden.text, Specials::kRecognise, tokens);
    REQUIRE(!count);
    CHECK(count.error().status == Status::kUnsupported);
    CHECK(count.error().at == stranger);
    ++refused;
  }
  CHECK(taken >= 100);
  CHECK(refused >= 100);
  // Every character of these between letters, digits and spaces.
  for (uint32_t point = 1; point < 0x20d0; ++point) {
    if (!IsLatin(point)) continue;
    char one[4];
    const std::string c(one, WriteUtf8(point, one));
    CAPTURE(point);
    const std::string text = "x" + c + "y1" + c + "2 " + c + " '" + c + c + "z\n" + c;
    CHECK(latin.Encode(text) == all.Encode(text));
  }
}

TEST_CASE("an index in the file is used, or the file is refused") {
  const Bytes plain = ReadData("vocab.gguf"), pack = Packed(plain);
  const Bound built(plain), indexed(pack);
  const Gguf& file = indexed.file;
  const GgufValue value = *file.Find(TokenIndex::kKey);
  const auto size = static_cast<uint32_t>(indexed.tokenizer.size());
  Arena measure;
  REQUIRE(Tokenizer::BindIndexed(file, 64, measure));
  const Error none = Tokenizer::BindIndexed(built.file, 64, measure).error();
  CHECK(none.status == Status::kNotFound);
  CHECK(Told(none).text.find("thimble pack SOURCE") != std::string::npos);
  CHECK(built.tokenizer.end_tokens()[0] == indexed.tokenizer.end_tokens()[0]);
  CHECK(*built.tokenizer.Find("<think>") == *indexed.tokenizer.Find("<think>"));

  std::vector<uint32_t> words(static_cast<size_t>(value.count));
  std::memcpy(words.data(), value.data, 4 * words.size());
  const auto first_word = static_cast<size_t>(value.data - indexed.bytes.data());
  std::string mixed = "the in <|im_end|> e\u0301 12 \xff";
  for (const Golden& golden : ReadGoldens()) {
    if (mixed.size() < 3000) mixed += golden.text;
  }
  /// Binds the file with these words. If that is possible, every text gives tokens of the vocabulary.
  Bytes changed = pack;
  const auto bind = [&](const std::vector<uint32_t>& other) {
    std::memcpy(changed.data() + first_word, other.data(), 4 * other.size());
    Bound bound(changed);
    if (!bound.error.ok()) return bound.error.status;
    for (const Token token : bound.Encode(mixed)) {
      REQUIRE(token >= 0);
      REQUIRE(static_cast<uint32_t>(token) < size);
    }
    return Status::kOk;
  };
  const auto with = [&](size_t at, uint32_t word) {
    std::vector<uint32_t> other = words;
    other[at] = word;
    return bind(other);
  };
  const auto swapped = [&](size_t a, size_t b) {
    std::vector<uint32_t> other = words;
    std::swap(other[a], other[b]);
    return bind(other);
  };
  const size_t merges = words[1], bytes_at = 2, offsets_at = bytes_at + 256, specials_at = offsets_at + size;
  const size_t slot_count = 2 * merges + 1, slots_at = words.size() - slot_count, merges_at = slots_at - 3 * merges;
  REQUIRE(merges_at - specials_at > 4);
  constexpr uint32_t kFree = UINT32_MAX;
  CHECK(bind(words) == Status::kOk);
  CHECK(with(0, 2) == Status::kUnsupported);
  for (const uint32_t count : {uint32_t{0}, words[1] - 1, words[1] + 1, 1u << 24, 0x80000000u, kFree}) {
    CHECK(with(1, count) == Status::kBadFile);
  }
  for (const size_t at : {bytes_at, bytes_at + 'a', bytes_at + 255}) {
    CHECK(with(at, size) == Status::kBadFile);
    CHECK(with(at, kFree) == Status::kBadFile);
    CHECK(with(at, size - 1) == Status::kOk);
  }
  for (const size_t token : {size_t{0}, size_t{1}, size_t{size / 2}, size_t{size - 1}}) {
    for (const uint32_t offset : {words[offsets_at + token] + 1, words[offsets_at + token] - 1, kFree}) {
      CHECK(with(offsets_at + token, offset) == Status::kBadFile);
    }
  }
  for (size_t at = specials_at; at < merges_at; ++at) {
    CHECK(with(at, size) == Status::kBadFile);
    CHECK(with(at, 0) == Status::kBadFile);  // not special
    CHECK(with(at, words[at == specials_at ? at + 1 : at - 1]) == Status::kBadFile);
  }
  CHECK(swapped(specials_at, specials_at + 1) == Status::kBadFile);
  for (size_t i = 0; i < 3 * merges; i += i < 9 ? 1 : 97) {
    CHECK(with(merges_at + i, size) == Status::kBadFile);
    CHECK(with(merges_at + i, kFree) == Status::kBadFile);
    CHECK(with(merges_at + i, size - 1) == Status::kOk);
    CHECK(swapped(merges_at + i, merges_at + 3 * merges - 1 - i) == Status::kOk);
  }
  for (size_t i = 0; i < slot_count; i += i < 20 ? 1 : 97) {
    const bool is_free = words[slots_at + i] == kFree;
    CHECK(with(slots_at + i, is_free ? 0 : kFree) == Status::kBadFile);
    CHECK(with(slots_at + i, static_cast<uint32_t>(merges) << 8) == Status::kBadFile);
    if (!is_free) CHECK(with(slots_at + i, words[slots_at + i] ^ 1) == Status::kOk);
  }
  std::vector<uint32_t> full = words;  // no search would end
  for (size_t i = 0; i < slot_count; ++i) full[slots_at + i] = 0;
  CHECK(bind(full) == Status::kBadFile);
  std::mt19937 random(3);
  for (size_t i = 0; i < 2000; ++i) {
    std::vector<uint32_t> other = words;
    for (size_t n = 1 + random() % 3; n > 0; --n) other[random() % words.size()] ^= 1u << random() % 32;
    bind(other);
  }

  // Of another type, on an odd address, or with a word more or less.
  VocabularyParts parts = ReadVocabulary();
  const auto refused = [&](const auto& change) {
    size_t aligned = 0;
    for (size_t padding = 0; padding < 4; ++padding) {
      parts.more = GgufWriter();
      parts.more.Set("padding", std::string(padding, ' '));
      change(parts.more);
      const Bound bound(parts.Write());
      aligned += bound.error.ok() ? 1 : 0;
      if (!bound.error.ok()) CHECK(bound.error.status == Status::kBadFile);
    }
    return 4 - aligned;
  };
  const auto key = TokenIndex::kKey;
  CHECK(refused([&](GgufWriter& w) { w.SetArray(key, words); }) == 3);
  CHECK(refused([&](GgufWriter& w) { w.Set(key, "text"); }) == 4);
  CHECK(refused([&](GgufWriter& w) { w.SetArray(key, std::vector<int32_t>(words.begin(), words.end())); }) == 4);
  CHECK(refused([&](GgufWriter& w) { w.SetArray(key, std::vector<uint32_t>()); }) == 4);
  std::vector<uint32_t> other = words;
  other.push_back(kFree);
  CHECK(refused([&](GgufWriter& w) { w.SetArray(key, other); }) == 4);
  other.resize(words.size() - 1);
  CHECK(refused([&](GgufWriter& w) { w.SetArray(key, other); }) == 4);
}

TEST_CASE("a stream of tokens becomes Hugging Face's text, and no character is ever cut") {
  const Bound bound(ReadData("vocab.gguf"));
  Block memory(8192);
  Arena arena(memory.bytes);
  auto decoder = StreamDecoder::Bind(bound.tokenizer, arena);
  REQUIRE(decoder);
  for (const Golden& golden : ReadGoldens()) {
    if (golden.mode != Golden::kDecode) continue;
    std::string text;
    for (const Token token : golden.ids) {
      const std::string_view shown = decoder->Push(token);
      for (size_t at = 0; at < shown.size();) {
        const Utf8Char c = ReadUtf8(shown.substr(at));
        REQUIRE(c.kind == Utf8Char::Kind::kWhole);
        at += c.bytes;
      }
      text += shown;
    }
    text += decoder->Finish();
    CHECK(text == golden.text);
  }
}

TEST_CASE("a stream holds back the bytes of a character until the last") {
  Bound bound(ReadData("vocab.gguf"));
  Block memory(8192);
  Arena arena(memory.bytes);
  auto decoder = StreamDecoder::Bind(bound.tokenizer, arena);
  REQUIRE(decoder);
  const auto push = [&](int byte) {
    return std::string(decoder->Push(bound.Encode(std::string(1, static_cast<char>(byte)))[0]));
  };
  CHECK(push(0xf0) == "");
  CHECK(push(0x9f) == "");
  CHECK(push(0x98) == "");
  CHECK(push(0x80) == "\U0001f600");
  CHECK(push(0xe4) == "");
  CHECK(push(0xbd) == "");
  CHECK(push('a') == "\ufffda");
  CHECK(push(0xff) == "\ufffd");
  CHECK(push(0xc3) == "");
  CHECK(push(0xc3) == "\ufffd");
  CHECK(push(0xa9) == "\u00e9");
  CHECK(push(0xe4) == "");
  CHECK(decoder->Push(*bound.tokenizer.Find("<|im_end|>")) == "\ufffd<|im_end|>");
  CHECK(decoder->Finish() == "");
  CHECK(push(0xf0) == "");
  CHECK(decoder->Finish() == "\ufffd");
  CHECK(push('a') == "a");
}

TEST_CASE("bytes that are not UTF-8 keep their own tokens") {
  Bound bound(ReadData("vocab.gguf"));
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    const size_t length = 1 + random() % 30;
    while (text.size() < length)
      text += static_cast<char>(random() % 3 == 0 ? "aA \n\xcc\x81\xe1\xed\xa0\xf4\x90\xc0"[random() % 12]
                                                  : static_cast<int>(random() % 256));
    // Form C may change what is UTF-8, once; and never what is not.
    const std::string once = bound.Decode(bound.Encode(text));
    CHECK(bound.Decode(bound.Encode(once)) == once);
    std::string latin;
    for (const char c : text) latin += static_cast<unsigned char>(c) < 0x80 ? c : static_cast<char>(c | 0xc0);
    CHECK(bound.Decode(bound.Encode(latin)) == latin);
  }
  // A raw byte is a symbol: it separates a letter from its mark, and words from one another.
  const auto raw = bound.Encode("\xff")[0];
  CHECK(bound.Encode("e\u0301") == std::vector{*bound.tokenizer.Find("e\u0301")});
  CHECK(bound.Encode("e\xff\u0301") == [&] {
    std::vector<Token> tokens = bound.Encode("e");
    for (const Token token : bound.Encode("\xff\u0301")) tokens.push_back(token);
    return tokens;
  }());
  CHECK(bound.Encode("\xff\xff") == std::vector{raw, raw});
}

TEST_CASE("special tokens") {
  Bound bound(ReadData("vocab.gguf"));
  const Tokenizer& tokenizer = bound.tokenizer;
  const auto im_end = tokenizer.Find("<|im_end|>");
  const auto think = tokenizer.Find("<think>");
  REQUIRE(im_end);
  REQUIRE(think);
  CHECK(tokenizer.IsControl(*im_end));
  CHECK_FALSE(tokenizer.IsControl(*think));
  CHECK(tokenizer.TokenText(*think) == "<think>");
  CHECK(bound.Encode("<|im_end|><think>") == std::vector{*im_end, *think});
  CHECK(bound.Encode("<|im_end|>", Specials::kText).size() > 1);
  CHECK(bound.Decode(bound.Encode("<|im_end|>", Specials::kText)) == "<|im_end|>");
  CHECK(bound.Encode("<|im_en") == [&] {  // "<|im" is one of the fixture's own
    std::vector<Token> tokens = {*tokenizer.Find("<|im")};
    for (const Token token : bound.Encode("_en")) tokens.push_back(token);
    return tokens;
  }());
  const auto found = tokenizer.NextSpecial("a<<|im_end|><think>");
  CHECK(found.at == 2);
  CHECK(found.bytes == 10);
  CHECK(found.token == *im_end);
  CHECK(tokenizer.NextSpecial("nothing").bytes == 0);
  CHECK(tokenizer.Find("the").error().status == Status::kNotFound);
  CHECK(tokenizer.Find("<|none|>").error().status == Status::kNotFound);

  const auto ends = tokenizer.end_tokens();
  CHECK(std::vector(ends.begin(), ends.end()) == std::vector{*im_end, *tokenizer.Find("<|endoftext|>")});
  const auto last = static_cast<Token>(tokenizer.size()) - 1;
  CHECK(tokenizer.TokenText(last).starts_with("[PAD"));
  CHECK(tokenizer.IsUnused(last));
  CHECK(tokenizer.IsUnused(last + 1));
  CHECK(tokenizer.IsUnused(-1));
  CHECK_FALSE(tokenizer.IsUnused(*im_end));
  CHECK_FALSE(tokenizer.IsUnused(0));
  CHECK(bound.Decode({last + 1, -1}) == "");
}

TEST_CASE("limits of Encode") {
  Bound bound(ReadData("vocab.gguf"), 16);
  std::vector<Token> out(2);
  CHECK(bound.tokenizer.Encode("seventeen bytes..", Specials::kText, out).error().status == Status::kTooLarge);
  const auto result = bound.tokenizer.Encode("1234567890123456", Specials::kText, out);
  CHECK(result.error().status == Status::kTooSmall);
  CHECK(result.error().at == 16);
  CHECK(*bound.tokenizer.Encode("", Specials::kText, {}) == 0);
  // The most that normalisation adds: each of these becomes three characters of four bytes.
  std::string text;
  for (int i = 0; i < 4; ++i) text += "\U0001d160";
  CHECK(bound.Decode(bound.Encode(text)).size() == 48);
  CHECK(bound.Encode(text).size() <= bound.tokenizer.MaxTokens(16));
}

TEST_CASE("an arena of any size below the plan fails with the bytes needed") {
  for (const bool packed : {false, true}) {
    const Bound bound(packed ? Packed(ReadData("vocab.gguf")) : ReadData("vocab.gguf"), 100);
    for (size_t size = 0; size < bound.planned; size += size < 256 ? 64 : bound.planned / 37) {
      Block memory(size);
      Arena arena(memory.bytes);
      const auto result = Tokenizer::Bind(bound.file, 100, arena);
      CHECK(result.error().status == Status::kTooSmall);
      CHECK(result.error().at == bound.planned);
    }
    Arena measure;
    CHECK(Tokenizer::Bind(bound.file, SIZE_MAX, measure).error().status == Status::kTooLarge);
  }
}

TEST_CASE("vocabularies that are refused") {
  const VocabularyParts good = ReadVocabulary();
  const auto error = [&](auto change) {
    VocabularyParts vocabulary = good;
    change(vocabulary);
    const Bound bound(vocabulary.Write(), 16);
    return Told(bound.error);
  };
  const auto status = [&](auto change) { return error(change).status; };
  using V = VocabularyParts;
  CHECK(status([](V&) {}) == Status::kOk);
  CHECK(status([](V& v) { v.model = "llama"; }) == Status::kUnsupported);
  CHECK(error([](V& v) { v.pre = "gpt-4o"; }).detail == "gpt-4o");
  CHECK(status([](V& v) { v.types.pop_back(); }) == Status::kBadFile);
  CHECK(status([](V& v) { v.types[7] = 9; }) == Status::kBadFile);
  CHECK(status([](V& v) { v.types[7] = 1 << 16 | 1; }) == Status::kBadFile);
  CHECK(error([](V& v) { v.tokens[9] = v.tokens[8]; }).name == good.tokens[8]);
  CHECK(error([](V& v) { v.tokens[9] = v.tokens[8]; }).at == 9);
  CHECK(error([](V& v) { v.merges[5] = "nosuch token"; }).name == "nosuch token");
  CHECK(error([](V& v) { v.merges[5] = "< >"; }).at == 5);  // "<>" is not in the vocabulary
  for (const char* merge : {"", " ", "a", " a", "a ", "a  b", "a b c"}) {
    CHECK(status([&](V& v) { v.merges[5] = merge; }) == Status::kBadFile);
  }
  CHECK(error([](V& v) { v.merges.push_back(v.merges[3]); }).at == good.merges.size());
  CHECK(status([](V& v) { v.tokens.clear(), v.types.clear(), v.merges.clear(); }) == Status::kBadFile);
  CHECK(status([](V& v) { v.more.Set("tokenizer.ggml.eos_token_id", uint32_t{1000000}); }) == Status::kBadFile);
  CHECK(status([](V& v) { v.more.Set("tokenizer.ggml.eos_token_id", 1.0f); }) == Status::kBadFile);
  CHECK(status([](V& v) { v.more.Set("tokenizer.ggml.normalizer.lowercase", true); }) == Status::kUnsupported);
  CHECK(status([](V& v) { v.more.Set("tokenizer.ggml.normalizer.lowercase", false); }) == Status::kOk);
  CHECK(status([](V& v) { v.more.Set("tokenizer.ggml.normalizer.nfc", 1); }) == Status::kBadFile);
  // A byte without a token: take one that no merge needs.
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto used = [&](const std::string& merge) { return merge.find(Spell(byte)) != merge.npos; };
    if (std::any_of(good.merges.begin(), good.merges.end(), used)) continue;
    const auto lacking = error([&](V& v) { *std::find(v.tokens.begin(), v.tokens.end(), Spell(byte)) = "gone"; });
    CHECK(lacking.status == Status::kBadFile);
    CHECK(lacking.at == byte);
    break;
  }
}

TEST_CASE("end tokens are the file's and the two known ones, none twice") {
  VocabularyParts vocabulary = ReadVocabulary();
  vocabulary.more.Set("tokenizer.ggml.eos_token_id", uint32_t{3});
  vocabulary.more.Set("tokenizer.ggml.eot_token_id", uint64_t{5});
  const Bound bound(vocabulary.Write());
  const auto ends = bound.tokenizer.end_tokens();
  REQUIRE(ends.size() == 4);
  CHECK(ends[0] == 3);
  CHECK(ends[1] == 5);
  CHECK(bound.tokenizer.TokenText(ends[2]) == "<|im_end|>");
  CHECK(bound.tokenizer.TokenText(ends[3]) == "<|endoftext|>");
}

TEST_CASE("a vocabulary of Qwen3.5's size") {
  constexpr size_t kOrdinary = 248044, kTokens = 248320, kMerges = 247587;
  VocabularyParts vocabulary;
  for (unsigned byte = 0; byte < 256; ++byte) vocabulary.tokens.push_back(Spell(byte));
  std::unordered_set<std::string> known(vocabulary.tokens.begin(), vocabulary.tokens.end());
  std::mt19937 random(16);
  while (vocabulary.merges.size() < kMerges) {  // short and early ones join most often, as in a trained vocabulary
    const auto pick = [&]() -> const std::string& {
      const size_t among = std::min<size_t>(vocabulary.tokens.size(), random() % 4 == 0 ? SIZE_MAX : 3000);
      return vocabulary.tokens[random() % among];
    };
    const std::string left = pick(), right = pick();
    if (left.size() + right.size() > 20 || !known.insert(left + right).second) continue;
    vocabulary.tokens.push_back(left + right);
    vocabulary.merges.push_back(left + " " + right);
  }
  while (vocabulary.tokens.size() < kOrdinary)
    vocabulary.tokens.push_back("of no merge " + std::to_string(vocabulary.tokens.size()));
  vocabulary.types.assign(kOrdinary, 1);
  vocabulary.tokens.push_back("<|endoftext|>");
  vocabulary.tokens.push_back("<|im_end|>");
  vocabulary.types.resize(vocabulary.tokens.size(), 3);
  while (vocabulary.tokens.size() < kTokens)
    vocabulary.tokens.push_back("[PAD" + std::to_string(vocabulary.tokens.size()) + "]");
  vocabulary.types.resize(kTokens, 5);

  const Bytes gguf = vocabulary.Write();
  const Bound small(gguf, 0);
  CHECK(small.error.ok());
  CHECK(small.planned == 7932800);  // bytes

  constexpr size_t kText = 200000;
  Bound bound(gguf, kText);
  CHECK(bound.planned - small.planned <= 29 * kText);
  Arena arena(bound.memory->bytes);
  const auto milliseconds = [](auto work) {  // of processor time
    const std::clock_t start = std::clock();
    work();
    return 1e3 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  const double bind = milliseconds([&] { CHECK(Tokenizer::Bind(bound.file, kText, arena)); });
  MESSAGE("index of 248320 tokens: " << small.planned << " bytes, " << bind << " ms");
  const Bytes pack = Packed(gguf);
  const Bound indexed(pack, 0);
  CHECK(indexed.planned == 64);
  Arena nothing;
  const double prove = milliseconds([&] { CHECK(Tokenizer::Bind(indexed.file, 0, nothing)); });
  MESSAGE("in a pack: " << pack.size() - gguf.size() << " bytes, " << prove << " ms");

  std::string mixed;
  for (size_t i = 0; mixed.size() + 40 < kText; ++i)
    mixed += vocabulary.tokens[256 + random() % 3000] + (i % 7 == 0 ? "\n" : " ");
  const std::pair<std::string, std::string> texts[] = {{"words", mixed},
                                                       {"one letter", std::string(kText, 'a')},
                                                       {"spaces", std::string(kText, ' ')},
                                                       {"bytes", std::string(kText, '\xff')}};
  for (const auto& [name, text] : texts) {
    std::vector<Token> tokens;
    const double encode = milliseconds([&, &text_ = text] { tokens = bound.Encode(text_); });
    MESSAGE(name << ": " << 1e-3 * static_cast<double>(text.size()) / encode << " MB/s, " << tokens.size()
                 << " tokens");
    CHECK(bound.Decode(tokens) == text);
    CHECK(encode < 10000);  // quadratic time would be far beyond, also under a sanitizer or an emulator
  }
}

}  // namespace thimble
