// SPDX-License-Identifier: Apache-2.0
//
// A session of the firmware's intent model in two flash sectors, simulated in the board's RAM: the power fails at
// moments spread over the whole of a save, and what the next start finds is what was last kept or what was being kept.
#include <cstdint>
#include <span>

#include "core/session.h"
#include "io/snapshot_flash.h"
#include "tests/simulated_flash.h"
#include "tests/target/check.h"
#include "tests/target/memory.h"

namespace thimble {
namespace {

constexpr uint64_t kModel = 5;
constexpr size_t kUnit = 32;
constexpr size_t kBlocks = 4;
constexpr size_t kTurns = 40;
constexpr Limits kLimits{.context = 24, .batch = 1, .k = Type::kQ8_0, .v = Type::kQ8_0, .state = StateForm::kI16};

// FNV-1a.
uint64_t Hash(uint64_t hash, std::span<const std::byte> bytes) {
  for (const std::byte b : bytes) hash = (hash ^ static_cast<uint8_t>(b)) * 0x100000001b3;
  return hash;
}

uint64_t HashOf(const Session& session) {
  uint64_t hash = 0xcbf29ce484222325;
  session.ForEachPiece([&](std::span<const std::byte> piece) { hash = Hash(hash, piece); });
  return hash;
}

// Some tokens more, in a context that is begun again when it is full.
bool GoOn(Session& session, size_t turn, size_t n) {
  if (session.room() < n) session.Reset();
  for (size_t i = 0; i < n; ++i) {
    const Token token = static_cast<Token>((turn * 977 + i * 131) % session.config().vocab_size);
    if (!session.Feed({&token, 1}).ok()) return false;
  }
  return true;
}

void CheckCuts(Session& session, SimulatedFlash& flash, Checks& checks) {
  CHECK(SaveToFlash(flash.flash(), kModel, session).ok());
  const size_t operations = flash.operations();
  uint64_t good = HashOf(session);
  for (size_t turn = 0; turn < kTurns; ++turn) {
    CHECK(GoOn(session, turn, 1));
    const uint64_t wanted = HashOf(session);
    flash.CutAfter(turn * operations * 5 / 4 / kTurns, turn % 2 == 0, static_cast<uint32_t>(turn));
    const bool saved = SaveToFlash(flash.flash(), kModel, session).ok();
    flash.PowerOn();
    session.Reset();
    CHECK(RestoreFromFlash(flash.flash(), kModel, session).ok());
    const uint64_t restored = HashOf(session);
    CHECK(restored == wanted || (restored == good && !saved));
    good = restored;
  }
  CHECK(flash.mistakes() == 0);
}

void CheckGoingOn(Session& session, SimulatedFlash& flash, Checks& checks) {
  session.Reset();
  CHECK(GoOn(session, 7, 5));
  const size_t stack = board_stack_paint();
  const uint64_t start = board_ticks();
  CHECK(SaveToFlash(flash.flash(), kModel, session).ok());
  const uint64_t saved = board_ticks();
  const size_t deepest = board_stack_used() - stack;
  CHECK(GoOn(session, 8, 3));
  const uint64_t logits = Hash(0, std::as_bytes(session.Logits()));
  const uint64_t went_on = board_ticks();
  CHECK(RestoreFromFlash(flash.flash(), kModel, session).ok());
  const uint64_t restored = board_ticks();
  CHECK(session.length() == 5);
  CHECK(GoOn(session, 8, 3));
  CHECK(Hash(0, std::as_bytes(session.Logits())) == logits);
  Print(session.image_bytes());
  Print(" bytes; instructions: save ");
  Print(saved - start);
  Print(", restore ");
  Print(restored - went_on);
  Print("; stack of save: ");
  Print(deepest);
  Print("\n");
}

int Run() {
  Checks checks;
  const std::span<std::byte> memory = FreeMemory();
  Arena arena(memory);
  const Result<Model> model = LoadBoardModel(arena);
  CHECK(model);
  if (checks.Failed()) return checks.Failed();
  const Result<SessionPlan> plan = Session::Plan(model->config, kLimits, {});
  CHECK(plan);
  const size_t image = FlashBytes(sizeof(SnapshotHeader) + plan->state + plan->cache, kUnit);
  const size_t sector = (image + kBlocks * kUnit - 1) / (kBlocks * kUnit) * (kBlocks * kUnit);
  if (arena.used() + Arena::kAlign + plan->total() + 2 * sector > memory.size()) {
    Print("no room\n");
    return kSkipped;
  }
  Session session;
  CHECK(session.Bind(*model, kLimits, {}, arena).ok());
  SimulatedFlash flash(memory.subspan(arena.used(), 2 * sector), kUnit, kBlocks);
  CheckCuts(session, flash, checks);
  CheckGoingOn(session, flash, checks);
  return checks.Failed();
}

}  // namespace
}  // namespace thimble

int main() { return thimble::Run(); }
