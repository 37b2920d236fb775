// SPDX-License-Identifier: Apache-2.0
//
// Snapshots that lie: cut off, changed in any bit, or made to look right with a checksum of their own. They are
// refused, or taken as the conversation they pretend to be; the session that refuses one stays what it was.
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "io/error_text.h"
#include "io/hash.h"
#include "tests/conversation.h"

namespace thimble {
namespace {

constexpr size_t kSum = 16;

/// A conversation, its snapshot, and what another one goes on with that must survive all attempts.
struct Attempts {
  Limits limits = Kinds()[0].limits;
  Conversation kept{limits}, other{limits};
  std::vector<std::byte> bytes, before;
  Conversed into = other.whole();  // the fingerprint of the model is taken once

  Attempts() {
    kept.Begin(5);
    other.Begin(9, 4);
    bytes = kept.Snapshot();
    before = other.Snapshot();
  }

  /// The error is one that can be told.
  Error Try(std::span<const std::byte> snapshot) {
    const Error error = ReadSnapshot(snapshot, into);
    char text[400];
    CHECK(ErrorText(error, text).empty() == error.ok());
    return error;
  }

  void CheckUntouched() {
    CHECK(other.Snapshot() == before);
    const std::vector<float> went_on = other.GoOn();
    RequireOk(ReadSnapshot(before, into));
    CHECK(SameBits(other.GoOn(), went_on));
    RequireOk(ReadSnapshot(before, into));
  }
};

TEST_CASE("every truncation is refused" * doctest::test_suite("hostile")) {
  Attempts a;
  for (size_t n = 0; n < a.bytes.size(); ++n) {
    const std::vector<std::byte> cut(a.bytes.begin(), a.bytes.begin() + static_cast<ptrdiff_t>(n));
    if (a.Try(cut).status != Status::kBadFile) FAIL_CHECK("taken when cut at " << n);
  }
  a.bytes.resize(a.bytes.size() + 1);
  CHECK(a.Try(a.bytes).status == Status::kBadFile);
  a.CheckUntouched();
}

TEST_CASE("every changed bit of the headers and of the checksum is refused, and samples of the rest" *
          doctest::test_suite("hostile")) {
  Attempts a;
  const size_t front = sizeof(SnapshotFront) + sizeof(SnapshotHeader);
  for (size_t i = 0; i < a.bytes.size(); i += i < front || i + kSum >= a.bytes.size() ? 1 : 101) {
    for (int bit = 0; bit < 8; ++bit) {
      a.bytes[i] ^= std::byte{1} << bit;
      const Status status = a.Try(a.bytes).status;
      if (status != Status::kBadFile && status != Status::kUnsupported) FAIL_CHECK("bit " << bit << " of byte " << i);
      a.bytes[i] ^= std::byte{1} << bit;
    }
  }
  a.CheckUntouched();
  CHECK(a.Try(a.bytes).ok());
}

// Words of a snapshot and of what it holds are replaced and the checksum is made anew, so that only what is proven
// behind it stands in the way.
TEST_CASE("any number in a snapshot with a right checksum is refused or harmless" * doctest::test_suite("hostile")) {
  Attempts a;
  const auto seal = [](std::vector<std::byte>& bytes) {
    Hash hash;
    hash.Add(std::span(bytes).first(bytes.size() - kSum));
    const auto sum = hash.digest();
    std::memcpy(bytes.data() + bytes.size() - kSum, sum.data(), kSum);
  };
  size_t taken = 0, refused = 0;
  const auto replace = [&](size_t at, auto value) {
    std::vector<std::byte> lie = a.bytes;
    std::memcpy(lie.data() + at, &value, sizeof value);
    seal(lie);
    if (a.Try(lie).ok()) {
      ++taken;
      a.other.GoOn();
      RequireOk(ReadSnapshot(a.before, a.into));
    } else {
      ++refused;
      CHECK(a.other.session().chain() == a.other.session().Describe().chain);
    }
  };
  const size_t sampler = a.bytes.size() - kSum - 128;  // 64 bytes, and a window of 16 tokens
  std::vector<std::pair<size_t, size_t>> ranges = {{0, sizeof(SnapshotFront) + sizeof(SnapshotHeader) + 64},
                                                   {sampler, sampler + 128}};
  for (const auto& [begin, end] : ranges) {
    for (size_t at = begin; at < end; at += 4) {
      uint32_t old;
      std::memcpy(&old, a.bytes.data() + at, sizeof old);
      for (const uint32_t value : {0u, 1u, old + 1, old - 1, old + 64, 0x7fffffffu, 0x80000000u, 0xffffffffu}) {
        replace(at, value);
      }
      if (at % 8 == 0) replace(at, UINT64_MAX), replace(at, UINT64_MAX / 2 + 1), replace(at, UINT64_MAX - 63);
    }
  }
  CHECK(taken > 0);  // random numbers, a position, tokens of the window
  CHECK(refused > 300);
  a.CheckUntouched();

  // What the sampler looks up must be tokens.
  std::vector<std::byte> lie = a.bytes;
  for (const Token token :
       {static_cast<Token>(a.other.vocab()), INT32_MIN, INT32_MAX, ~static_cast<Token>(a.other.vocab())}) {
    std::memcpy(lie.data() + sampler + 64, &token, sizeof token);
    seal(lie);
    CHECK(a.Try(lie).status == Status::kBadFile);
  }
}

}  // namespace
}  // namespace thimble
