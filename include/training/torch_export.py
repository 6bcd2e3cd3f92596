"""This file turns a PyTorch network into an ONNX graph."""

import io
import logging
import warnings

import onnx
import torch
from torch import nn

from include.errors import ArtefactError
from include.features import OPSET, OUTPUT

INPUT = "matrix"
# Of these a network is traced in a twentieth of the time that it takes to analyse its code (decision 0022).
OURS = "include.training."
PLAIN = {nn.Sequential, nn.ModuleList, nn.Linear, nn.ReLU, nn.Dropout, nn.Embedding, nn.Conv2d, nn.Flatten}


def graph_of(network: nn.Module, width: int) -> onnx.ModelProto:
    """Return a network as an ONNX graph: from a matrix [rows, width] to answers."""
    model, rows = network.cpu().eval(), torch.zeros(3, width)
    for chatty in ("torch.onnx", "onnxscript", "onnx_ir"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _traced(model, rows) if _is_branchless(model) else _exported(model, rows)


def _is_branchless(model: nn.Module) -> bool:
    """Say whether it runs the same operators for any values and any number of rows, so that one run tells them all."""
    return all(type(part) in PLAIN or type(part).__module__.startswith(OURS) for part in model.modules())


def _traced(model: nn.Module, rows: torch.Tensor) -> onnx.ModelProto:
    graph = io.BytesIO()
    torch.onnx.export(
        model,
        (rows,),
        graph,  # type: ignore[arg-type]  # this way takes open files, too
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={INPUT: {0: "rows"}, OUTPUT: {0: "rows"}},
        opset_version=OPSET,
        dynamo=False,
    )
    return onnx.load_from_string(graph.getvalue())


def _exported(model: nn.Module, rows: torch.Tensor) -> onnx.ModelProto:
    program = torch.onnx.export(
        model,
        (rows,),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("rows", min=1)},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    if program is None:
        raise ArtefactError("torch.onnx.export returned no graph. Look at its messages above.")
    return program.model_proto
