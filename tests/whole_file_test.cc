// SPDX-License-Identifier: Apache-2.0
//
// io/whole_file: a file appears whole or not at all.
#include "io/whole_file.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/gguf_writer.h"
#include "tests/load_model.h"

namespace thimble::test {
namespace {

TEST_CASE("a file appears whole or not at all") {
  std::string directory = (std::filesystem::temp_directory_path() / "thimble-XXXXXX").string();
  REQUIRE(mkdtemp(directory.data()) != nullptr);
  const std::string path = directory + "/a.thimble", part = path + ".part";
  const Bytes bytes(100000, std::byte{7}), front(10, std::byte{9});
  const auto files = [&] {
    const auto all = std::filesystem::directory_iterator(directory);
    return std::distance(begin(all), end(all));
  };
  const auto make = [&](bool commit) {
    WholeFile file;
    RequireOk(file.Create(path.c_str(), bytes.size()));
    CHECK(std::filesystem::file_size(part) >= 0);
    RequireOk(file.WriteAt(bytes, 0));
    RequireOk(file.WriteAt(front, 0));
    if (commit) RequireOk(file.Commit());
  };
  make(false);
  CHECK(files() == 0);
  std::ofstream(part) << "what an earlier attempt left";
  std::ofstream(path) << "old";
  make(false);
  CHECK(std::filesystem::file_size(path) == 3);
  std::ofstream(part) << std::string(200000, 'x');
  make(true);
  CHECK(files() == 1);
  CHECK(std::filesystem::file_size(path) == bytes.size());
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  CHECK(text == std::string(10, '\x9') + std::string(bytes.size() - 10, '\x7'));

  WholeFile file;
  CHECK(file.Create("", 1).status == Status::kBadArgument);
  CHECK(file.Create(directory.c_str(), 1).status == Status::kBadArgument);
  CHECK(file.Create("/dev/null", 1).status == Status::kBadArgument);
  CHECK(file.Create(std::string(5000, 'x').c_str(), 1).status == Status::kBadArgument);
  CHECK(file.Create((directory + "/none/a").c_str(), 1).at == 2);
  CHECK(file.Create((directory + "/b").c_str(), uint64_t{1} << 60).status == Status::kSystem);
  std::filesystem::create_symlink("elsewhere", directory + "/c.part");
  CHECK(file.Create((directory + "/c").c_str(), 1).status == Status::kSystem);

  // Another process has it in hand.
  int ready[2], done[2];
  REQUIRE(pipe(ready) == 0);
  REQUIRE(pipe(done) == 0);
  const pid_t child = fork();
  if (child == 0) {
    char c = 0;
    {
      WholeFile other;
      c = other.Create(path.c_str(), 10).ok() ? 'y' : 'n';
      if (write(ready[1], &c, 1) != 1 || read(done[0], &c, 1) != 1) c = 'n';
    }
    _exit(0);
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  WholeFile second;
  CHECK(second.Create(path.c_str(), 10).status == Status::kBadArgument);
  REQUIRE(write(done[1], "x", 1) == 1);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  WholeFile third;
  CHECK(third.Create(path.c_str(), 10).ok());
  for (const int end : {ready[0], ready[1], done[0], done[1]}) close(end);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace thimble::test
