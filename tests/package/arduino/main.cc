// SPDX-License-Identifier: Apache-2.0
//
// What a core of Arduino's does with a sketch.
void setup();
void loop();

int main() {
  setup();
  while (true) loop();
}
