#!/usr/bin/env python3
"""Tiny random encoders and encoder-decoders by transformers, with what they compute: for tests/parity/encoders_test.cc.

    model_encoders.py [--search] tests/golden/models    # --search: only T5's greedy tokens and beams, of the folders as they are

Needs numpy, peft, safetensors, tokenizers, torch, transformers. Norms are not 1 and biases not 0, so that a forgotten one shows. For each NAME a folder, and
NAME.json: the sequences (and the second text's types, and the labels), by name. NAME.npy has the logits of all sequences, one after the
other; NAME.gradients.safetensors gradients of the mean cross-entropy of the labels, without dropout. T5 is given pairs of sequences, and
writes beside these what it generates, greedily and with beams.
"""

import argparse
import json
import math
import pathlib

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

VOCABULARY = 120
BERT = dict(vocab_size=VOCABULARY, hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, max_position_embeddings=64,
            attn_implementation="eager")
T5 = dict(vocab_size=VOCABULARY, d_model=24, d_kv=10, d_ff=40, num_layers=3, num_decoder_layers=2, num_heads=3, relative_attention_num_buckets=8,
          relative_attention_max_distance=20, decoder_start_token_id=0, pad_token_id=0, eos_token_id=19, attn_implementation="eager")
LABELS = {i: f"LABEL_{i}" for i in range(4)}
MODELS = {
    "bert": transformers.BertForMaskedLM(transformers.BertConfig(**BERT, layer_norm_eps=1e-3)),
    "roberta": transformers.RobertaForMaskedLM(
        transformers.RobertaConfig(**BERT, layer_norm_eps=1e-5, type_vocab_size=1, pad_token_id=1, bos_token_id=0, eos_token_id=2)
    ),
    "bert_plain": transformers.BertModel(transformers.BertConfig(**BERT, hidden_act="gelu_new")),
    "bert_sequence": transformers.BertForSequenceClassification(transformers.BertConfig(**BERT, hidden_act="relu", id2label=LABELS)),
    "roberta_sequence": transformers.RobertaForSequenceClassification(
        transformers.RobertaConfig(**BERT, type_vocab_size=1, pad_token_id=1, id2label=LABELS)
    ),
    "bert_token": transformers.BertForTokenClassification(transformers.BertConfig(**BERT, id2label=LABELS)),
    "t5": transformers.T5ForConditionalGeneration(transformers.T5Config(**T5, layer_norm_epsilon=1e-3)),
    "t5_gated": transformers.T5ForConditionalGeneration(
        transformers.T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    ),
}


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if name.endswith("bias"):
                p.copy_(0.3 * noise)
            elif p.dim() == 1:
                p.copy_(1 + 0.3 * noise)
            elif "relative_attention_bias" in name:
                p.copy_(noise)
            elif name.endswith(".q.weight"):  # T5 does not scale its scores: q's weights are smaller instead
                p.copy_(noise * 1.2 / math.sqrt(p.shape[1] * model.config.d_kv))
            elif "embeddings" in name or name == "shared.weight":
                p.copy_(0.5 * noise)
            else:
                p.copy_(noise * 1.2 / math.sqrt(p.shape[1]))
    return model.eval()


def save_tokenizer(folder):
    """WordPiece over letters, digits and some words: BERT's tokenizer as tokenizer.json has it."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"0123456789.,?!-", *letters, *["##" + c for c in letters]]
    tokens += "water the plant soil is dry light leaf in winter summer how often ##s ##er ##ing ##ed a".split()
    vocabulary = {t: i for i, t in enumerate(dict.fromkeys(tokens))}
    assert len(vocabulary) <= VOCABULARY
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.save(str(folder / "tokenizer.json"))


def t5_extras(model, data):
    """Greedy tokens and the best beams of each source, with their scores: by the number of beams, 2, 4 and 8."""
    common = dict(max_new_tokens=12, min_new_tokens=0, do_sample=False)
    data["greedy"], data["beams"] = [], {}
    for source in data["ids"]:
        data["greedy"].append(model.generate(torch.tensor([source]), num_beams=1, **common)[0].tolist())
    for size in (2, 4, 8):
        searches = data["beams"][str(size)] = []
        for source in data["ids"]:
            out = model.generate(torch.tensor([source]), num_beams=size, num_return_sequences=size, length_penalty=0.8, return_dict_in_generate=True,
                                 output_scores=True, **common)
            beams = [b.tolist() for b in out.sequences]
            searches.append({"ids": [b[: b.index(19) + 1] if 19 in b else b for b in beams], "scores": out.sequences_scores.tolist()})


def write_searches(out):
    """Greedy tokens and beams again, of the committed models."""
    for name in ("t5", "t5_gated"):
        data = json.loads((out / f"{name}.json").read_text())
        data.pop("scores", None)
        t5_extras(transformers.T5ForConditionalGeneration.from_pretrained(out / name).eval(), data)
        write_data(out / f"{name}.json", data)


def write_data(path, data):
    path.write_text("{\n" + ",\n".join(f' "{k}": {json.dumps(v)}' for k, v in data.items()) + "\n}\n")


def peft_names(model, task):
    """Of LoRA on all linear layers for a task of classification, whose head PEFT trains whole: "all-linear" fails on that of token classes."""
    import copy

    import peft

    wrapped = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(r=2, target_modules=["query", "key", "value", "dense"] if task == "TOKEN_CLS" else "all-linear", task_type=task))
    return sorted(peft.get_peft_model_state_dict(wrapped))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", action="store_true")
    parser.add_argument("out", type=pathlib.Path)
    args = parser.parse_args()
    out = args.out
    torch.set_num_threads(1)
    if args.search:
        return write_searches(out)
    for seed, (name, model) in enumerate(MODELS.items()):
        rng = np.random.default_rng(100 + seed)
        if name == "t5_gated":  # a head of its own, as the checkpoints of T5 1.1 have it; transformers 5 ties what it makes anew
            model.lm_head.weight = torch.nn.Parameter(torch.empty_like(model.lm_head.weight))
            model.config.tie_word_embeddings = False
        randomise(model, seed)
        seq2seq = name.startswith("t5")
        data = {"ids": [rng.integers(3, VOCABULARY, n).tolist() for n in (1, 7, 40)]}
        if seq2seq:
            data["decoder_ids"] = [[0] + rng.integers(3, VOCABULARY, n).tolist() for n in (3, 11, 24)]
        if name.startswith("bert"):
            data["types"] = [[int(i >= len(s) // 2) for i in range(len(s))] for s in data["ids"]]
        outputs, losses, labelled = [], [], 0
        data["labels"] = []
        for i, ids in enumerate(data["ids"]):
            given = {"input_ids": torch.tensor([ids])}
            if "types" in data:
                given["token_type_ids"] = torch.tensor([data["types"][i]])
            if seq2seq:
                given["decoder_input_ids"] = torch.tensor([data["decoder_ids"][i]])
            made = model(**given)
            logits = made.last_hidden_state[0] if name == "bert_plain" else made.logits[0] if made.logits.dim() == 3 else made.logits
            outputs.append(logits)
            classes = logits.shape[1]
            labels = rng.integers(0, classes, logits.shape[0])
            labels[rng.random(labels.shape) < 0.4] = -100
            labels[0] = 3
            data["labels"].append(labels.tolist())
            labelled += int((labels >= 0).sum())
            losses.append(torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="sum"))
        loss = sum(losses) / labelled
        loss.backward()
        data["loss"] = loss.item()
        np.save(out / f"{name}.npy", torch.cat(outputs).detach().numpy())
        model.save_pretrained(out / name)
        (out / name / "model.safetensors").chmod(0o644)
        if name in ("bert", "bert_plain"):
            save_tokenizer(out / name)
        (out / name / "generation_config.json").unlink(missing_ok=True)
        if name.endswith(("_sequence", "_token")):
            data["peft"] = peft_names(model, "TOKEN_CLS" if name.endswith("_token") else "SEQ_CLS")
        if name not in ("bert_plain",):
            skipped = ("block.1.", "block.2.") if seq2seq else ()  # more of the same, and large
            gradients = {n: p.grad.contiguous() for n, p in model.named_parameters() if p.grad is not None and not any(s in n for s in skipped)}
            save_file(gradients, out / f"{name}.gradients.safetensors")
        if seq2seq:
            t5_extras(model, data)
        write_data(out / f"{name}.json", data)
        values = torch.cat(outputs)
        print(f"{name}: loss {loss.item():.4f}, outputs' deviation {values.std().item():.2f}")


if __name__ == "__main__":
    main()
