# SPDX-License-Identifier: Apache-2.0
"""settings.py ROOT CONFIG: reads zephyr/module.yml as Zephyr does, resolves its Kconfig with kconfiglib, which is Zephyr's
own reader, and writes the settings of a program that asks for Thimble. Without kconfiglib or yaml it ends with 77."""
import os
import sys

try:
    import kconfiglib
    import yaml
except ImportError as error:
    print(error)
    sys.exit(77)

root, config = sys.argv[1:]
here = os.path.dirname(os.path.abspath(__file__))

# The keys of a module, as Zephyr's scripts/zephyr_module.py admits them.
module = yaml.safe_load(open(os.path.join(root, "zephyr/module.yml")))
assert set(module) <= {"name", "build", "samples", "tests", "boards", "blobs", "security", "package-managers"}, module
assert set(module["build"]) <= {"cmake", "kconfig", "depends", "settings"}, module
assert module["name"] == "thimble"
assert os.path.isfile(os.path.join(root, module["build"]["cmake"], "CMakeLists.txt"))
assert os.path.isfile(os.path.join(root, module["build"]["kconfig"]))

os.environ["KCONFIG_WARN_UNDEF"] = "y"  # a symbol that neither of the two files has
os.environ["THIMBLE"] = root
os.environ["THIMBLE_KCONFIG"] = module["build"]["kconfig"]
kconfig = kconfiglib.Kconfig(os.path.join(here, "Kconfig"), warn_to_stderr=False)


def resolve(**settings):
    """The settings that a program gets which asks for these."""
    kconfig.unset_values()
    for name, value in settings.items():
        kconfig.syms[name].set_value(value)
    return {name: kconfig.syms[name].str_value
            for name in ("THIMBLE", "APP_LINK_WITH_THIMBLE", "REQUIRES_FULL_LIBCPP", "FPU")}


off = {"THIMBLE": "n", "APP_LINK_WITH_THIMBLE": "n", "REQUIRES_FULL_LIBCPP": "n", "FPU": "n"}
on = dict.fromkeys(off, "y")
assert resolve() == off
assert resolve(THIMBLE="y") == off  # no C++
assert resolve(CPP="y", STD_CPP17="y", THIMBLE="y") == off
assert resolve(CPP="y", STD_CPP20="y") == off
assert resolve(CPP="y", STD_CPP2B="y", THIMBLE="y") == on
assert resolve(CPP="y", STD_CPP20="y", THIMBLE="y", FPU="n") == on | {"FPU": "n"}
assert resolve(CPP="y", STD_CPP20="y", THIMBLE="y") == on
assert not kconfig.warnings, kconfig.warnings
kconfig.write_config(config)
