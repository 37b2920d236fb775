#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains a small Qwen3.5 text model from scratch to name the intent of a sentence, on one CPU core.

    train.py --data data_full.json --out checkpoint    CLINC150: 150 intents and "none of these"
    train.py --data my.tsv --out checkpoint            your own: lines of intent<TAB>sentence (see data.py)

Writes a Hugging Face checkpoint with intent.json; export.py makes the GGUF file of it. Needs PyTorch and transformers;
with a C compiler the fused kernels of kernels.c are used, without one it takes about four times as long.

Loss: cross-entropy over the intents with label smoothing, + 0.1 x the intent's cross-entropy over the whole vocabulary
(so that greedy decoding answers too), + 0.1 x next-token prediction on the sentence. The last epochs run through Q4_0
rounding of the weights, so that the 4-bit file loses little. What is saved is the moving average of the weights.
"""
import argparse
import dataclasses
import json
import math
import os
import random
import time

import torch
import torch.nn.functional as F

import data
import evaluate
import kernels
import model as architecture
from model import q4_0, same


@dataclasses.dataclass
class Recipe:
    epochs: int = 40
    rounded: float = 0.125      # share of the epochs, the last ones, that run through Q4_0 rounding
    batch: int = 64
    rate: float = 3e-3          # AdamW's highest learning rate
    warmup: float = 0.05        # share of all steps
    weight_decay: float = 0.1
    average: float = 0.998      # of the moving average of the weights
    smoothing: float = 0.1      # of the labels
    next_token: float = 0.1     # weight of its loss
    drop: float = 0.1           # dropout: of each branch, of the embedding, before the head
    drop_embed: float = 0.1
    drop_head: float = 0.2
    word_drop: float = 0.12     # the rest: see data.augment
    swap: float = 0.1
    splice: float = 0.15
    typo: float = 0.05
    case: float = 0.1
    punctuation: float = 0.15
    merge_drop: float = 0.065   # BPE dropout, for half of the sentences


RECIPES = {
    "s": Recipe(epochs=28, drop=0.05, drop_embed=0.05, drop_head=0.1, word_drop=0.1),
    "m": Recipe(),
}


class Views:
    """The training sentences as the model sees them: a fresh view of each in every epoch, normalised as in use."""

    def __init__(self, rows, recipe, steps, prompts, rng):
        self.rows, self.recipe, self.steps, self.prompts, self.rng = rows, recipe, steps, prompts, rng
        self.peers = {}
        for text, intent in rows:
            self.peers.setdefault(intent, []).append(text)

    def epoch(self):
        """-> a list of token lists in the order of the rows."""
        texts = [data.augment(text, self.peers[intent], self.recipe, self.rng) for text, intent in self.rows]
        texts = [data.normalize(text, self.steps) for text in texts]
        p = self.recipe.merge_drop
        return [self.prompts.noisy(t, p, self.rng) if self.rng.random() < 0.5 else row
                for t, row in zip(texts, self.prompts(texts))]


class Average:
    """The exponential moving average of the weights, which can take their place."""

    def __init__(self, m, factor):
        self.live, self.factor = [p.detach() for p in m.parameters()], factor
        self.mean = [p.clone() for p in self.live]

    def update(self, step):
        torch._foreach_lerp_(self.mean, self.live, 1 - min(self.factor, (1 + step) / (10 + step)))

    def swap(self):
        for a, b in zip(self.live, self.mean):
            kept = a.clone()
            a.copy_(b)
            b.copy_(kept)


@torch.no_grad()
def predict(m, rows, intent_ids, labels, q=same):
    """[(label, p)] of token lists."""
    out, head = [None] * len(rows), q(m.model.embed_tokens.weight)[intent_ids]
    for b in data.batches(rows, 256):
        ids, last = architecture.pad([rows[i] for i in b])
        h = architecture.forward(m, ids, q=q)[torch.arange(len(b)), last]
        p, best = (h @ head.T).softmax(-1).max(-1)
        for i, x, y in zip(b, best.tolist(), p.tolist()):
            out[i] = (labels[x], y)
    return out


class Trainer:
    def __init__(self, args, recipe):
        rows = data.read(args.data)
        self.args, self.recipe = args, recipe
        self.labels, rng = data.intents(rows["train"]), random.Random(args.seed)
        vocabulary = architecture.SIZES[args.size]["vocabulary"]
        self.tokenizer = architecture.train_tokenizer(
            [data.normalize(t, args.normalize) for t, _ in rows["train"]], self.labels, vocabulary)
        prompts = architecture.Prompts(self.tokenizer)
        self.m = architecture.new_model(args.size, self.tokenizer.get_vocab_size(), prompts.end)
        self.rng, self.views = rng, Views(rows["train"], recipe, args.normalize, prompts, rng)
        self.intent_ids = torch.tensor([self.tokenizer.token_to_id(architecture.choice(x)) for x in self.labels])
        self.truth = torch.tensor([self.labels.index(intent) for _, intent in rows["train"]])
        self.val_rows = prompts([data.normalize(t, args.normalize) for t, _ in rows["val"]])
        self.val_truth = [intent for _, intent in rows["val"]]
        print("size %s: %d parameters, vocabulary %d, %d intents, %d sentences to learn, %d to validate" % (
            args.size, sum(p.numel() for p in self.m.parameters()), self.tokenizer.get_vocab_size(), len(self.labels),
            len(rows["train"]), len(rows["val"])), flush=True)
        kernels.check(self.m)
        self.fused = kernels.build(bfloat16=True)
        self.average = Average(self.m, recipe.average)
        matrices = [p for p in self.m.parameters() if p.dim() == 2]
        others = [p for p in self.m.parameters() if p.dim() != 2]
        self.optimizer = torch.optim.AdamW(
            [dict(params=matrices, weight_decay=recipe.weight_decay), dict(params=others, weight_decay=0.0)],
            lr=recipe.rate, betas=(0.9, 0.98), fused=True)
        self.step, self.steps = 0, -(-len(rows["train"]) // recipe.batch) * recipe.epochs

    def hidden(self, ids, q):
        """Final hidden states with activations in bfloat16."""
        r = self.recipe
        if self.fused:
            return self.fused.forward(self.m, ids, r.drop_embed, r.drop, q)
        with torch.autocast("cpu", torch.bfloat16):
            return architecture.forward(self.m, ids, r.drop_embed, r.drop, q)

    def loss(self, ids, last, truth, q):
        """-> the loss, and how many of the batch were right."""
        r, n = self.recipe, len(truth)
        h, embedding = self.hidden(ids, q), q(self.m.model.embed_tokens.weight)
        answer = F.dropout(h[torch.arange(n), last].float(), r.drop_head)
        logits = F.linear(answer, embedding[self.intent_ids])
        next_logits = F.linear(h, embedding.to(h.dtype)).float()
        following = torch.where(torch.arange(ids.shape[1])[None] < last[:, None], ids.roll(-1, 1), -100)
        loss = (F.cross_entropy(logits, truth, label_smoothing=r.smoothing)
                + 0.1 * F.cross_entropy(F.linear(answer, embedding), self.intent_ids[truth])
                + r.next_token * F.cross_entropy(next_logits.flatten(0, 1), following.flatten()))
        return loss, (logits.argmax(-1) == truth).sum().item()

    def learn(self, ids, last, truth, q):
        """One step: warm-up, then cosine down to a hundredth."""
        r = self.recipe
        self.step += 1
        rate = r.rate * min(1.0, self.step / (r.warmup * self.steps))
        rate *= 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss, right = self.loss(ids, last, truth, q)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.m.parameters(), 1.0)
        self.optimizer.step()
        self.average.update(self.step)
        return loss.item() * len(truth), right

    def run(self):
        start, r = time.time(), self.recipe
        plain_epochs = r.epochs - math.ceil(r.epochs * r.rounded)
        for epoch in range(r.epochs):
            rows, total, right = self.views.epoch(), 0.0, 0
            self.m.train()
            for b in data.batches(rows, r.batch, self.rng):
                ids, last = architecture.pad([rows[i] for i in b])
                loss, hits = self.learn(ids, last, self.truth[b], same if epoch < plain_epochs else q4_0)
                total, right = total + loss, right + hits
            if (epoch + 1) % self.args.report_every == 0 or epoch + 1 == r.epochs:
                self.report(epoch + 1, time.time() - start, total / len(rows), right / len(rows))
        self.average.swap()
        self.save()

    def report(self, epoch, seconds, loss, right):
        """Scores the averaged weights on the validation sentences, in float32 and rounded to Q4_0."""
        self.average.swap()
        self.m.eval()
        both = [evaluate.scores(predict(self.m, self.val_rows, self.intent_ids, self.labels, q), self.val_truth,
                                data.OUT_OF_SCOPE)["accuracy"] for q in (same, q4_0)]
        self.average.swap()
        print("epoch %3d  %5.0f s  loss %.3f  training accuracy %.3f  validation accuracy %.4f, in Q4_0 %.4f" % (
            epoch, seconds, loss, right, *both), flush=True)

    def save(self):
        """Checkpoint, config and tokenizer as published Qwen3.5 checkpoints have them, and intent.json."""
        out = self.args.out
        os.makedirs(out, exist_ok=True)
        self.m.save_pretrained(out)
        self.tokenizer.save(os.path.join(out, "tokenizer.json"))
        with open(os.path.join(out, "config.json"), encoding="utf-8") as f:
            config = json.load(f)
        config.update(architectures=["Qwen3_5ForCausalLM"], full_attention_interval=4, attn_output_gate=True)
        tokenizer = dict(tokenizer_class="Qwen2Tokenizer", eos_token=architecture.END,
                         pad_token=architecture.SPECIALS[0], bos_token=None, add_bos_token=False, model_max_length=512,
                         chat_template=architecture.CHAT_TEMPLATE)
        intent = dict(labels=self.labels, normalize=self.args.normalize, seed=self.args.seed,
                      recipe=dataclasses.asdict(self.recipe))
        for name, content in (("config", config), ("tokenizer_config", tokenizer), ("intent", intent)):
            with open(os.path.join(out, name + ".json"), "w", encoding="utf-8") as f:
                json.dump(content, f, indent=1)
        print("saved", out, flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n\n")[0],
                                 formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    ap.add_argument("--data", required=True, help="CLINC150's data_full.json, or lines of intent<TAB>sentence")
    ap.add_argument("--out", required=True, help="directory for the checkpoint")
    ap.add_argument("--size", choices=architecture.SIZES, default="m")
    ap.add_argument("--epochs", type=int, help="default: the size's own")
    ap.add_argument("--normalize", nargs="*", choices=data.STEPS, default=list(data.STEPS), help="steps, in order")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--report-every", type=int, default=5, help="epochs between scores on the validation sentences")
    args = ap.parse_args()
    random.seed(args.seed)
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    recipe = RECIPES[args.size]
    if args.epochs:
        recipe = dataclasses.replace(recipe, epochs=args.epochs)
    Trainer(args, recipe).run()


if __name__ == "__main__":
    main()
