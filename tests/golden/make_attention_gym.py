"""attention-gym's own masks and score mods, run."""

import torch

from golden_file import KV_HEADS, SMALL, Golden, numbers, window_of


def lengths_of(total):
    """Documents of unequal lengths, one of them empty."""
    lengths = [total // 5, 0, total // 3, 1]
    return lengths + [total - sum(lengths)]


def make_attention_gym(originals):
    # Its utils draw and measure; of them the masks use one division.
    originals.package("attention-gym", ["attn_gym/masks", "attn_gym/mods"], {
        "attn_gym/__init__.py": "", "attn_gym/utils.py": "def cdiv(a, b):\n    return -(-a // b)\n"})
    from attn_gym import masks as gym
    from attn_gym.masks import document_mask, jetspec, vsa

    golden = Golden()
    golden.metadata["attention_gym"] = originals.version("attention-gym") + ", run"
    golden.put_inputs()
    golden.with_attention = False  # of the score mods only

    # ---- windows, groups, documents

    def plain(mask_mod):
        return lambda B, H, q_len, kv_len: (mask_mod, {})

    golden.case("causal", "causal_mask", plain(gym.causal_mask))

    def windowed(factory):
        def make(B, H, q_len, kv_len):
            w = window_of(q_len)
            return factory(w), {"w": w}

        return make

    golden.case("sliding_window", "generate_sliding_window(w)", windowed(gym.generate_sliding_window))
    golden.case("prefix_lm", "generate_prefix_lm_mask(w)", windowed(gym.generate_prefix_lm_mask))

    def dilated(B, H, q_len, kv_len):
        w, d = 2 * window_of(q_len), {21: 2, 90: 3, 1024: 4}[q_len]
        return gym.generate_dilated_sliding_window(w, d), {"w": w, "d": d}

    golden.case("dilated", "generate_dilated_sliding_window(w, d)", dilated)

    def longformer(B, H, q_len, kv_len):
        is_global = torch.arange(kv_len) % 37 == 3
        w = window_of(q_len) // 2
        return gym.generate_global_sliding_window(w, is_global), {"w": w, "is_global": is_global}

    golden.case("global", "generate_global_sliding_window(w, is_global)", longformer)

    def batchified(inner):
        def make(B, H, q_len, kv_len):
            n = {21: 6, 90: 20, 1024: 192}[q_len]
            return gym.batchify_mask_mod(inner, n), {"n": n}

        return make

    golden.case("batchify_causal", "batchify_mask_mod(causal_mask, n)", batchified(gym.causal_mask))
    golden.case("batchify_prefix", "batchify_mask_mod(generate_prefix_lm_mask(2), n)",
                batchified(gym.generate_prefix_lm_mask(2)))

    def in_documents(factory):
        def make(B, H, q_len, kv_len):
            offsets = document_mask.length_to_offsets(lengths_of(kv_len), "cpu")
            return factory(offsets), {"offsets": offsets}

        return make

    golden.case("documents_causal", "generate_doc_mask_mod(causal_mask, offsets)",
                in_documents(lambda offsets: gym.generate_doc_mask_mod(gym.causal_mask, offsets)))
    golden.case("documents_prefix", "generate_doc_mask_mod(generate_prefix_lm_mask(2), offsets)",
                in_documents(lambda offsets: gym.generate_doc_mask_mod(gym.generate_prefix_lm_mask(2), offsets)))
    golden.case("packed_causal_documents", "generate_packed_causal_doc_mask_mod(offsets)",
                in_documents(gym.generate_packed_causal_doc_mask_mod))

    def shared_prefix(B, H, q_len, kv_len):
        lengths = [kv_len // 6, kv_len // 7, kv_len // 8, kv_len // 9, kv_len // 6, 1]
        lengths.append(kv_len - sum(lengths))
        offsets = document_mask.length_to_offsets(lengths, "cpu")
        prefixes = torch.tensor([0, 0, 0, 3, 3, 5, 3], dtype=torch.int32)
        return gym.generate_shared_prefix_mask_mod(offsets, prefixes), {"offsets": offsets, "prefixes": prefixes}

    golden.case("shared_prefix", "generate_shared_prefix_mask_mod(offsets, prefixes)", shared_prefix)

    def vision(B, H, q_len, kv_len):
        n = -(-kv_len // 4)
        intervals = torch.tensor([[0, q_len // 2], [1, q_len // 2], [q_len // 3, q_len - 3], [q_len - 6, q_len]])
        images = torch.arange(kv_len) // n
        mask_mod = gym.generate_vision_cross_attention_mask_mod(intervals.to(torch.int32), n)
        return mask_mod, {"image_boundaries": images, "intervals": intervals}

    golden.case("vision", "generate_vision_cross_attention_mask_mod(intervals, n)", vision)

    # ---- diffusion and trees

    def diffusion(B, H, q_len, kv_len):
        n = q_len // 2
        s = {11: 3, 60: 16, 512: 96}[n]
        return gym.generate_block_diffusion_mask(n, s), {"n": n, "s": s}

    golden.case("block_diffusion", "generate_block_diffusion_mask(n, s)", diffusion,
                {"small": (2, 4, 22, 22), "medium": (1, 2, 120, 120), "large": (1, 1, 1024, 1024)})

    def tree(B, H, q_len, kv_len):
        p = kv_len - q_len
        parents = [-1] + [(i * 7 + 3) % i for i in range(1, q_len)]
        ancestor = jetspec.build_tree_ancestor_matrix(parents, device="cpu")
        return (gym.generate_jetspec_tree_causal_mask_mod(p, ancestor),
                {"p": p, "ancestor": ancestor, "parents": torch.tensor(parents)})

    golden.case("jetspec_tree", "generate_jetspec_tree_causal_mask_mod(p, build_tree_ancestor_matrix(parents))", tree,
                {"small": SMALL, "medium": (1, 2, 90, 123)})

    def training(B, H, q_len, kv_len):
        p, s = kv_len - q_len, {21: 7, 90: 15, 1024: 64}[q_len]
        return gym.generate_jetspec_training_mask_mod(p, s), {"p": p, "s": s}

    golden.case("jetspec_training", "generate_jetspec_training_mask_mod(p, s)", training)

    # ---- canvases. NATTEN where its code is the definition: square, odd and equal kernels.

    def on_canvas(cases, factory):
        """cases {length: {name: number}}, all of them arguments of factory."""
        return lambda B, H, q_len, kv_len: (factory(**cases[q_len]), cases[q_len])

    def lengths(cases):
        sizes = (("small", 2, 4), ("medium", 1, 2), ("large", 1, 1))
        return {size: (B, H, n, n) for n, (size, B, H) in zip(cases, sizes)}

    squares = {25: {"W": 5, "K": 3}, 169: {"W": 13, "K": 5}, 1024: {"W": 32, "K": 7}}
    golden.case("natten", "generate_natten(W, W, K, K)",
                on_canvas(squares, lambda W, K: gym.generate_natten(W, W, K, K)), lengths(squares))

    def tiled_sizes(W, H, KW, KH, TW, TH):
        return {"W": W, "H": H, "KW": KW, "KH": KH, "TW": TW, "TH": TH}

    tiled = {24: tiled_sizes(6, 4, 5, 3, 3, 2), 180: tiled_sizes(15, 12, 7, 5, 5, 4),
             1152: tiled_sizes(48, 24, 7, 5, 8, 6)}
    golden.case("tiled_natten", "generate_tiled_natten(W, H, KW, KH, TW, TH), odd kernels",
                on_canvas(tiled, lambda **sizes: gym.generate_tiled_natten(*sizes.values())), lengths(tiled))
    morton = {16: {"W": 4, "KW": 3, "KH": 1}, 256: {"W": 16, "KW": 5, "KH": 3}, 1024: {"W": 32, "KW": 7, "KH": 9}}
    golden.case("morton_natten", "generate_morton_natten(W, W, KW, KH), W a power of two, odd kernels",
                on_canvas(morton, lambda W, KW, KH: gym.generate_morton_natten(W, W, KW, KH)), lengths(morton))

    def tile_sizes(ch, cw, kh, kw, th, tw, text):
        return {"ch": ch, "cw": cw, "kh": kh, "kw": kw, "th": th, "tw": tw, "text": text}

    planes = {27: tile_sizes(6, 4, 4, 2, 2, 2, 3), 127: tile_sizes(12, 10, 6, 5, 2, 5, 7),
              1024: tile_sizes(32, 32, 12, 16, 4, 8, 0)}
    golden.case("sta_2d", "generate_sta_mask_mod_2d((ch, cw), (kh, kw), (th, tw), text)",
                on_canvas(planes, lambda ch, cw, kh, kw, th, tw, text:
                          gym.generate_sta_mask_mod_2d((ch, cw), (kh, kw), (th, tw), text)), lengths(planes))

    def space_sizes(ct, ch, cw, kt, kh, kw, tt, th, tw, text):
        return {"ct": ct, "ch": ch, "cw": cw, "kt": kt, "kh": kh, "kw": kw, "tt": tt, "th": th, "tw": tw, "text": text}

    spaces = {24: space_sizes(2, 4, 3, 1, 4, 2, 1, 2, 1, 0), 125: space_sizes(4, 6, 5, 2, 6, 5, 2, 2, 5, 5),
              1040: space_sizes(4, 16, 16, 4, 12, 8, 2, 4, 4, 16)}
    golden.case("sta_3d", "generate_sta_mask_mod_3d((ct, ch, cw), (kt, kh, kw), (tt, th, tw), text)",
                on_canvas(spaces, lambda ct, ch, cw, kt, kh, kw, tt, th, tw, text:
                          gym.generate_sta_mask_mod_3d((ct, ch, cw), (kt, kh, kw), (tt, th, tw), text)),
                lengths(spaces))

    # ---- video: Sparse VideoGen, VSA

    def video(p, frames, n, w, r):
        return {"p": p, "frames": frames, "n": n, "w": w, "r": r}

    videos = {22: video(2, 5, 4, 2, 3), 123: video(3, 8, 15, 2, 8), 1024: video(64, 10, 96, 2, 128)}
    for sink in (False, True):
        golden.case("svg_spatial_sink" if sink else "svg_spatial",
                    f"generate_spatial_head_mask_mod(p, frames, n, w, {sink}, r)",
                    on_canvas(videos, lambda p, frames, n, w, r:
                              gym.generate_spatial_head_mask_mod(p, frames, n, w, sink, r)), lengths(videos))
    golden.case("svg_temporal", "generate_temporal_head_mask_mod(p, frames, n, w)",
                on_canvas(videos, lambda p, frames, n, w, r: gym.generate_temporal_head_mask_mod(p, frames, n, w)),
                lengths(videos))

    layouts = {64: ((3, 4, 3), (2, 2, 2), 3), 288: ((5, 6, 5), (2, 4, 2), 4)}
    shapes = {"small": (2, 4, 64, 64), "medium": (1, 2, 288, 288)}

    def vsa_inputs(B, H, length):
        canvas, tile_shape, k = layouts[length]
        made = vsa.create_vsa_tile_metadata(canvas, tile_shape)
        tile, sizes = made.tile_numel, made.variable_block_sizes.to(torch.int32)
        q, key = numbers(B, H, length, 4), numbers(3, B, H, length, 4)[1]
        return vsa.compute_vsa_topk_indices(q, key, tile, k), sizes, tile

    def selected(B, H, q_len, kv_len):
        top_k, sizes, tile = vsa_inputs(B, H, q_len)
        return vsa.generate_vsa_mask_mod(top_k, tile, sizes), {"top_k": top_k, "sizes": sizes, "tile": tile}

    golden.case("vsa", "generate_vsa_mask_mod(compute_vsa_topk_indices(..), tile, sizes)", selected, shapes)

    def block_map(B, H, q_len, kv_len):
        top_k, sizes, tile = vsa_inputs(B, H, q_len)
        keep = torch.zeros(B, H, len(sizes), len(sizes), dtype=torch.bool).scatter_(-1, top_k.long(), True)
        return vsa.generate_vsa_block_map_mask_mod(keep, tile, sizes), {"keep": keep, "sizes": sizes, "tile": tile}

    golden.case("vsa_block_map", "generate_vsa_block_map_mask_mod(keep, tile, sizes)", block_map, shapes)

    def padding(B, H, q_len, kv_len):
        _, sizes, tile = vsa_inputs(B, H, q_len)
        return vsa.generate_vsa_padding_mask_mod(sizes, tile), {"sizes": sizes, "tile": tile}

    golden.case("vsa_padding", "generate_vsa_padding_mask_mod(sizes, tile)", padding, shapes)
    for size, (B, H, length, _) in shapes.items():
        top_k, sizes, tile = vsa_inputs(B, H, length)
        made = vsa.create_vsa_block_mask(top_k, tile, len(sizes), sizes)
        for array in ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices"):
            golden.put(f"vsa_lists/{size}/{array}", getattr(made, array))

    make_score_mods(golden, gym)
    return golden


def make_score_mods(golden, gym):
    """Values for made-up scores, and outputs."""
    from attn_gym import mods

    B, H, q_len, kv_len = SMALL
    scores = 3 * numbers(B, H, q_len, kv_len)
    golden.put("inputs/scores", scores)
    b, h = torch.arange(B).view(-1, 1, 1, 1), torch.arange(H).view(-1, 1, 1)
    q, kv = torch.arange(q_len).view(-1, 1), torch.arange(kv_len)
    small = {"small": SMALL}

    def score_case(name, meaning, make, tables=None, values=True):
        at = "score/" + name
        golden.case(at, meaning + ", causal", lambda *shape: (gym.causal_mask, tables or {}), small, make)
        if values:
            golden.put(at + "/small/values", make(scores.double(), b, h, q, kv).float())

    score_case("alibi", "generate_alibi_bias(H)", mods.generate_alibi_bias(H))
    score_case("tanh_softcap", "generate_tanh_softcap(2)", mods.generate_tanh_softcap(2))
    score_case("sandwich", "generate_sandwich_bias(H, 27, 16)", mods.generate_sandwich_bias(H, kv_len, 16))

    ring = torch.zeros(B, kv_len, kv_len, dtype=torch.bool)
    for i in range(kv_len - 3):  # the last three nodes stand alone in the first graph
        ring[0, i, (i + 1) % (kv_len - 3)] = ring[0, (i + 1) % (kv_len - 3), i] = True
    ring[1] = numbers(2, kv_len, kv_len)[1] > 0.84
    distances = mods.shortest_path_distances(ring, 3)
    bias = numbers(H, 5)
    score_case("graphormer_spatial", "generate_graphormer_spatial_bias(bias, shortest_path_distances(graph, 3))",
               mods.generate_graphormer_spatial_bias(bias, distances), {"bias": bias, "distance": distances})

    edge_types = (torch.arange(B * kv_len * kv_len) * 7 % 5).reshape(B, kv_len, kv_len)
    types, path_lengths = mods.shortest_path_edge_types(ring, edge_types, 3)
    edge_bias = numbers(H, 3, 5)
    score_case("graphormer_edges", "generate_graphormer_edge_bias(bias, shortest_path_edge_types(graph, types, 3))",
               mods.generate_graphormer_edge_bias(edge_bias, types, path_lengths),
               {"bias": edge_bias, "types": types, "lengths": path_lengths})

    gelu = lambda x: torch.nn.functional.gelu(x, approximate="tanh")
    v = golden.tensors["inputs/v"].double().repeat_interleave(H // KV_HEADS, dim=1)
    for name, f in (("relu", torch.relu), ("sigmoid", torch.sigmoid), ("gelu", torch.nn.functional.gelu),
                    ("gelu_tanh", gelu)):
        at = "activation_" + name
        score_case(at, f"generate_activation_score_mod({name})", mods.generate_activation_score_mod(f))
        o, lse = (golden.tensors[f"score/{at}/small/{each}"] for each in ("o", "lse"))
        golden.put(f"score/{at}/small/undone", mods.undo_softmax(o, lse, v.cumsum(dim=-2)[:, :, :q_len]))

    rope_dim, scale = 6, 0.4
    query_rope, key_rope = numbers(B, H, q_len, rope_dim), numbers(3, B, 1, kv_len, rope_dim)[2]
    golden.put("inputs/query_rope", query_rope)
    golden.put("inputs/key_rope", key_rope)
    golden.metadata["score/mla_rope/scale"] = repr(scale)
    score_case("mla_rope", "generate_mla_rope_score_mod(query_rope, key_rope, H, 0.4)",
               mods.generate_mla_rope_score_mod(query_rope, key_rope, H, scale), values=False)
