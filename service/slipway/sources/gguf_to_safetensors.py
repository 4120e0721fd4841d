"""Turns a GGUF file into a folder of bf16 safetensors with tokenizer and chat template.

A program of its own (`python -m slipway.sources.gguf_to_safetensors IN OUT`, in the engine's
environment): its memory goes back when it ends, it can be stopped at any moment, and what libraries print
stays away from the engine's log. It writes one JSON object a line to standard output, `{"done": …,
"total": …, "needs": …}` in bytes, and ends with `{"error": …}` where it could not convert. It ends when its
standard input does, that is with the process that started it.
"""

import functools
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Emit = Callable[..., None]


def main(arguments: list[str]) -> int:
    source, target = Path(arguments[0]), Path(arguments[1])
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def emit(**fields: int | str) -> None:
        print(json.dumps(fields), file=channel)

    try:
        convert(source, target, emit)
    except Exception as error:
        emit(error=f"{type(error).__name__}: {error}")
        return 1
    return 0


def convert(source: Path, target: Path, emit: Emit) -> None:
    """Load `source` through Transformers' own GGUF support, save it into `target`."""
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _quicken(gguf, emit)
    folder, name = str(source.parent), source.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
        trust_remote_code=False,
    )
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    if not (target / "chat_template.jinja").exists() and tokenizer.chat_template:
        (target / "chat_template.jinja").write_text(tokenizer.chat_template)


def _quicken(gguf: Any, emit: Emit) -> None:
    """Give Transformers quicker stand-ins for three names that it takes from `gguf`, and count on the way.

    It parses a file's metadata (hundreds of thousands of tokens and merges) three times, each element as a
    `numpy.memmap`, and builds one table of names once for each of a model's modules: 12 of the 19 seconds a
    small model takes. Where a later version uses other names, conversion still works, only slower.
    """

    class Reader(gguf.GGUFReader):  # type: ignore[misc]
        @property
        def data(self) -> Any:
            return self._data

        @data.setter
        def data(self, mapped: Any) -> None:
            self._data = mapped.view(gguf.gguf_reader.np.ndarray)

    @functools.cache
    def read(path: str) -> Any:
        reader = Reader(path)
        counter.total = sum(int(tensor.n_bytes) for tensor in reader.tensors)
        emit(done=0, total=counter.total, needs=2 * sum(int(tensor.n_elements) for tensor in reader.tensors))
        return reader

    class Counter:
        done = 0
        total = 0

        def dequantize(self, data: Any, kind: Any) -> Any:
            weights = dequantize(data, kind)
            self.done += int(data.nbytes)
            emit(done=self.done, total=self.total)
            return weights

    counter = Counter()
    dequantize = gguf.dequantize
    gguf.dequantize = counter.dequantize
    gguf.GGUFReader = lambda path: read(str(path))
    gguf.get_tensor_name_map = functools.cache(gguf.get_tensor_name_map)


def _end_with_parent() -> None:
    # Not through sys.stdin: its lock would be held when the interpreter ends.
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
