// SPDX-License-Identifier: Apache-2.0
//
// What a program may rely on when main begins.
#include <cstdint>

#include "tests/target/check.h"

namespace thimble {
namespace {

uint32_t written = 0x12345678;
uint64_t zero[32];
volatile float half = 0.5f;

int Run() {
  Checks checks;
  CHECK(written == 0x12345678);
  for (const uint64_t word : zero) CHECK(word == 0);
  CHECK(half * half == 0.25f);
  return checks.Failed();
}

}  // namespace
}  // namespace thimble

int main() { return thimble::Run(); }
