"""This file turns a PyTorch network into an ONNX graph."""

import logging
import warnings

import onnx
import torch
from torch import nn

from include.errors import ArtefactError
from include.features import OPSET, OUTPUT


def graph_of(network: nn.Module, width: int) -> onnx.ModelProto:
    """Return a network as an ONNX graph: from a matrix [rows, width] to answers."""
    rows = torch.export.Dim("rows", min=1)
    model = network.cpu().eval()
    for chatty in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model,
            (torch.zeros(3, width),),
            input_names=["matrix"],
            output_names=[OUTPUT],
            dynamic_shapes=({0: rows},),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ArtefactError("torch.onnx.export returned no graph. Look at its messages above.")
    return program.model_proto
