#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tokenizer's fixtures, and its comparison with Hugging Face `tokenizers` on 100,000 strings.

  tokenizer.py fixtures DIR                 vocab.gguf and golden.bin: what is committed in tests/data/tokenizer
  tokenizer.py compare DIR PROGRAM [N]      PROGRAM (tests/tokenize_lines.cc) against Hugging Face on N strings
  tokenizer.py compare-model DIR MODEL.gguf HF_DIR PROGRAM [N]     the same on a model's own vocabulary
  tokenizer.py full DIR PROGRAM             as many tokens and merges as Qwen3.5 has: time and memory, and the same ids

The vocabulary of 3,500 tokens is trained on what a Debian system has: licences in English and translated messages
(.mo files) in all its languages. Its ids are shuffled, and some tokens are of no merge, so that nothing can rely on an order.

golden.bin: records of u8 mode, u32 bytes, text, u16 count, u16 ids; little endian. Modes: 0 special tokens recognised,
1 not, 2 qwen2's pre-tokenizer, 3 without normalisation, 4 ids to text (U+FFFD where bytes are no character).

Needs Python 3.14 (Unicode 16), tokenizers, gguf, transformers.
"""
import gettext
import glob
import json
import random
import struct
import subprocess
import sys
import unicodedata
from pathlib import Path

import gguf
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers, Regex
from transformers.models.qwen3_5.tokenization_qwen3_5 import PRETOKENIZE_REGEX as QWEN35

QWEN2 = QWEN35.replace(r"[\p{L}\p{M}]", r"\p{L}").replace(r"\p{M}", "")
CONTROL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<|audio_start|>",
    "<|audio_end|>",
    "<tts_pad>",
    "<tts_text_bos>",
    "<tts_text_eod>",
    "<tts_text_bos_single>",
    "<|audio_pad|>",
]
USER = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
    "<|",
    "<|im",
    "im_end|>",
    "e\u0301",
    "\u00e9t\u00e9 ",
]  # not Qwen's: prefixes of others, and beyond ASCII
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def corpus(most=400):
    lines = []
    for name in sorted(glob.glob("/usr/share/common-licenses/*")):
        lines += open(name, encoding="utf-8", errors="ignore").read().split("\n\n")
    for name in sorted(glob.glob("/usr/share/locale/*/LC_MESSAGES/*.mo")):
        try:
            with open(name, "rb") as file:
                messages = gettext.GNUTranslations(file)._catalog.values()
        except (OSError, UnicodeDecodeError):
            continue
        lines += [text for text in messages if isinstance(text, str) and text][:most]
    return lines


def pre_tokenizer(pattern):
    split = pre_tokenizers.Split(Regex(pattern), "isolated", False)
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def train(lines, size=3480, unmerged=20, shuffled=True):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizer(QWEN35)
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False, limit_alphabet=256
    )
    tokenizer.train_from_iterator(lines + ["  " * n for n in range(40)] * 3, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get) + [f"\u0120unmerged{i}" for i in range(unmerged)]
    if shuffled:
        random.Random(16).shuffle(tokens)
    return tokens, [tuple(m) for m in model["merges"]]


def reference(tokens, merges, pattern=QWEN35, nfc=True, added=True):
    """Hugging Face's tokenizer with these tokens."""
    tokenizer = Tokenizer.from_str(
        json.dumps(
            {
                "version": "1.0",
                "truncation": None,
                "padding": None,
                "normalizer": {"type": "NFC"} if nfc else None,
                "added_tokens": [
                    {
                        "id": len(tokens) + i,
                        "content": text,
                        "single_word": False,
                        "lstrip": False,
                        "rstrip": False,
                        "normalized": False,
                        "special": text in CONTROL,
                    }
                    for i, text in enumerate(CONTROL + USER)
                ]
                if added
                else [],
                "pre_tokenizer": None,
                "post_processor": None,
                "decoder": None,
                "model": {
                    "type": "BPE",
                    "dropout": None,
                    "unk_token": None,
                    "continuing_subword_prefix": "",
                    "end_of_word_suffix": "",
                    "fuse_unk": False,
                    "byte_fallback": False,
                    "ignore_merges": False,
                    "vocab": {text: i for i, text in enumerate(tokens)},
                    "merges": [list(m) for m in merges],
                },
            }
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizer(pattern)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def write_gguf(path, tokens, merges, pre="qwen35", nfc=None):
    types = [1] * len(tokens) + [3] * len(CONTROL) + [4] * len(USER)
    tokens = tokens + CONTROL + USER
    while len(tokens) % 32 != 0:
        types.append(5)
        tokens = tokens + [f"[PAD{len(tokens)}]"]
    writer = gguf.GGUFWriter(path, "qwen35")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(m) for m in merges])
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    if nfc is not None:
        writer.add_bool("tokenizer.ggml.normalizer.nfc", nfc)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


class Strings:
    """Random strings of many kinds; the same ones every time."""

    def __init__(self, lines):
        self.random = random.Random(2026)
        self.lines = lines
        by_category, names = {}, {}
        for c in POINTS:
            by_category.setdefault(unicodedata.category(chr(c)), []).append(c)
            script = unicodedata.name(chr(c), "").split(" ")[0]
            names.setdefault(script, []).append(c)
        self.scripts = [points for points in names.values() if len(points) >= 20]
        self.categories = list(by_category.values())
        self.marks = by_category["Mn"] + by_category["Mc"] + by_category["Me"]
        self.numbers = by_category["Nd"] + by_category["Nl"] + by_category["No"]
        self.spaces = [c for c in POINTS if chr(c).isspace()] + [0x180E, 0x200B, 0xFEFF]
        self.composed = [c for c in POINTS if unicodedata.decomposition(chr(c))[:1] not in ("", "<")]
        self.parts = [ord(x) for c in self.composed for x in unicodedata.normalize("NFD", chr(c))]
        self.kinds = [
            self.ordinary,
            self.ordinary,
            self.scattered,
            self.category,
            self.script,
            self.words,
            self.marked,
            self.decomposed,
            self.hangul,
            self.spaced,
            self.contracted,
            self.numbered,
            self.emoji,
            self.special,
            self.special,
            self.code,
            self.repeated,
            self.mixed,
        ]

    def pick(self, points, low, high):
        return "".join(chr(self.random.choice(points)) for _ in range(self.random.randint(low, high)))

    def ordinary(self):
        text = self.random.choice(self.lines)
        start = self.random.randrange(len(text))
        return text[start : start + self.random.randint(1, 120)]

    def scattered(self):
        return self.pick(POINTS, 1, 12)

    def category(self):
        return self.pick(self.random.choice(self.categories), 1, 12)

    def script(self):
        return self.pick(self.random.choice(self.scripts), 1, 20)

    def words(self):
        points = self.random.choice(self.scripts)
        gaps = [" ", " ", " ", "  ", ", ", ". ", "\n", "-", "'", "\u00a0", "\u3000"]
        return "".join(self.pick(points, 1, 7) + self.random.choice(gaps) for _ in range(self.random.randint(1, 8)))

    def marked(self):
        text = ""
        for _ in range(self.random.randint(1, 5)):
            text += self.pick(self.random.choice([list(range(32, 127)), self.parts, POINTS]), 0, 2)
            text += self.pick(self.random.choice([self.marks, list(range(0x300, 0x370))]), 0, 6)
        return text

    def decomposed(self):
        text = self.pick(self.random.choice([self.composed, self.parts]), 1, 8)
        return (
            unicodedata.normalize(self.random.choice(["NFC", "NFD", "NFKC", "NFKD"]), text)
            if self.random.random() < 0.5
            else text
        )

    def hangul(self):
        points = self.random.choice(
            [range(0x1100, 0x1200), range(0xAC00, 0xD7B0), range(0x1100, 0x1113), range(0x1161, 0x11C3)]
        )
        return "".join(
            self.pick(
                self.random.choice(
                    [
                        points,
                        range(0x1100, 0x1113),
                        range(0x1160, 0x1177),
                        range(0x11A7, 0x11C4),
                        range(0xAC00, 0xD7A4, 28),
                        [0x41, 0x20, 0x301],
                    ]
                ),
                1,
                3,
            )
            for _ in range(self.random.randint(1, 5))
        )

    def spaced(self):
        some = [
            self.spaces,
            [0x20],
            [0x20],
            [0x0D, 0x0A],
            [0x0A],
            [0x09, 0x20],
            list(range(33, 127)),
            [ord("a"), ord("1"), ord("!")],
        ]
        return "".join(self.pick(self.random.choice(some), 1, 4) for _ in range(self.random.randint(1, 8)))

    def contracted(self):
        text = ""
        for _ in range(self.random.randint(1, 5)):
            text += self.random.choice(["", " ", "I", "we", "don", "\u00e9", "1", "'", "\n", self.pick(POINTS, 1, 1)])
            text += self.random.choice(["'", "'", "'", "''", "\u2019"])
            text += "".join(
                self.random.choice([c, c.upper(), "\u017f" if c == "s" else c])
                for c in self.random.choice(["s", "t", "re", "ve", "m", "ll", "d", "se", "l", "r", "v", "st", "x"])
            )
            text += self.random.choice(["", "", " ", "e", "\u0301", "."])
        return text

    def numbered(self):
        return "".join(
            self.pick(self.random.choice([self.numbers, range(48, 58), range(48, 58), [0x20, 0x2E, 0x2C, 0x61]]), 1, 5)
            for _ in range(self.random.randint(1, 6))
        )

    def emoji(self):
        base = [0x1F468, 0x1F469, 0x1F466, 0x2764, 0x1F44D, 0x1F3F3, 0x1F308, 0x0023, 0x0031, 0x1F1E9, 0x1F1EA] + list(
            range(0x1F600, 0x1F640)
        )
        join = ["\u200d", "\ufe0f", "\U0001f3fd", "\ufe0f\u200d", "", "\u20e3", " ", "\U000e0067"]
        return "".join(self.pick(base, 1, 1) + self.random.choice(join) for _ in range(self.random.randint(1, 9)))

    def special(self):
        text = ""
        for _ in range(self.random.randint(1, 5)):
            token = self.random.choice(CONTROL + USER)
            if self.random.random() < 0.25:
                token = token[self.random.randrange(len(token)) :] if self.random.random() < 0.5 else token[:-1]
            between = self.random.choice(
                [self.ordinary, self.marked, self.spaced, lambda: "", lambda: "<", lambda: "\u0301"]
            )
            text += between()[: self.random.randint(0, 12)] + token
        return text + self.random.choice(["", "\n", "\u0301", " x"])

    def code(self):
        words = [
            "if",
            "for",
            "(",
            ")",
            "{",
            "}",
            "\n",
            "    ",
            "\t",
            "//",
            "x",
            "=",
            "==",
            "0x1F",
            '"',
            ";\n",
            "\r\n",
            "->",
            "<div>",
            "#include",
            "/*",
            "*/\n\n",
        ]
        return "".join(
            self.random.choice(words) + self.random.choice(["", " "]) for _ in range(self.random.randint(2, 25))
        )

    def repeated(self):
        return self.pick(self.random.choice([POINTS, range(32, 127), self.composed]), 1, 2) * self.random.randint(2, 60)

    def mixed(self):
        return "".join(self.random.choice(self.kinds[:-1])()[:15] for _ in range(self.random.randint(2, 6)))

    def take(self, n):
        """n strings, none empty, kinds in turn."""
        taken = []
        while len(taken) < n:
            text = self.kinds[len(taken) % len(self.kinds)]()
            if text:
                taken.append(text)
        return taken


def ask(program, model, strings, *options):
    """What the program makes of each string (str or bytes)."""
    raw = [text if isinstance(text, bytes) else text.encode("utf-8") for text in strings]
    data = b"".join(struct.pack("<I", len(text)) + text for text in raw)
    answer = subprocess.run([program, model, *options], input=data, stdout=subprocess.PIPE, check=True).stdout
    ids, at = [], 0
    for _ in strings:
        (count,) = struct.unpack_from("<I", answer, at)
        ids.append(list(struct.unpack_from(f"<{count}i", answer, at + 4)))
        at += 4 + 4 * count
    assert at == len(answer)
    return ids


def compare(name, tokenizer, program, model, strings, *options):
    wanted = [encoding.ids for encoding in tokenizer.encode_batch(strings, add_special_tokens=False)]
    given = ask(program, model, strings, *options)
    wrong = [i for i in range(len(strings)) if wanted[i] != given[i]]
    print(f"{name}: {len(strings) - len(wrong)} of {len(strings)} identical")
    for i in wrong[:5]:
        print(ascii(strings[i]), wanted[i], given[i], sep="\n  ")
    return not wrong


def fixtures(out):
    lines = corpus()
    tokens, merges = train(lines)
    write_gguf(out / "vocab.gguf", tokens, merges)
    strings = Strings(lines).take(2000)
    texts = {
        0: strings[:1500],
        1: [s for s in strings[1500:] if "<" in s][:60],
        2: strings[1500:1800],
        3: strings[1800:2000],
    }
    modes = {
        0: reference(tokens, merges),
        1: reference(tokens, merges, added=False),
        2: reference(tokens, merges, pattern=QWEN2),
        3: reference(tokens, merges, nfc=False),
    }
    records = [
        (mode, text, modes[mode].encode(text, add_special_tokens=False).ids) for mode in modes for text in texts[mode]
    ]
    rng = random.Random(4)
    for _ in range(150):
        ids = [
            rng.randrange(len(tokens)) if rng.random() < 0.9 else len(tokens) + rng.randrange(len(CONTROL) + 14)
            for _ in range(rng.randint(1, 30))
        ]
        records.append((4, modes[0].decode(ids, skip_special_tokens=False), ids))
    with open(out / "golden.bin", "wb") as file:
        for mode, text, ids in records:
            raw = text.encode("utf-8")
            file.write(struct.pack("<BI", mode, len(raw)) + raw + struct.pack(f"<H{len(ids)}H", len(ids), *ids))
    print(f"{len(tokens)} tokens, {len(merges)} merges, {len(records)} records")
    for name in ("vocab.gguf", "golden.bin"):
        print(name, (out / name).stat().st_size, "bytes")


def compare_all(out, program, n):
    lines = corpus()
    tokens, merges = train(lines)
    files = {"vocab.gguf": {}, "qwen2.gguf": dict(pre="qwen2"), "plain.gguf": dict(nfc=False)}
    for name, options in files.items():
        write_gguf(out / name, tokens, merges, **options)
    strings = Strings(lines).take(n)
    fewer = strings[: n // 5]
    ok = compare("special tokens recognised", reference(tokens, merges), program, out / "vocab.gguf", strings)
    ok &= compare(
        "special tokens as text", reference(tokens, merges, added=False), program, out / "vocab.gguf", fewer, "--text"
    )
    ok &= compare("qwen2's pre-tokenizer", reference(tokens, merges, pattern=QWEN2), program, out / "qwen2.gguf", fewer)
    ok &= compare("without normalisation", reference(tokens, merges, nfc=False), program, out / "plain.gguf", fewer)
    points = [f"a{chr(c)} b{chr(c)}{chr(c)}1{chr(c)}'{chr(c)}" for c in POINTS]
    ok &= compare("every code point", reference(tokens, merges), program, out / "vocab.gguf", points)
    long = [
        "a" * 100000,
        " " * 100000,
        "\n" * 50000,
        "\u4e2d\u6587" * 20000,
        "ab" * 50000,
        "\u0301\u0323" * 20000,
        "\u0958" * 20000,
        "\U0001d160" * 10000,
        "x" + " " * 99999 + "y",
        "".join(lines)[:200000],
        "e\u0301" * 30000,
        "=" * 70000,
        "'s" * 30000,
    ]
    ok &= compare("long strings", reference(tokens, merges), program, out / "vocab.gguf", long)
    return ok


def full(out, program):
    lines = corpus(most=10**9)
    path = out / "full.gguf"
    tokens, merges = train(lines, 256 + 247587, 201, shuffled=False)
    merges = merges[:247587]
    write_gguf(path, tokens, merges)
    print(
        f"{len(tokens)} ordinary tokens, {len(merges)} merges, {path.stat().st_size} bytes, trained on {sum(map(len, lines))} characters"
    )
    tokenizer = reference(tokens, merges)
    ok = compare("full vocabulary", tokenizer, program, path, Strings(lines).take(20000))
    licences = "\n\n".join(corpus(most=0))
    for name, text in ("English", licences), ("many languages", "\n".join(random.Random(1).sample(lines, 20000))):
        texts = [text[i : i + 500000] for i in range(0, min(len(text), 4000000), 500000)]
        ok &= compare(name, tokenizer, program, path, texts, "--time")
    return ok


def main():
    out = Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    if sys.argv[1] == "fixtures":
        fixtures(out)
    elif sys.argv[1] == "compare":
        sys.exit(not compare_all(out, sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 100000))
    elif sys.argv[1] == "full":
        sys.exit(not full(out, sys.argv[3]))
    else:
        tokenizer = Tokenizer.from_file(str(Path(sys.argv[4]) / "tokenizer.json"))
        strings = Strings(corpus()).take(int(sys.argv[6]) if len(sys.argv) > 6 else 20000)
        sys.exit(not compare(sys.argv[3], tokenizer, sys.argv[5], sys.argv[3], strings))


main()
