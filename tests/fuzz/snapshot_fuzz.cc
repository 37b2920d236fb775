// SPDX-License-Identifier: Apache-2.0
//
// A libFuzzer target: a snapshot of a tiny model in which any words are replaced, cut anywhere, with a checksum that is
// right: it is refused, or the session and the sampler that took it can go on. Build with clang++
// -fsanitize=fuzzer,address,undefined.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "io/hash.h"
#include "io/load_qwen35.h"
#include "io/snapshot.h"
#include "tests/tiny_model.h"

namespace {

using namespace thimble;

void Need(const Error& error) {
  if (!error.ok()) std::abort();
}

// Runs `layout` twice: to count, and to take.
template <class F>
std::byte* Laid(F layout) {
  Arena measure;
  layout(measure);
  const size_t bytes = (measure.used() + Arena::kAlign - 1) / Arena::kAlign * Arena::kAlign;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(Arena::kAlign, bytes));
  Arena arena({memory, bytes});
  layout(arena);
  return memory;
}

struct Talk {
  const test::Bytes file_bytes = test::MakeTinyQwen35({.layers = 2, .interval = 2});
  Model model;
  Session session;
  Sampler sampler;
  Conversed whole{1, &session, &sampler};
  std::vector<std::byte> snapshot;

  Talk() {
    const std::span<const std::byte> part(file_bytes);
    const Result<Gguf> file = Gguf::Open({&part, 1});
    Need(file.error());
    Laid([&](Arena& arena) {
      const Result<Model> loaded = LoadQwen35(*file, arena);
      Need(loaded.error());
      if (!arena.measuring()) model = *loaded;
    });
    Laid([&](Arena& arena) {
      Need(session.Bind(model, {.context = 24, .batch = 4}, {}, arena));
      Need(sampler.Bind({.presence_penalty = 1.0f, .penalty_window = 4}, model.config.vocab_size, arena));
    });
    const Token prompt[] = {1, 2, 3};
    Need(session.Feed(prompt));
    sampler.AcceptPrompt(prompt);
    snapshot.resize(SnapshotBytes(whole));
    Need(WriteSnapshot(whole, snapshot));
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr size_t kSum = 16, kFront = 208, kBack = 256;  // what is worth changing: the headers, the sampler
  static Talk& talk = *new Talk;
  std::vector<std::byte> lie = talk.snapshot;
  uint32_t cut = 0;
  if (size >= 3) std::memcpy(&cut, data, 3);
  if (cut < lie.size() && (cut & 1) != 0) lie.resize(std::max<size_t>(cut, kFront + kBack));
  for (size_t i = 3; i + 6 <= size; i += 6) {
    uint16_t at;
    std::memcpy(&at, data + i, sizeof at);
    at %= kFront + kBack - 4;
    std::memcpy(lie.data() + (at < kFront ? at : lie.size() - kBack + (at - kFront)), data + i + 2, 4);
  }
  Hash hash;
  hash.Add(std::span(lie).first(lie.size() - kSum));
  const auto sum = hash.digest();
  std::memcpy(lie.data() + lie.size() - kSum, sum.data(), kSum);

  Need(ReadSnapshot(talk.snapshot, talk.whole));
  const Error error = ReadSnapshot(lie, talk.whole);
  if (!error.ok()) {
    std::vector<std::byte> now(SnapshotBytes(talk.whole));
    Need(WriteSnapshot(talk.whole, now));
    if (now != talk.snapshot) std::abort();
    return 0;
  }
  talk.session.Next(talk.sampler);
  return 0;
}
