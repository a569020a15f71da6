#!/usr/bin/env python3
"""Runs the systems that docs/sources/ names and writes what they answer, for tests/sources to compare with.

usage: make_golden.py FOLDER      writes flex_attention, hugging_face, penzai and modded_nanogpt .safetensors there

Needs torch and transformers (the committed files: Debian forky's python3-torch 2.14.1,
python3-transformers 5.12.1). The tests need neither: they read the files. PyTorch's and Hugging Face's functions are
called as they are. The notebook's, penzai's and modded-nanogpt's predicates are written anew from their definitions,
and run through the same PyTorch.

A case of a file:
  CASE/SIZE/shape                 I32 [B, H, q_len, kv_len]
  CASE/SIZE/table/NAME            what the mask reads
  CASE/SIZE/mask                  create_mask's [B, H, q, kv], 8 elements a byte, the first in the lowest bit
  CASE/SIZE/BLOCKS/kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices,
                                  and of 16x16 the grid: its to_string(), UTF-8
  CASE/SIZE/o, lse                flex_attention in float64 on the inputs of SIZE
  inputs/q, k, v                  F32; [B, Hq, q, D], [B, Hkv, kv, D], [B, Hkv, kv, Dv]
and in the metadata CASE/SIZE/BLOCKS/sparsity, the versions and what the case is.
"""

import json
import math
import sys
import warnings

import torch
import transformers
from torch.nn.attention import flex_attention as flex
from torch.nn.attention.flex_attention import and_masks, create_block_mask, create_mask, flex_attention, or_masks
from transformers import masking_utils as hf
from transformers.cache_utils import DynamicCache
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_attn_mask_utils import AttentionMaskConverter, _prepare_4d_causal_attention_mask_for_sdpa

warnings.simplefilter("ignore")
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
        self.metadata = {"torch": torch.__version__, "transformers": transformers.__version__}

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
        """make(B, H, q_len, kv_len) -> (mask_mod, {table: tensor})."""
        self.metadata[name] = meaning
        for size, shape in (sizes or {"small": SMALL, "medium": MEDIUM, "large": LARGE}).items():
            mask_mod, tables = make(*shape)
            at = f"{name}/{size}"
            self.put(at + "/shape", torch.tensor(shape))
            for table, data in tables.items():
                self.put(f"{at}/table/{table}", data)
            if size != "large":
                self.put(at + "/mask", packed_bits(create_mask(mask_mod, *shape, device="cpu")))
            for block_q, block_kv in BLOCKS[size] if score_mod is None else []:
                self.blocks(f"{at}/{block_q}x{block_kv}", mask_mod, shape, (block_q, block_kv))
            if shape == SMALL:
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


# ---- PyTorch FlexAttention and its notebook ------------------------------------------------------------------------


def make_flex_attention():
    golden = Golden()
    golden.metadata["notebook"] = "attention-gym 290c1e7, examples/flex_attn.ipynb, predicates written anew"
    golden.put_inputs()

    def plain(mask_mod):
        return lambda B, H, q_len, kv_len: (mask_mod, {})

    golden.case("noop", "noop_mask", plain(flex.noop_mask))
    golden.case("causal", "q_idx >= kv_idx", plain(causal))

    def sliding_window(B, H, q_len, kv_len):
        w = window_of(q_len)
        return (lambda b, h, q, kv: (q >= kv) & (q - kv <= w)), {}

    def last_n_keys(B, H, q_len, kv_len):
        w = window_of(q_len)
        return (lambda b, h, q, kv: (q >= kv) & (q - kv < w)), {}

    golden.case("sliding_window", "causal & (q - kv <= w), w = 5, 16, 256", sliding_window)
    golden.case("last_n_keys", "causal & (q - kv < w), w = 5, 16, 256", last_n_keys)

    def prefix_lm(B, H, q_len, kv_len):
        return (lambda b, h, q, kv: (kv <= q_len // 3) | (q >= kv)), {}

    golden.case("prefix_lm", "(kv <= q_len // 3) | causal: the notebook's prefix has one key more", prefix_lm)

    def prefix_lm_batched(B, H, q_len, kv_len):
        lengths = torch.tensor([(i + 1) * q_len // 4 for i in range(B)], dtype=torch.int32)
        return (lambda b, h, q, kv: (kv < lengths[b]) | (q >= kv)), {"lengths": lengths}

    golden.case("prefix_lm_batched", "(kv < lengths[b]) | causal", prefix_lm_batched)

    def document_mask(B, H, q_len, kv_len):
        ids = documents(kv_len)
        return (lambda b, h, q, kv: ids[q] == ids[kv]), {"document_id": ids}

    def document_causal(B, H, q_len, kv_len):
        ids = documents(kv_len)
        return (lambda b, h, q, kv: (q >= kv) & (ids[q] == ids[kv])), {"document_id": ids}

    golden.case("document", "document_id[q] == document_id[kv]", document_mask)
    golden.case("document_causal", "causal & document", document_causal)

    def document_prefix(B, H, q_len, kv_len):
        ids = documents(kv_len)
        prefix = lambda b, h, q, kv: kv <= q_len // 4
        return and_masks(or_masks(prefix, causal), lambda b, h, q, kv: ids[q] == ids[kv]), {"document_id": ids}

    golden.case("document_prefix", "and_masks(or_masks(kv <= q_len // 4, causal), document)", document_prefix)

    def sasa(B, H, q_len, kv_len):
        W = {21: 6, 90: 14, 1024: 32}[q_len]
        near = lambda a, b: (a - b).abs() <= 2
        return (lambda b, h, q, kv: near(q // W, kv // W) & near(q % W, kv % W)), {}

    golden.case("sasa", "|dx| <= 2 & |dy| <= 2, W = 6, 14, 32", sasa)

    def natten_square(B, H, q_len, kv_len):
        W, K = math.isqrt(q_len), 3

        def mask_mod(b, h, q, kv):
            centre = lambda x: x.clamp(K // 2, W - 1 - K // 2)
            near = lambda x, y: (centre(x) - y).abs() <= K // 2
            return near(q // W, kv // W) & near(q % W, kv % W)

        return mask_mod, {}

    squares = {"small": (2, 4, 25, 25), "medium": (1, 2, 169, 169), "large": (1, 1, 1024, 1024)}
    golden.case("natten_square", "the notebook's NATTEN, W = H, K_W = K_H = 3", natten_square, squares)

    def natten(B, H, q_len, kv_len):
        W, Ht, K_W, K_H = {30: (6, 5, 3, 5), 165: (15, 11, 5, 3), 1152: (48, 24, 7, 5)}[q_len]

        def start(x, size, K):
            return (x - K // 2).clamp(0, size - K)

        def mask_mod(b, h, q, kv):
            x, y = start(q % W, W, K_W), start(q // W, Ht, K_H)
            return (kv % W >= x) & (kv % W < x + K_W) & (kv // W >= y) & (kv // W < y + K_H)

        return mask_mod, {}

    canvases = {"small": (2, 4, 30, 30), "medium": (1, 2, 165, 165), "large": (1, 1, 1152, 1152)}
    golden.case("natten", "NATTEN's definition: W x H = 6x5, 15x11, 48x24, kernels 3x5, 5x3, 7x5", natten, canvases)

    def jagged(inner):
        def make(B, H, q_len, kv_len):
            lengths = [kv_len // 7, kv_len // 3, 1]
            lengths.append(kv_len - sum(lengths))
            offsets = torch.tensor([0] + lengths).cumsum(0)
            seq_idx = torch.searchsorted(offsets, torch.arange(kv_len), right=True) - 1
            w = window_of(q_len)

            def mask_mod(b, h, q, kv):
                q_nested, kv_nested = q - offsets[seq_idx[q]], kv - offsets[seq_idx[kv]]
                return inner(q_nested, kv_nested, w) & (seq_idx[q] == seq_idx[kv])

            return mask_mod, {"offsets": offsets, "seq_idx": seq_idx}

        return make

    golden.case("jagged_causal", "create_njt_wrapper(causal)", jagged(lambda q, kv, w: q >= kv))
    golden.case("jagged_prefix", "create_njt_wrapper(prefix: kv <= w | causal)",
                jagged(lambda q, kv, w: (kv <= w) | (q >= kv)))

    def vision(B, H, q_len, kv_len):
        tokens = [3, 5, 2, 4]  # keys of the first images
        tokens.append(kv_len - sum(tokens))
        images = torch.repeat_interleave(torch.arange(5), torch.tensor(tokens))
        intervals = torch.tensor([[0, 7], [1, 7], [7, 12], [12, q_len - 3], [q_len - 6, q_len]])

        def mask_mod(b, h, q, kv):
            interval = intervals[images[kv]]
            return (q >= interval[0]) & (q < interval[1])

        return mask_mod, {"image_boundaries": images, "intervals": intervals}

    golden.case("vision_x_attention", "intervals[image][0] <= q < intervals[image][1]", vision)

    def padded_causal(B, H, q_len, kv_len):
        lengths = torch.tensor([kv_len - 3 - 5 * i for i in range(B)], dtype=torch.int32)
        return (lambda b, h, q, kv: (q >= kv) & (kv < lengths[b])), {"lengths": lengths}

    golden.case("padded_causal", "causal & kv < lengths[b]", padded_causal)

    def head_window(B, H, q_len, kv_len):
        windows = torch.tensor([2 + 7 * i for i in range(H)], dtype=torch.int32)
        return (lambda b, h, q, kv: (q >= kv) & (q - kv <= windows[h])), {"windows": windows}

    golden.case("head_window", "causal & q - kv <= windows[h]", head_window)

    def lower_right(B, H, q_len, kv_len):
        return (lambda b, h, q, kv: q + (kv_len - q_len) >= kv), {}

    golden.case("lower_right", "q + (kv_len - q_len) >= kv", lower_right)

    def checkerboard(b, h, q, kv):
        return (kv - q).abs() % 2 == 1

    golden.case("checkerboard_mask", "|kv - q| % 2 == 1", plain(checkerboard))

    def nothing_before(B, H, q_len, kv_len):
        return (lambda b, h, q, kv: (q >= kv) & (kv >= 4)), {}

    golden.case("unattended_rows", "causal & kv >= 4: rows 0 to 3 attend to nothing", nothing_before)

    # score mods: dense and outputs on the small size
    small = {"small": SMALL}

    def score_case(name, meaning, make, tables=None, mask_mod=flex.noop_mask):
        golden.case("score/" + name, meaning, lambda *shape: (mask_mod, tables or {}), small, make)

    def causal_bias(score, b, h, q, kv):
        return torch.where(q >= kv, score, -float("inf"))

    score_case("noop", "score", lambda score, b, h, q, kv: score)
    score_case("causal_bias", "where(causal, score, -inf)", causal_bias)
    golden.put("score/causal_bias/small/create_mask", packed_bits(create_mask(causal_bias, *SMALL, device="cpu")))

    def checkerboard_score(score, b, h, q, kv):
        odd = (kv - q).abs() % 2
        return torch.where(odd == 1, score * 0.5, score * 2.0)

    score_case("checkerboard", "x 0.5 where |kv - q| is odd, x 2 where even", checkerboard_score)

    H = SMALL[1]
    slopes = torch.exp2(-torch.tensor([(h + 1) * 8.0 / H for h in range(H)]))
    score_case("alibi_closure", "score + alibi_bias[h] * (kv - q), causal",
               lambda score, b, h, q, kv: score + slopes[h] * (kv - q), {"alibi_bias": slopes}, causal)
    score_case("alibi_functional", "score + (kv - q) * exp2(-((h + 1) * 8 / H)), causal",
               lambda score, b, h, q, kv: score + (kv - q) * torch.exp2(-((h + 1) * 8.0 / H)), {}, causal)
    score_case("tanh_soft_cap", "tanh(score / 2) * 2, causal",
               lambda score, b, h, q, kv: torch.tanh(score / 2) * 2, {}, causal)
    score_case("relative", "score + (q - kv)", lambda score, b, h, q, kv: score + (q - kv))

    # BlockMask: slices, adjusting, sparse lists without a full list
    sliced = create_block_mask(causal, 1, 1, 1024, 1280, device="cpu", BLOCK_SIZE=128)
    rows = sliced[:, :, 2:5]
    for array in ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices"):
        golden.put("sliced/" + array, getattr(rows, array))
    for array in ("q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices"):
        golden.put("transposed/" + array, getattr(sliced, array))
    golden.put("dense_blocks", sliced.to_dense().to(torch.uint8))
    by_head = create_block_mask(lambda b, h, q, kv: q + b >= kv + h, 2, 3, 5, 7, device="cpu", BLOCK_SIZE=1)
    golden.put("to_string_grid_3_limit_1", torch.tensor(list(by_head.to_string(3, 1).encode()), dtype=torch.uint8))
    return golden


# ---- Hugging Face --------------------------------------------------------------------------------------------------


def make_hugging_face():
    golden = Golden()
    golden.put_inputs()
    f32 = torch.float32

    # The converter: additive masks, kept where 0.
    def keep(additive):
        return (additive == 0).expand(-1, 1, -1, -1)

    def converter(name, meaning, is_causal, window, padding, shapes):
        golden.metadata["converter/" + name] = meaning
        for size, (B, q_len, kv_len) in shapes.items():
            made = AttentionMaskConverter(is_causal, sliding_window=window)
            at = f"converter/{name}/{size}"
            if padding:
                attention_mask = torch.ones(B, kv_len, dtype=torch.int64)
                for i in range(B):
                    if padding == "left":
                        attention_mask[i, : (9 * i + 1) // 2] = 0
                    else:
                        attention_mask[i, kv_len - 2 * i :] = 0
                golden.put(at + "/table/attention_mask", attention_mask)
                additive = made.to_4d(attention_mask, q_len, dtype=f32, key_value_length=kv_len)
            else:
                additive = made.to_causal_4d(B, q_len, kv_len, dtype=f32)
            golden.put(at + "/shape", torch.tensor([B, 1, q_len, kv_len]))
            golden.metadata[at + "/none"] = "yes" if additive is None else "no"
            if additive is None:
                continue
            golden.put(at + "/mask", packed_bits(keep(additive)))
            golden.metadata[at + "/masked"] = repr(additive.min().item())
            if size == "past":
                half = made.to_4d(attention_mask, q_len, dtype=torch.float16, key_value_length=kv_len) if padding \
                    else made.to_causal_4d(B, q_len, kv_len, dtype=torch.float16)
                golden.put(at + "/additive_f32", additive)
                golden.put(at + "/additive_f16", half)
                unmasked = AttentionMaskConverter._unmask_unattended(additive, min_dtype=torch.finfo(f32).min)
                golden.put(at + "/unmasked", packed_bits(keep(unmasked)))
                self_attention(at, additive, unmasked)

    def self_attention(at, additive, unmasked):
        """Softmax over scores plus the additive mask: what eager models compute, in f32."""
        B, q_len, kv_len = additive.shape[0], additive.shape[2], additive.shape[3]
        q, k, v = numbers(B, 1, q_len, 4), numbers(3, B, 1, kv_len, 4)[1], numbers(5, B, 1, kv_len, 4)[2]
        scores = q @ k.transpose(-1, -2) * 0.5
        for name, tensor in {"q": q, "k": k, "v": v}.items():
            golden.put(f"{at}/{name}", tensor)
        golden.put(at + "/eager_o", torch.softmax(scores + additive, dim=-1) @ v)
        golden.put(at + "/unmasked_o", torch.softmax(scores + unmasked, dim=-1) @ v)
        bool_mask = keep(additive)
        golden.put(at + "/sdpa_bool_o", torch.nn.functional.scaled_dot_product_attention(q, k, v, bool_mask, scale=0.5))

    lengths = {"square": (1, 9, 9), "past": (3, 5, 12), "one": (2, 1, 8)}
    converter("to_causal_4d", "AttentionMaskConverter(True).to_causal_4d", True, None, None, lengths)
    converter("to_causal_4d_window", "AttentionMaskConverter(True, 3).to_causal_4d: keeps q - kv <= 3", True, 3, None,
              lengths)
    for side in ("left", "right"):
        converter("to_4d_" + side, f"AttentionMaskConverter(True).to_4d, {side} padding", True, None, side, lengths)
        converter("to_4d_window_" + side, f"AttentionMaskConverter(True, 3).to_4d, {side} padding", True, 3, side,
                  lengths)
    converter("to_4d_bidirectional", "AttentionMaskConverter(False).to_4d, right padding", False, None, "right",
              lengths)

    # The decision to drop a mask: rows of (q_len, past, window or 0, padding 0 none, 1 all ones, 2 one zero) -> 1: None
    decisions = []
    for q_len in (1, 4, 6):
        for past in (0, 3):
            for window in (0, 4, 6, 7, 9, 20):
                for padding in (0, 1, 2):
                    kv_len = q_len + past
                    attention_mask = torch.ones(1, kv_len, dtype=torch.int64) if padding else None
                    if padding == 2:
                        attention_mask[0, 0] = 0
                    made = _prepare_4d_causal_attention_mask_for_sdpa(
                        attention_mask, (1, q_len), torch.zeros(1, q_len, 2), past, sliding_window=window or None)
                    newer = hf._ignore_causal_mask_sdpa(
                        attention_mask.bool() if padding else None, q_len, kv_len, 0, window or None)
                    both = hf._ignore_bidirectional_mask_sdpa(attention_mask.bool() if padding else None, kv_len)
                    decisions.append([q_len, past, window, padding, made is None, newer, bool(both)])
    golden.put("decisions", torch.tensor(decisions, dtype=torch.int32))

    # masking_utils' mask functions, in FlexAttention's form
    def function(name, meaning, make, sizes=None):
        golden.case(name, meaning, make, sizes)

    def plain(mask_mod):
        return lambda B, H, q_len, kv_len: (mask_mod, {})

    def on_window(factory):
        return lambda B, H, q_len, kv_len: (factory(window_of(q_len)), {})

    function("causal_mask_function", "kv <= q", plain(hf.causal_mask_function))
    function("bidirectional_mask_function", "every pair", plain(hf.bidirectional_mask_function))
    function("sliding_window_overlay", "kv > q - w; w = 5, 16, 256", on_window(hf.sliding_window_overlay))
    function("sliding_window_causal_mask_function", "w keys; w = 5, 16, 256",
             on_window(hf.sliding_window_causal_mask_function))
    function("sliding_window_bidirectional_mask_function", "|q - kv| <= w; w = 5, 16, 256",
             on_window(hf.sliding_window_bidirectional_mask_function))

    def chunked(B, H, q_len, kv_len):
        left = torch.tensor([3 * i + 2 for i in range(B)])
        return hf.chunked_causal_mask_function(window_of(q_len), left), {"left_padding": left}

    function("chunked_causal_mask_function", "causal, same chunk of w counted after the left padding", chunked)

    def blockwise(B, H, q_len, kv_len):
        ids = torch.full((B, kv_len), -1)
        for i in range(B):
            ids[i, 3 + i : kv_len // 4] = 0
            ids[i, kv_len // 2 : kv_len // 2 + kv_len // 5] = 1
        return hf.or_masks(hf.causal_mask_function, hf.blockwise_overlay(ids)), {"block_sequence_ids": ids}

    function("blockwise_overlay", "causal or both in one block (ids of -1: text)", blockwise)

    def packed(B, H, q_len, kv_len):
        position_ids = torch.stack([
            torch.cat([torch.arange(kv_len // 4 + i), torch.arange(kv_len // 3), torch.arange(kv_len)])[:kv_len]
            for i in range(B)])
        ids = hf.find_packed_sequence_indices(position_ids)
        mask = hf.and_masks(hf.causal_mask_function, hf.packed_sequence_mask_function(ids))
        return mask, {"position_ids": position_ids, "packed_sequence": ids}

    function("packed_sequence_mask_function", "causal and packed by position ids", packed)

    def padded(B, H, q_len, kv_len):
        keep_keys = torch.ones(B, kv_len, dtype=torch.bool)
        for i in range(B):
            keep_keys[i, : 2 + 3 * i] = False
        return hf.and_masks(hf.causal_mask_function, hf.padding_mask_function(keep_keys)), {"keep": keep_keys}

    function("padding_mask_function", "causal and keep[b, kv], left padding", padded)

    def cached(B, H, q_len, kv_len):
        keep_keys = torch.ones(B, kv_len + 6, dtype=torch.bool)
        keep_keys[:, :9] = False
        inner = hf.and_masks(hf.sliding_window_causal_mask_function(window_of(q_len)),
                             hf.padding_mask_function(keep_keys))
        return hf.add_offsets_to_mask_function(inner, kv_len - q_len + 6, 6), {"keep": keep_keys}

    function("add_offsets_to_mask_function", "window and padding at q + (kv_len - q_len + 6), kv + 6: a sliding cache",
             cached)

    # The functions that models call, with a configuration, left padding and a cache of `seen` tokens.
    config = PreTrainedConfig()
    config._attn_implementation = "eager"
    config.num_hidden_layers, config.sliding_window, config.attention_chunk_size = 1, 4, 4
    created = {"full_attention": hf.create_causal_mask, "sliding_attention": hf.create_sliding_window_causal_mask,
               "chunked_attention": hf.create_chunked_causal_mask}
    B = 3
    for layer_type, create in created.items():
        for q_len, seen in ((9, 0), (2, 7), (1, 10)):
            config.layer_types = [layer_type]
            at = f"created/{layer_type}/{q_len}_after_{seen}"
            golden.metadata[at] = f"{create.__name__}, windows and chunks of 4"
            cache, kv_len, kv_offset = None, q_len, 0
            if seen:
                cache = DynamicCache(config=config)
                cache.update(torch.zeros(B, 1, seen, 4), torch.zeros(B, 1, seen, 4), 0)
                kv_len, kv_offset = cache.get_mask_sizes(q_len, 0)
            attention_mask = torch.ones(B, q_len + seen, dtype=torch.int64)
            for i in range(B):
                attention_mask[i, : 3 * i] = 0
            made = create(config, torch.zeros(B, q_len, 4), attention_mask, cache)
            golden.put(at + "/shape", torch.tensor([B, 1, q_len, kv_len]))
            golden.put(at + "/offsets", torch.tensor([seen, kv_offset]))
            golden.put(at + "/attention_mask", attention_mask)
            golden.put(at + "/mask", packed_bits(keep(made)))
    return golden


# ---- penzai --------------------------------------------------------------------------------------------------------


def make_penzai():
    golden = Golden()
    golden.metadata["penzai"] = "google-deepmind/penzai 5bdc18f, penzai/nn/attention.py, predicates written anew"
    golden.put_inputs()

    def positions(q_len, kv_len, order):
        kv = torch.arange(kv_len)
        q = torch.arange(q_len) + (kv_len - q_len)
        if order == "shuffled":  # keys in a ring buffer, empty slots -1; queries in any order
            kv = (kv + kv_len // 3) % kv_len
            kv[torch.arange(kv_len) % 7 == 3] = -1
            q = q.flip(0)
            q[1] = -1  # a padded query attends to nothing
        return q.to(torch.int32), kv.to(torch.int32)

    def make(order, windowed):
        def inner(B, H, q_len, kv_len):
            q_pos, kv_pos = positions(q_len, kv_len, order)
            w = window_of(q_len)

            def mask_mod(b, h, q, kv):
                mask = (q_pos[q] >= kv_pos[kv]) & (kv_pos[kv] >= 0)
                return mask & (q_pos[q] - kv_pos[kv] < w) if windowed else mask

            return mask_mod, {"query_positions": q_pos, "kv_positions": kv_pos}

        return inner

    for order in ("ascending", "shuffled"):
        golden.case("causal_" + order, f"ApplyCausalAttentionMask, {order} positions", make(order, False))
        golden.case("window_" + order, f"ApplyCausalSlidingWindowAttentionMask, w = 5, 16, 256, {order} positions",
                    make(order, True))

    # Logits replaced by a finite number: a row without keys averages all of them.
    q, k, v = (golden.tensors["inputs/" + x].double() for x in "qkv")
    k, v = (x.repeat_interleave(SMALL[1] // KV_HEADS, dim=1) for x in (k, v))
    mask_mod, _ = make("shuffled", True)(*SMALL)
    mask = create_mask(mask_mod, *SMALL, device="cpu")
    logits = torch.where(mask, q @ k.transpose(-1, -2) / math.sqrt(HEAD_DIM), torch.finfo(torch.float32).min)
    golden.put("window_shuffled/small/masked_out_value_o", torch.softmax(logits, dim=-1) @ v)
    return golden


# ---- modded-nanogpt ------------------------------------------------------------------------------------------------


def make_modded_nanogpt():
    golden = Golden()
    golden.metadata["modded_nanogpt"] = "KellerJordan/modded-nanogpt's FlexAttention records, written anew"
    block = 128

    def tokens_of(length, ends):
        tokens = torch.arange(length) * 7919 % 50000
        tokens[ends] = 50256
        return tokens

    for name, n_blocks, ends in (("few", 13, [5, 700, 701, 1100]), ("long_documents", 17, [1300]),
                                 ("many", 11, list(range(0, 1408, 57))), ("aligned", 9, [0, 256, 512, 896])):
        tokens = tokens_of(n_blocks * block, ends)
        docs = (tokens == 50256).cumsum(0)
        golden.put(name + "/tokens", tokens)
        golden.put(name + "/docs", docs)
        index = torch.arange(n_blocks)
        low, high = docs.view(-1, block)[:, 0], docs.view(-1, block)[:, -1]
        some = (index[:, None] >= index) & (low[:, None] <= high) & (high[:, None] >= low)
        every = (index[:, None] > index) & (low[:, None] == high) & (high[:, None] == low)

        def newest_first(blocks):
            order = blocks.to(torch.int8).argsort(dim=-1, descending=False, stable=True).flip(-1)
            return blocks.sum(dim=-1).to(torch.int32)[None, None], order.to(torch.int32)[None, None]

        partial_counts, partial_order = newest_first(some & ~every)
        full_counts, full_order = newest_first(every)
        arrays = {"kv_num_blocks": partial_counts, "kv_indices": partial_order, "full_kv_num_blocks": full_counts,
                  "full_kv_indices": full_order}
        for array, tensor in arrays.items():
            golden.put(f"{name}/all/{array}", tensor)
        for window in (0, 1, 2, 3, 4, 7, 14):
            partial = torch.clamp_max(partial_counts, torch.clamp_min(window - full_counts, 1))
            full = torch.clamp_max(full_counts, window - 1)
            golden.put(f"{name}/window{window}/kv_num_blocks", partial)
            golden.put(f"{name}/window{window}/full_kv_num_blocks", full)
            if window == 0:
                continue  # full counts of -1: BlockMask's own sums go wrong
            made = flex.BlockMask.from_kv_blocks(
                partial, partial_order, full, full_order, BLOCK_SIZE=block,
                mask_mod=lambda b, h, q, kv: (q >= kv) & (docs[q] == docs[kv]))
            golden.metadata[f"{name}/window{window}/sparsity"] = repr(made.sparsity())
            if window in (2, 4) and name in ("few", "many"):
                # What attention sees through these lists: blocks in neither are left out.
                everywhere = create_mask(made.mask_mod, 1, 1, len(tokens), len(tokens), device="cpu")[0, 0]
                listed = made.to_dense()[0, 0].bool().repeat_interleave(block, 0).repeat_interleave(block, 1)
                seen = everywhere & listed
                golden.put(f"{name}/window{window}/pairs_of_row", seen.sum(dim=-1))
                golden.put(f"{name}/window{window}/first_key_of_row", seen.to(torch.int8).argmax(dim=-1))
    return golden


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    for source, make_source in (("flex_attention", make_flex_attention), ("hugging_face", make_hugging_face),
                                ("penzai", make_penzai), ("modded_nanogpt", make_modded_nanogpt)):
        make_source().save(f"{sys.argv[1]}/{source}.safetensors")
