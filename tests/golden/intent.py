# SPDX-License-Identifier: Apache-2.0
"""intent.py DATA_FULL_JSON: makes tests/data/intent/*.tsv from CLINC150's data_full.json and the committed
examples/intent/intent-q4_0.gguf: the first test query of each of the 150 intents and 10 out of scope, every second one
as a person types it; for boards three of each intent and 50; each with the label and the probability (among the 151
labels) by Hugging Face in float32 on the file's weights as gguf-py decodes them.

  sample.tsv, sentences.tsv   lines that open with #, then sentence<TAB>label<TAB>p

The sentences are as a user would give them: the steps of thimble.normalize are still to be done."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples" / "intent"))

import data
import evaluate
from reference import Reference

HEADER = """\
# Sentence, label and probability by the reference: made by tests/golden/intent.py.
# Sentences from CLINC150, https://github.com/clinc/oos-eval, (c) Larson et al., "An Evaluation Dataset for Intent
# Classification and Out-of-Scope Prediction", 2019; CC BY 3.0, https://creativecommons.org/licenses/by/3.0/. Every
# second one was given a capital letter and a closing mark. The labels are the model's, not the data's.
"""


def sample(rows, each, outside):
    """The first sentences of each intent, some that have none; every second as typed."""
    wanted, texts = {}, []
    for text, intent in rows:
        wanted[intent] = wanted.get(intent, 0) + 1
        if wanted[intent] <= (outside if intent == data.OUT_OF_SCOPE else each):
            texts.append(data.as_typed(text) if len(texts) % 2 else text)
    return texts


def main():
    rows = data.read(sys.argv[1])["test"]
    reference = Reference(ROOT / "examples" / "intent" / "intent-q4_0.gguf")
    for name, each, outside in (("sample.tsv", 1, 10), ("sentences.tsv", 3, 50)):
        texts = sample(rows, each, outside)
        out = ROOT / "tests" / "data" / "intent" / name
        evaluate.write_predictions(out, texts, reference.predict(texts))
        out.write_text(HEADER + out.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
