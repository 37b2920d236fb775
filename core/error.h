// SPDX-License-Identifier: Apache-2.0
//
// How a function of this project says no: a small value, no exception, no allocation, no formatting (io/error_text.h
// turns it into a line of text).
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

namespace thimble {

enum class Status : uint8_t {
  kOk,
  kBadFile,      // bytes that break their format
  kUnsupported,  // well-formed, but not what this runtime reads
  kNotFound,     // a file, key, tensor or token that must be there is not
  kTooLarge,     // a size that cannot be planned
  kTooSmall,     // memory; `at` is the number of bytes needed
  kFull,         // the context; `at` is the number of tokens it holds
  kBadArgument,  // the caller's request makes no sense
  kSystem,       // the operating system refused; `at` is errno
};

/// What went wrong, where, and a number. `name` and `detail` are views of static text or of the mapped file: valid as
/// long as that is.
struct Error {
  // Not inline: where something is refused, only what says so is worth its bytes.
  Error();
  Error(Status status, const char* what);
  Error(Status status, const char* what, uint64_t at);
  Error(Status status, const char* what, std::string_view name);
  Error(Status status, const char* what, std::string_view name, std::string_view detail, uint64_t at = 0);

  Status status = Status::kOk;
  const char* what = "";         // one sentence without a full stop: what is wrong and what to do
  std::string_view name = {};    // which key, tensor, file or token; may be empty
  std::string_view detail = {};  // the offending value as text (a type, an architecture); may be empty
  uint64_t at = 0;               // byte offset, index, count or errno

  bool ok() const { return status == Status::kOk; }
};

/// A T or an Error. `if (!x) return x.error();`
template <class T>
class Result {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Result(const T& value) : value_(value) {}      // NOLINT(google-explicit-constructor)
  Result(const Error& error) : error_(error) {}  // NOLINT(google-explicit-constructor)

  explicit operator bool() const { return error_.ok(); }
  const Error& error() const { return error_; }
  const T& operator*() const { return value_; }
  T& operator*() { return value_; }
  const T* operator->() const { return &value_; }
  T* operator->() { return &value_; }

 private:
  T value_{};
  Error error_{};
};

}  // namespace thimble
