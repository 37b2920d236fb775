// SPDX-License-Identifier: Apache-2.0
//
// Saving to a file when things go wrong: a process that is killed leaves the old snapshot or the new one, never a torn
// one; a disk without room leaves the old one, and a session that goes on.
#include <doctest/doctest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "io/snapshot_file.h"
#include "tests/conversation.h"

namespace thimble {
namespace {

std::filesystem::path TemporaryDirectory() {
  const auto path = std::filesystem::temp_directory_path() / ("thimble-kill." + std::to_string(getpid()));
  std::filesystem::create_directories(path);
  return path;
}

TEST_CASE("kill -9 at 200 random moments leaves a whole snapshot") {
  const std::filesystem::path directory = TemporaryDirectory();
  const std::string path = directory / "snapshot";
  const Limits limits{.context = 1500, .batch = 64, .k = Type::kF32, .v = Type::kF32};
  Conversation first(limits), second(limits), reader(limits);
  first.Begin(1200);
  second.Begin(1300, 2);
  const Conversed one = first.whole(), two = second.whole(), into = reader.whole();
  const std::vector<std::byte> whole[] = {first.Snapshot(), second.Snapshot()};
  const auto begin = std::chrono::steady_clock::now();
  RequireOk(SaveSnapshot(one, path.c_str()));
  RequireOk(SaveSnapshot(two, path.c_str()));
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - begin);
  std::mt19937 random(1);
  size_t interrupted = 0, found[2] = {};
  for (int round = 0; round < 200; ++round) {
    const pid_t child = fork();
    if (child == 0) {
      for (;;) {
        if (!SaveSnapshot(one, path.c_str()).ok() || !SaveSnapshot(two, path.c_str()).ok()) _exit(1);
      }
    }
    REQUIRE(child > 0);
    usleep(static_cast<useconds_t>(random() % static_cast<uint64_t>(2 * took.count())));
    REQUIRE(kill(child, SIGKILL) == 0);
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    interrupted += std::filesystem::exists(path + ".part") ? 1 : 0;
    RequireOk(RestoreSnapshot(path.c_str(), into));
    const size_t which = reader.session().chain() == first.session().chain() ? 0 : 1;
    ++found[which];
    REQUIRE(reader.Snapshot() == whole[which]);
  }
  MESSAGE(interrupted, " interrupted; the first found ", found[0], " times, the second ", found[1]);
  CHECK(interrupted > 20);
  CHECK(found[0] > 10);
  CHECK(found[1] > 10);
  RequireOk(SaveSnapshot(one, path.c_str()));  // what was left lying there is no obstacle
  CHECK(std::distance(std::filesystem::directory_iterator(directory), {}) == 1);
  std::filesystem::remove_all(directory);
}

/// A short snapshot lies at `path`. Whether saving this longer one fails with `number`, and all is as it was.
bool LeavesTheOld(Conversation& kept, const std::string& path, uint64_t number) {
  const Error error = SaveSnapshot(kept.whole(), path.c_str());
  if (error.status != Status::kSystem || error.at != number || error.name != path) return false;
  if (std::filesystem::exists(path + ".part")) return false;
  Conversation reader(Kinds()[0].limits);
  return RestoreSnapshot(path.c_str(), reader.whole()).ok() && reader.session().length() == 4;
}

TEST_CASE("a file that may not grow leaves the old snapshot, and the session goes on") {
  const std::filesystem::path directory = TemporaryDirectory();
  const std::string path = directory / "snapshot";
  Conversation kept(Kinds()[0].limits);
  kept.Begin(4, 3);
  RequireOk(SaveSnapshot(kept.whole(), path.c_str()));
  kept.Begin(200);
  const std::vector<float> expected = kept.GoOn();
  kept.Begin(200);

  struct rlimit old = {};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const struct rlimit small = {static_cast<rlim_t>(std::filesystem::file_size(path)), old.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const bool left = LeavesTheOld(kept, path, EFBIG);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &old) == 0);
  signal(SIGXFSZ, handler);
  CHECK(left);
  CHECK(SameBits(kept.GoOn(), expected));
  RequireOk(SaveSnapshot(kept.whole(), path.c_str()));
  std::filesystem::remove_all(directory);
}

/// A file system of `bytes` in a name space of its own, in a process of its own: 77 where this is not allowed.
int OnSmallDisk(const std::filesystem::path& directory) {
  if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return 77;
  if (mount("none", directory.c_str(), "tmpfs", 0, "size=128k") != 0) return 77;
  Conversation kept(Kinds()[0].limits);
  kept.Begin(4, 3);
  const std::string path = directory / "snapshot";
  if (!SaveSnapshot(kept.whole(), path.c_str()).ok()) return 1;
  kept.Begin(200);
  const std::vector<float> expected = kept.GoOn();
  kept.Begin(200);
  if (!LeavesTheOld(kept, path, ENOSPC)) return 2;
  return SameBits(kept.GoOn(), expected) ? 0 : 3;
}

TEST_CASE("a full disk leaves the old snapshot, and the session goes on") {
  const std::filesystem::path directory = TemporaryDirectory();
  const pid_t child = fork();
  if (child == 0) _exit(OnSmallDisk(directory));
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) {
    MESSAGE("no file system may be mounted here: left out");
  } else {
    CHECK(WEXITSTATUS(status) == 0);
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace thimble
