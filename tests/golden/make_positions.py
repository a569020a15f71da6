"""Masks over positions that are data: penzai's layers and llama.cpp's cells, both run."""

import dataclasses
import math
import subprocess
from pathlib import Path

import torch

from golden_file import HEAD_DIM, KV_HEADS, SMALL, Golden, window_of


# ---- penzai ----------------------------------------------------------------------------------------------------------


class Named:
    """What penzai's mask layers ask of its named arrays, over torch: names for dimensions, comparison, subtraction."""

    def __init__(self, data, names):
        self.data, self.names = data, names

    def untag(self, name):
        return Named(self.data, tuple(None if each == name else each for each in self.names))

    def tag(self, name):
        return Named(self.data, tuple(name if each is None else each for each in self.names))

    def aligned(self, names):
        present = [each for each in names if each in self.names]
        data = self.data.permute([self.names.index(each) for each in present])
        return data[tuple(slice(None) if each in self.names else None for each in names)]

    @staticmethod
    def map(function, *arguments):
        names = ()
        for each in arguments:
            names += tuple(x for x in each.names if x not in names) if isinstance(each, Named) else ()
        values = [each.aligned(names) if isinstance(each, Named) else each for each in arguments]
        return Named(function(*values), names)

    def __ge__(self, other):
        return Named.map(lambda a, b: a >= b, self, other)

    def __lt__(self, other):
        return Named.map(lambda a, b: a < b, self, other)

    def __and__(self, other):
        return Named.map(lambda a, b: a & b, self, other)

    def __sub__(self, other):
        return Named.map(lambda a, b: a - b, self, other)


def penzai_layers(originals):
    nmap = lambda function: lambda *arguments: Named.map(function, *arguments)
    jnp = {"where": torch.where, "float32": torch.float32}
    typing = {"ArrayLike": object, "DTypeLike": object}
    named = {"NamedArray": Named, "nmap": nmap, "AxisName": str, "zeros": None}
    generic = type("Generic", (), {"__class_getitem__": classmethod(lambda cls, _: cls)})
    stand_ins = {
        "jax": {}, "jax.typing": typing, "jax.numpy": jnp, "penzai": {}, "penzai.core": {},
        "penzai.core.named_axes": named,
        "penzai.core.struct": {"pytree_dataclass": dataclasses.dataclass},
        "penzai.core.variables": {"StateVariable": generic, "VariableLabel": object},
        "penzai.nn": {}, "penzai.nn.layer": {"Layer": type("Layer", (), {})}, "penzai.nn.layer_stack": {},
    }
    return originals.module("penzai", "penzai/nn/attention.py", stand_ins)


def make_penzai(originals):
    golden = Golden()
    golden.metadata["penzai"] = (originals.version("penzai") + ", penzai/nn/attention.py: its layers run, jax and its "
                                 "named arrays answered by torch")
    golden.put_inputs()
    layers = penzai_layers(originals)
    masked_out = torch.finfo(torch.float32).min

    def positions(q_len, kv_len, order):
        kv = torch.arange(kv_len)
        q = torch.arange(q_len) + (kv_len - q_len)
        if order == "shuffled":  # keys in a ring buffer, empty slots -1; queries in any order
            kv = (kv + kv_len // 3) % kv_len
            kv[torch.arange(kv_len) % 7 == 3] = -1
            q = q.flip(0)
            q[1] = -1  # a padded query attends to nothing
        return q.to(torch.int32), kv.to(torch.int32)

    def layer_of(windowed, w):
        names = {"query_positions_input_name": "q", "kv_positions_input_name": "kv"}
        if windowed:
            return layers.ApplyCausalSlidingWindowAttentionMask(masked_out, w, **names)
        return layers.ApplyCausalAttentionMask(masked_out, **names)

    def make(order, windowed):
        def inner(B, H, q_len, kv_len):
            q_pos, kv_pos = positions(q_len, kv_len, order)
            logits = Named(torch.zeros(q_len, kv_len), ("seq", "kv_seq"))
            layer = layer_of(windowed, window_of(q_len))
            masked = layer(logits, q=Named(q_pos, ("seq",)), kv=Named(kv_pos, ("seq",)))
            keep = masked.aligned(("seq", "kv_seq")) == 0
            return (lambda b, h, q, kv: keep[q, kv]), {"query_positions": q_pos, "kv_positions": kv_pos}

        return inner

    for order in ("ascending", "shuffled"):
        golden.case("causal_" + order, f"ApplyCausalAttentionMask, {order} positions", make(order, False))
        golden.case("window_" + order, f"ApplyCausalSlidingWindowAttentionMask, w = 5, 16, 256, {order} positions",
                    make(order, True))

    # Logits replaced by a finite number: a row without keys averages all of them.
    q, k, v = (golden.tensors["inputs/" + x].double() for x in "qkv")
    k, v = (x.repeat_interleave(SMALL[1] // KV_HEADS, dim=1) for x in (k, v))
    q_pos, kv_pos = positions(*SMALL[2:], "shuffled")
    names = ("b", "h", "seq", "kv_seq")
    logits = Named(q @ k.transpose(-1, -2) / math.sqrt(HEAD_DIM), names)
    masked = layer_of(True, window_of(SMALL[2]))(logits, q=Named(q_pos, ("seq",)), kv=Named(kv_pos, ("seq",)))
    golden.put("window_shuffled/small/masked_out_value_o", torch.softmax(masked.aligned(names), dim=-1) @ v)

    # Positions with a batch axis, as side inputs have them.
    B, H, q_len, kv_len = 2, 1, 7, 11
    kv_pos = torch.stack([torch.arange(kv_len), (torch.arange(kv_len) + 4) % kv_len]).to(torch.int32)
    kv_pos[0, 9:] = -1
    q_pos = torch.stack([torch.arange(q_len) + 2, torch.arange(q_len).flip(0)]).to(torch.int32)
    for name, windowed in (("causal_batched", False), ("window_batched", True)):
        logits = Named(torch.zeros(B, q_len, kv_len), ("b", "seq", "kv_seq"))
        masked = layer_of(windowed, 3)(logits, q=Named(q_pos, ("b", "seq")), kv=Named(kv_pos, ("b", "seq")))
        keep = masked.aligned(("b", "seq", "kv_seq")) == 0
        tables = {"query_positions": q_pos, "kv_positions": kv_pos, "w": 3}
        golden.case(name, "positions [B, seq], w = 3",
                    lambda *_, keep=keep, tables=tables: ((lambda b, h, q, kv: keep[b, q, kv]), tables),
                    {"batched": (B, H, q_len, kv_len)})
    return golden


# ---- llama.cpp -------------------------------------------------------------------------------------------------------


def between(text, first, last):
    """From the line that starts with `first` to the next line that is `last`."""
    lines = text.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith(first))
    return "\n".join(lines[begin : lines.index(last, begin) + 1]) + "\n"


def build_llama_cpp(originals):
    source, folder = "llama/llama.cpp/src/", originals.root / "llama_cpp"
    folder.mkdir()
    for header in ("llama.h", "llama-cparams.h"):  # of these the cells need two types and a number: declared by ours
        (folder / header).write_text("")
    (folder / "llama-kv-cells.h").write_text(originals.text("ollama", source + "llama-kv-cells.h"))
    for path, first, name in (("llama-kv-cache.cpp", "void llama_kv_cache::set_input_kq_mask", "set_input_kq_mask.inc"),
                              ("llama-hparams.cpp", "bool llama_hparams::is_masked_swa", "is_masked_swa.inc")):
        (folder / name).write_text(between(originals.text("ollama", source + path), first, "}"))
    program = folder / "mask"
    host = Path(__file__).parent / "llama_cpp_mask.cpp"
    subprocess.run(["c++", "-std=c++17", "-I", str(folder), str(host), "-o", str(program)], check=True)
    return program


def make_llama_cpp(originals):
    golden = Golden()
    golden.metadata["llama_cpp"] = (
        "llama.cpp ec98e2002 as in " + originals.version("ollama") + ": llama_kv_cache::set_input_kq_mask, "
        "llama_hparams::is_masked_swa and llama_kv_cells run")
    golden.with_attention = False
    program = build_llama_cpp(originals)
    windows = ("none", "standard", "chunked", "symmetric")

    def added(window, causal, alibi, q_len, kv_len):
        """What llama.cpp adds to each score, with -inf where the pair is masked, and the data."""
        cell_at = torch.arange(kv_len)
        cell_pos = (cell_at * 5 + 3) % kv_len  # any order
        cell_pos[cell_at % 9 == 4] = -1
        # Two ids a cell at most; sequence 40 is a second word of bits.
        first, second = (cell_at // (kv_len // 3)) % 3, torch.where(cell_at % 4 == 1, 40, -1)
        token_at = torch.arange(q_len)
        token_pos = (token_at * 3 + kv_len // 4) % kv_len
        token_seq = torch.where(token_at % 5 == 2, 40, token_at % 3)
        n_swa = {21: 9, 90: 25}[q_len]
        words = [int(alibi), int(causal), windows.index(window), n_swa, q_len, kv_len]
        for position, one, two in zip(cell_pos.tolist(), first.tolist(), second.tolist()):
            ids = [each for each in (one, two) if each >= 0 and position >= 0]
            words += [position, len(ids), *ids]
        for position, sequence in zip(token_pos.tolist(), token_seq.tolist()):
            words += [position, sequence]
        done = subprocess.run([str(program)], input=" ".join(map(str, words)), check=True, capture_output=True,
                              text=True)
        values = torch.tensor([-math.inf if each == "x" else float(each) for each in done.stdout.split()])
        tables = {"cell_pos": cell_pos, "cell_seq": torch.stack([first, second]), "token_pos": token_pos,
                  "token_seq": token_seq, "n_swa": n_swa}
        return values.reshape(q_len, kv_len), tables

    def make(window, causal):
        def inner(B, H, q_len, kv_len):
            values, tables = added(window, causal, False, q_len, kv_len)
            return (lambda b, h, q, kv: values[q, kv] == 0), tables

        return inner

    for window in windows:
        for causal in (True, False):
            name = window + ("_causal" if causal else "")
            golden.case(name, f"set_input_kq_mask, {window} window, causal_attn {causal}", make(window, causal),
                        {"small": SMALL, "medium": (1, 2, 90, 123)})
    golden.metadata["alibi"] = "set_input_kq_mask with use_alibi, of none_causal: minus the distance of positions"
    golden.put("alibi/small/added", added("none", True, True, *SMALL[2:])[0])
    return golden
