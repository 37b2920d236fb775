#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes io/unicode_tables.inc: character classes, combining classes and canonical decompositions.

Judge is Hugging Face `tokenizers`, asked about every code point. Its patterns \\p{L}, \\p{M}, \\p{N} and \\s know Unicode 16,
as Python 3.14 does. Its NFC normaliser is older (Unicode 9): a mark that it does not know stays where it is, a character
whose decomposition it does not know is left alone. The numbers come from Python's unicodedata.

usage: python3 tests/golden/unicode_tables.py io/unicode_tables.inc    (needs Python 3.14 and tokenizers)
"""
import sys
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CLASSES = ["kOther", "kSpace", "kNumber", "kLetter", "kMark"]
TOUCHED = 255  # combining class 0, but NFC may replace it or join it with what stands before


def matched(pattern):
    """The code points that `pattern` matches, as the pre-tokenizer sees it."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", False)
    kept = set()
    for piece, _ in split.pre_tokenize_str("".join(map(chr, POINTS))):
        kept.update(piece)
    return {c for c in POINTS if chr(c) not in kept}


def decomposition(c):
    """One step of canonical decomposition, as a list of code points; Hangul is arithmetic and not in the table."""
    text = "" if 0xAC00 <= c < 0xD7A4 else unicodedata.decomposition(chr(c))
    return [int(x, 16) for x in text.split()] if text and not text.startswith("<") else []


def main():
    assert unicodedata.unidata_version == "16.0.0"
    spaces, numbers, letters, marks = (matched(p) for p in (r"\s", r"\p{N}", r"\p{L}", r"\p{M}"))
    for points, initial in ((numbers, "N"), (letters, "L"), (marks, "M")):
        assert points == {c for c in POINTS if unicodedata.category(chr(c))[0] == initial}, initial
    nfc, nfd = normalizers.NFC(), normalizers.NFD()
    probes = ("x{}\u0334", "x\u0345{}", "x\u0301{}")  # marks of class 1, 240 and 230 show whether {} moves
    unmoved = {
        c
        for c in POINTS
        for probe in probes
        if nfc.normalize_str(probe.format(chr(c))) != unicodedata.normalize("NFC", probe.format(chr(c)))
    }
    steps = {c: d for c in POINTS if (d := decomposition(c)) and nfd.normalize_str(chr(c)) != chr(c)}
    composites = {c for c, d in steps.items() if unicodedata.normalize("NFC", chr(c)) == chr(c)}
    assert all(len(steps[c]) == 2 for c in composites)
    assert not any(d[-1] in steps for d in steps.values() if len(d) == 2)  # only the first of a pair decomposes further
    assert all(nfc.normalize_str(unicodedata.normalize("NFD", chr(c))) == chr(c) for c in composites)
    assert all(nfd.normalize_str(chr(c)) == unicodedata.normalize("NFD", chr(c)) for c in steps)
    seconds = {steps[c][1] for c in composites} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))

    def entry(c):
        kind = 1 if c in spaces else 2 if c in numbers else 3 if c in letters else 4 if c in marks else 0
        ccc = 0 if 0xD800 <= c < 0xE000 or c in unmoved else unicodedata.combining(chr(c))
        assert ccc < TOUCHED
        if ccc == 0 and (c in seconds or (c in steps and c not in composites)):
            ccc = TOUCHED
        return kind << 8 | ccc

    runs = [(c, entry(c)) for c in range(0x110000) if c == 0 or entry(c) != entry(c - 1)]
    table = sorted(steps.items())
    order = sorted((steps[c], i) for i, (c, _) in enumerate(table) if c in composites)

    def write(out, name, kind, values, per_line):
        out.write(f"constexpr {kind} {name}[{len(values)}] = {{\n")
        for i in range(0, len(values), per_line):
            out.write("    " + ", ".join(values[i : i + per_line]) + ",\n")
        out.write("};\n")

    with open(sys.argv[1], "w", encoding="ascii") as out:
        out.write("// SPDX-License-Identifier: Apache-2.0 AND Unicode-3.0\n//\n")
        out.write(
            "// Classes of Unicode 16, normalisation of Unicode 9. Generated from the Unicode Character Database by\n"
        )
        out.write(
            "// tests/golden/unicode_tables.py; not to be edited. Layouts: io/unicode.cc.\n// clang-format off\n\n"
        )
        write(out, "kRuns", "uint32_t", [f"0x{c << 11 | e:08x}" for c, e in runs], 10)
        pairs = [f"0x{c << 42 | d[0] << 21 | (d[1] if len(d) == 2 else 0):016x}" for c, d in table]
        write(out, "kDecompositions", "uint64_t", pairs, 6)
        write(out, "kCompositions", "uint16_t", [str(i) for _, i in order], 20)
    size = 4 * len(runs) + 8 * len(table) + 2 * len(order)
    print(
        f"{len(unmoved)} marks unknown to NFC; {len(runs)} runs, {len(table)} decompositions, {len(order)} compositions: {size} bytes"
    )


main()
