# SPDX-License-Identifier: Apache-2.0
"""Writes tests/data/json/python.txt: JSON as someone may write it and as Python's json module prints it again.

usage: json_text.py REPOSITORY     (plain Python 3)

A line each: the text, a tab, json.dumps(json.loads(text), ensure_ascii=False). Chat templates print tools and arguments
this way.
"""
import json
import random
import struct
import sys
from pathlib import Path

VALUES = r"""
0
-0
-0.0
1
-7
1.0
1.50
100e-2
1e2
1E+2
1e15
1e16
123456789012345678
12345678901234567890
123456789012345678901234567890
-98765432109876543210987654321
9007199254740993
9007199254740993.0
1234567890123456.7
0.1
0.0001
0.00001
1e-5
1.5e-7
5e-324
2.2250738585072014e-308
1.7976931348623157e308
0.30000000000000004
3.141592653589793238462643
true
false
null
""
"plain"
"a\"b\\c\/d"
"\b\f\n\r\t"
"\u0000\u0001\u001f\u007f"
"\u00e9\u20ac\ud83d\ude00é€😀"
"<b>&'</b>"
"\u2028\u2029\ufeff"
[]
{}
[ ]
{ }
[1,2,[3,[4]],{}]
{"b":1,"a":[true,false,null]}
{"k":1,"j":2,"k":{"l":[3.0]}}
{"":"","\n":"\\n","é":"ü"}
  { "type" : "function" , "function" : { "name":"f","parameters":{"x":{"minimum":1e3,"maximum":1e-9}} } }
""".strip("\n").split("\n")


def main():
    random.seed(1)
    texts = list(VALUES)
    for _ in range(150):  # any bits
        value = struct.unpack("<d", random.randbytes(8))[0]
        if value - value == 0: texts.append("%.17g" % value)
    texts += ["%.*e" % (random.randrange(17), random.random() * 10 ** random.randrange(-8, 20)) for _ in range(150)]
    texts += ["%.*f" % (random.randrange(1, 6), random.random() * 10 ** random.randrange(12)) for _ in range(50)]
    lines = [text + "\t" + json.dumps(json.loads(text), ensure_ascii=False) for text in texts]
    assert not any(line.count("\t") != 1 or "\n" in line for line in lines)
    out = Path(sys.argv[1]) / "tests/data/json/python.txt"
    out.parent.mkdir(exist_ok=True)
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


main()
