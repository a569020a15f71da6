"""xformers, FlashAttention, FlashMask and FlashInfer: what their own code says of masks, as dense tensors.

Their kernels need a GPU; what runs here are xformers' materialize(), FlashAttention's and FlashMask's own references
of their tests, and FlashInfer's packing.
"""

import types

import numpy
import torch

from golden_file import SMALL, Golden, numbers, window_of


def dense_case(golden, name, meaning, make, sizes=None):
    """make(B, H, q_len, kv_len) -> (bool [B | 1, H | 1, q_len, kv_len], {table or scalar})."""

    def as_mod(B, H, q_len, kv_len):
        dense, data = make(B, H, q_len, kv_len)
        dense = dense.reshape((1,) * (4 - dense.dim()) + dense.shape).expand(B, H, q_len, kv_len).contiguous()
        return (lambda b, h, q, kv: dense[b, h, q, kv]), data

    golden.case(name, meaning, as_mod, sizes)


def ints(values):
    return torch.tensor(values, dtype=torch.int32)


# ---- xformers --------------------------------------------------------------------------------------------------------

# Lengths of blocks by the number of queries. packed: as many keys as queries in each block or more.
PACKED = {21: ([5, 0, 9, 7], [6, 3, 9, 9]), 90: ([31, 1, 0, 58], [40, 2, 11, 70]),
          1024: ([300, 24, 700], [400, 130, 750])}
FEWER = {21: ([5, 0, 9, 7], [9, 3, 8, 7]), 90: ([31, 1, 0, 58], [40, 2, 27, 54]),
         1024: ([300, 24, 700], [470, 120, 690])}
PADDED = {21: ([5, 9, 7], [6, 9, 7], 9), 90: ([31, 20, 39], [35, 41, 39], 41),
          1024: ([300, 100, 304, 320], [310, 100, 320, 320], 320)}
GAPPY = {21: ([5, 9, 7], [0, 7, 17, 27], [6, 9, 8]), 90: ([31, 20, 39], [2, 40, 80, 123], [33, 20, 43]),
         1024: ([300, 100, 304, 320], [0, 320, 650, 960, 1280], [310, 200, 305, 320])}


# Queries, keys, size of a page: the pages of all blocks together are the keys in memory.
PAGED = {21: ([5, 9, 7], [6, 10, 8], 3), 90: ([31, 20, 39], [40, 33, 48], 3),
         1024: ([300, 324, 400], [400, 330, 420], 64)}


def block_tables(kv, page):
    """Every block's pages in a mixed order; rows end with a page of another block."""
    used = [-(-n // page) for n in kv]
    total = sum(used)
    order = iter([(i * 7 + 5) % total for i in range(total)])
    rows = [[next(order) for _ in range(n)] for n in used]
    width = max(used) + 1
    return torch.tensor([row + [rows[i - 1][0]] * (width - len(row)) for i, row in enumerate(rows)], dtype=torch.int32)


def make_xformers(originals):
    golden = Golden()
    golden.metadata["xformers"] = originals.version("mslk") + ", mslk/attention/fmha/attn_bias.py, materialize() run"
    golden.with_attention = False
    bias = originals.module("mslk", "mslk/attention/fmha/attn_bias.py", {})
    keep = lambda made, q_len, kv_len: made.materialize((q_len, kv_len)) == 0

    def simple(name, make):
        dense_case(golden, name, name,
                   lambda B, H, q_len, kv_len: (keep(make(q_len), q_len, kv_len), {"w": window_of(q_len)}))

    simple("LowerTriangularMask", lambda q_len: bias.LowerTriangularMask())
    simple("LowerTriangularFromBottomRightMask", lambda q_len: bias.LowerTriangularFromBottomRightMask())
    simple("LowerTriangularFromBottomRightLocalAttentionMask",
           lambda q_len: bias.LowerTriangularFromBottomRightMask().make_local_attention(window_of(q_len)))
    simple("LocalAttentionFromBottomRightMask",
           lambda q_len: bias.LocalAttentionFromBottomRightMask(window_of(q_len), 2))
    B, H, q_len, kv_len = SMALL
    added = numbers(H, q_len, kv_len)
    golden.put("tensor_bias/small/shape", torch.tensor((1, H, q_len, kv_len)))
    golden.put("tensor_bias/small/bias", added)
    made = bias.LowerTriangularMaskWithTensorBias(added)
    golden.put("tensor_bias/small/materialized", made.materialize((H, q_len, kv_len)))

    def blocks(name, lengths, make):
        def dense(B, H, q_len, kv_len):
            q, *keys = lengths[q_len]
            data = {"q_seqlen": ints(q), "w": window_of(q_len), "kv_seqlen": ints(keys[1 if lengths is GAPPY else 0])}
            data |= {"padding": keys[1]} if lengths is PADDED else {}
            data |= {"kv_seqstart": ints(keys[0])} if lengths is GAPPY else {}
            return keep(make(window_of(q_len), q, *keys), q_len, kv_len), data

        dense_case(golden, name, name, dense)

    diagonal = bias.BlockDiagonalMask.from_seqlens
    blocks("BlockDiagonalMask", FEWER, lambda w, q, kv: diagonal(q, kv))
    blocks("BlockDiagonalCausalMask", FEWER, lambda w, q, kv: diagonal(q, kv).make_causal())
    blocks("BlockDiagonalCausalFromBottomRightMask", PACKED,
           lambda w, q, kv: diagonal(q, kv).make_causal_from_bottomright())
    blocks("BlockDiagonalCausalLocalAttentionMask", FEWER, lambda w, q, kv: diagonal(q, kv).make_local_attention(w))
    blocks("BlockDiagonalCausalLocalAttentionFromBottomRightMask", PACKED,
           lambda w, q, kv: diagonal(q, kv).make_local_attention_from_bottomright(w))
    blocks("BlockDiagonalPaddedKeysMask", PADDED,
           lambda w, q, kv, pad: bias.BlockDiagonalPaddedKeysMask.from_seqlens(q, pad, kv))
    blocks("BlockDiagonalCausalWithOffsetPaddedKeysMask", PADDED,
           lambda w, q, kv, pad: bias.BlockDiagonalCausalWithOffsetPaddedKeysMask.from_seqlens(q, pad, kv))
    blocks("BlockDiagonalLocalAttentionPaddedKeysMask", PADDED,
           lambda w, q, kv, pad: bias.BlockDiagonalLocalAttentionPaddedKeysMask.from_seqlens_local(q, pad, kv, w, 2))
    blocks("BlockDiagonalCausalLocalAttentionPaddedKeysMask", PADDED,
           lambda w, q, kv, pad: bias.BlockDiagonalCausalLocalAttentionPaddedKeysMask.from_seqlens_local(q, pad, kv, w))
    gappy = lambda kind: lambda w, q, starts, kv: getattr(bias, kind).from_seqlens(q, starts, kv)
    for kind in ("BlockDiagonalGappyKeysMask", "BlockDiagonalCausalWithOffsetGappyKeysMask"):
        blocks(kind, GAPPY, gappy(kind))
    def paged(name, make, starts=(0, 0, 0)):
        def dense(B, H, q_len, kv_len):
            q, kv, page = PAGED[q_len]
            pages = block_tables(kv, page)
            lengths = [n - start for n, start in zip(kv, starts)]
            made = make(window_of(q_len), q, starts, lengths, pages, page)
            keep = made.materialize((q_len, pages.numel() * page)) == 0
            assert keep.shape[1] == kv_len
            data = {"q_seqlen": ints(q), "kv_seqlen": ints(lengths), "kv_seqstart": ints(starts), "pages": pages,
                    "page_size": page, "w": window_of(q_len)}
            return keep, data

        dense_case(golden, name, name, dense)

    for kind in ("PagedBlockDiagonalPaddedKeysMask", "PagedBlockDiagonalCausalWithOffsetPaddedKeysMask"):
        paged(kind, lambda w, q, starts, kv, pages, page: getattr(bias, kind).from_seqlens(q, kv, pages, page))
    paged("PagedBlockDiagonalCausalLocalPaddedKeysMask", lambda w, q, starts, kv, pages, page:
          bias.PagedBlockDiagonalCausalLocalPaddedKeysMask.from_seqlens_local(q, kv, pages, page, w))
    for kind in ("BlockDiagonalGappyKeysMask", "BlockDiagonalCausalWithOffsetGappyKeysMask"):
        def from_gappy(w, q, starts, kv, pages, page, kind=kind):  # from_seqlens of the paged one refuses every input
            row = pages.shape[1] * page
            spread = [i * row + start for i, start in enumerate(starts)] + [len(starts) * row]
            unpaged = getattr(bias, kind).from_seqlens(q, spread, kv)
            return unpaged.make_paged(pages, page, row, getattr(bias, "Paged" + kind))

        paged("Paged" + kind, from_gappy, (1, 0, 1))
    local_gappy = bias.BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask.from_seqlens_local_gappy
    blocks("BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask", GAPPY,
           lambda w, q, starts, kv: local_gappy(q, starts, kv, w, 2, torch.device("cpu")))
    return golden


# ---- FlashAttention --------------------------------------------------------------------------------------------------


def rearrange(tensor, pattern):
    """einops, as far as FlashAttention's reference of its masks uses it."""
    if pattern == "b h -> b h 1 1":
        return tensor[:, :, None, None]
    return tensor.reshape({"s -> s 1": (-1, 1), "b -> b 1 1 1": (-1, 1, 1, 1)}[pattern])


def make_flash_attention(originals):
    golden = Golden()
    path = "flash_attn/utils/testing.py"
    golden.metadata["flash_attention"] = originals.version("flash-attention") + f", {path}, construct_local_mask run"
    golden.with_attention = False
    reference = originals.functions("flash-attention", path, ["construct_local_mask"],
                                    {"torch": torch, "rearrange": rearrange})

    # Its reference has no window without a limit to the right; one beyond all lengths is that.
    windows = {"causal": lambda w, far: (None, 0), "window": lambda w, far: (w, 3),
               "left_only": lambda w, far: (w, far), "right_only": lambda w, far: (None, 3),
               "causal_window": lambda w, far: (w, 0)}
    fewer_keys = {"small": SMALL, "medium": (1, 2, 90, 123), "large": (1, 1, 1024, 1280), "fewer_keys": (1, 2, 33, 19)}
    for name, window in windows.items():
        def make(B, H, q_len, kv_len, window=window):
            w = 4 if q_len == 33 else window_of(q_len)
            return ~reference.construct_local_mask(q_len, kv_len, window(w, q_len + kv_len)), {"w": w}

        dense_case(golden, name, f"construct_local_mask, {name}", make, fewer_keys)

    def varlen(window):
        def make(B, H, q_len, kv_len):
            q, kv = {21: ([5, 0, 9, 7], [6, 3, 10, 8]), 90: ([31, 1, 0, 58], [40, 2, 27, 54]),
                     1024: ([300, 24, 700], [470, 120, 690])}[q_len]
            # Its reference pads: entry i is sequence i, then unpadded as flash_attn_varlen_func takes it.
            pad = lambda lengths: torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
            masked = reference.construct_local_mask(max(q), max(kv), window(window_of(q_len), q_len + kv_len),
                                                    query_padding_mask=pad(q), key_padding_mask=pad(kv))
            dense = torch.zeros(q_len, kv_len, dtype=torch.bool)
            at = torch.tensor([0, 0])
            for i, (q_n, kv_n) in enumerate(zip(q, kv)):
                dense[at[0] : at[0] + q_n, at[1] : at[1] + kv_n] = ~masked[i, 0, :q_n, :kv_n]
                at += torch.tensor([q_n, kv_n])
            offsets = lambda lengths: torch.tensor([0] + lengths).cumsum(0).to(torch.int32)
            return dense, {"cu_seqlens_q": offsets(q), "cu_seqlens_k": offsets(kv), "w": window_of(q_len)}

        return make

    for name in ("causal", "window", "left_only"):
        dense_case(golden, "varlen_" + name, f"construct_local_mask of padded sequences, {name}", varlen(windows[name]))

    bias = originals.functions("flash-attention", "tests/test_flash_attn.py", ["attn_bias_from_alibi_slopes"],
                               {"torch": torch, "rearrange": rearrange})
    B, H, q_len, kv_len = SMALL
    slopes = numbers(H).abs()
    golden.metadata["alibi"] = "tests/test_flash_attn.py, attn_bias_from_alibi_slopes, not causal"
    golden.put("alibi/small/shape", torch.tensor((1, H, q_len, kv_len)))
    golden.put("alibi/small/table/slope", slopes)
    golden.put("alibi/small/added", bias.attn_bias_from_alibi_slopes(slopes[None], q_len, kv_len))
    return golden


# ---- FlashMask -------------------------------------------------------------------------------------------------------


def paddle_by_torch():
    """The few calls of paddle's that FlashMask's test utilities make, answered by torch."""
    dtype = lambda kind: {"int32": torch.int32}.get(kind, kind)

    class Tensor(torch.Tensor):
        def astype(self, kind):
            return self.to(kind)

        def repeat_interleave(self, repeats, dim):
            return super().repeat_interleave(repeats, dim=dim).as_subclass(Tensor)

    wrap = lambda tensor: tensor.as_subclass(Tensor)
    return {
        "int32": torch.int32, "bool": torch.bool,
        "arange": lambda *bounds, dtype=None, d=dtype: wrap(torch.arange(*bounds, dtype=d(dtype))),
        "full": lambda shape, value, dtype=None, d=dtype: wrap(torch.full(tuple(shape), int(value), dtype=d(dtype))),
        "ones": lambda shape, dtype=None, d=dtype: wrap(torch.ones(tuple(shape), dtype=d(dtype))),
        "zeros": lambda shape, dtype=None, d=dtype: wrap(torch.zeros(tuple(shape), dtype=d(dtype))),
        "to_tensor": lambda data, dtype=None, d=dtype: wrap(torch.tensor(numpy.array(data), dtype=d(dtype))),
        "clip": lambda x, min=None, max=None: wrap(torch.clip(x, min, max)),
        "concat": lambda parts, axis: wrap(torch.cat(list(parts), dim=axis)),
        "repeat_interleave": lambda x, repeats, axis: wrap(torch.repeat_interleave(x, repeats, dim=axis)),
    }


def make_flash_mask(originals):
    golden = Golden()
    golden.metadata["flash_mask"] = (
        originals.version("flashmask") + " (PaddlePaddle/flash-attention), flashmask/tests: flashmask_to_densemask and "
        "the generators run, paddle's calls answered by torch")
    golden.with_attention = False
    paddle = types.SimpleNamespace(**paddle_by_torch())
    namespace = {"paddle": paddle, "np": numpy, "print": lambda *a, **k: None}
    dense_of = originals.functions("flashmask", "flashmask/tests/test_flashmask_util.py", ["flashmask_to_densemask"],
                                   namespace).flashmask_to_densemask
    names = ("non_causal", "causal", "sliding_window", "causal_document", "document", "share_question",
             "global_sliding_window", "causal_blockwise", "prefix_lm_document", "prefix_lm_causal", "qk_sparse",
             "random_eviction")
    made = originals.functions("flashmask", "flashmask/tests/generate_startend_row_indices.py",
                               [f"generate_{name}_mask" for name in names], namespace)
    in_documents = lambda n: {"doc_seqlens": [n // 3, n // 4, n // 5]}
    arguments = {
        "sliding_window": lambda n: {"window_size": n // 5}, "causal_document": in_documents,
        "document": in_documents, "share_question": in_documents, "causal_blockwise": in_documents,
        "global_sliding_window": lambda n: {"global_token": 2, "window_size": (n // 6, n // 8)},
        "prefix_lm_document": lambda n: {"doc_seqlens": [(n // 6, n // 3), (n // 4, n // 4), (2, n // 5)]},
        "prefix_lm_causal": lambda n: {"prefix_length": n // 3},
        "qk_sparse": lambda n: {"maskout_pair": [(n // 5, n // 4), (n // 2, n // 3)]},
        "random_eviction": lambda n: {"start_row": n // 2},
    }
    # More keys than queries are aligned lower right where causal; two key heads of four query heads.
    sizes = {"small": (2, 4, 21, 27), "medium": (1, 2, 90, 90), "square": (1, 4, 24, 24)}
    kv_heads = {21: 2, 90: 2, 24: 1}
    for name in names:
        def make(B, H, q_len, kv_len, name=name):
            numpy.random.seed(0)  # of the legacy generator, whose stream is frozen
            table, causal = getattr(made, f"generate_{name}_mask")(
                B, q_len, kv_len, kv_heads[q_len], **arguments.get(name, lambda n: {})(kv_len))
            rows = table.as_subclass(torch.Tensor)
            return dense_of(table, q_len, H, causal), {"rows": rows, "is_causal": int(causal)}

        dense_case(golden, name, f"generate_{name}_mask", make, sizes)
        for size, (B, H, q_len, kv_len) in sizes.items():
            golden.put(f"{name}/{size}/shape", torch.tensor((B, H, q_len, kv_len, kv_heads[q_len])))
    return golden


# ---- FlashInfer ------------------------------------------------------------------------------------------------------


def make_flashinfer(originals):
    golden = Golden()
    path = "flashinfer/quantization/packbits.py"
    golden.metadata["flashinfer"] = (originals.version("flashinfer") + f", {path}: segment_packbits run, its CUDA "
                                     "kernel answered by numpy.packbits, to which its tests hold it")
    golden.with_attention = False

    class Kernel:
        def segment_packbits(self, x, indptr, indptr_new, bitorder, y):
            for begin, end, at in zip(indptr, indptr[1:], indptr_new):
                packed = numpy.packbits(x[begin:end].numpy(), bitorder=bitorder)
                y[at : at + len(packed)] = torch.from_numpy(packed)

        def build_and_load(self):
            return self

    plain = lambda *a, **k: lambda function: function
    packing = originals.module("flashinfer", path, {
        "flashinfer": {}, "flashinfer.api_logging": {"flashinfer_api": lambda function: function},
        "flashinfer.jit": {}, "flashinfer.jit.quantization": {"gen_quantization_module": Kernel},
        "flashinfer.utils": {"register_custom_op": plain, "register_fake_op": plain}, "flashinfer.quantization": {},
    }, package="flashinfer.quantization")

    def requests(B, H, q_len, kv_len):
        q, kv = {21: ([5, 0, 9, 7], [6, 3, 11, 7]), 90: ([31, 1, 7, 51], [40, 2, 27, 54])}[q_len]
        masks = [numbers(i + 2, q_n, kv_n)[i + 1] > (i - 1) / 3 for i, (q_n, kv_n) in enumerate(zip(q, kv))]
        flat = torch.cat([mask.flatten() for mask in masks])
        indptr = lambda counts: torch.tensor([0] + counts).cumsum(0)
        packed, _ = packing.segment_packbits(flat, indptr([mask.numel() for mask in masks]), bitorder="little")
        return torch.block_diag(*masks).bool(), {"packed": packed, "qo_indptr": indptr(q), "kv_indptr": indptr(kv)}

    dense_case(golden, "packed_custom_mask", "each request's own matrix, packed by segment_packbits(bitorder='little')",
               requests, {"small": SMALL, "medium": (1, 2, 90, 123)})
    return golden
