// SPDX-License-Identifier: Apache-2.0
//
// Snapshots: what comes back goes on as what was kept would have, bit for bit; what does not fit is refused, with the
// reason, and leaves everything as it was. Bytes that lie are snapshot_hostile_test.cc's, processes that die
// snapshot_kill_test.cc's.
#include "io/snapshot.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/rope.h"
#include "io/error_text.h"
#include "io/snapshot_file.h"
#include "tests/conversation.h"

namespace thimble {
namespace {

std::string TemporaryPath(const char* name) {
  return std::filesystem::temp_directory_path() / (std::string(name) + "." + std::to_string(getpid()));
}

std::string Text(const Error& error) {
  char text[400];
  return std::string(ErrorText(error, text));
}

TEST_CASE("restored is uninterrupted: memory, file and fork, every cache, odd lengths, while drawing") {
  const std::string path = TemporaryPath("thimble-snapshot");
  for (const Kind& kind : Kinds()) {
    for (const size_t prompt : {size_t{1}, size_t{7}, size_t{39}, size_t{41}, size_t{150}}) {
      CAPTURE(kind.name);
      CAPTURE(prompt);
      Conversation kept(kind.limits);
      kept.Begin(prompt);
      const std::vector<std::byte> bytes = kept.Snapshot();
      RequireOk(SaveSnapshot(kept.whole(), path.c_str()));
      CHECK(std::filesystem::file_size(path) == bytes.size());

      Limits roomier = kind.limits;
      roomier.context += 57;
      Conversation forked(roomier);
      RequireOk(forked.session().Fork(kept.session()));
      RequireOk(forked.sampler().Restore(kept.sampler().image()));
      const std::vector<float> expected = kept.GoOn();
      CHECK(SameBits(forked.GoOn(), expected));

      Conversation fresh(kind.limits), used(roomier);
      used.Begin(33, 5);
      used.GoOn();
      for (Conversation* other : {&fresh, &used, &kept}) {
        for (const bool from_file : {false, true}) {
          RequireOk(from_file ? RestoreSnapshot(path.c_str(), other->whole()) : ReadSnapshot(bytes, other->whole()));
          CHECK(other->session().length() == prompt + prompt % 4);
          CHECK(other->Snapshot() == bytes);
          CHECK(SameBits(other->GoOn(), expected));
        }
      }
    }
  }
  std::filesystem::remove(path);
}

TEST_CASE("a session's image is its pieces in order, and costs what is in use") {
  Conversation kept(Kinds()[0].limits);
  kept.Begin(13);
  Session& session = kept.session();
  const SnapshotHeader header = session.Describe();
  CHECK(header.length == 14);
  CHECK(session.image_bytes() == sizeof header + header.state_bytes + 14 * header.token_bytes);
  std::vector<std::byte> image(session.image_bytes());
  session.Save(image);
  size_t at = sizeof header;
  CHECK(std::memcmp(image.data(), &header, at) == 0);
  session.ForEachPiece([&](std::span<const std::byte> piece) {
    CHECK(std::memcmp(image.data() + at, piece.data(), piece.size()) == 0);
    at += piece.size();
  });
  CHECK(at == image.size());

  session.Reset();
  CHECK(session.image_bytes() == sizeof header + header.state_bytes);
  std::vector<std::byte> empty(session.image_bytes());
  session.Save(empty);
  RequireOk(session.Restore(image));
  CHECK(session.length() == 14);
  RequireOk(session.Restore(empty));
  CHECK(session.length() == 0);
}

TEST_CASE("the logits of the last token come back without feeding anything") {
  Conversation kept(Kinds()[0].limits), other(Kinds()[0].limits);
  kept.Begin(20);
  const std::vector<float> expected(kept.session().Logits().begin(), kept.session().Logits().end());
  other.Begin(3, 2);
  other.session().Logits();  // known for other tokens
  RequireOk(other.session().Fork(kept.session()));
  CHECK(SameBits(other.session().Logits(), expected));
}

TEST_CASE("a fork and its origin go their own ways") {
  Conversation a(Kinds()[0].limits), b(Kinds()[0].limits);
  a.Begin(20);
  const std::vector<std::byte> before = a.Snapshot();
  RequireOk(b.session().Fork(a.session()));
  b.GoOn();
  CHECK(a.Snapshot() == before);
  RequireOk(a.session().Fork(a.session()));
  CHECK(a.Snapshot() == before);
}

TEST_CASE("the chain names the tokens: their number, order and positions, however they were fed") {
  Conversation c(Kinds()[0].limits);
  Session& session = c.session();
  CHECK(session.chain() == 0);
  std::vector<Token> tokens = c.Tokens(50, 3);
  const auto chain_of = [](std::span<const Token> of) {
    uint64_t chain = 0;
    for (const Token token : of) chain = Session::NextChain(chain, token);
    return chain;
  };
  RequireOk(session.Feed(tokens));
  CHECK(session.chain() == chain_of(tokens));
  session.Reset();
  CHECK(session.chain() == 0);
  for (const Token token : tokens) RequireOk(session.Feed({&token, 1}));
  CHECK(session.chain() == chain_of(tokens));

  const uint64_t whole = chain_of(tokens);
  CHECK(chain_of(std::span(tokens).first(49)) != whole);
  std::swap(tokens[4], tokens[5]);
  CHECK(chain_of(tokens) != whole);
  const Token zeros[] = {0, 0, 0};
  CHECK(chain_of({zeros, 2}) != chain_of({zeros, 3}));

  const Position in_order[] = {{0, 0, 0}, {1, 1, 1}, {2, 2, 2}}, elsewhere[] = {{0, 0, 0}, {0, 0, 1}, {0, 1, 0}};
  session.Reset();
  RequireOk(session.Feed(zeros, {}, in_order));
  CHECK(session.chain() == chain_of(zeros));
  session.Reset();
  RequireOk(session.Feed(zeros, {}, elsewhere));
  CHECK(session.chain() != chain_of(zeros));
}

TEST_CASE("what does not fit is refused with the reason, and nothing changes") {
  const Limits limits = Kinds()[0].limits;
  Conversation kept(limits);
  kept.Begin(41);
  const std::vector<std::byte> bytes = kept.Snapshot();
  const auto refuse = [&](Conversation& other, Status status, const char* text) {
    other.Begin(9, 4);
    const std::vector<std::byte> before = other.Snapshot();
    const Error error = ReadSnapshot(bytes, other.whole());
    CHECK(error.status == status);
    CHECK(Text(error) == text);
    CHECK(other.Snapshot() == before);
    const std::vector<float> went_on = other.GoOn();
    RequireOk(ReadSnapshot(before, other.whole()));
    CHECK(SameBits(other.GoOn(), went_on));
  };
  Limits changed = limits;
  changed.k = Type::kF32;
  Conversation other_cache(changed);
  refuse(other_cache, Status::kBadArgument,
         "the snapshot was made with other limits or of another model; use the same: type of the cache's keys = 1");
  CHECK(other_cache.session().Fork(kept.session()).status == Status::kBadArgument);

  changed = limits;
  changed.context = 41 + 41 % 4 - 1;
  Conversation small(changed);
  const std::vector<std::byte> before = small.Snapshot();
  CHECK(Text(ReadSnapshot(bytes, small.whole())) ==
        "the snapshot has more tokens than the context, which holds this many: 41");
  CHECK(small.session().Fork(kept.session()).status == Status::kFull);
  CHECK(small.Snapshot() == before);

  Conversation other_model(limits, "tied");
  refuse(other_model, Status::kBadArgument, "the snapshot is of another model");
  CHECK(other_model.session().Fork(kept.session()).status == Status::kBadArgument);
  CHECK(other_model.session().Fits(kept.session().Describe()).status == Status::kBadArgument);
  Conversation twin(limits, "f16"), other_twin(limits, "bf16");  // of the same sizes
  CHECK(twin.session().Fits(other_twin.session().Describe()).ok());
  CHECK(Text(ReadSnapshot(twin.Snapshot(), other_twin.whole())) == "the snapshot is of another model");

  SamplerOptions options = Conversation::kOptions;
  options.penalty_window = 17;
  Conversation other_sampler(limits, "irregular", options);
  refuse(other_sampler, Status::kBadArgument,
         "the snapshot's sampler looked back another number of tokens; use the same penalties: penalty_window = 16");
}

TEST_CASE("keys that were turned otherwise are refused") {
  const LoadedModel& loaded = DataModel("irregular");
  RopeConfig rope = loaded.config().rope;
  rope.scaling_factor = 4;
  rope.original_context_length = 4096;
  const LoadedModel stretched(THIMBLE_SOURCE_DIR "/tests/data/model/irregular.gguf", &rope);
  HeapSession session(loaded.model(), {}), other(stretched.model(), {});
  const Error error = other->Fits(session->Describe());
  CHECK(error.status == Status::kBadArgument);
  CHECK(error.name == "rotary frequencies");
}

TEST_CASE("without a sampler, here or there, only the session comes back; its options may be others") {
  const Limits limits = Kinds()[0].limits;
  Conversation kept(limits);
  kept.Begin(41);
  const auto same = [](Sampler& a, Sampler& b) { return std::ranges::equal(a.image(), b.image()); };
  Conversed without = kept.whole();
  without.sampler = nullptr;
  std::vector<std::byte> bytes(SnapshotBytes(without));
  RequireOk(WriteSnapshot(without, bytes));
  CHECK(bytes.size() < kept.Snapshot().size());

  Conversation other(limits), untouched(limits);
  other.Begin(9, 4);
  untouched.Begin(9, 4);
  RequireOk(ReadSnapshot(bytes, other.whole()));
  CHECK(other.session().chain() == kept.session().chain());
  CHECK(same(other.sampler(), untouched.sampler()));
  Conversed into = untouched.whole();
  into.sampler = nullptr;
  RequireOk(ReadSnapshot(kept.Snapshot(), into));
  CHECK(untouched.session().chain() == kept.session().chain());
  CHECK(same(other.sampler(), untouched.sampler()));

  SamplerOptions cooler = Conversation::kOptions;
  cooler.temperature = 0.3f;
  cooler.seed = 1;
  Conversation cool(limits, "irregular", cooler);
  RequireOk(ReadSnapshot(kept.Snapshot(), cool.whole()));
  CHECK(same(cool.sampler(), kept.sampler()));
}

TEST_CASE("a snapshot tells what it is of, and needs all of its room") {
  Conversation kept(Kinds()[0].limits);
  kept.Begin(41);
  std::vector<std::byte> bytes = kept.Snapshot();
  const Result<SnapshotInfo> info = ExamineSnapshot(bytes);
  RequireOk(info.error());
  CHECK(info->model == kept.whole().model);
  CHECK(info->bytes == bytes.size());
  CHECK(info->sampler_bytes == kept.sampler().image().size());
  CHECK(info->session.length == kept.session().length());
  CHECK(info->session.chain == kept.session().chain());
  const Error error = WriteSnapshot(kept.whole(), std::span(bytes).first(bytes.size() - 1));
  CHECK(error.status == Status::kTooSmall);
  CHECK(error.at == bytes.size());
  CHECK(RestoreSnapshot("/nonexistent/snapshot", kept.whole()).status == Status::kNotFound);
}

TEST_CASE("models are told apart by their headers and by samples of every tensor") {
  const LoadedModel& model = DataModel("f16");
  const uint64_t fingerprint = ModelFingerprint(model.file(), model.parts());
  CHECK(fingerprint != ModelFingerprint(DataModel("bf16").file(), DataModel("bf16").parts()));

  const std::span<const std::byte> part = model.parts()[0];
  std::vector<std::byte> copy(part.begin(), part.end());
  const std::span<const std::byte> bytes(copy);
  const auto fingerprint_of_copy = [&] {
    const Result<Gguf> file = Gguf::Open({&bytes, 1});
    RequireOk(file.error());
    return ModelFingerprint(*file, {&bytes, 1});
  };
  CHECK(fingerprint_of_copy() == fingerprint);
  for (const GgufTensor& tensor : model.file().tensors()) {
    const auto at = static_cast<size_t>(tensor.data - part.data());
    const auto n = static_cast<size_t>(tensor.bytes);
    for (const size_t i : {at, at + n / 2, at + n - 1}) {
      copy[i] ^= std::byte{1};
      CHECK(fingerprint_of_copy() != fingerprint);
      copy[i] ^= std::byte{1};
    }
  }
  const size_t text = std::string_view(reinterpret_cast<const char*>(copy.data()), copy.size()).find("gpt2");
  REQUIRE(text < copy.size());
  copy[text] ^= std::byte{1};
  CHECK(fingerprint_of_copy() != fingerprint);
}

}  // namespace
}  // namespace thimble
