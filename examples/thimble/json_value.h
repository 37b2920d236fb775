// SPDX-License-Identifier: Apache-2.0
//
// JSON that is to be printed again as Python does it: chat templates are rendered by Python where models are trained,
// so a tool must read the same here. It knows nothing of conversations.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace thimble::program {

struct JsonValue {
  enum class Kind { kNull, kBool, kNumber, kString, kList, kObject };

  Kind kind = Kind::kNull;
  std::string text = "null";      // kString: what it says; kNull, kBool, kNumber: as it is printed
  std::vector<JsonValue> items;   // kList, kObject
  std::vector<std::string> keys;  // kObject: of each item, none twice; the last value that a key was given counts

  bool is(Kind wanted) const { return kind == wanted; }
  /// The item under `key`; null when there is none, also when this is not an object.
  const JsonValue* Find(std::string_view key) const;

  /// As json.dumps(json.loads(...), ensure_ascii=False) prints it: ", " and ": " between, keys in their order, integers
  /// of any length digit for digit, other numbers as the shortest text of the same double (1.0, 1e-05, 1e+16).
  std::string Dump() const;
};

/// Reads untrusted JSON of any kind. False, with what is wrong and where, for what is not JSON, is not UTF-8, has a
/// number beyond double, or is nested deeper than kMaxJsonDepth.
constexpr size_t kMaxJsonDepth = 64;
bool ParseJson(std::string_view json, JsonValue* value, std::string* problem);

}  // namespace thimble::program
