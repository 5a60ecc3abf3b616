"""PyTorch's products of a linear layer: child of bench/products.py. Prints a JSON line for each.

    python torch_products.py --shape 1024,576,576 --dtype bf16 --threads 2

Tokens M, outputs N, inputs K. forward, dX, dW: torch.mm into a tensor that is there already. prepacked: oneDNN's weights in its own
order, as torch.compile freezes them. At least 0.3 s and five products each, after one to warm up; the median.
"""

import argparse
import json
import statistics
import time

import torch

LEAST_SECONDS, LEAST_COUNT = 0.3, 5


def median_seconds(product, least):
    product()
    times, begin = [], time.perf_counter()
    while len(times) < LEAST_COUNT or time.perf_counter() - begin < least:
        start = time.perf_counter()
        product()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", required=True)
    parser.add_argument("--dtype", choices=["f32", "bf16"], default="bf16")
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    m, n, k = map(int, args.shape.split(","))
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[args.dtype]
    x, w, dy = (torch.rand(shape).mul_(2).sub_(1).to(dtype) for shape in ((m, k), (n, k), (m, n)))
    y, dx, dw = torch.empty_like(dy), torch.empty_like(x), torch.empty_like(w)

    with torch.inference_mode():
        products = {
            "forward": lambda: torch.mm(x, w.t(), out=y),
            "dX": lambda: torch.mm(dy, w, out=dx),
            "dW": lambda: torch.mm(dy.t(), x, out=dw),
        }
        try:  # not a public interface: another version may not have it
            packed = torch.ops.mkldnn._reorder_linear_weight(w, m)
            products["prepacked"] = lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
        except (AttributeError, RuntimeError):
            pass
        for what, product in products.items():
            seconds = median_seconds(product, LEAST_SECONDS)
            print(json.dumps({"what": what, "gflops": 2 * m * n * k / seconds / 1e9}), flush=True)


if __name__ == "__main__":
    main()
