#!/usr/bin/env python3
"""The official clients of OpenAI and Anthropic against a running `sedum serve`.

    pip install openai anthropic
    sedum serve --model MODEL --port 8080 &
    tools/check_clients.py [http://127.0.0.1:8080] [--key KEY]

Every call's answer is read through the clients' own types, streams included. Exit 1 at the first that fails.
"""

import argparse
import json

import anthropic
import openai

TOOL = {"name": "get_weather", "description": "The weather in a city", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "warm": {"type": "boolean"}}, "required": ["city", "warm"], "additionalProperties": False}
HELLO = [{"role": "user", "content": "Say hello."}]


def check(name, condition, value=None):
    print(("ok   " if condition else "FAIL ") + name)
    if not condition:
        raise SystemExit(f"{name}: {value!r}")


def chat(client, model):
    answer = client.chat.completions.create(model=model, messages=HELLO, max_completion_tokens=16, temperature=0)
    check("chat", answer.choices[0].message.content is not None and answer.usage.total_tokens > 0, answer)
    pieces, usage = "", None
    for chunk in client.chat.completions.create(model=model, messages=HELLO, max_tokens=16, temperature=0, stream=True, stream_options={"include_usage": True}):
        if chunk.choices:
            pieces += chunk.choices[0].delta.content or ""
        usage = chunk.usage or usage
    check("chat, streamed", pieces == answer.choices[0].message.content and usage.completion_tokens == answer.usage.completion_tokens, pieces)
    several = client.chat.completions.create(model=model, messages=HELLO, max_tokens=4, n=3, seed=1, logprobs=True, top_logprobs=3, presence_penalty=0.5, frequency_penalty=0.5, logit_bias={"5": -100})
    check("chat, n and logprobs", len(several.choices) == 3 and len(several.choices[2].logprobs.content[0].top_logprobs) == 3, several)
    with client.chat.completions.stream(model=model, messages=HELLO, max_tokens=8) as stream:
        stream.until_done()
        try:
            final = stream.get_final_completion()
        except openai.LengthFinishReasonError as cut:  # the client's word for max_tokens
            final = cut.completion
    check("chat, the client's own accumulator", final.choices[0].message.role == "assistant", final)


def chat_tools(client, model):
    tools = [{"type": "function", "function": TOOL}]
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    forced = client.chat.completions.create(model=model, messages=question, tools=tools, tool_choice={"type": "function", "function": {"name": "get_weather"}}, max_tokens=80, temperature=0,
                                            frequency_penalty=0.5)
    call = forced.choices[0].message.tool_calls[0]
    check("chat, a forced call", call.function.name == "get_weather" and (forced.choices[0].finish_reason == "length" or "city" in json.loads(call.function.arguments)), forced)
    name, arguments = "", ""
    for chunk in client.chat.completions.create(model=model, messages=question, tools=tools, tool_choice="required", max_tokens=80, temperature=0, stream=True, frequency_penalty=0.5):
        for part in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            name += part.function.name or ""
            arguments += part.function.arguments or ""
    check("chat, streamed arguments", name == "get_weather" and arguments == call.function.arguments, (name, arguments))
    follow = [*question, forced.choices[0].message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    follow[1]["tool_calls"][0]["function"]["arguments"] = '{"city": "Paris"}'
    check("chat, a tool's result", client.chat.completions.create(model=model, messages=follow, tools=tools, max_tokens=8).choices[0].message is not None)
    schema = client.chat.completions.create(model=model, messages=question, max_tokens=120, temperature=0,
                                            response_format={"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}})
    check("chat, a schema", schema.choices[0].finish_reason == "length" or set(json.loads(schema.choices[0].message.content)) == {"city", "warm"}, schema)


def others(client, model):
    text = client.completions.create(model=model, prompt="Once upon a time", max_tokens=8, logprobs=2, echo=True, temperature=0)
    check("completions", text.choices[0].text.startswith("Once") and text.choices[0].logprobs.token_logprobs[0] is None, text)
    check("completions, streamed", "".join(c.choices[0].text for c in client.completions.create(model=model, prompt="Once", max_tokens=8, stream=True)) != "")
    vectors = client.embeddings.create(model=model, input=["a", "b"])  # base64 behind the scenes
    check("embeddings", len(vectors.data) == 2 and abs(sum(x * x for x in vectors.data[0].embedding) - 1) < 1e-3, vectors)
    check("models", any(m.id == model for m in client.models.list()) and client.models.retrieve(model).id == model)
    for arguments, kind in (({"model": "none"}, openai.NotFoundError), ({"temperature": 9}, openai.BadRequestError), ({"messages": []}, openai.BadRequestError)):
        try:
            client.chat.completions.create(**{"model": model, "messages": HELLO, **arguments})
            check(f"an error for {arguments}", False)
        except kind as failure:
            check(f"an error for {arguments}", failure.body["message"] and "code" in failure.body, failure)


def responses(client, model):
    answer = client.responses.create(model=model, input="Say hello.", max_output_tokens=16, temperature=0)
    check("responses", answer.output_text != "" and answer.usage.output_tokens > 0, answer)
    events = list(client.responses.create(model=model, input="Say hello.", max_output_tokens=16, temperature=0, stream=True))
    check("responses, streamed", "".join(e.delta for e in events if e.type == "response.output_text.delta") == answer.output_text, events)
    with client.responses.stream(model=model, input="Say hello.", max_output_tokens=16, temperature=0) as stream:
        for _ in stream:
            pass
        final = stream.get_final_response() if events[-1].type == "response.completed" else None
    check("responses, the client's own accumulator", final is None or final.output_text == answer.output_text, final)
    call = client.responses.create(model=model, input="What is the weather in Paris?", tools=[{"type": "function", "strict": True, **TOOL}], tool_choice="required", max_output_tokens=80, temperature=0)
    check("responses, a call", call.output[0].type == "function_call" and call.output[0].name == "get_weather", call)


def messages(client, model):
    answer = client.messages.create(model=model, max_tokens=16, extra_body={"temperature": 0}, system="Be brief.", messages=HELLO)
    check("messages", answer.content[0].text is not None and answer.stop_reason in ("end_turn", "max_tokens"), answer)
    with client.messages.stream(model=model, max_tokens=16, extra_body={"temperature": 0}, system="Be brief.", messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    check("messages, streamed", text == answer.content[0].text == final.content[0].text, (text, answer))
    tools = [{"name": TOOL["name"], "description": TOOL["description"], "input_schema": TOOL["parameters"]}]
    question = [{"role": "user", "content": "What is the weather in Paris?"}]
    with client.messages.stream(model=model, max_tokens=80, extra_body={"temperature": 0}, tools=tools, tool_choice={"type": "any"}, messages=question) as stream:
        final = stream.get_final_message()
    use = final.content[0]
    check("messages, a streamed tool use", use.type == "tool_use" and use.name == "get_weather", final)
    follow = [*question, {"role": "assistant", "content": [{"type": "tool_use", "id": use.id, "name": use.name, "input": {"city": "Paris"}}]},
              {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]}]
    check("messages, a tool's result", client.messages.create(model=model, max_tokens=8, tools=tools, messages=follow).type == "message")
    check("messages, count_tokens", client.messages.count_tokens(model=model, messages=HELLO).input_tokens > 0)
    check("models (Anthropic)", client.models.list().data[0].id == model)
    try:
        client.messages.create(model="none", max_tokens=1, messages=HELLO)
        check("an error (Anthropic)", False)
    except anthropic.NotFoundError as failure:
        check("an error (Anthropic)", failure.body["error"]["type"] == "not_found_error", failure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--key", default="none")
    arguments = parser.parse_args()
    client = openai.OpenAI(base_url=arguments.address + "/v1", api_key=arguments.key, max_retries=0)
    model = client.models.list().data[0].id
    chat(client, model)
    others(client, model)
    responses(client, model)
    chat_tools(client, model)
    messages(anthropic.Anthropic(base_url=arguments.address, api_key=arguments.key, max_retries=0), model)
    print("all passed")


if __name__ == "__main__":
    main()
