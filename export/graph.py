"""The graph that the node runs: uint8 frame in, logits at low resolution out."""

from __future__ import annotations

import copy

import onnx
import onnxslim
import torch
from torch import Tensor, nn

OPSET = 18


class CpuGraph(nn.Module):
    """(1, H, W, 3) uint8 BGR in, (1, classes, H / stride, W / stride) float32 logits out.

    The division by std is folded into the first convolution. The mean is subtracted before it, in
    the graph: folded into the bias as well, it would turn the convolution's zero padding from the
    mean colour to black and change the logits at the border.
    """

    def __init__(self, model: nn.Module, mean_bgr: tuple[float, ...], std_bgr: tuple[float, ...]) -> None:
        super().__init__()
        self.model = copy.deepcopy(model).eval()
        first = next(module for module in self.model.modules() if isinstance(module, nn.Conv2d))
        with torch.no_grad():
            first.weight /= torch.tensor(std_bgr).view(1, 3, 1, 1)
        self.mean = nn.Buffer(torch.tensor(mean_bgr).view(1, 3, 1, 1))

    def forward(self, frame: Tensor) -> Tensor:
        logits: Tensor = self.model(frame.permute(0, 3, 1, 2).float() - self.mean)
        return logits


def to_onnx(module: nn.Module, example: Tensor, input_name: str) -> onnx.ModelProto:
    """Trace with torch.onnx (dynamo), fold and clean with onnxslim; static shapes."""
    program = torch.onnx.export(
        module.eval(),
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[input_name],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None
    slim: onnx.ModelProto = onnxslim.slim(program.model_proto)
    for node in slim.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.checker.check_model(slim, full_check=True)
    return slim
