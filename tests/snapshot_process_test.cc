// SPDX-License-Identifier: Apache-2.0
//
// Two processes: one keeps conversations in files, with all that they go on to say; the other, which never fed their
// prompts, must say the same. CTest runs this program once for each.
#include <doctest/doctest.h>

#include <fstream>
#include <string>
#include <vector>

#include "io/mapped_file.h"
#include "io/snapshot_file.h"
#include "tests/conversation.h"

namespace thimble {
namespace {

std::string PathOf(const Kind& kind, const char* what) { return std::string("snapshot-") + kind.name + what; }

TEST_CASE("save") {
  for (const Kind& kind : Kinds()) {
    Conversation kept(kind.limits);
    kept.Begin(123);
    RequireOk(SaveSnapshot(kept.whole(), PathOf(kind, ".conversation").c_str()));
    const std::vector<float> logits = kept.GoOn();
    std::ofstream out(PathOf(kind, ".logits"), std::ios::binary);
    out.write(reinterpret_cast<const char*>(logits.data()),
              static_cast<std::streamsize>(logits.size() * sizeof(float)));
    REQUIRE(out.flush().good());
  }
}

TEST_CASE("restore") {
  for (const Kind& kind : Kinds()) {
    CAPTURE(kind.name);
    Conversation restored(kind.limits);
    RequireOk(RestoreSnapshot(PathOf(kind, ".conversation").c_str(), restored.whole()));
    MappedFile expected;
    RequireOk(expected.Open(PathOf(kind, ".logits").c_str()));
    CHECK(SameBits(restored.GoOn(),
                   {reinterpret_cast<const float*>(expected.bytes().data()), expected.bytes().size() / sizeof(float)}));
  }
}

}  // namespace
}  // namespace thimble
