#!/usr/bin/env python3
"""One BERT layer as transformers computes it: tests/golden/course/bert_layer.npy, for the lesson that assembles it.

A flat float32 vector, in this order: x (5, 16), the layer's output (5, 16), then weight and bias of query, key, value, attention output,
its LayerNorm, intermediate (32), output, its LayerNorm. Weights are drawn, norms too, so that nothing is an identity.
"""
import pathlib

import numpy as np
import torch
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLayer

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "course" / "bert_layer.npy"


def main():
    torch.manual_seed(26)
    config = BertConfig(hidden_size=16, num_attention_heads=2, intermediate_size=32, hidden_act="gelu", layer_norm_eps=1e-12,
                        attn_implementation="eager")
    layer = BertLayer(config).eval()
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            if "LayerNorm.weight" in name:
                parameter.copy_(1 + 0.2 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.3 * torch.randn_like(parameter))
        x = torch.randn(5, 16)
        y = layer(x[None])
        y = (y[0] if isinstance(y, tuple) else y).reshape(5, 16)
    attention = layer.attention
    parts = [x, y]
    for module in (attention.self.query, attention.self.key, attention.self.value, attention.output.dense, attention.output.LayerNorm,
                   layer.intermediate.dense, layer.output.dense, layer.output.LayerNorm):
        parts += [module.weight, module.bias]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    np.save(OUT, torch.cat([p.detach().reshape(-1) for p in parts]).numpy().astype(np.float32))
    print(OUT, sum(p.numel() for p in parts))


if __name__ == "__main__":
    main()
