#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Scores an intent model on a part of CLINC150 (or of a file of `intent<TAB>sentence` lines) through `thimble
classify`, plain and as a person types. Plain Python; the only thing it runs is the program.

    evaluate.py --data data_full.json                            on the test queries, through build/host/thimble
    evaluate.py --data data_full.json --reference reference.tsv  and the share of predictions equal to reference.py's
    evaluate.py --data data_full.json --predictions FILE.tsv     scores stored predictions, runs nothing

A query counts as "none of these" when that is its label or when its probability is below thimble.threshold.
"""
import argparse
import json
import os
import shlex
import struct
import subprocess
import sys

import data

HERE = os.path.dirname(os.path.abspath(__file__))


def scores(predictions, truth, none, threshold=0.0):
    """Shares from [(label, p)] and the true labels: in-scope accuracy, recall and precision of "none of these"."""
    said = [none if p < threshold else label for label, p in predictions]
    inside = [s == t for s, t in zip(said, truth) if t != none]
    outside = [s == t for s, t in zip(said, truth) if t == none]
    return dict(accuracy=sum(inside) / max(1, len(inside)), recall=sum(outside) / max(1, len(outside)),
                precision=sum(outside) / max(1, said.count(none)))


def pick_threshold(predictions, truth, none):
    """The highest threshold, in hundredths, that costs at most one point of in-scope accuracy; for validation data."""
    floor = scores(predictions, truth, none)["accuracy"] - 0.01
    return max(t / 100 for t in range(100) if scores(predictions, truth, none, t / 100)["accuracy"] >= floor)


# -------------------------------------------------------------------------------------- the model file's own keys

def gguf_keys(path):
    """The metadata of a GGUF file of our own making (export.py) as a dict."""
    numbers = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    with open(path, "rb") as f:
        def number(code):
            return struct.unpack("<" + code, f.read(struct.calcsize("<" + code)))[0]

        def value(kind):
            if kind == 8:
                return f.read(number("Q")).decode("utf-8")
            if kind == 9:
                kind, count = number("I"), number("Q")
                return [value(kind) for _ in range(count)]
            return number(numbers[kind])

        if f.read(4) != b"GGUF" or number("I") != 3:
            sys.exit("evaluate.py: not a GGUF file of version 3: " + path)
        number("Q")  # tensors
        count, keys = number("Q"), {}
        for _ in range(count):
            key = value(8)
            keys[key] = value(number("I"))
        return keys


# ------------------------------------------------------------------------------------------------- predictions

def answers(command, texts):
    """The lines that a program prints for `texts`, one each; those that open with # are its figures."""
    done = subprocess.run(command, input="\n".join(texts) + "\n", text=True, encoding="utf-8", stdout=subprocess.PIPE,
                          check=True)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    if len(lines) != len(texts):
        sys.exit("evaluate.py: %d sentences in, %d answers out" % (len(texts), len(lines)))
    return lines


def through_thimble(program, model, texts, options):
    """[(label, p)] of `texts`, one process for all of them."""
    rows = map(json.loads, answers([program, "classify", model, "--json", "--quiet"] + options, texts))
    return [(row["label"], row["p"]) for row in rows]


def through_firmware(command, texts):
    """The same by examples/firmware/intent on a board, which prints label<TAB>p<TAB>ticks."""
    rows = [line.split("\t") for line in answers(shlex.split(command), texts)]
    return [(label, float(p)) for label, p, _ in rows]


def read_predictions(path):
    """{sentence: (label, p)} from a file of `sentence<TAB>label<TAB>p` lines."""
    with open(path, encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t") for line in f if not line.startswith("#")]
    return {text: (label, float(p)) for text, label, p in rows}


def write_predictions(path, texts, predictions):
    with open(path, "w", encoding="utf-8") as f:
        for text, (label, p) in zip(texts, predictions):
            f.write("%s\t%s\t%.6f\n" % (text, label, p))


def report(way, predictions, truth, none, threshold):
    for name, t in (("label", 0.0), ("p >= %.2f" % threshold, threshold)):
        s = scores(predictions, truth, none, t)
        line = "%-6s %-10s  in-scope accuracy %6.2f %%" % (way, name, 100 * s["accuracy"])
        if none in truth:
            line += "  out-of-scope recall %5.1f %%  precision %5.1f %%" % (100 * s["recall"], 100 * s["precision"])
        print(line)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    ap.add_argument("--data", required=True, help="CLINC150's data_full.json, or lines of intent<TAB>sentence")
    ap.add_argument("--part", default="test", choices=("val", "test"))
    ap.add_argument("--ways", nargs="+", default=["plain", "typed"], choices=data.WAYS, help="of writing the sentences")
    ap.add_argument("--model", default=os.path.join(HERE, "intent-q4_0.gguf"))
    ap.add_argument("--thimble", default=os.path.join(HERE, "../../build/host/thimble"), help="the program")
    ap.add_argument("--kv", default="f16", help="the program's key/value cache")
    ap.add_argument("--state", default="f32", help="the program's DeltaNet states")
    ap.add_argument("--backend", default="auto", help="the program's kernels")
    ap.add_argument("--firmware", help="the command that runs examples/firmware/intent: through it, not the program")
    ap.add_argument("--predictions", help="score this file of sentence<TAB>label<TAB>p lines, run nothing")
    ap.add_argument("--reference", help="such a file to compare with, made by reference.py")
    ap.add_argument("--out", help="write the predictions to this file")
    a = ap.parse_args()

    keys, rows = gguf_keys(a.model), data.read(a.data)[a.part]
    none, threshold = keys.get("thimble.out_of_scope", ""), keys.get("thimble.threshold", 0.0)
    truth = [intent for _, intent in rows]
    stored = read_predictions(a.predictions) if a.predictions else None
    reference = read_predictions(a.reference) if a.reference else None
    print("%s: %d queries, %d of them out of scope" % (a.part, len(rows), truth.count(none)))
    options = ["--kv", a.kv, "--state", a.state, "--backend", a.backend]
    texts_of_all, predictions_of_all = [], []
    for way in a.ways:
        texts = [data.WAYS[way](text) for text, _ in rows]
        if stored:
            predictions = [stored[t] for t in texts]
        elif a.firmware:
            predictions = through_firmware(a.firmware, texts)
        else:
            predictions = through_thimble(a.thimble, a.model, texts, options)
        report(way, predictions, truth, none, threshold)
        if reference:
            pairs = [(p, reference[t]) for t, p in zip(texts, predictions)]
            print("%-6s reference   same label %.2f %%, largest difference of p %.1e" % (
                way, 100 * sum(p[0] == r[0] for p, r in pairs) / len(pairs), max(abs(p[1] - r[1]) for p, r in pairs)))
        texts_of_all += texts
        predictions_of_all += predictions
    if a.out:
        write_predictions(a.out, texts_of_all, predictions_of_all)


if __name__ == "__main__":
    main()
