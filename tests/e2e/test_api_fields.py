"""Every field of every request body, as the served description names them, with wrong type, range and size: refused or answered, never a fault of the server."""

import copy
import json
import time

from sedum_testing import TINY, SedumTest, Server, main

DEPTH = 4  # of fields within fields: messages, content, a part, its text


def nested(depth, value=1):
    for _ in range(depth):
        value = [value]
    return value


# Raw JSON, for some of it no JSON library writes.
WRONG = {
    "null": "null", "true": "true", "zero": "0", "negative": "-1", "fraction": "0.5", "huge": "1e300", "past 64 bits": "99999999999999999999999", "least 64 bits": "-9223372036854775808",
    "infinite": "1e999", "NaN": "NaN", "Infinity": "-Infinity", "NaN as text": '"NaN"', "empty text": '""', "text": '"x"', "NUL": '"\\u0000"', "half a pair": '"\\ud800"',
    "huge text": json.dumps("x" * 100_000), "empty list": "[]", "list of null": "[null]", "long list": json.dumps([1] * 20_000), "empty object": "{}", "object": '{"x": {"y": [1]}}',
    "nested lists": json.dumps(nested(80)), "deep": "[" * 20_000 + "]" * 20_000, "deep objects": '{"a":' * 2000 + "1" + "}" * 2000,
}  # fmt: skip
NO_JSON = {"NaN", "Infinity"}
MARK = "the value under test"


class Description:
    def __init__(self, document):
        self.document = document

    def resolve(self, schema):
        while "$ref" in schema:
            target = self.document
            for part in schema["$ref"][2:].split("/"):
                target = target[part]
            schema = target
        return schema

    def alternatives(self, schema):
        schema = self.resolve(schema)
        found = [schema]
        for word in ("oneOf", "anyOf", "allOf"):
            for inner in schema.get(word, []):
                found += self.alternatives(inner)
        return found

    def sample(self, schema, depth=0):
        """A small value that the schema allows, more or less: what stands around the field under test."""
        for one in self.alternatives(schema):
            if "const" in one:
                return one["const"]
            if "enum" in one:
                return one["enum"][0]
        for one in self.alternatives(schema):
            kind = one.get("type")
            kind = kind[0] if isinstance(kind, list) else kind
            if kind == "object" or "properties" in one:
                return {name: self.sample(one["properties"][name], depth + 1) for name in one.get("required", []) if name in one.get("properties", {})} if depth < 8 else {}
            if kind == "array":
                return [self.sample(one["items"], depth + 1)] if one.get("minItems") and "items" in one else []
            if kind in ("integer", "number"):
                return max(one.get("minimum", 1), 1)
            if kind in ("string", "boolean"):
                return "x" if kind == "string" else False
        return "x"

    def bodies(self, schema, base):
        """(field's name, body with MARK in its place)."""
        yield from self.places(schema, base, "", 0, lambda value: value)

    def places(self, schema, base, name, depth, wrap):
        if depth >= DEPTH:
            return
        for one in self.alternatives(schema):
            around = base if isinstance(base, dict) else self.sample(one)
            for key, inner in one.get("properties", {}).items():
                if not isinstance(around, dict):
                    continue

                def put(value, key=key, around=around):
                    return wrap({**copy.deepcopy(around), key: value})

                yield f"{name}.{key}", put(MARK)
                yield from self.places(inner, around.get(key), f"{name}.{key}", depth + 1, put)
            if isinstance(one.get("items"), dict):
                first = base[0] if isinstance(base, list) and base else None
                yield f"{name}[]", wrap([MARK])
                yield from self.places(one["items"], first, f"{name}[]", depth + 1, lambda value: wrap([value]))


class Fields(SedumTest):
    def error_of(self, path, body):
        """What is wrong with an error's body, or nothing."""
        try:
            answer = json.loads(body)
        except ValueError:
            return "no JSON"
        error = answer.get("error") if isinstance(answer, dict) else None
        if not isinstance(error, dict) or not isinstance(error.get("message"), str) or not error["message"] or not isinstance(error.get("type"), str):
            return "no error object"
        if path.startswith("/v1/messages"):
            return "" if answer.get("type") == "error" else "not Anthropic's error object"
        return "" if {"param", "code"} <= set(error) else "not OpenAI's error object"

    def test_every_field(self):
        faults, asked, statuses = [], 0, {}
        seen = set()
        with Server(TINY) as server:
            description = Description(server.get("/openapi.json")[1])
            for path, operations in description.document["paths"].items():
                for method, operation in operations.items():
                    content = (operation.get("requestBody") or {}).get("content", {}).get("application/json") if isinstance(operation, dict) else None
                    if not content:
                        continue
                    base = {**content["example"]}
                    if "model" in base:
                        base["model"] = server.model
                    limit = {"/v1/responses": "max_output_tokens", "/v1/chat/completions": "max_tokens", "/v1/completions": "max_tokens", "/v1/messages": "max_tokens"}.get(path)
                    if limit:
                        base[limit] = 1
                    address = path.replace("{id}", "abc")
                    for name, body in description.bodies(content["schema"], base):
                        text = json.dumps(body)
                        if (method, path, text) in seen or json.dumps(MARK) not in text:
                            continue
                        seen.add((method, path, text))
                        for what, value in WRONG.items():
                            started = time.monotonic()
                            status, answer = server.request(address, text.replace(json.dumps(MARK), value, 1).encode(), method=method.upper())
                            took = time.monotonic() - started
                            asked += 1
                            statuses[status] = statuses.get(status, 0) + 1
                            where = f"{method} {path} {name} = {what}: {status} {answer[:200]!r}"
                            if status >= 500 or 300 <= status < 400:
                                faults.append(where)
                            elif status >= 400 and (wrong := self.error_of(path, answer)):
                                faults.append(f"{wrong}: {where}")
                            elif status < 300 and what in NO_JSON:
                                faults.append(f"taken though no JSON: {where}")
                            if took > 10:
                                faults.append(f"{took:.1f} s: {where}")
            self.assertEqual(server.request("/health")[0], 200)
            self.assertIsInstance(server.chat("Hi", max_tokens=2), str)
            self.assertEqual(server.stop(), 0)
        print(f"{asked} requests over {len(seen)} fields: {statuses}")
        self.assertGreater(len(seen), 150)
        self.assertEqual(faults, [], f"{len(faults)} faults")


if __name__ == "__main__":
    main()
