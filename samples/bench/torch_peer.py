"""torch's attention, by the protocol of peers.h: scaled_dot_product_attention on the CPU, and on an NVIDIA GPU its flash and
cuDNN back ends and compiled flex_attention. Masks: full, causal and block masks from functions of ours; else a dense bool tensor."""
import os
import re
import sys
import time


def say(line):
    print(line, flush=True)


def stop(line):
    say(line)
    sys.exit(0)


try:
    import torch
except Exception as problem:  # a broken installation is as absent as none
    stop(f"absent this Python has no torch ({type(problem).__name__})")

backend = sys.argv[1]
if backend not in ("cpu", "flash", "cudnn", "flex"):
    stop(f"absent this script knows the back ends cpu, flash, cudnn and flex, not {backend}")
device = "cpu" if backend == "cpu" else "cuda"
if device == "cuda" and not torch.cuda.is_available():
    stop(f"absent torch {torch.__version__} sees no NVIDIA device")


def blas():
    """The BLAS that a product loaded, whichever the system's alternatives name."""
    torch.ones(64, 64) @ torch.ones(64, 64)
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            names = {os.path.basename(line.split()[-1]) for line in maps if "blas" in line.rsplit("/", 1)[-1].lower()}
    except OSError:
        return "BLAS unknown"
    openblas = sorted(name for name in names if "openblas" in name)
    return openblas[-1] if openblas else "no OpenBLAS, but " + (", ".join(sorted(names)) or "another BLAS")


if len(sys.argv) == 2:
    if backend == "cpu":
        stop(f"ready torch {torch.__version__}, scaled_dot_product_attention, {blas()}")
    stop(f"ready torch {torch.__version__}, {torch.cuda.get_device_name()}")

folder = sys.argv[2]
batch, q_heads, kv_heads, q_len, kv_len, dim = (int(word) for word in sys.argv[3:9])
kind, mask_kind, score, cap, threads, mask_text = sys.argv[9], sys.argv[10], sys.argv[11], float(sys.argv[12]), int(sys.argv[13]), sys.argv[14]
dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[kind]
torch.set_num_threads(threads)


def read(name, shape, of):
    with open(f"{folder}/{name}", "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=of).reshape(shape).to(device)


def read_mask():
    return read("mask.bin", (q_len, kv_len), torch.uint8).bool()


def slopes():
    return 2.0 ** (-8.0 * (torch.arange(q_heads, device=device) + 1) / q_heads)


q = read("q.bin", (batch, q_heads, q_len, dim), dtype)
k = read("k.bin", (batch, kv_heads, kv_len, dim), dtype)
v = read("v.bin", (batch, kv_heads, kv_len, dim), dtype)


def sdpa():
    """One call of scaled_dot_product_attention, by the back end that was asked for."""
    if score == "softcap":
        stop("unsupported scaled_dot_product_attention has no soft-cap")
    options = {"enable_gqa": True} if q_heads != kv_heads else {}
    if score == "alibi":
        keep = torch.ones(q_len, kv_len, dtype=torch.bool, device=device)
        keep = keep.tril() if mask_kind == "causal" else read_mask() if mask_kind == "dense" else keep
        distance = (torch.arange(kv_len, device=device)[None, :] - torch.arange(q_len, device=device)[:, None]).float()
        bias = slopes()[:, None, None] * distance
        options["attn_mask"] = bias.masked_fill(~keep, float("-inf")).to(dtype)
    elif mask_kind == "causal":
        options["is_causal"] = True
    elif mask_kind == "dense":
        options["attn_mask"] = read_mask()
    attend = torch.nn.functional.scaled_dot_product_attention
    if backend == "cpu":
        return lambda: attend(q, k, v, **options)
    from torch.nn.attention import SDPBackend, sdpa_kernel
    only = SDPBackend.FLASH_ATTENTION if backend == "flash" else SDPBackend.CUDNN_ATTENTION

    def call():
        with sdpa_kernel(only):
            return attend(q, k, v, **options)
    return call


def natten(q_idx, kv_idx, canvas_w, canvas_h, kernel_w, kernel_h):
    """A kernel around the query's pixel, shifted inward at the borders."""
    def near(query, key, size, kernel):
        first = (query - kernel // 2).clamp(0, size - kernel)
        return (key >= first) & (key < first + kernel)
    return near(q_idx % canvas_w, kv_idx % canvas_w, canvas_w, kernel_w) & near(
        q_idx // canvas_w, kv_idx // canvas_w, canvas_h, kernel_h)


def mask_function():
    """The mask as flex_attention's users write it. Only the benchmark's own names, joined by &&; None: another mask."""
    parts = []
    for word in mask_text.split("&&"):
        call = re.fullmatch(r"\s*(\w+)(?:\(([\w, ]*)\))?\s*", word)
        if call is None:
            return None
        name, numbers = call.group(1), [int(n) for n in re.findall(r"\b\d+\b", call.group(2) or "")]
        if name == "true":
            continue
        if name == "causal" and not numbers:
            parts.append(lambda q_idx, kv_idx: q_idx >= kv_idx)
        elif name == "sliding_window" and len(numbers) == 1:
            parts.append(lambda q_idx, kv_idx, w=numbers[0]: (q_idx >= kv_idx) & (q_idx - kv_idx <= w))
        elif name == "prefix" and len(numbers) == 1:
            parts.append(lambda q_idx, kv_idx, n=numbers[0]: (kv_idx < n) | (q_idx >= kv_idx))
        elif name == "document" and call.group(2) == "doc":
            doc = read("doc.bin", (-1,), torch.int32)
            parts.append(lambda q_idx, kv_idx, doc=doc: doc[q_idx] == doc[kv_idx])
        elif name == "natten" and len(numbers) == 4:
            parts.append(lambda q_idx, kv_idx, n=tuple(numbers): natten(q_idx, kv_idx, *n))
        else:
            return None

    def mask_mod(b, h, q_idx, kv_idx):
        kept = parts[0](q_idx, kv_idx)
        for part in parts[1:]:
            kept = kept & part(q_idx, kv_idx)
        return kept
    return mask_mod if parts else True


def flex():
    """One call of compiled flex_attention, its block mask made before."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention
    mask_mod = mask_function()
    if mask_mod is None:
        stop(f"unsupported this script has no mask_mod for '{mask_text}'")
    options = {"enable_gqa": True} if q_heads != kv_heads else {}
    if mask_mod is not True:
        options["block_mask"] = create_block_mask(mask_mod, None, None, q_len, kv_len, device=device)
    if score == "alibi":
        slope = slopes()
        options["score_mod"] = lambda s, b, h, q_idx, kv_idx: s + slope[h] * (kv_idx - q_idx)
    elif score == "softcap":
        options["score_mod"] = lambda s, b, h, q_idx, kv_idx: cap * torch.tanh(s / cap)
    attend = torch.compile(flex_attention, dynamic=False)
    return lambda: attend(q, k, v, **options)


def finished():
    if device == "cuda":
        torch.cuda.synchronize()


try:
    with torch.inference_mode():
        compute = flex() if backend == "flex" else sdpa()
        compute()
        finished()
except Exception as problem:
    stop(f"unsupported {type(problem).__name__}: {' '.join(str(problem).split())[:200]}")
say("ready")
for line in sys.stdin:
    if line.strip() == "run":
        with torch.inference_mode():
            start = time.perf_counter()
            compute()
            finished()
            say(f"ms {(time.perf_counter() - start) * 1e3}")
    elif line.strip() == "output":
        with torch.inference_mode():
            # float() of f32 is the tensor itself
            values = compute().float().contiguous().cpu()
        with open(f"{folder}/o.bin", "wb") as file:
            file.write(bytes(values.untyped_storage()))
        say("done")
