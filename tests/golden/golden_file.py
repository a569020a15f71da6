"""What all golden files have in common: their layout, sizes and numbers (make_golden.py says what lies in them)."""

import json
import math

import torch
from torch.nn.attention import flex_attention as flex
from torch.nn.attention.flex_attention import create_block_mask, create_mask, flex_attention

flex._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG = True  # eager, without the compiler's machinery around it

# Unequal on every pair of axes. small also runs the attention, medium has ragged blocks, large none.
SMALL, MEDIUM, LARGE = (2, 4, 21, 27), (1, 2, 90, 123), (1, 1, 1024, 1280)
BLOCKS = {"small": [(8, 8)], "medium": [(16, 16), (32, 16)], "large": [(128, 128)]}
HEAD_DIM, VALUE_DIM, KV_HEADS = 8, 3, 2


def numbers(*shape):
    """The same numbers on every machine: no generator whose stream may change."""
    count = math.prod(shape)
    i = torch.arange(count, dtype=torch.int64)
    i = (i * 2654435761 + 12345) % 4294967296
    i = (i ^ (i >> 15)) * 2246822519 % 4294967296
    i = (i ^ (i >> 13)) * 3266489917 % 4294967296
    return ((i ^ (i >> 16)).to(torch.float64) / 2**31 - 1).to(torch.float32).reshape(shape)


def packed_bits(mask):
    flat = mask.flatten().to(torch.uint8)
    flat = torch.nn.functional.pad(flat, (0, -flat.numel() % 8)).reshape(-1, 8)
    return (flat << torch.arange(8, dtype=torch.uint8)).sum(dim=-1).to(torch.uint8)


def stored(tensor):
    """Integers as U8 where they fit, else I32."""
    if tensor.dtype in (torch.int64, torch.int32):
        small = tensor.numel() > 0 and 0 <= tensor.min() and tensor.max() <= 255
        tensor = tensor.to(torch.uint8 if small else torch.int32)
    return tensor.contiguous()


class Golden:
    def __init__(self):
        self.tensors = {}
        self.metadata = {"torch": torch.__version__}
        self.with_attention = True  # of the small size of every case

    def put(self, name, tensor):
        self.tensors[name] = stored(tensor)

    def put_inputs(self):
        B, H, q_len, kv_len = SMALL
        self.put("inputs/q", 2 * numbers(B, H, q_len, HEAD_DIM))
        self.put("inputs/k", 2 * numbers(3, B, KV_HEADS, kv_len, HEAD_DIM)[1])
        self.put("inputs/v", numbers(5, B, KV_HEADS, kv_len, VALUE_DIM)[2])

    def attention(self, name, block_mask, score_mod=None):
        q, k, v = (self.tensors["inputs/" + x].double() for x in "qkv")
        o, lse = flex_attention(q, k, v, score_mod=score_mod, block_mask=block_mask, enable_gqa=True, return_lse=True)
        self.put(name + "/o", o)
        self.put(name + "/lse", lse)

    def case(self, name, meaning, make, sizes=None, score_mod=None):
        """make(B, H, q_len, kv_len) -> (mask_mod, {table: tensor, scalar: int})."""
        self.metadata[name] = meaning
        for size, shape in (sizes or {"small": SMALL, "medium": MEDIUM, "large": LARGE}).items():
            mask_mod, tables = make(*shape)
            at = f"{name}/{size}"
            self.put(at + "/shape", torch.tensor(shape))
            for table, data in tables.items():
                kind, data = ("scalar", torch.tensor([data])) if isinstance(data, int) else ("table", data)
                self.put(f"{at}/{kind}/{table}", data)
            if size != "large":
                self.put(at + "/mask", packed_bits(create_mask(mask_mod, *shape, device="cpu")))
            for block_q, block_kv in BLOCKS.get(size, [(8, 8)]) if score_mod is None else []:
                self.blocks(f"{at}/{block_q}x{block_kv}", mask_mod, shape, (block_q, block_kv))
            if shape == SMALL and (self.with_attention or score_mod is not None):
                self.attention(at, create_block_mask(mask_mod, *shape, device="cpu", BLOCK_SIZE=(8, 8)), score_mod)

    def blocks(self, at, mask_mod, shape, block_size):
        made = create_block_mask(mask_mod, *shape, device="cpu", BLOCK_SIZE=block_size)
        for array in ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices"):
            self.put(f"{at}/{array}", getattr(made, array))
        if block_size == (16, 16):
            self.put(at + "/grid", torch.tensor(list(made.to_string().encode()), dtype=torch.uint8))
        self.metadata[at + "/sparsity"] = repr(made.sparsity())

    def save(self, path):
        """safetensors in a fixed order, so that the same answers are the same file; wide types first: aligned."""
        types = {torch.uint8: "U8", torch.bool: "BOOL", torch.int32: "I32", torch.float16: "F16", torch.float32: "F32",
                 torch.float64: "F64"}
        header, data = {"__metadata__": dict(sorted(self.metadata.items()))}, b""
        for name in sorted(self.tensors, key=lambda name: (-self.tensors[name].element_size(), name)):
            tensor = self.tensors[name]
            end = len(data) + tensor.numel() * tensor.element_size()
            header[name] = {"dtype": types[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [len(data), end]}
            data += tensor.numpy().tobytes()
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text + data)
        print(path, len(self.tensors), "tensors,", len([k for k in self.metadata if k.endswith("sparsity")]), "lists")


def causal(b, h, q, kv):
    return q >= kv


def documents(length, n=4):
    """Ascending ids of documents of unequal lengths; the last one is long."""
    ends = torch.tensor([length * (i + 1) ** 2 // (n + 2) ** 2 for i in range(n)])
    return torch.searchsorted(ends, torch.arange(length), right=True).to(torch.int32)


def window_of(q_len):
    return {21: 5, 90: 16, 1024: 256}[q_len]
