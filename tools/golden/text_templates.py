#!/usr/bin/env python3
"""Golden values of chat templates: what transformers' own Jinja environment renders.

    tools/golden/text_templates.py [TEST_DATA] [MODELS]

Writes tests/golden/text/templates.json (own templates in tests/golden/text/templates/, and, when the folders are given, published ones of
TEST_DATA/chat_templates and those inside MODELS/*.gguf, which the tests look up by name) and tests/golden/text/jinja.json (the
language, snippet by snippet). Needs transformers 5 and jinja2 3.1.6.
"""
import datetime
import json
import os
import pathlib
import sys

os.environ["TZ"] = "UTC"
from transformers.utils import chat_template_utils as chat  # noqa: E402

NOW = 1767225600 + 45296  # 2026-01-01 12:34:56 UTC
GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/text"

TOOLS = [
    {"type": "function", "function": {"name": "water_plant", "description": "Waters a plant <b>now</b> & \"gently\"", "parameters": {
        "type": "object", "properties": {"plant": {"type": "string", "description": "its name, e.g. \u00c9ch\u00e9veria \u591a\u8089"},
                                         "litres": {"type": "number", "default": 0.25}}, "required": ["plant"]}}},
    {"type": "function", "function": {"name": "list_plants", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
CALL = {"type": "function", "id": "call00001", "function": {"name": "water_plant", "arguments": {"plant": "Haworthia", "litres": 1e-7, "often": [1, 2.0, None, True], "note": "a\"b\\c\n\u00e9\u0001"}}}
OTHER = {"type": "function", "id": "call00002", "function": {"name": "list_plants", "arguments": {}}}
CONVERSATIONS = {
    "one": [{"role": "user", "content": "How often do I water a Sedum?"}],
    "system": [{"role": "system", "content": "  Be brief.\n"}, {"role": "user", "content": "\u4f60\u597d\uff0c\u591a\u8089\u591a\u4e45\u6d47\u4e00\u6b21\u6c34\uff1f \U0001f335"}],
    "turns": [{"role": "user", "content": "Hi "}, {"role": "assistant", "content": "Hello! What grows?"}, {"role": "user", "content": "A cactus\n\n"}, {"role": "assistant", "content": " Lucky you.  "}],
    "system_turns": [{"role": "system", "content": "S"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
    "thinking": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "<think>\neasy\n</think>\n\n4"}, {"role": "user", "content": "3+3?"}, {"role": "assistant", "content": "6", "reasoning_content": "also easy"}],
    "tool": [{"role": "system", "content": "You may use tools."}, {"role": "user", "content": "Water it."}, {"role": "assistant", "content": "", "tool_calls": [CALL]},
             {"role": "tool", "name": "water_plant", "tool_call_id": "call00001", "content": "{\"ok\": true}"}, {"role": "assistant", "content": "Done."}, {"role": "user", "content": "Thanks"}],
    "tool_open": [{"role": "user", "content": "Water both."}, {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "tool", "name": "water_plant", "tool_call_id": "call00001", "content": "ok"}],
    "calls": [{"role": "system", "content": "S"}, {"role": "user", "content": "Water two."}, {"role": "assistant", "content": "I will.", "reasoning_content": "Two calls\nare needed.", "tool_calls": [CALL, OTHER]},
              {"role": "tool", "name": "water_plant", "tool_call_id": "call00001", "content": "ok"}, {"role": "tool", "name": "list_plants", "tool_call_id": "call00002", "content": {"plants": ["Aloe", "\u591a\u8089"], "n": 2}}],
    "calls_open": [{"role": "user", "content": "Water two."}, {"role": "assistant", "tool_calls": [OTHER, CALL]}, {"role": "tool", "name": "list_plants", "tool_call_id": "call00002", "content": "[]"},
                   {"role": "tool", "name": "water_plant", "tool_call_id": "call00001", "content": "<ok>"}, {"role": "assistant", "content": "<think>done</think>Both."}, {"role": "user", "content": "More?"}],
    "text_arguments": [{"role": "user", "content": "List."}, {"role": "assistant", "content": "", "tool_calls": [{"id": "call00003", "type": "function", "function": {"name": "list_plants", "arguments": "{\"all\": true}"}}]},
                       {"role": "tool", "tool_call_id": "call00003", "content": "none"}],
    "ipython": [{"role": "user", "content": "Compute."}, {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "ipython", "content": {"output": 4}}, {"role": "assistant", "content": "4"}],
    "bare_calls": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "", "tool_calls": [{"name": "list_plants", "arguments": {}}]}, {"role": "tool", "content": "y"}, {"role": "user", "content": "z"}],
    "developer": [{"role": "developer", "content": "D"}, {"role": "user", "content": "u"}],
    "think_modes": [{"role": "system", "content": "Think. /no_think please"}, {"role": "user", "content": "hi /think"}, {"role": "assistant", "content": "\n<think>\n\n</think>\n\nyes"}, {"role": "user", "content": "b"}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image"}, {"type": "text", "text": "what is it?"}]}],
    "broken": [{"role": "assistant", "content": "I begin."}, {"role": "assistant", "content": "And go on."}],
    "empty": [],
}


def gguf_template(path):
    import gguf
    return gguf.GGUFReader(path).fields["tokenizer.chat_template"].contents()


def compile_template(source):
    template = chat._compile_jinja_template(source)
    template.globals["strftime_now"] = lambda f: datetime.datetime.fromtimestamp(NOW).strftime(f)
    return template


def render(template, messages, tools, **variables):
    messages = chat._alias_reasoning_fields(json.loads(json.dumps(messages)))
    return template.render(messages=messages, tools=tools, documents=None, bos_token="<s>", eos_token="</s>", **variables)


def render_all(name, source, cases):
    template = compile_template(source)
    for key, messages in CONVERSATIONS.items():
        for prompt in (False, True):
            for tools in (None, TOOLS):
                for thinking in ((None,) if "enable_thinking" not in source else (None, False, True)):
                    case = {"template": name, "conversation": key, "add_generation_prompt": prompt, "tools": tools is not None}
                    variables = {} if thinking is None else {"enable_thinking": thinking}
                    if variables:
                        case["variables"] = variables
                    try:
                        case["text"] = render(template, messages, tools, add_generation_prompt=prompt, **variables)
                    except Exception as error:  # the templates' own complaints and Python's
                        case["error"] = str(error)
                    cases.append(case)
        if "generation %}" in source or "generation -%}" in source:
            text, spans = chat._render_with_assistant_indices(template, chat._alias_reasoning_fields(messages), None, None, False, bos_token="<s>", eos_token="</s>")
            size = lambda n: len(text[:n].encode())
            cases.append({"template": name, "conversation": key, "spans": [[size(a), size(b)] for a, b in spans], "text": text})


SNIPPETS = [line for line in (pathlib.Path(__file__).parent / "text_jinja_snippets.txt").read_text().split("\n----\n")]
VARIABLES = {"xs": [3, 1, 2], "names": ["Aloe", "crassula", "Sedum"], "d": {"b": 1, "a": [1, {"x": None}], "items": 5, "Z": 2.5}, "t": "  Hello, w\u00f6rld \U0001f335\n", "n": 7,
             "f": 1.5, "none": None, "empty": [], "html": "<a href=\"x\">&'</a>", "plants": [{"n": "Aloe", "k": "x", "w": 2}, {"n": "Echeveria", "k": "y", "w": 1}, {"n": "Agave", "k": "x", "w": 3}],
             "lines": "one\ntwo\n\nthree\r\nfour", "multi": "a,b,,c", "yes": True}


def snippets():
    cases = []
    for source in SNIPPETS:
        case = {"source": source}
        try:
            case["text"] = compile_template(source).render(**json.loads(json.dumps(VARIABLES)))
        except Exception as error:
            case["error"] = str(error)
        cases.append(case)
    return {"now": NOW, "variables": VARIABLES, "cases": cases}


def main():
    cases = []
    for path in sorted((GOLDEN / "templates").glob("*.jinja")):
        render_all("own/" + path.name, path.read_text(), cases)
    if len(sys.argv) > 1:
        for path in sorted(pathlib.Path(sys.argv[1], "chat_templates").glob("*.jinja")):
            render_all("data/" + path.name, path.read_text(), cases)
    if len(sys.argv) > 2:
        for path in sorted(pathlib.Path(sys.argv[2]).glob("*.gguf")):
            render_all("models/" + path.name, gguf_template(path), cases)
    golden = {"now": NOW, "tools": TOOLS, "conversations": CONVERSATIONS, "cases": cases}
    (GOLDEN / "templates.json").write_text(json.dumps(golden, ensure_ascii=False, indent=0) + "\n")
    (GOLDEN / "jinja.json").write_text(json.dumps(snippets(), ensure_ascii=False, indent=0) + "\n")
    failed = [c for c in cases if "error" in c]
    print(len(cases), "renderings,", len(failed), "refused;", len(SNIPPETS), "snippets")


main()
