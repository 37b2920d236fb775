// SPDX-License-Identifier: Apache-2.0
//
// XNNPACK's qd8_f32_qb4w micro-kernels beside our products of 4-bit packs: one thread, the same weights and
// activations, each in its own layout and with its own activations ready. Before anything counts both have to give the
// same results.
//
//   xnnpack                                                  every pair that this processor can run, in turn
//   xnnpack --run ours|theirs --tokens N --reps N [--rows N] the best pair, one side, so many times, to count
//   instructions
//
// The first prints Markdown: one token with the weights from memory and with a piece of them in the cache, and many
// tokens; medians of alternating runs, with the smallest and largest. The second is what `instructions --xnnpack`
// calls.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "arm/kernel_tables.h"
#include "quant/half.h"
#include "quant/qb4.h"
#include "tests/xnnpack_gemm.h"

namespace thimble {
extern "C" {
#if defined(__aarch64__)
XnnGemm xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c8__neoni8mm, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_4x16c8__neoni8mm,
    xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c4__neondot, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_4x16c4__neondot,
    xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16__neon_mlal_lane,
    xnn_qd8_f32_qb4w_gemm_minmax_ukernel_6x16__neon_mlal_lane;
#else
XnnGemm xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c8__avx512vnnigfni_prfm,
    xnn_qd8_f32_qb4w_gemm_minmax_ukernel_14x16c8__avx512vnnigfni_prfm,
    xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c8__avx512vnni_prfm,
    xnn_qd8_f32_qb4w_gemm_minmax_ukernel_8x16c8__avx512vnni_prfm, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x8c8__avx2,
    xnn_qd8_f32_qb4w_gemm_minmax_ukernel_3x8c8__avx2;
#endif
}

namespace {

constexpr size_t kCols = 1024, kBlock = Qb4::kBlock, kBlocks = kCols / kBlock;
constexpr size_t kLargeRows = 3584;     // a matrix of the 0.8B's feed-forward network
constexpr size_t kSmallRows = 256;      // 144 KiB: stays in a second-level cache
constexpr size_t kMemory = 256u << 20;  // bytes of weights that one turn reads, more than caches keep
constexpr size_t kPiece = 128;          // rows that XNNPACK multiplies with all tokens before it goes on
constexpr size_t kPairs = 15;
constexpr size_t kMany[] = {32, 168};  // tokens; the second is a multiple of what each kernel takes at a time
constexpr double kTurn = 0.02;         // seconds that a turn of the cached cases takes at least

// A pair: a kernel of XNNPACK for one token and one for `at_a_time`, and our table for the same instructions.
struct Pair {
  const char* name;
  const char* ours;
  bool Cpu::* needs;
  XnnGemm* one;
  XnnGemm* many;
  size_t at_a_time, rows, depth;  // of a tile: rows, and values of a row that lie together
};

// Best first.
constexpr Pair kTable[] = {
#if defined(__aarch64__)
    {"neoni8mm", "neoni8mm", &Cpu::i8mm, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c8__neoni8mm,
     xnn_qd8_f32_qb4w_gemm_minmax_ukernel_4x16c8__neoni8mm, 4, 16, 8},
    {"neondot", "neondot", &Cpu::dotprod, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c4__neondot,
     xnn_qd8_f32_qb4w_gemm_minmax_ukernel_4x16c4__neondot, 4, 16, 4},
    {"neon_mlal_lane", "neon", &Cpu::neon, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16__neon_mlal_lane,
     xnn_qd8_f32_qb4w_gemm_minmax_ukernel_6x16__neon_mlal_lane, 6, 16, 1},
#else
    {"avx512vnnigfni", "avx512vnni", &Cpu::gfni, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c8__avx512vnnigfni_prfm,
     xnn_qd8_f32_qb4w_gemm_minmax_ukernel_14x16c8__avx512vnnigfni_prfm, 14, 16, 8},
    {"avx512vnni", "avx512vnni", &Cpu::avx512vnni, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x16c8__avx512vnni_prfm,
     xnn_qd8_f32_qb4w_gemm_minmax_ukernel_8x16c8__avx512vnni_prfm, 8, 16, 8},
    {"avx2", "avx2", &Cpu::avx2, xnn_qd8_f32_qb4w_gemm_minmax_ukernel_1x8c8__avx2,
     xnn_qd8_f32_qb4w_gemm_minmax_ukernel_3x8c8__avx2, 3, 8, 8},
#endif
};

const Kernels* FindTable(const Pair& pair, const Cpu& cpu) {
  for (const KernelTable& table : KernelTables()) {
    if (cpu.*table.needs && std::strcmp(table.kernels->name, pair.ours) == 0) return table.kernels;
  }
  return nullptr;
}

bool CanRun(const Pair& pair, const Cpu& cpu) { return cpu.*pair.needs && FindTable(pair, cpu) != nullptr; }

// Bytes that a vector can be loaded from, and beyond whose end it may read.
template <class T>
class Padded {
 public:
  explicit Padded(size_t count) : values_(count + 2 * kPad) {}
  T* data() {
    void* begin = values_.data();
    size_t room = values_.size() * sizeof(T);
    return static_cast<T*>(std::align(64, 1, begin, room));
  }

 private:
  static constexpr size_t kPad = 128;
  std::vector<T> values_;
};

// Weights as a packer has them.
struct Source {
  explicit Source(size_t rows_) : rows(rows_), codes(rows * kCols), scales(rows * kBlocks) {
    std::mt19937 random(1);
    for (int8_t& code : codes) code = static_cast<int8_t>(static_cast<int>(random() % 16) - 8);
    for (uint16_t& scale : scales) scale = BF16FromF32(static_cast<float>(static_cast<int>(random() % 129) - 64) / 64);
  }
  size_t rows;
  std::vector<int8_t> codes;     // [rows][kCols]
  std::vector<uint16_t> scales;  // [rows][kBlocks]
};

std::vector<std::byte> PackOurs(const Source& source) {
  std::vector<std::byte> tiles(static_cast<size_t>(MatrixBytes(kFormatQB4, source.rows, kBlocks)));
  const Matrix w{&kFormatQB4, tiles.data(), source.rows, kCols};
  for (size_t begin = 0; begin < source.rows; begin += Qb4::kRows) {
    std::vector<PackedRow> rows;
    for (size_t r = begin; r < begin + Qb4::kRows; ++r) {
      rows.push_back({&source.codes[r * kCols], &source.scales[r * kBlocks]});
    }
    kFormatQB4.encode_tile(rows.data(), Qb4::kRows, kBlocks, &tiles[begin / Qb4::kRows * w.tile_bytes()]);
  }
  return tiles;
}

template <class T>
void Append(std::vector<std::byte>& out, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// XNNPACK's layout of tiles of `pair.rows`: minus the sum of each row, then for every block the codes, two halves of
// 2 * depth values in a nibble each, and the scales divided by 16; then the bias.
std::vector<std::byte> PackTheirs(const Source& source, const Pair& pair) {
  std::vector<std::byte> out;
  for (size_t begin = 0; begin < source.rows; begin += pair.rows) {
    for (size_t r = begin; r < begin + pair.rows; ++r) {
      float sum = 0.0f;
      for (size_t k = 0; k < kCols; ++k) {
        sum -= F32FromBF16(source.scales[r * kBlocks + k / kBlock]) * static_cast<float>(source.codes[r * kCols + k]);
      }
      Append(out, sum);
    }
    for (size_t b = 0; b < kBlocks; ++b) {
      for (size_t k = b * kBlock; k < (b + 1) * kBlock; k += 2 * pair.depth) {
        for (size_t r = begin; r < begin + pair.rows; ++r) {
          const int8_t* codes = &source.codes[r * kCols + k];
          for (size_t i = 0; i < pair.depth; ++i) {
            Append(out, static_cast<uint8_t>((codes[i] & 15) | (codes[i + pair.depth] & 15) << 4));
          }
        }
      }
      for (size_t r = begin; r < begin + pair.rows; ++r) {
        Append(out, BF16FromF32(F32FromBF16(source.scales[r * kBlocks + b]) / 16.0f));
      }
    }
    for (size_t r = 0; r < pair.rows; ++r) Append(out, 0.0f);
  }
  return out;
}

// The same tokens for both: all blocks of ours have the scale that a row of XNNPACK's has.
struct Tokens {
  explicit Tokens(size_t count_)
      : count(count_),
        codes(count * kCols),
        scales(count * kBlocks, kScale),
        sums(count * kBlocks),
        rows(count + 16, XnnRow{0, kScale}) {
    std::mt19937 random(2);
    for (size_t i = 0; i < count * kCols; ++i) {
      codes.data()[i] = static_cast<int8_t>(static_cast<int>(random() % 255) - 127);
      sums[i / kBlock] += codes.data()[i];
    }
  }
  Activations activations() { return {count, kCols, nullptr, codes.data(), scales.data(), sums.data()}; }

  static constexpr float kScale = 0.03125f;
  size_t count;
  Padded<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  std::vector<XnnRow> rows;
};

// Copies of one matrix, so many that they hold at least `bytes` bytes.
struct Copies {
  Copies(const std::vector<std::byte>& matrix, size_t bytes)
      : size((matrix.size() + 63) / 64 * 64), count(std::max<size_t>(1, bytes / size)), memory(size * count) {
    for (size_t i = 0; i < count; ++i) std::memcpy(memory.data() + i * size, matrix.data(), matrix.size());
  }
  const std::byte* operator[](size_t i) { return memory.data() + i * size; }
  size_t size, count;
  Padded<std::byte> memory;
};

// A matrix and tokens, and both ways to multiply them.
class Product {
 public:
  Product(const Pair& pair, const Kernels& ours, size_t rows, size_t tokens, size_t bytes)
      : pair_(pair),
        ours_(ours),
        rows_(rows),
        tokens_(tokens),
        our_w_(PackOurs(Source(rows)), bytes),
        their_w_(PackTheirs(Source(rows), pair), bytes),
        our_y_(rows * tokens),
        their_y_(rows * tokens),
        scratch_(MatmulScratch(kCols)) {}

  size_t copies() const { return our_w_.count; }
  double bytes() const { return static_cast<double>(our_w_.size * our_w_.count); }
  double products() const { return static_cast<double>(rows_ * kCols * tokens_.count * copies()); }

  void RunOurs() {
    for (size_t i = 0; i < copies(); ++i) {
      const Matrix w{&kFormatQB4, our_w_[i], rows_, kCols};
      ours_.matmul(w, 0, rows_, tokens_.activations(), our_y_.data(), rows_, scratch_.data());
    }
  }

  void RunTheirs() {
    const size_t tile = pair_.rows * (kCols / 2 + 2 * kBlocks + 2 * sizeof(float));
    for (size_t i = 0; i < copies(); ++i) {
      for (size_t r = 0; r < rows_; r += kPiece) Multiply(r, their_w_[i] + r / pair_.rows * tile);
    }
  }

  bool Agree() {
    RunOurs();
    RunTheirs();
    float largest = 0.0f, difference = 0.0f;
    for (size_t i = 0; i < our_y_.size(); ++i) {
      largest = std::max(largest, std::fabs(our_y_[i]));
      difference = std::max(difference, std::fabs(our_y_[i] - their_y_[i]));
    }
    return largest > 0.0f && difference <= 1e-5f * largest;
  }

 private:
  void Multiply(size_t r, const std::byte* w) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    constexpr XnnParams kParams = {-kInfinity, kInfinity, kBlock};
    const size_t step = tokens_.count == 1 ? 1 : pair_.at_a_time;
    for (size_t t = 0; t < tokens_.count; t += step) {
      (step == 1 ? pair_.one : pair_.many)(std::min(step, tokens_.count - t), std::min(kPiece, rows_ - r), kCols,
                                           tokens_.codes.data() + t * kCols, kCols, w, &their_y_[t * rows_ + r],
                                           rows_ * sizeof(float), pair_.rows * sizeof(float), &kParams,
                                           &tokens_.rows[t]);
    }
  }

  const Pair& pair_;
  const Kernels& ours_;
  size_t rows_;
  Tokens tokens_;
  Copies our_w_, their_w_;
  std::vector<float> our_y_, their_y_;  // [tokens][rows]
  Padded<std::byte> scratch_;
};

double Seconds(Product& product, void (Product::*run)(), size_t times) {
  const auto begin = std::chrono::steady_clock::now();
  for (size_t i = 0; i < times; ++i) (product.*run)();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / static_cast<double>(times);
}

void PrintSpread(std::vector<double> values, int digits) {
  std::sort(values.begin(), values.end());
  std::printf(" %.*f (%.*f–%.*f) |", digits, values[values.size() / 2], digits, values.front(), digits, values.back());
}

// A line of the table: `amount` a second of both, and the ratio of neighbours in time.
void Measure(const Pair& pair, Product& product, const char* what, double amount) {
  if (!product.Agree()) {
    std::fprintf(stderr, "xnnpack: %s, %s: other results than ours\n", pair.name, what);
    std::exit(1);
  }
  const double once = Seconds(product, &Product::RunTheirs, 1);
  const auto times = static_cast<size_t>(std::max(1.0, kTurn / once));
  std::vector<double> theirs, ours, ratios;
  for (size_t i = 0; i < kPairs; ++i) {
    theirs.push_back(amount / Seconds(product, &Product::RunTheirs, times) / 1e9);
    ours.push_back(amount / Seconds(product, &Product::RunOurs, times) / 1e9);
    ratios.push_back(ours.back() / theirs.back());
  }
  std::printf("| %s / %s | %s |", pair.name, pair.ours, what);
  PrintSpread(theirs, 1);
  PrintSpread(ours, 1);
  PrintSpread(ratios, 2);
  std::printf("\n");
  std::fflush(stdout);
}

int CompareAll(const Cpu& cpu) {
  std::printf("| XNNPACK / ours | | XNNPACK | ours | ratio |\n|---|---|--:|--:|--:|\n");
  for (const Pair& pair : kTable) {
    if (!CanRun(pair, cpu)) continue;
    const Kernels& ours = *FindTable(pair, cpu);
    Product memory(pair, ours, kLargeRows, 1, kMemory);
    Measure(pair, memory, "1 token, from memory, GB/s", memory.bytes());
    Product cached(pair, ours, kSmallRows, 1, 0);
    Measure(pair, cached, "1 token, from the cache, MAC/ns", cached.products());
    for (const size_t tokens : kMany) {
      Product many(pair, ours, kLargeRows, tokens, 0);
      Measure(pair, many, (std::to_string(tokens) + " tokens, MAC/ns").c_str(), many.products());
    }
  }
  return 0;
}

int RunOne(const Cpu& cpu, const std::string& side, size_t rows, size_t tokens, size_t times) {
  for (const Pair& pair : kTable) {
    if (!CanRun(pair, cpu)) continue;
    Product product(pair, *FindTable(pair, cpu), rows, tokens, 0);
    if (!product.Agree()) return 1;
    for (size_t i = 0; i < times; ++i) side == "ours" ? product.RunOurs() : product.RunTheirs();
    std::printf("%s %.0f\n", side == "ours" ? pair.ours : pair.name, product.products());
    return 0;
  }
  return 1;
}

int Main(const std::vector<std::string>& arguments) {
  std::string side;
  size_t rows = kSmallRows, tokens = 1, times = 1;
  bool wrong = arguments.size() % 2 != 0;
  for (size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const std::string &name = arguments[i], &value = arguments[i + 1];
    const size_t number = std::strtoul(value.c_str(), nullptr, 10);
    if (name == "--run")
      side = value;
    else if (name == "--rows")
      rows = number;
    else if (name == "--tokens")
      tokens = number;
    else if (name == "--reps")
      times = number;
    else
      wrong = true;
  }
  if (wrong || (side.empty() ? !arguments.empty() : side != "ours" && side != "theirs") || tokens == 0 || rows == 0 ||
      rows % kPiece != 0) {
    std::fprintf(stderr, "usage: xnnpack [--run ours|theirs --tokens N --reps N [--rows N, in steps of %zu]]\n",
                 kPiece);
    return 2;
  }
  const Cpu cpu = DescribeCpu();
  return side.empty() ? CompareAll(cpu) : RunOne(cpu, side, rows, tokens, times);
}

}  // namespace
}  // namespace thimble

int main(int argc, char** argv) { return thimble::Main({argv + 1, argv + argc}); }
