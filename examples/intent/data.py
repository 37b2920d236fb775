# SPDX-License-Identifier: Apache-2.0
"""Sentences and their intents: reading them, the normalisation that a model's file declares, sentences as a person
types them, and the random views that training takes of them. Plain Python: nothing here needs torch.

Two kinds of file are read:
  *.json        CLINC150's data_full.json: [sentence, intent] lists under train, oos_train, val, oos_val, test, oos_test
  anything else one `intent<TAB>sentence` a line, UTF-8; empty lines and lines that open with # are skipped. Of each
                intent's sentences every tenth is held out for validation.
Intents and their number come from the training sentences. The one called `oos`, if any, means "none of these".
"""
import json
import random
import unicodedata

OUT_OF_SCOPE = "oos"
WHITE_SPACE = " \t\n\v\f\r"


def read(path):
    """-> {"train": [(sentence, intent)], "val": [...], "test": [...]}; a file of lines has no test part."""
    with open(path, encoding="utf-8") as f:
        if path.endswith(".json"):
            d = json.load(f)
            parts = {k: [tuple(row) for row in d[k] + d["oos_" + k]] for k in ("train", "val", "test")}
        else:
            parts = hold_out([tuple(reversed(line.rstrip("\r\n").split("\t", 1))) for line in f
                              if line.strip() and not line.startswith("#")])
    return {k: [(unicodedata.normalize("NFC", text), intent) for text, intent in rows] for k, rows in parts.items()}


def hold_out(rows):
    seen, parts = {}, {"train": [], "val": [], "test": []}
    for text, intent in rows:
        seen[intent] = n = seen.get(intent, 0) + 1
        parts["val" if n % 10 == 0 else "train"].append((text, intent))
    return parts


def intents(rows):
    """The intents in the order of their tokens: sorted, "none of these" last."""
    return sorted({intent for _, intent in rows}, key=lambda x: (x == OUT_OF_SCOPE, x))


# ------------------------------------------------------------------------------------------------- normalisation

def lowercase_ascii(text):
    """A-Z become a-z; nothing else changes."""
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


def strip_closing_marks(text):
    """White space goes from both ends, and `.`, `?`, `!` from the end, all there are ("5 p.m." becomes "5 p.m")."""
    return text.lstrip(WHITE_SPACE).rstrip(WHITE_SPACE + ".?!")


STEPS = {
    "lowercase-ascii": lowercase_ascii,
    "strip-closing-marks": strip_closing_marks,
}


def normalize(text, steps):
    """The steps named in thimble.normalize, in their order."""
    for step in steps:
        text = STEPS[step](text)
    return text


# ----------------------------------------------------------------------------------------------- as a person types

QUESTION_WORDS = frozenset(
    "who whom whose what whats what's when where where's which why how how's is isn't are am was were do does don't "
    "did can can't could will won't would should may might must has have".split())


def as_typed(text):
    """The sentence with a capital first letter, "I" in capitals and a closing mark: `?` when it opens with a question
    word, else `.`; one that already ends in a mark keeps it. A fixed rule, so that figures can be repeated."""
    words = ["I" + w[1:] if w == "i" or w.startswith("i'") else w for w in text.split(" ")]
    mark = "" if text[-1:] in ".?!" else "?" if words[0].replace("’", "'").lower() in QUESTION_WORDS else "."
    text = " ".join(words) + mark
    return text[:1].upper() + text[1:]


WAYS = {"plain": str, "typed": as_typed}


# ------------------------------------------------------------------------------------------------- training views

def misspell(word, rng):
    """Loses, swaps or doubles a letter inside a word of four letters or more."""
    if len(word) < 4:
        return word
    j, r = rng.randrange(1, len(word) - 1), rng.random()
    if r < 0.4:
        return word[:j] + word[j + 1:]
    if r < 0.7:
        return word[:j] + word[j + 1] + word[j] + word[j + 2:]
    return word[:j] + word[j] + word[j:]


def splice(words, other, rng):
    """The beginning of one sentence and the end of another of the same intent."""
    cut = rng.uniform(0.25, 0.75)
    if rng.random() < 0.5:
        words, other = other, words
    return words[:max(1, round(len(words) * cut))] + other[round(len(other) * cut):]


def recase(text, rng):
    r = rng.random()
    if r >= 0.85:
        return text.upper()
    if r >= 0.7:
        return text.title()
    return (text[:1].upper() + text[1:]).replace(" i ", " I ").replace(" i'", " I'")


def augment(text, peers, recipe, rng):
    """One random view of a sentence: spliced with one of its `peers` (the sentences of its intent), words lost, swapped
    or misspelt, case and punctuation changed; each with the probability that `recipe` gives."""
    words = text.split()
    if rng.random() < recipe.splice:
        words = splice(words, rng.choice(peers).split(), rng)
    if rng.random() < 0.7:
        kept = [w for w in words if rng.random() >= recipe.word_drop]
        if len(kept) >= min(2, len(words)):
            words = kept
    if len(words) > 2 and rng.random() < recipe.swap:
        i = rng.randrange(len(words) - 1)
        words[i], words[i + 1] = words[i + 1], words[i]
    if words and rng.random() < recipe.typo:
        i = rng.randrange(len(words))
        words[i] = misspell(words[i], rng)
    text = " ".join(words)
    if rng.random() < recipe.case:
        text = recase(text, rng)
    if rng.random() < recipe.punctuation:
        text = text.rstrip("?.! ") + rng.choice(["?", ".", "!", "?", ""])
    if rng.random() < 0.5 * recipe.punctuation:
        text = text.replace("'", "")
    return text


def batches(rows, size, rng=None):
    """Indices of `rows` (lists of tokens) in batches of like length; with `rng` in random order."""
    order = list(range(len(rows)))
    if rng is None:
        order.sort(key=lambda i: len(rows[i]))
        return [order[i:i + size] for i in range(0, len(order), size)]
    rng.shuffle(order)
    out, pool = [], 16 * size
    for i in range(0, len(order), pool):
        like = sorted(order[i:i + pool], key=lambda j: len(rows[j]))
        out += [like[j:j + size] for j in range(0, len(like), size)]
    rng.shuffle(out)
    return out
