#!/usr/bin/env python3
"""What `tokenizers` makes of some texts: tests/golden/course/wordpiece.json, for the lesson on preprocessing.

Needs tokenizers. The tokenizer is that of tests/golden/models/bert. For each text its ids; cut at 10 tokens; as the first of a pair with the next one;
and all of them padded to one length, with the attention mask.
"""
import json
import pathlib

from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden"
TEXTS = ["Water the plant.", "How often is the soil dry in winter?", "Unwatered leaf: 12.5!", "LIGHT"]


def main():
    tokenizer = Tokenizer.from_file(str(ROOT / "models" / "bert" / "tokenizer.json"))
    golden = {"texts": TEXTS, "ids": [tokenizer.encode(t).ids for t in TEXTS]}
    pairs = [tokenizer.encode(a, b) for a, b in zip(TEXTS, TEXTS[1:] + TEXTS[:1])]
    golden["pair_ids"], golden["pair_types"] = [p.ids for p in pairs], [p.type_ids for p in pairs]
    tokenizer.enable_truncation(10)
    golden["cut_ids"] = [tokenizer.encode(t).ids for t in TEXTS]
    tokenizer.no_truncation()
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    batch = tokenizer.encode_batch(TEXTS)
    golden["padded_ids"], golden["attention_mask"] = [b.ids for b in batch], [b.attention_mask for b in batch]
    (ROOT / "course" / "wordpiece.json").write_text("{\n" + ",\n".join(f' "{k}": {json.dumps(v)}' for k, v in golden.items()) + "\n}\n")


if __name__ == "__main__":
    main()
