#!/usr/bin/env python3
"""Writes a random language model of half a megabyte that llama-server loads: model.py FILE.

It has learnt nothing. Its vocabulary is the 256 bytes, the two marks of ChatML and <tool_call>; one layer of
random weights. One channel is the same for every token, and the output's column for it is how often each token
comes: text is noise of a few letters, a request with tools opens a call about every fourth word, and what a
call holds is chosen by chance among what the server's grammar allows. The letters are such that no command
that does harm is spelt with them, because some of the calls are valid and run.

Source of the format: GGUF version 3, as Debian's libggml0 reads it.
"""
import math
import random
import struct
import sys

WIDTH, HIDDEN, HEADS, CONTEXT = 64, 256, 4, 131072
CONSTANT = 16.0  # the first channel of every embedding; the others are noise of about 1
RARE = -18.0     # of what only a grammar asks for
WEIGHTS = {      # relative, of what comes by itself
    **dict.fromkeys("brsw", 16.0), " ": 10.0, "\n": 1.0, "\\": 0.5, '"': 8.0, "}": 3.0, ",": 1.0, "<": 2.0,
    "\u00c3": 0.5, "\u00a9": 0.5, "<tool_call>": 2.0, "<|im_end|>": 1.0,
}

TEMPLATE = """\
{%- if tools %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n\\n<tools>' }}
{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\n\\nFor each call:\\n<tool_call>{"name": <name>, "arguments": <object>}</tool_call>' }}
{{- '<|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}
{{- '<|im_start|>assistant\\n' }}
{%- if message.content %}{{- message.content }}{%- endif %}
{%- for call in message.tool_calls or [] %}
{%- if (loop.first and message.content) or not loop.first %}{{- '\\n' }}{%- endif %}
{%- if call.function %}{%- set call = call.function %}{%- endif %}
{{- '<tool_call>{"name": "' + call.name + '", "arguments": ' }}
{%- if call.arguments is string %}{{- call.arguments }}{%- else %}{{- call.arguments | tojson }}{%- endif %}
{{- '}</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


def byte_names():
    """How GPT-2's vocabulary spells each byte: itself where it is printable, else one from 256 on."""
    plain = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in plain else next(others)) for byte in range(256)]


NORMAL, CONTROL, DEFINED = 1, 3, 4  # kinds of token
SPECIAL = [("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("<tool_call>", DEFINED)]
NAMES = [*byte_names(), *(name for name, _ in SPECIAL)]
END = NAMES.index("<|im_end|>")


def string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


PACK = {4: lambda v: struct.pack("<I", v), 5: lambda v: struct.pack("<i", v), 6: lambda v: struct.pack("<f", v),
        7: lambda v: struct.pack("<?", v), 8: string}
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


def entry(name, kind, value):
    if not isinstance(value, list):
        return string(name) + struct.pack("<I", kind) + PACK[kind](value)
    return string(name) + struct.pack("<IIQ", ARRAY, kind, len(value)) + b"".join(map(PACK[kind], value))


def entries():
    kinds = [NORMAL] * 256 + [kind for _, kind in SPECIAL]
    return [
        entry("general.architecture", STRING, "llama"),
        entry("general.name", STRING, "noise"),
        entry("llama.context_length", U32, CONTEXT),
        entry("llama.embedding_length", U32, WIDTH),
        entry("llama.block_count", U32, 1),
        entry("llama.feed_forward_length", U32, HIDDEN),
        entry("llama.attention.head_count", U32, HEADS),
        entry("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        entry("tokenizer.ggml.model", STRING, "gpt2"),
        entry("tokenizer.ggml.pre", STRING, "gpt-2"),
        entry("tokenizer.ggml.tokens", STRING, NAMES),
        entry("tokenizer.ggml.token_type", I32, kinds),
        entry("tokenizer.ggml.merges", STRING, []),
        entry("tokenizer.ggml.bos_token_id", U32, END),
        entry("tokenizer.ggml.eos_token_id", U32, END),
        entry("tokenizer.ggml.add_bos_token", BOOL, False),
        entry("tokenizer.chat_template", STRING, TEMPLATE),
    ]


def biases():
    spelt = {name: index for index, name in enumerate(NAMES)}
    plain = {chr(byte): name for byte, name in enumerate(byte_names())}
    out = [RARE] * len(NAMES)
    for word, weight in WEIGHTS.items():
        out[spelt[plain.get(word, word)]] = math.log(weight)
    return out


def tensors(chance):
    """(name, row length, values), rows one after the other."""
    def noise(rows, columns, spread):
        return columns, [chance.gauss(0, spread) for _ in range(rows * columns)]

    def ones():
        return 0, [1.0] * WIDTH

    columns, embedding = noise(len(NAMES), WIDTH, 1)
    embedding[::WIDTH] = [CONSTANT] * len(NAMES)
    _, output = noise(len(NAMES), WIDTH, 0.02)
    # What the norm leaves of the constant channel; the layer adds little to it.
    kept = CONSTANT / ((CONSTANT ** 2 + WIDTH - 1) / WIDTH) ** 0.5
    output[::WIDTH] = [bias / kept for bias in biases()]
    yield "token_embd.weight", columns, embedding
    yield "output_norm.weight", *ones()
    yield "output.weight", columns, output
    yield "blk.0.attn_norm.weight", *ones()
    for part in ("q", "k", "v", "output"):
        yield f"blk.0.attn_{part}.weight", *noise(WIDTH, WIDTH, 0.02)
    yield "blk.0.ffn_norm.weight", *ones()
    yield "blk.0.ffn_gate.weight", *noise(HIDDEN, WIDTH, 0.02)
    yield "blk.0.ffn_up.weight", *noise(HIDDEN, WIDTH, 0.02)
    yield "blk.0.ffn_down.weight", *noise(WIDTH, HIDDEN, 0.02)


def write(file, chance):
    infos, data = [], b""
    for name, columns, values in tensors(chance):
        shape = [columns, len(values) // columns] if columns else [len(values)]
        infos.append(string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, len(data)))
        data += struct.pack(f"<{len(values)}f", *values)
        data += bytes(-len(data) % 32)
    about = entries()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(infos), len(about)) + b"".join(about) + b"".join(infos)
    file.write(head + bytes(-len(head) % 32) + data)


if __name__ == "__main__":
    with open(sys.argv[1], "wb") as out:
        write(out, random.Random(1))
