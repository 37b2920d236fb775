// SPDX-License-Identifier: Apache-2.0
//
// io/mapped_file: files as they lie on disk, one and several, and what cannot be mapped.
#include "io/mapped_file.h"

#include <doctest/doctest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "tests/gguf_writer.h"

namespace thimble::test {
namespace {

/// A directory that ends with its scope.
class Directory {
 public:
  Directory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "thimble-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(path_); }

  std::string Put(const std::string& name, const Bytes& bytes) const {
    const std::string path = (path_ / name).string();
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path;
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

const Bytes kThree = {std::byte{1}, std::byte{2}, std::byte{3}};

TEST_CASE("mapped file: the bytes of the file, until the owner ends") {
  const Directory directory;
  const std::string path = directory.Put("a", kThree);
  MappedFile file;
  CHECK(file.bytes().empty());
  REQUIRE(file.Open(path.c_str()).ok());
  CHECK(Bytes(file.bytes().begin(), file.bytes().end()) == kThree);
  CHECK(reinterpret_cast<uintptr_t>(file.bytes().data()) % 4096 == 0);

  MappedFile moved(std::move(file));
  CHECK(moved.bytes().size() == 3);
  MappedFile assigned;
  assigned = std::move(moved);
  CHECK(assigned.bytes()[2] == std::byte{3});
  const std::string longer = directory.Put("b", Bytes(5000));
  REQUIRE(assigned.Open(longer.c_str()).ok());
  CHECK(assigned.bytes().size() == 5000);
  CHECK_FALSE(assigned.Open("/nowhere").ok());
  CHECK(assigned.bytes().empty());
}

TEST_CASE("mapped file: what cannot be mapped is named") {
  const Directory directory;
  const auto refused = [](const std::string& path) {
    MappedFile file;
    return Told(file.Open(path.c_str()));
  };
  CHECK(refused(directory.path() + "/none").status == Status::kNotFound);
  CHECK(refused(directory.path() + "/none").text == "no such file: " + directory.path() + "/none");
  CHECK(refused(directory.path()).status == Status::kBadArgument);
  CHECK(refused("/dev/null").status == Status::kBadArgument);
  CHECK(refused(directory.Put("empty", {})).status == Status::kBadFile);
  const Told in_file = refused(directory.Put("a", kThree) + "/b");
  CHECK(in_file.status == Status::kSystem);
  CHECK(in_file.text.ends_with("a part of the path is not a directory"));
}

TEST_CASE("mapped model: one file, or all parts of a split one") {
  const Directory directory;
  GgufWriter writer;
  writer.AddF32("a", {1}, {1});
  writer.AddF32("b", {1}, {2});
  writer.AddF32("c", {1}, {3});
  const std::vector<Bytes> parts = writer.WriteSplit(3);
  const std::string first = directory.Put("m-00001-of-00003.gguf", parts[0]);
  const std::string second = directory.Put("m-00002-of-00003.gguf", parts[1]);
  const auto refused = [](const std::string& path) {
    MappedModel model;
    const Told told(model.Open(path.c_str()));
    CHECK(model.parts().empty());
    return told;
  };
  const Told missing = refused(first);
  CHECK(missing.status == Status::kNotFound);
  CHECK(missing.name == first);
  CHECK(missing.at == 3);
  directory.Put("m-00003-of-00003.gguf", parts[2]);
  MappedModel model;
  REQUIRE(model.Open(first.c_str()).ok());
  REQUIRE(model.parts().size() == 3);
  const Result<Gguf> file = Gguf::Open(model.parts());
  REQUIRE(file);
  float value = 0;
  std::memcpy(&value, file->FindTensor("c")->data, sizeof value);
  CHECK(value == 3);

  CHECK(refused(second).status == Status::kBadArgument);
  CHECK(refused(second).text.find("00001") != std::string::npos);
  CHECK(refused(directory.Put("m-00001-of-00065.gguf", kThree)).status == Status::kUnsupported);
  for (const char* name :
       {"whole.gguf", "m-00000-of-00003.gguf", "m-0001-of-00003.gguf", "m-00001-of-0000x.gguf", "x"}) {
    const std::string path = directory.Put(name, kThree);
    CHECK(model.Open(path.c_str()).ok());
    CHECK(model.parts().size() == 1);
  }
}

}  // namespace
}  // namespace thimble::test
