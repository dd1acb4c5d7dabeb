"""A session on a GPU with its buffers allocated once: tiles go over the bus as they are, nothing is copied twice.

ONNX Runtime's `run` allocates device and host memory at every call, and copies from and to memory that the system may
move, which takes the driver a copy of its own. Here tiles are copied from page-locked host memory into one device
buffer, and the outputs straight into page-locked host memory (onnxruntime.ai/docs/performance/device-tensor.html).
"""

from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from flawmap.inspect.scoring.cuda_runtime import page_locked

Image = NDArray[Any]


class BoundSession:
    """Runs one batch shape on CUDA or TensorRT, or, where `on_gpu` is False, on the CPU with the same calls.

    `inputs`: page-locked buffers by name, for the caller to fill; `outputs`: where `run` leaves its answers, written
    over by the next `run`. Not from several threads at once; several of one session take turns on the GPU.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        inputs: dict[str, tuple[tuple[int, ...], np.dtype[Any]]],
        outputs: dict[str, tuple[tuple[int, ...], np.dtype[Any]]],
        *,
        on_gpu: bool,
    ) -> None:
        self._session = session
        self._on_gpu = on_gpu
        self._binding = session.io_binding()
        self.inputs = {name: page_locked(shape, dtype, on_gpu) for name, (shape, dtype) in inputs.items()}
        self.outputs = {name: page_locked(shape, dtype, on_gpu) for name, (shape, dtype) in outputs.items()}
        self._device_inputs: dict[str, onnxruntime.OrtValue] = {}
        for name, buffer in self.inputs.items():
            value = onnxruntime.OrtValue.ortvalue_from_numpy(buffer, "cuda" if on_gpu else "cpu", 0)
            self._device_inputs[name] = value
            self._binding.bind_ortvalue_input(name, value)
        for name, buffer in self.outputs.items():
            self._binding.bind_output(name, "cpu", 0, buffer.dtype.type, buffer.shape, buffer.ctypes.data)

    def run(self) -> None:
        """`inputs` -> `outputs`; when it returns, all copies are done."""
        if self._on_gpu:  # on the CPU the session reads the buffers themselves
            for name, buffer in self.inputs.items():
                self._device_inputs[name].update_inplace(buffer)
        self._session.run_with_iobinding(self._binding)
