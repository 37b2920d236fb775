# SPDX-License-Identifier: Apache-2.0
"""intent.py DATA_FULL_JSON: makes tests/data/intent/*.tsv from CLINC150's data_full.json and the committed models of
examples/intent. The first test queries of each of the 150 intents and some out of scope, every second one as a person
types it, each with the label and the probability (among the 151 labels) by Hugging Face in float32 on the file's weights
as gguf-py decodes them.

  sample.tsv       of intent-q4_0.gguf: one query of each intent and 10 out of scope
  s_sentences.tsv  of intent-s-q4_0.gguf, which the boards run: three of each and 50

Lines that open with #, then sentence<TAB>label<TAB>p. The sentences are as a user would give them: the steps of
thimble.normalize are still to be done."""

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
    for name, model, each, outside in (("sample.tsv", "intent-q4_0.gguf", 1, 10),
                                       ("s_sentences.tsv", "intent-s-q4_0.gguf", 3, 50)):
        texts = sample(rows, each, outside)
        predictions = Reference(ROOT / "examples" / "intent" / model).predict(texts)
        out = ROOT / "tests" / "data" / "intent" / name
        evaluate.write_predictions(out, texts, predictions)
        out.write_text(HEADER + out.read_text(encoding="utf-8"), encoding="utf-8")


if __name__ == "__main__":
    main()
