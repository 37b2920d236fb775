// SPDX-License-Identifier: Apache-2.0
//
// See json_value.h. The text is taken apart by nlohmann's parser, event by event.
#include "json_value.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

namespace thimble::program {
namespace {

using Kind = JsonValue::Kind;

// As Python's repr: shortest digits, plain from 1e-4 up to below 1e16.
std::string FloatText(double number) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, number, std::chars_format::scientific).ptr;
  const std::string shortest(text, end);
  const size_t e = shortest.find('e');
  const int exponent = std::stoi(shortest.substr(e + 1));
  if (exponent < -4 || exponent >= 16) return shortest;
  const auto plain = std::to_chars(text, text + sizeof text, number, std::chars_format::fixed).ptr;
  const std::string result(text, plain);
  return result.find('.') == result.npos ? result + ".0" : result;
}

// Puts together a JsonValue from what the parser meets.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(JsonValue* root) : root_(root) {}
  const std::string& problem() const { return problem_; }

  bool null() override { return Add(Kind::kNull, "null"); }
  bool boolean(bool value) override { return Add(Kind::kBool, value ? "true" : "false"); }
  bool number_integer(int64_t value) override { return Add(Kind::kNumber, std::to_string(value)); }
  bool number_unsigned(uint64_t value) override { return Add(Kind::kNumber, std::to_string(value)); }
  bool number_float(double value, const std::string& written) override {
    const bool is_integer = written.find_first_of(".eE") == written.npos;  // longer than 64 bits
    return Add(Kind::kNumber, is_integer ? written : FloatText(value));
  }
  bool string(std::string& value) override { return Add(Kind::kString, std::move(value)); }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_object(size_t) override { return Open(Kind::kObject); }
  bool start_array(size_t) override { return Open(Kind::kList); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }
  bool key(std::string& value) override {
    JsonValue& object = *open_.back();
    slot_ = static_cast<size_t>(std::find(object.keys.begin(), object.keys.end(), value) - object.keys.begin());
    if (slot_ == object.keys.size()) {
      object.keys.push_back(std::move(value));
      object.items.emplace_back();
    }
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    problem_ = "this is not JSON at byte " + std::to_string(position);
    return false;
  }

 private:
  JsonValue& Place() {
    if (open_.empty()) return *root_;
    JsonValue& parent = *open_.back();
    return parent.is(Kind::kList) ? parent.items.emplace_back() : parent.items[slot_];
  }

  bool Add(Kind kind, std::string text) {
    JsonValue& value = Place();
    value = {};
    value.kind = kind;
    value.text = std::move(text);
    return true;
  }

  bool Open(Kind kind) {
    if (open_.size() == kMaxJsonDepth) {
      problem_ = "this JSON is nested too deeply";
      return false;
    }
    JsonValue& value = Place();
    value = {};
    value.kind = kind;
    open_.push_back(&value);
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  JsonValue* root_;
  std::vector<JsonValue*> open_;  // lists and objects around the next value
  size_t slot_ = 0;               // of the next value in its object
  std::string problem_;
};

void Append(const JsonValue& value, std::string* out) {
  const auto quote = [&](const std::string& text) { *out += nlohmann::json(text).dump(); };
  if (value.is(Kind::kString)) return quote(value.text);
  if (!value.is(Kind::kList) && !value.is(Kind::kObject)) {
    *out += value.text;
    return;
  }
  const bool object = value.is(Kind::kObject);
  *out += object ? "{" : "[";
  for (size_t i = 0; i < value.items.size(); ++i) {
    if (i > 0) *out += ", ";
    if (object) {
      quote(value.keys[i]);
      *out += ": ";
    }
    Append(value.items[i], out);
  }
  *out += object ? "}" : "]";
}

}  // namespace

const JsonValue* JsonValue::Find(std::string_view key) const {
  const auto found = std::find(keys.begin(), keys.end(), key);
  return found == keys.end() ? nullptr : &items[static_cast<size_t>(found - keys.begin())];
}

std::string JsonValue::Dump() const {
  std::string out;
  Append(*this, &out);
  return out;
}

bool ParseJson(std::string_view json, JsonValue* value, std::string* problem) {
  Builder builder(value);
  if (nlohmann::json::sax_parse(json, &builder)) return true;
  *problem = builder.problem();
  return false;
}

}  // namespace thimble::program
