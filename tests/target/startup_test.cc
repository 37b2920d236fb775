// SPDX-License-Identifier: Apache-2.0
//
// What a program may rely on when main begins: its variables, its stack, floating point without surprises, and core's
// own functions with the bits that they have on every machine.
#include <bit>
#include <cstdint>
#include <cstring>

#include "core/kernels.h"
#include "core/math.h"
#include "quant/half.h"
#include "tests/target/check.h"

namespace thimble {
namespace {

uint32_t written = 0x12345678;
uint64_t zero[32];
alignas(64) char aligned[64];
volatile float one = 1.0f;

// As the Q4_0 blocks of a GGUF lie, on every second byte.
uint32_t WordAt(const unsigned char* bytes, size_t at) {
  uint32_t word;
  std::memcpy(&word, bytes + at, sizeof(word));
  return word;
}

void CheckMemory(Checks& checks) {
  CHECK(written == 0x12345678);
  written = 1;
  for (const uint64_t word : zero) CHECK(word == 0);
  CHECK(reinterpret_cast<uintptr_t>(aligned) % 64 == 0);
  uint64_t local = 0;
  CHECK(reinterpret_cast<uintptr_t>(&local) % alignof(uint64_t) == 0);
  static constexpr unsigned char kBytes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  for (size_t at = 0; at < 6; ++at) {
    CHECK(WordAt(kBytes, at) == 0x03020100u + static_cast<uint32_t>(at) * 0x01010101u);
  }
  size_t bytes = 0;
  CHECK(reinterpret_cast<uintptr_t>(board_memory(&bytes)) % 64 == 0);
  CHECK(bytes >= 64 * 1024);
  CHECK(board_stack_used() > 0);
  CHECK(board_stack_used() < board_stack_bytes());
}

// Results that have one right answer in IEEE arithmetic.
void CheckFloats(Checks& checks) {
  CHECK(std::bit_cast<uint32_t>(one / 3.0f) == 0x3eaaaaab);
  CHECK(std::bit_cast<uint32_t>(one * 0x1p-140f) == 0x00000200);  // a subnormal is not flushed
  CHECK(one * 0x1p-126f * 0x1p-1f != 0.0f);                       // nor made zero on the way
  CHECK(std::bit_cast<uint32_t>(__builtin_sqrtf(one + one)) == 0x3fb504f3);
  const float nan = one * 0.0f / 0.0f;
  CHECK(nan != nan);
  // (1 + 2^-12)^2 - 1 by rounding twice; a fused multiply-add would keep the last bit.
  const float square = (one + 0x1p-12f) * (one + 0x1p-12f) - 1.0f;
  CHECK(square == 0x1p-11f);
}

// Against the reals, rounded: e, 1/e, e^10, ln 2 and the half of pi as the hosts' own tests find them.
void CheckMath(Checks& checks) {
  CHECK(std::bit_cast<uint32_t>(Exp(one)) == 0x402df854);
  CHECK(std::bit_cast<uint32_t>(Exp(-one)) == 0x3ebc5ab2);
  CHECK(Exp(-100.0f * one) == 0.0f);
  CHECK(std::bit_cast<uint32_t>(Log(one + one)) == 0x3f317218);
  CHECK(Sigmoid(one * 0.0f) == 0.5f);
  float cosine;
  float sine;
  CosSin(uint64_t{1} << 61, &cosine, &sine);  // an eighth of a turn
  CHECK(std::bit_cast<uint32_t>(cosine) == 0x3f3504f3);
  CHECK(std::bit_cast<uint32_t>(sine) == 0x3f3504f3);
  const float x[4] = {3.0f * one, 4.0f, 0.0f, 0.0f};
  const float weight[4] = {1.0f, 1.0f, 1.0f, 1.0f};
  float y[4];
  kPortableKernels.rms_norm(x, weight, 4, 0.0f, y);  // 3 / 2.5, 4 / 2.5
  CHECK(std::bit_cast<uint32_t>(y[0]) == 0x3f99999a);
  CHECK(std::bit_cast<uint32_t>(y[1]) == 0x3fcccccd);
}

// Loops of known length; the longer one is past the 24 bits of the STM32F405's timer.
void CheckTicks(Checks& checks) {
  const auto run = [](uint32_t turns) {
    const uint64_t start = board_ticks();
    __asm__ volatile("1: subs %0, #1\n bne 1b" : "+l"(turns)::"cc");
    return board_ticks() - start;
  };
  const uint64_t few = run(100000);
  const uint64_t many = run(60100000);
  CHECK(few >= 200000 && few < 201000);
  CHECK(many - few > 119999000 && many - few < 120001000);
}

int Run() {
  Checks checks;
  CheckMemory(checks);
  CheckFloats(checks);
  CheckMath(checks);
  CheckTicks(checks);
  return checks.Failed();
}

}  // namespace
}  // namespace thimble

int main() { return thimble::Run(); }
