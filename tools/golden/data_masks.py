#!/usr/bin/env python3
"""Loss masks as transformers makes them: tests/golden/data/{tokenizer.json,masks.json}.

A byte-level BPE of some hundred tokens is trained on the lines below; conversations are rendered by a ChatML template with
`generation` blocks, and apply_chat_template gives ids and assistant mask. The plain variant of the template, without the blocks, must
lead to the same ids and, by comparing prefixes, to the same mask.
"""
import json
import pathlib

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "data"

LINES = [
    "Water a succulent when its soil is dry all the way through.",
    "How often should I water my echeveria in winter? Every three or four weeks is enough.",
    "system user assistant You are a helpful assistant who knows succulents.",
    "多肉植物冬天怎么浇水？土干透了再浇，冬天三四个星期浇一次就够了。",
    "One:\n\n  two\n\n  three\n\n  four\n\n  five",  # for the merge of a prompt's line break with an answer's first
    "叶子发黄是因为浇水太多，换土并修掉烂根。",
]

GENERATION = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}{{ '\n' }}"
    "{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
PLAIN = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


CONVERSATIONS = [
    [user("How often should I water my echeveria?"), assistant("When the soil is dry.")],
    [{"role": "system", "content": "You know succulents."}, user("多肉冬天怎么浇水？"), assistant("土干透了再浇。🌵")],
    [user("a"), assistant("b"), user("Why? 为什么"), assistant("  Because\n\nof the roots.\n")],
    [user("x"), assistant("\nAn answer that begins with a line break")],
    [user("x"), assistant("\n  An answer whose first line break merges with the prompt's last")],
    [user("cafe\u0301"), assistant("e\u0301 stays as it is: no normalisation here")],
]


def build():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES, trainer)
    return tokenizer


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    tokenizer = build()
    tokenizer.save(str(OUT / "tokenizer.json"))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", bos_token="<|endoftext|>")
    cases = []
    for messages in CONVERSATIONS:
        fast.chat_template = GENERATION
        out = fast.apply_chat_template(messages, return_dict=True, return_assistant_tokens_mask=True)
        fast.chat_template = PLAIN
        plain = fast.apply_chat_template(messages, return_dict=True)
        assert out["input_ids"] == plain["input_ids"]
        cases.append({"messages": messages, "ids": out["input_ids"], "mask": out["assistant_masks"]})
    golden = {"generation_template": GENERATION, "plain_template": PLAIN, "cases": cases}
    (OUT / "masks.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
