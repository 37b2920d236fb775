// SPDX-License-Identifier: Apache-2.0
//
// io/imatrix: both formats of llama-imatrix (tests/golden/quantise.py made them), what they do to a pack, and files
// that lie.
#include "io/imatrix.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "tests/make_pack.h"

namespace thimble::test {
namespace {

TEST_CASE("both formats of llama-imatrix say the same") {
  const Bytes new_bytes = ReadData("quantise/imatrix.gguf"), old_bytes = ReadData("quantise/imatrix.dat");
  const Source model(ReadData("model/tied.gguf"));
  const auto fresh = std::make_unique<Imatrix>(), old = std::make_unique<Imatrix>();
  RequireOk(fresh->Open(new_bytes));
  RequireOk(old->Open(old_bytes));
  CHECK(fresh->size() == old->size());
  CHECK(fresh->size() > 20);
  for (size_t i = 0; i < fresh->size(); ++i) {
    const ImatrixEntry& entry = (*fresh)[i];
    const ImatrixEntry* other = old->Find(entry.name);
    REQUIRE(other != nullptr);
    REQUIRE(other->cols == entry.cols);
    CHECK(model.file.FindTensor(entry.name)->ne[0] == entry.cols);
    double ratio = 0;  // the older one holds means times calls
    for (uint64_t c = 0; c < entry.cols; ++c) {
      float a, b;
      std::memcpy(&a, entry.sums + c * sizeof a, sizeof a);
      std::memcpy(&b, other->sums + c * sizeof b, sizeof b);
      if (ratio == 0) ratio = static_cast<double>(a) / static_cast<double>(b);
      CHECK(static_cast<double>(a) == doctest::Approx(static_cast<double>(b) * ratio).epsilon(1e-4));
    }
  }
  const Bytes plain = MakePack(model.Order());
  PackOrder order = model.Order();
  order.imatrix = fresh.get();
  order.imatrix_bytes = new_bytes;
  const Bytes weighted = MakePack(order);
  CHECK(MakePack(order, 2) == weighted);
  CHECK(StampOf(weighted)->imatrix_hash.size() == 32);
  const Result<Gguf> a = OpenBytes(plain), b = OpenBytes(weighted);
  for (const GgufTensor& tensor : b->tensors()) {
    const bool named = fresh->Find(tensor.name) != nullptr && FindFormat(tensor.type)->packed();
    CHECK((Values(tensor) != Values(*a->FindTensor(tensor.name))) == named);
    if (!named) continue;
    // The weighted error is what got smaller.
    std::vector<float> weight(static_cast<size_t>(tensor.ne[0]));
    std::memcpy(weight.data(), fresh->Find(tensor.name)->sums, weight.size() * sizeof(float));
    const std::vector<float> x = Values(*model.file.FindTensor(tensor.name)),
                             before = Values(*a->FindTensor(tensor.name)), after = Values(tensor);
    double e_before = 0, e_after = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double w = static_cast<double>(weight[i % weight.size()]);
      e_before += w * (static_cast<double>(x[i]) - static_cast<double>(before[i])) *
                  (static_cast<double>(x[i]) - static_cast<double>(before[i]));
      e_after += w * (static_cast<double>(x[i]) - static_cast<double>(after[i])) *
                 (static_cast<double>(x[i]) - static_cast<double>(after[i]));
    }
    CHECK(e_after < e_before);
  }
}

TEST_CASE("importance matrices that lie") {
  const auto imatrix = std::make_unique<Imatrix>();
  for (const char* name : {"quantise/imatrix.gguf", "quantise/imatrix.dat"}) {
    const Bytes whole = ReadData(name);
    size_t fine = 0;
    for (size_t size = 0; size < whole.size(); size += 1 + size / 500) {
      const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
      fine += imatrix->Open(cut).ok() ? 1 : 0;
    }
    // Behind the last entry stand padding and, in the older format, things that nothing reads.
    CHECK(fine <= (std::string_view(name).ends_with("dat") ? 20 : 2));
    Bytes changed = whole;
    for (size_t i = 0; i < whole.size(); ++i) {
      for (const unsigned bits : {0x01u, 0x80u, 0xffu}) {
        changed[i] = whole[i] ^ static_cast<std::byte>(bits);
        if (!imatrix->Open(changed).ok()) CHECK(imatrix->size() == 0);
        for (size_t n = 0; n < imatrix->size(); ++n) CHECK((*imatrix)[n].cols > 0);
      }
      changed[i] = whole[i];
    }
  }
  const auto entry = [](float value, uint64_t cols) {
    GgufWriter writer;
    writer.Set("general.type", "imatrix");
    writer.AddF32("blk.0.ffn_up.weight.in_sum2", {cols, 1}, std::vector<float>(cols, value));
    writer.AddF32("blk.0.ffn_up.weight.counts", {1, 1}, {1.0f});
    return writer;
  };
  RequireOk(imatrix->Open(entry(1, 64).Write()));
  for (const float bad : {-1.0f, INFINITY, NAN}) CHECK_FALSE(imatrix->Open(entry(bad, 64).Write()).ok());
  GgufWriter experts = entry(1, 64);
  experts.tensors[0].ne = {32, 2};
  CHECK(imatrix->Open(experts.Write()).status == Status::kUnsupported);
  CHECK(imatrix->Open(MakeTinyQwen35()).status == Status::kBadFile);

  const Source model((MakeTinyQwen35()));
  const Bytes bytes = entry(1, 96).Write();
  RequireOk(imatrix->Open(bytes));
  PackOrder order = model.Order();
  order.imatrix = imatrix.get();
  Bytes pack;
  const Told told(Make(order, 1, pack).error());
  CHECK(told.status == Status::kBadArgument);
  CHECK(told.name == "blk.0.ffn_up.weight");
}

}  // namespace
}  // namespace thimble::test
