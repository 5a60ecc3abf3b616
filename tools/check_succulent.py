#!/usr/bin/env python3
"""Checks the succulent-care data set: python3 tools/check_succulent.py [FOLDER]

Every breach is printed as file:line: what is wrong; exit status 1 if there is any. Standard library only.

The limits below are the promises of assistants/succulent/README.md. An evaluation row tells something about learning
only while its question is new, so the most important checks are that no family stands in both files and that no
two texts are nearly the same.
"""

import json
import pathlib
import re
import sys
import unicodedata
from collections import Counter

ROWS = {"train.jsonl": 270, "eval.jsonl": 30}
DEMONSTRATIONS = "questions.jsonl"
DEMONSTRATION_ROWS = {"zh": 5, "en": 5}
KEYS = {"id", "lang", "topic", "family", "instruction", "input", "output"}
TOPICS = {"watering", "light", "soil", "repotting", "containers_tools", "fertiliser", "propagation", "pests", "disease",
          "dormancy", "species", "purchase", "safety", "climate", "ask_back", "off_topic"}
ROWS_PER_LANGUAGE = {"zh": (150, 170), "en": (130, 150)}
# Behaviours that would be lost in the average: the least number of rows in either file.
LEAST_OF_TOPIC = {"ask_back": {"train.jsonl": 20, "eval.jsonl": 3}, "off_topic": {"train.jsonl": 12, "eval.jsonl": 2}}

# Characters for Chinese, words for English. Questions and answers so bounded stay below 256 tokens of a bilingual BPE.
QUESTION_LENGTH = {"zh": (4, 120), "en": (3, 60)}
ANSWER_LENGTH = {"zh": (60, 260), "en": (40, 120)}
ANSWER_SENTENCES = (2, 8)

SHINGLE = 5  # characters
MOST_ALIKE = 0.6  # Jaccard index of the shingles of two texts; the closest pair of the first edition has 0.26

HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
LATIN = re.compile(r"[A-Za-zÀ-ÿ]")
HALF_WIDTH_BESIDE_HAN = re.compile(r"[\u4e00-\u9fff][,;:?!()]|[,;:?!()][\u4e00-\u9fff]")
# A full stop after one capital or a short rank ("H. cooperi", "var. truncata") ends no sentence.
SENTENCE_END = {"zh": re.compile("[\u3002\uff01\uff1f]"),
                "en": re.compile(r"(?<![A-Z])(?<!var)(?<!subsp)[.!?]+[\")]*(?=\s|$)")}


class Report:
    def __init__(self):
        self.breaches = 0

    def breach(self, where, problem):
        self.breaches += 1
        print(f"{where}: {problem}")


def read_rows(path, report):
    """Yields (where, object) for each line; a line that is no JSON object is a breach."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        report.breach(f"{path.name}:1", f"cannot be read: {error}")
        return
    if text and not text.endswith("\n"):
        report.breach(f"{path.name}:{text.count(chr(10)) + 1}", "the last line has no end")
    for number, line in enumerate(text.split("\n")[:-1] if text.endswith("\n") else text.split("\n"), 1):
        where = f"{path.name}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            report.breach(where, f"not JSON: {error}")
            continue
        if not isinstance(row, dict):
            report.breach(where, "not a JSON object")
            continue
        yield where, row


def script_of(text):
    """The language a text is written in, judged by its letters; None if they are mixed or there are none."""
    han, latin = len(HAN.findall(text)), len(LATIN.findall(text))
    if han + latin == 0:
        return None
    if han == 0:
        return "en"
    # Latin plant names may be half of the letters of a Chinese answer; one Han character weighs about three.
    return "zh" if 3 * han > latin else None


def length(lang, text):
    return len(text) if lang == "zh" else len(text.split())


def check_fields(where, row, report):
    """True if the row has the right keys and types, so that the other checks may use them."""
    if set(row) != KEYS:
        wrong = sorted(set(row) ^ KEYS)
        report.breach(where, f"keys missing or unknown: {', '.join(wrong)}")
        return False
    for key, value in row.items():
        if not isinstance(value, str):
            report.breach(where, f"'{key}' is not a string")
            return False
        if key != "input" and not value:
            report.breach(where, f"'{key}' is empty")
            return False
        if value != value.strip() or "  " in value or "\t" in value:
            report.breach(where, f"'{key}' has superfluous white space")
        if value != unicodedata.normalize("NFC", value) or "\ufffd" in value:
            report.breach(where, f"'{key}' is not clean NFC text")
    if row["lang"] not in ROWS_PER_LANGUAGE:
        report.breach(where, f"unknown language '{row['lang']}'")
        return False
    if row["topic"] not in TOPICS:
        report.breach(where, f"unknown topic '{row['topic']}'")
    if not re.fullmatch(r"s\d{3}", row["id"]):
        report.breach(where, f"the id '{row['id']}' is not of the form s000")
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", row["family"]):
        report.breach(where, f"the family '{row['family']}' is not of the form word-word")
    return True


def check_text(where, row, report):
    lang = row["lang"]
    question, answer = question_of(row), row["output"]
    for name, text in (("question", question), ("answer", answer)):
        if script_of(text) != lang:
            report.breach(where, f"the {name} is not written in '{lang}'")
        if lang == "zh" and HALF_WIDTH_BESIDE_HAN.search(text):
            report.breach(where, f"half-width punctuation beside Chinese in the {name}")
    for name, text, limits in (("question", question, QUESTION_LENGTH), ("answer", answer, ANSWER_LENGTH)):
        least, most = limits[lang]
        if not least <= length(lang, text) <= most:
            report.breach(where, f"the {name}'s length {length(lang, text)} is outside {least}..{most}")
    sentences = len(SENTENCE_END[lang].findall(answer))
    if not ANSWER_SENTENCES[0] <= sentences <= ANSWER_SENTENCES[1]:
        report.breach(where, f"the answer has {sentences} sentences, not {ANSWER_SENTENCES[0]}..{ANSWER_SENTENCES[1]}")


def question_of(row):
    return f"{row['instruction']}\n{row['input']}" if row["input"] else row["instruction"]


def check_ids_and_families(rows, report):
    ids, families = {}, {}
    for where, row in rows:
        if row["id"] in ids:
            report.breach(where, f"the id '{row['id']}' stands already in {ids[row['id']]}")
        ids.setdefault(row["id"], where)
        first, topic = families.setdefault(row["family"], (where, row["topic"]))
        if first.split(":")[0] != where.split(":")[0]:
            report.breach(where, f"the family '{row['family']}' stands in both files, see {first}")
        if topic != row["topic"]:
            report.breach(where, f"the family '{row['family']}' has another topic in {first}")


def shingles(text):
    kept = "".join(c for c in text.lower() if c.isalnum())
    return {kept[i:i + SHINGLE] for i in range(max(1, len(kept) - SHINGLE + 1))}


def check_near_duplicates(name, texts, report):
    """texts: [(where, text)]. Compares every pair; 310 texts make 48,000 pairs, about a second."""
    seen = []
    for where, text in texts:
        own = shingles(text)
        for other_where, other in seen:
            smaller, larger = sorted((len(own), len(other)))
            if smaller <= MOST_ALIKE * larger:
                continue  # The index can't exceed smaller / larger.
            common = len(own & other)
            if common > MOST_ALIKE * (len(own) + len(other) - common):
                report.breach(where, f"the {name} is nearly that of {other_where}")
        seen.append((where, own))


def check_counts(rows, report):
    for name, expected in ROWS.items():
        found = [row for where, row in rows if where.startswith(name + ":")]
        if len(found) != expected:
            report.breach(f"{name}:1", f"{len(found)} sound rows, not {expected}")
        for topic, least in LEAST_OF_TOPIC.items():
            count = sum(row["topic"] == topic for row in found)
            if count < least[name]:
                report.breach(f"{name}:1", f"{count} rows of '{topic}', fewer than {least[name]}")
    languages = Counter(row["lang"] for _, row in rows)
    for lang, (least, most) in ROWS_PER_LANGUAGE.items():
        if not least <= languages[lang] <= most:
            report.breach("train.jsonl:1", f"{languages[lang]} rows in '{lang}' over both files, not {least}..{most}")


def read_demonstrations(path, report):
    """[(where, question)] of the side-by-side questions: one user message each."""
    questions = []
    for where, row in read_rows(path, report):
        messages = row.get("messages")
        sound = (set(row) == {"messages"} and isinstance(messages, list) and len(messages) == 1 and
                 isinstance(messages[0], dict) and set(messages[0]) == {"role", "content"} and
                 messages[0]["role"] == "user" and isinstance(messages[0]["content"], str))
        if sound:
            questions.append((where, messages[0]["content"]))
        else:
            report.breach(where, 'not of the form {"messages": [{"role": "user", "content": "..."}]}')
    for where, question in questions:
        if script_of(question) is None:
            report.breach(where, "neither Chinese nor English")
        elif script_of(question) == "zh" and HALF_WIDTH_BESIDE_HAN.search(question):
            report.breach(where, "half-width punctuation beside Chinese")
    found = Counter(script_of(question) for _, question in questions)
    for lang, expected in DEMONSTRATION_ROWS.items():
        if found[lang] != expected:
            report.breach(f"{path.name}:1", f"{found[lang]} questions in '{lang}', not {expected}")
    return questions


def main():
    default = pathlib.Path(__file__).resolve().parent.parent / "assistants" / "succulent"
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else default
    report = Report()
    rows = [(where, row) for name in ROWS for where, row in read_rows(folder / name, report)
            if check_fields(where, row, report)]
    for where, row in rows:
        check_text(where, row, report)
    check_ids_and_families(rows, report)
    check_counts(rows, report)
    demonstrations = read_demonstrations(folder / DEMONSTRATIONS, report)
    check_near_duplicates("question", [(where, question_of(row)) for where, row in rows] + demonstrations, report)
    check_near_duplicates("answer", [(where, row["output"]) for where, row in rows], report)
    if report.breaches:
        print(f"{report.breaches} breaches", file=sys.stderr)
        return 1
    print(f"{len(rows)} rows and {len(demonstrations)} demonstration questions are sound")
    return 0


if __name__ == "__main__":
    sys.exit(main())
