"""torch.nn.functional.scaled_dot_product_attention on the CPU, by the protocol of peers.h."""
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
    stop(f"absent python3 has no torch ({type(problem).__name__})")

if sys.argv[1] != "cpu":
    stop(f"absent this script knows the back end cpu, not {sys.argv[1]}")
if len(sys.argv) == 2:
    torch.ones(64, 64) @ torch.ones(64, 64)  # loads the BLAS, whichever the system's alternatives name
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            blas = "OpenBLAS" if "openblas" in maps.read() else "no OpenBLAS"
    except OSError:
        blas = "BLAS unknown"
    stop(f"ready torch {torch.__version__}, scaled_dot_product_attention, {blas}")

folder = sys.argv[2]
batch, q_heads, kv_heads, q_len, kv_len, dim = (int(word) for word in sys.argv[3:9])
kind, mask_kind, score, cap, threads = sys.argv[9], sys.argv[10], sys.argv[11], float(sys.argv[12]), int(sys.argv[13])
dtype = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[kind]
if score == "softcap":
    stop("unsupported scaled_dot_product_attention has no soft-cap")
torch.set_num_threads(threads)


def read(name, shape, of):
    with open(f"{folder}/{name}", "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=of).reshape(shape)


q = read("q.bin", (batch, q_heads, q_len, dim), dtype)
k = read("k.bin", (batch, kv_heads, kv_len, dim), dtype)
v = read("v.bin", (batch, kv_heads, kv_len, dim), dtype)
options = {"enable_gqa": True} if q_heads != kv_heads else {}
if score == "alibi":
    keep = torch.ones(q_len, kv_len, dtype=torch.bool)
    if mask_kind == "causal":
        keep = keep.tril()
    elif mask_kind == "dense":
        keep = read("mask.bin", (q_len, kv_len), torch.uint8).bool()
    slopes = 2.0 ** (-8.0 * (torch.arange(q_heads) + 1) / q_heads)
    distance = (torch.arange(kv_len)[None, :] - torch.arange(q_len)[:, None]).float()
    bias = slopes[:, None, None] * distance
    options["attn_mask"] = bias.masked_fill(~keep, float("-inf")).to(dtype)
elif mask_kind == "causal":
    options["is_causal"] = True
elif mask_kind == "dense":
    options["attn_mask"] = read("mask.bin", (q_len, kv_len), torch.uint8).bool()


def compute():
    with torch.inference_mode():
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, **options)


try:
    compute()
except Exception as problem:
    stop(f"unsupported {type(problem).__name__}: {' '.join(str(problem).split())[:200]}")
say("ready")
for line in sys.stdin:
    if line.strip() == "run":
        start = time.perf_counter()
        compute()
        say(f"ms {(time.perf_counter() - start) * 1e3}")
    elif line.strip() == "output":
        # float() of f32 is the tensor itself
        values = compute().float().contiguous()
        with open(f"{folder}/o.bin", "wb") as file:
            file.write(bytes(values.untyped_storage()))
        say("done")
