# SPDX-License-Identifier: Apache-2.0
"""manifest.py ROOT: idf_component.yml by the rules of ESP-IDF's component manager. Without yaml it ends with 77."""
import os
import re
import sys

try:
    import yaml
except ImportError as error:
    print(error)
    sys.exit(77)

root = sys.argv[1]
manifest = yaml.safe_load(open(os.path.join(root, "idf_component.yml")))
assert set(manifest) <= {"version", "targets", "maintainers", "description", "license", "tags", "files", "dependencies",
                         "examples", "url", "repository", "documentation", "issues", "discussion"}, manifest
project = open(os.path.join(root, "CMakeLists.txt")).read()
assert manifest["version"] == re.search(r"project\(thimble VERSION ([0-9.]+)", project)[1], manifest["version"]
assert manifest["license"] == "Apache-2.0" and os.path.isfile(os.path.join(root, "LICENSE"))
assert set(manifest["dependencies"]) == {"idf"}, manifest["dependencies"]
assert set(manifest["files"]) <= {"use_gitignore", "include", "exclude"}, manifest["files"]

# What is left out of an uploaded component must not be what it is built of.
left_out = {pattern.split("/")[0] for pattern in manifest["files"]["exclude"]}
assert left_out == {"examples", "tests"}, left_out
