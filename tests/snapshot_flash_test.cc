// SPDX-License-Identifier: Apache-2.0
//
// Sessions in two flash sectors: whenever the power fails, the next start has the old session or the new one, bit for
// bit, and never a third thing; what is broken or foreign is refused with the reason, and the other one taken.
#include "io/snapshot_flash.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/crc32.h"
#include "io/error_text.h"
#include "tests/conversation.h"
#include "tests/simulated_flash.h"

namespace thimble {
namespace {

using Bytes = std::vector<std::byte>;

constexpr uint64_t kModel = 0x1234567890abcdef;
constexpr Limits kLimits{.context = 24, .batch = 8, .k = Type::kQ8_0, .v = Type::kQ8_0, .state = StateForm::kI16};
constexpr size_t kBlocks = 3;

const Model& SmallModel() { return DataModel("f16").model(); }

Bytes ImageOf(const Session& session) {
  Bytes image(session.image_bytes());
  session.Save(image);
  return image;
}

std::string Text(const Error& error) {
  char text[400];
  return std::string(ErrorText(error, text));
}

/// Sessions that differ in their tokens and in their number, and their images.
struct Kept {
  explicit Kept(size_t tokens) : session(SmallModel(), kLimits) {
    RequireOk(session->Feed(Tokens(tokens, SmallModel().config.vocab_size, static_cast<uint32_t>(tokens))));
    image = ImageOf(*session);
  }
  HeapSession session;
  Bytes image;
};

Kept& Nth(size_t i) {
  static std::vector<std::unique_ptr<Kept>> kept;
  if (kept.empty()) {
    for (const size_t tokens : {9u, 14u, 3u, 20u, 14u + 1}) kept.push_back(std::make_unique<Kept>(tokens));
  }
  return *kept[i % kept.size()];
}

/// A flash with room for any of these sessions, and a byte for byte copy of it.
struct Chip {
  explicit Chip(size_t unit) : memory(Bytes(2 * SectorBytes(unit))), flash(memory, unit, kBlocks) {}
  static size_t SectorBytes(size_t unit) {
    const Result<SessionPlan> plan = Session::Plan(SmallModel().config, kLimits, {});
    RequireOk(plan.error());
    const size_t bytes = FlashBytes(sizeof(SnapshotHeader) + plan->state + plan->cache, unit);
    return (bytes + kBlocks * unit - 1) / (kBlocks * unit) * (kBlocks * unit);
  }
  Error Save(size_t i, uint64_t model = kModel) { return SaveToFlash(flash.flash(), model, *Nth(i).session); }

  /// What a start finds: the image of the session, or an empty one if there is none.
  Bytes Restored(FlashReport* report = nullptr) {
    static HeapSession fresh(SmallModel(), kLimits);
    fresh->Reset();
    flash.PowerOn();
    const Error error = RestoreFromFlash(flash.flash(), kModel, *fresh, report);
    if (error.ok()) return ImageOf(*fresh);
    CHECK(error.status == Status::kNotFound);
    CHECK(fresh->length() == 0);
    return {};
  }

  Bytes memory;
  SimulatedFlash flash;
};

FlashSeal SealOf(Chip& chip, size_t sector) {
  FlashSeal seal;
  std::memcpy(&seal, chip.flash.sector(sector).data(), sizeof seal);
  return seal;
}

void PutSeal(Chip& chip, size_t sector, FlashSeal seal) {
  Crc32 check;
  check.Add(std::as_bytes(std::span(&seal, 1)).first(offsetof(FlashSeal, check)));
  seal.check = check.value();
  std::memcpy(chip.flash.sector(sector).data(), &seal, sizeof seal);
}

TEST_CASE("CRC-32 has its published check value, in any pieces") {
  const std::string_view digits = "123456789";
  const std::span<const std::byte> bytes = std::as_bytes(std::span(digits));
  CHECK(Crc32().value() == 0);
  for (size_t i = 0; i <= digits.size(); ++i) {
    Crc32 sum;
    sum.Add(bytes.first(i));
    sum.Add(bytes.subspan(i));
    CHECK(sum.value() == 0xcbf43926);
  }
}

TEST_CASE("what comes back goes on as what was kept") {
  for (const Kind& kind : Kinds()) {
    CAPTURE(kind.name);
    Conversation kept(kind.limits), other(kind.limits);
    kept.Begin(77);
    other.Begin(9, 5);
    Bytes memory(2 * ((FlashBytes(kept.session().image_bytes(), 8) + 7) / 8 * 8));
    SimulatedFlash flash(memory, 8, 1);
    RequireOk(SaveToFlash(flash.flash(), kModel, kept.session()));
    RequireOk(other.sampler().Restore(kept.sampler().image()));
    const std::vector<float> expected = kept.GoOn();
    RequireOk(RestoreFromFlash(flash.flash(), kModel, other.session()));
    CHECK(SameBits(other.GoOn(), expected));
    CHECK(flash.mistakes() == 0);
  }
}

// Every boundary between two operations, and the middle of every operation.
TEST_CASE("a power cut at any moment leaves the old session or the new one") {
  for (const size_t unit : {size_t{8}, size_t{32}, size_t{256}}) {
    for (const size_t saves : {size_t{0}, size_t{1}, size_t{2}, size_t{3}}) {
      if (unit == 8 && saves != 0 && saves != 3) continue;  // it takes long
      CAPTURE(unit);
      CAPTURE(saves);
      Chip chip(unit);
      for (size_t i = 0; i < saves; ++i) RequireOk(chip.Save(i));
      const Bytes before = chip.memory;
      const Bytes& new_one = Nth(saves).image;
      const Bytes old_one = saves > 0 ? Nth(saves - 1).image : Bytes();
      size_t old_ones = 0, new_ones = 0, unsealed = 0;
      for (const bool half_done : {false, true}) {
        bool cut = true;
        for (size_t n = 0; cut; ++n) {
          chip.memory = before;
          chip.flash.CutAfter(n, half_done, static_cast<uint32_t>(n + 1));
          const Error error = chip.Save(saves);
          cut = !error.ok();
          if (cut) {
            REQUIRE(error.status == Status::kSystem);
            REQUIRE(error.at == SimulatedFlash::kNoPower);
          }
          FlashReport report;
          const Bytes restored = chip.Restored(&report);
          const bool is_new = restored == new_one;
          REQUIRE((is_new || restored == old_one));
          REQUIRE((is_new || cut));
          ++(is_new ? new_ones : old_ones);
          if (!half_done && report.sectors[saves % 2].status == Status::kNotFound) ++unsealed;
        }
      }
      CHECK(old_ones >= 2 * (kBlocks + new_one.size() / unit));
      CHECK(new_ones >= 2);
      CHECK(unsealed >= new_one.size() / unit);  // the seal is not begun before the image is whole
      CHECK(chip.flash.mistakes() == 0);
    }
  }
}

TEST_CASE("cut after cut: there is always one good session, and the next save works") {
  for (const size_t unit : {size_t{4}, size_t{16}, size_t{256}}) {
    CAPTURE(unit);
    Chip chip(unit);
    Bytes good;
    uint32_t random = 1;
    size_t cuts = 0, made = 0;
    for (size_t turn = 0; turn < 1500; ++turn) {
      random = random * 1664525u + 1013904223u;
      const size_t most = kBlocks + chip.memory.size() / 2 / unit;
      const bool cut = random >> 30 != 0;
      if (cut) chip.flash.CutAfter((random >> 8) % most, (random >> 28 & 1) != 0, random);
      const Bytes& wanted = Nth(turn).image;
      const bool ok = chip.Save(turn).ok();
      const Bytes restored = chip.Restored();
      REQUIRE((restored == wanted || (restored == good && !ok)));
      ok ? ++made : ++cuts;
      good = restored;
    }
    CHECK(cuts > 500);
    CHECK(made > 300);
    CHECK(chip.flash.mistakes() == 0);
  }
}

TEST_CASE("many saves take turns, also where the sequence begins again") {
  Chip chip(32);
  RequireOk(chip.Save(0));
  RequireOk(chip.Save(1));
  for (const uint32_t start : {uint32_t{2}, uint32_t{0x7ffffffd}, uint32_t{0xfffffffd}}) {
    FlashReport report;
    chip.Restored(&report);
    for (size_t i = 0; i < 2; ++i) {
      FlashSeal seal = SealOf(chip, i);
      seal.sequence = i == report.restored ? start : start - 1;
      PutSeal(chip, i, seal);
    }
    const size_t erased[2] = {chip.flash.erased(0), chip.flash.erased(1)};
    size_t last = report.restored;
    for (size_t turn = 0; turn < 8; ++turn) {
      RequireOk(chip.Save(turn));
      CHECK(chip.Restored(&report) == Nth(turn).image);
      CHECK(report.restored == 1 - last);
      CHECK(report.sectors[0].ok());
      CHECK(report.sectors[1].ok());
      CHECK(SealOf(chip, report.restored).sequence == start + 1 + static_cast<uint32_t>(turn));
      last = report.restored;
    }
    CHECK(chip.flash.erased(0) == erased[0] + 4);
    CHECK(chip.flash.erased(1) == erased[1] + 4);
  }
}

TEST_CASE("a bit that flips anywhere in the newest is found, and the older one is taken") {
  Chip chip(8);
  RequireOk(chip.Save(3));
  RequireOk(chip.Save(0));
  const size_t used = FlashBytes(Nth(0).image.size(), 1);
  REQUIRE(chip.Restored() == Nth(0).image);
  for (size_t i = 0; i < used; ++i) {
    for (size_t bit = i % 8; bit < 8; bit += i < sizeof(FlashSeal) ? 1 : 8) {
      std::byte& at = chip.flash.sector(1)[i];
      at ^= std::byte{1} << bit;
      FlashReport report;
      REQUIRE(chip.Restored(&report) == Nth(3).image);
      REQUIRE(report.restored == 0);
      REQUIRE(report.sectors[1].status == Status::kBadFile);
      at ^= std::byte{1} << bit;
    }
  }
  chip.flash.sector(0)[60] ^= std::byte{4};
  chip.flash.sector(1)[61] ^= std::byte{4};
  FlashReport report;
  CHECK(chip.Restored(&report).empty());
  CHECK(report.restored == FlashReport::kNone);
  CHECK(Text(report.sectors[0]) == "the snapshot was changed since it was written, or is half erased: sector 0");
  RequireOk(chip.Save(2));
  CHECK(chip.Restored() == Nth(2).image);
}

TEST_CASE("the other model, version and limits are refused, each with its reason") {
  Chip chip(16);
  FlashReport report;
  CHECK(chip.Restored(&report).empty());
  CHECK(Text(report.sectors[0]) == "no snapshot was finished here: sector 0");
  CHECK(Text(report.sectors[1]) == "no snapshot was finished here: sector 1");

  RequireOk(chip.Save(0));
  RequireOk(chip.Save(1, kModel + 1));
  CHECK(chip.Restored(&report) == Nth(0).image);
  CHECK(Text(report.sectors[1]) == "the snapshot is of another model: sector 1");
  // What this model can use is spared, older though it is.
  chip.flash.CutAfter(5, true, 1);
  CHECK_FALSE(chip.Save(2).ok());
  CHECK(chip.Restored() == Nth(0).image);
  RequireOk(chip.Save(2));
  CHECK(chip.Restored() == Nth(2).image);
  RequireOk(chip.Save(3));

  const size_t newest = 0;
  FlashSeal seal = SealOf(chip, newest);
  seal.version = 2;
  PutSeal(chip, newest, seal);
  CHECK(chip.Restored(&report) == Nth(2).image);
  CHECK(report.sectors[newest].status == Status::kUnsupported);
  seal.version = 1;
  for (const uint64_t bytes : {uint64_t{0}, uint64_t{87}, uint64_t{chip.memory.size() / 2}, ~uint64_t{0}}) {
    seal.bytes = bytes;
    PutSeal(chip, newest, seal);
    CHECK(chip.Restored(&report) == Nth(2).image);
    CHECK(report.sectors[newest].status == Status::kBadFile);
  }

  const auto refused = [&](const Limits& limits) {
    HeapSession other(SmallModel(), limits);
    CHECK(RestoreFromFlash(chip.flash.flash(), kModel, *other, &report).status == Status::kNotFound);
    CHECK(other->length() == 0);
    return Text(report.sectors[1]);
  };
  Limits limits = kLimits;
  limits.k = Type::kF32;
  CHECK(refused(limits) ==
        "the snapshot was made with other limits or of another model; use the same: type of the cache's keys = 8");
  limits = kLimits;
  limits.context = 2;
  CHECK(refused(limits) == "the snapshot has more tokens than the context, which holds this many: 2");
}

TEST_CASE("too small a sector is told before anything is erased, and so is a flash that cannot be") {
  const Session& session = *Nth(0).session;
  const size_t needed = FlashBytes(session.image_bytes(), 16);
  Bytes memory(2 * needed);
  SimulatedFlash exact(memory, 16, 1);
  RequireOk(SaveToFlash(exact.flash(), kModel, session));
  for (const size_t bytes : {needed - 16, size_t{16}, size_t{0}}) {
    SimulatedFlash small({memory.data(), 2 * bytes}, 16, 1);
    const Error error = SaveToFlash(small.flash(), kModel, session);
    CHECK(error.status == Status::kTooSmall);
    CHECK(error.at == needed);
    CHECK(small.operations() == 0);
    HeapSession other(SmallModel(), kLimits);
    CHECK(RestoreFromFlash(small.flash(), kModel, *other).status == Status::kNotFound);
  }
  for (const size_t unit : {size_t{0}, size_t{257}, size_t{7}}) {
    Flash flash = exact.flash();
    flash.unit = unit;
    HeapSession other(SmallModel(), kLimits);
    CHECK(SaveToFlash(flash, kModel, session).status == Status::kBadArgument);
    CHECK(RestoreFromFlash(flash, kModel, *other).status == Status::kBadArgument);
  }
}

/// A flash whose functions say that all is well.
struct Liar {
  SimulatedFlash* flash;
  size_t good_calls;  // before the first that does nothing
  bool erases = true;
  size_t calls = 0;
};

TEST_CASE("a flash that does not do what it says is found, and the older session stays") {
  Chip chip(32);
  RequireOk(chip.Save(0));
  RequireOk(chip.Save(1));
  const Bytes before = chip.memory;
  const auto save = [&](Liar liar) {
    Flash flash = chip.flash.flash();
    flash.context = &liar;
    flash.erase = [](void* context, size_t sector) {
      const Liar& self = *static_cast<Liar*>(context);
      const Flash own = self.flash->flash();
      return self.erases ? own.erase(own.context, sector) : 0;
    };
    flash.program = [](void* context, size_t sector, size_t offset, const void* bytes) {
      Liar& self = *static_cast<Liar*>(context);
      const Flash own = self.flash->flash();
      return self.calls++ == self.good_calls ? 0 : own.program(own.context, sector, offset, bytes);
    };
    return SaveToFlash(flash, kModel, *Nth(2).session);
  };
  const size_t calls = FlashBytes(Nth(2).image.size(), 32) / 32;
  for (size_t i = 0; i < calls; i += i + 4 < calls ? 3 : 1) {
    chip.memory = before;
    const Error error = save({&chip.flash, i});
    CAPTURE(i);
    REQUIRE(Text(error) == "the flash reads otherwise than it was written; its cells or its driver are bad: sector 0");
    REQUIRE(error.status == Status::kSystem);
    REQUIRE(chip.Restored() == Nth(1).image);
  }
  chip.memory = before;
  CHECK(save({.flash = &chip.flash, .good_calls = calls, .erases = false}).status == Status::kSystem);
  CHECK(chip.Restored() == Nth(1).image);
  RequireOk(save({&chip.flash, calls}));
  CHECK(chip.Restored() == Nth(2).image);
}

}  // namespace
}  // namespace thimble
