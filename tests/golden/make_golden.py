#!/usr/bin/env python3
"""Runs the systems that docs/sources/ names and writes what they answer, for tests/sources to compare with.

usage: make_golden.py FOLDER ORIGINALS [SOURCE...]     writes SOURCE.safetensors there, of all sources without names

Needs torch and transformers (the committed files: Debian forky's python3-torch 2.14.1 and python3-transformers
5.12.1), git, a C++ compiler (llama_cpp), and in the folder ORIGINALS the repositories that originals.py names. The
tests need none of these: they read the files. What runs is the systems' own code; where a piece of it needs what is not
here (CUDA, jax, paddle), make_*.py say what stands in for it.

A case of a file:
  CASE/SIZE/shape                 I32 [B, H, q_len, kv_len], and the number of key heads where it is not H
  CASE/SIZE/table/NAME            what the mask reads
  CASE/SIZE/scalar/NAME           its numbers
  CASE/SIZE/mask                  create_mask's [B, H, q, kv], 8 elements a byte, the first in the lowest bit
  CASE/SIZE/BLOCKS/kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices,
                                  and of 16x16 the grid: its to_string(), UTF-8
  CASE/SIZE/o, lse                flex_attention in float64 on the inputs of SIZE
  inputs/q, k, v                  F32; [B, Hq, q, D], [B, Hkv, kv, D], [B, Hkv, kv, Dv]
and in the metadata CASE/SIZE/BLOCKS/sparsity, the versions and what the case is.
"""

import math
import sys
import warnings

import torch
import transformers
from torch.nn.attention import flex_attention as flex
from torch.nn.attention.flex_attention import and_masks, create_block_mask, create_mask, or_masks
from transformers import masking_utils as hf
from transformers.cache_utils import DynamicCache
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_attn_mask_utils import AttentionMaskConverter, _prepare_4d_causal_attention_mask_for_sdpa

from golden_file import SMALL, Golden, causal, documents, numbers, packed_bits, window_of
from make_attention_gym import make_attention_gym
from make_packed import make_flash_attention, make_flash_mask, make_flashinfer, make_xformers
from make_positions import make_llama_cpp, make_penzai
from originals import Originals

warnings.simplefilter("ignore")


# ---- PyTorch FlexAttention and its notebook ------------------------------------------------------------------------


def make_flex_attention(originals):
    golden = Golden()
    path = "examples/flex_attn.ipynb"
    golden.metadata["notebook"] = originals.version("attention-gym") + f", {path}, its functions run"
    golden.put_inputs()

    def notebook(name, *others, **cell):
        """A function of the notebook with its cell's variables."""
        return getattr(originals.functions("attention-gym", path, [*others, name], {"torch": torch, **cell}), name)

    def plain(mask_mod):
        return lambda B, H, q_len, kv_len: (mask_mod, {})

    golden.case("noop", "noop_mask", plain(flex.noop_mask))
    golden.case("causal", "causal_mask of the notebook", plain(notebook("causal_mask")))

    def sliding_window(B, H, q_len, kv_len):
        w = window_of(q_len)
        return notebook("sliding_window_causal_mask", SLIDING_WINDOW=w), {}

    def last_n_keys(B, H, q_len, kv_len):
        w = window_of(q_len)
        return (lambda b, h, q, kv: (q >= kv) & (q - kv < w)), {}

    golden.case("sliding_window", "causal & (q - kv <= w), w = 5, 16, 256", sliding_window)
    golden.case("last_n_keys", "causal & (q - kv < w), w = 5, 16, 256", last_n_keys)

    def prefix_lm(B, H, q_len, kv_len):
        return notebook("prefix_lm_causal_mask", PREFIX_LENGTH=q_len // 3), {}

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
        return notebook("document_causal_mask", document_id=ids), {"document_id": ids}

    golden.case("document", "document_id[q] == document_id[kv]", document_mask)
    golden.case("document_causal", "causal & document", document_causal)

    def document_prefix(B, H, q_len, kv_len):
        ids = documents(kv_len)
        prefix = lambda b, h, q, kv: kv <= q_len // 4
        return and_masks(or_masks(prefix, causal), lambda b, h, q, kv: ids[q] == ids[kv]), {"document_id": ids}

    golden.case("document_prefix", "and_masks(or_masks(kv <= q_len // 4, causal), document)", document_prefix)

    def sasa(B, H, q_len, kv_len):
        W = {21: 6, 90: 14, 1024: 32}[q_len]
        return notebook("sasa_mask", "get_x_y", W=W, WINDOW=2), {}

    golden.case("sasa", "|dx| <= 2 & |dy| <= 2, W = 6, 14, 32", sasa)

    def natten_square(B, H, q_len, kv_len):
        W = math.isqrt(q_len)
        return notebook("natten_mask", "get_x_y", W=W, H=W, K_W=3, K_H=3), {}

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

            mask_mod = notebook("create_njt_wrapper")(inner(w), offsets, seq_idx)
            return mask_mod, {"offsets": offsets, "seq_idx": seq_idx}

        return make

    golden.case("jagged_causal", "create_njt_wrapper(causal)", jagged(lambda w: notebook("causal_mask")))
    golden.case("jagged_prefix", "create_njt_wrapper(prefix: kv <= w | causal)",
                jagged(lambda w: notebook("prefix_lm_causal_mask", PREFIX_LENGTH=w)))

    def vision(B, H, q_len, kv_len):
        tokens = [3, 5, 2, 4]  # keys of the first images
        tokens.append(kv_len - sum(tokens))
        images = torch.repeat_interleave(torch.arange(5), torch.tensor(tokens))
        intervals = torch.tensor([[0, 7], [1, 7], [7, 12], [12, q_len - 3], [q_len - 6, q_len]])

        mask_mod = notebook("vision_x_attention_mask", image_boundaries=images, intervals=intervals)
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

    causal_bias = notebook("causal_bias")
    score_case("noop", "score", notebook("noop"))
    score_case("causal_bias", "where(causal, score, -inf)", causal_bias)
    golden.put("score/causal_bias/small/create_mask", packed_bits(create_mask(causal_bias, *SMALL, device="cpu")))

    score_case("checkerboard", "x 0.5 where |kv - q| is odd, x 2 where even", notebook("checkerboard"))

    H = SMALL[1]
    slopes = torch.exp2(-torch.tensor([(h + 1) * 8.0 / H for h in range(H)]))
    score_case("alibi_closure", "score + alibi_bias[h] * (kv - q), causal",
               notebook("alibi_and_causal_closure", alibi_bias=slopes), {"alibi_bias": slopes}, causal)
    score_case("alibi_functional", "score + (kv - q) * exp2(-((h + 1) * 8 / H)), causal",
               notebook("alibi_and_causal_functional", H=H), {}, causal)
    score_case("tanh_soft_cap", "tanh(score / 2) * 2, causal",
               notebook("tanh_soft_cap", tanh_approx=torch.tanh), {}, causal)
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
    for name, part in (("entry", by_head[1:2]), ("heads", by_head[:, 1:3]), ("one", by_head[0:1, 2:3, 1:4])):
        for array in ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices"):
            golden.put(f"sliced_{name}/{array}", getattr(part, array))
    golden.put("to_string_grid_3_limit_1", torch.tensor(list(by_head.to_string(3, 1).encode()), dtype=torch.uint8))
    return golden


# ---- Hugging Face --------------------------------------------------------------------------------------------------


def make_hugging_face(originals):
    golden = Golden()
    golden.metadata["transformers"] = transformers.__version__
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


# ---- modded-nanogpt ------------------------------------------------------------------------------------------------


def make_modded_nanogpt(originals):
    golden = Golden()
    golden.metadata["modded_nanogpt"] = originals.version("modded-nanogpt") + ", train_gpt.py, create_blockmasks run"
    block = 128

    class OnCpu:
        """torch, with what the record asks of a GPU made here."""

        def __getattr__(self, name):
            return getattr(torch, name)

        def arange(self, *arguments, device=None, **others):
            return torch.arange(*arguments, **others)

    namespace = {"torch": OnCpu(), "Tensor": torch.Tensor, "BlockMask": flex.BlockMask}
    record = originals.functions("modded-nanogpt", "train_gpt.py", ["create_blockmasks"], namespace)

    def tokens_of(length, ends):
        tokens = torch.arange(length) * 7919 % 50000
        tokens[ends] = 50256
        return tokens

    for name, n_blocks, ends in (("few", 13, [5, 700, 701, 1100]), ("long_documents", 17, [1300]),
                                 ("many", 11, list(range(0, 1408, 57))), ("aligned", 9, [0, 256, 512, 896])):
        tokens = tokens_of(n_blocks * block, ends)
        golden.put(name + "/tokens", tokens)
        golden.put(name + "/docs", (tokens == 50256).cumsum(0))
        long_of = lambda window: record.create_blockmasks(None, tokens, torch.tensor(window, dtype=torch.int32))[0]
        everything = long_of(1 << 20)
        for array in ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices"):
            golden.put(f"{name}/all/{array}", getattr(everything, array))
        for window in (0, 1, 2, 3, 4, 7, 14):
            made = long_of(window)
            golden.put(f"{name}/window{window}/kv_num_blocks", made.kv_num_blocks)
            golden.put(f"{name}/window{window}/full_kv_num_blocks", made.full_kv_num_blocks)
            if window == 0:
                continue  # full counts of -1: BlockMask's own sums go wrong
            long_bm, short_bm = record.create_blockmasks(None, tokens, torch.tensor(2 * window, dtype=torch.int32))
            assert torch.equal(short_bm.kv_num_blocks, made.kv_num_blocks)
            golden.metadata[f"{name}/window{window}/sparsity"] = repr(made.sparsity())
            if window in (2, 4) and name in ("few", "many"):
                # What attention sees through these lists: blocks in neither are left out.
                everywhere = create_mask(made.mask_mod, 1, 1, len(tokens), len(tokens), device="cpu")[0, 0]
                listed = made.to_dense()[0, 0].bool().repeat_interleave(block, 0).repeat_interleave(block, 1)
                seen = everywhere & listed
                golden.put(f"{name}/window{window}/pairs_of_row", seen.sum(dim=-1))
                golden.put(f"{name}/window{window}/first_key_of_row", seen.to(torch.int8).argmax(dim=-1))
    return golden


MAKERS = {
    "flex_attention": make_flex_attention, "hugging_face": make_hugging_face, "penzai": make_penzai,
    "modded_nanogpt": make_modded_nanogpt, "attention_gym": make_attention_gym, "xformers": make_xformers,
    "flash_attention": make_flash_attention, "flash_mask": make_flash_mask, "flashinfer": make_flashinfer,
    "llama_cpp": make_llama_cpp,
}

if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1].startswith("-") or set(sys.argv[3:]) - set(MAKERS):
        sys.exit(__doc__)
    originals = Originals(sys.argv[2])
    for source in sys.argv[3:] or MAKERS:
        MAKERS[source](originals).save(f"{sys.argv[1]}/{source}.safetensors")
