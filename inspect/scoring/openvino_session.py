"""A bundle's model on OpenVINO, which computes on Intel's and AMD's processors in fewer bits than ONNX Runtime does.

OpenVINO computes in bf16 on server processors unless told otherwise: other scores than those that were calibrated. Here
it is always told (docs.openvino.ai, "Precision control", `inference_precision`).
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flawmap.tiling.errors import DeviceError, UsageError

Image = NDArray[Any]


class OpenVinoSession:
    """Answers `run` as an onnxruntime session does. Not from several threads at once."""

    def __init__(self, model: Path, *, bf16: bool = False, threads: int | None = None) -> None:
        """`model`: ONNX file. `bf16`: compute what is not 8 bits in bf16 instead of float32.

        DeviceError where OpenVINO is not installed or the processor has no `bf16`, UsageError for a model that it
        cannot load.
        """
        try:
            import openvino
        except ImportError as error:
            raise DeviceError(
                f"`--device` (=openvino) is not available here: {error}; `pip install 'flawmap[openvino]'` brings it, "
                "or inspect with `--device cpu`"
            ) from None
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",  # all cores on one tile
        }
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        try:
            core = openvino.Core()
            if bf16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
                raise DeviceError("`--device` (=openvino): this processor has no bf16; inspect with `--device cpu`")
            compiled = core.compile_model(core.read_model(str(model)), "CPU", settings)
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise UsageError(f"{model} cannot be loaded: {' '.join(str(error).split())[-300:]}") from error
        self._compiled = compiled
        batch = compiled.inputs[0].partial_shape[0]
        self.fixed_batch: int | None = batch.get_length() if batch.is_static else None

    def run(self, outputs: list[str], inputs: dict[str, Image]) -> list[Image]:
        """`inputs` by name -> arrays of `outputs`, the caller's to keep."""
        results = self._request.infer({name: np.ascontiguousarray(v) for name, v in inputs.items()}, share_inputs=True)
        return [results[self._compiled.output(name)] for name in outputs]
