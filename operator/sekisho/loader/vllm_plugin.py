"""The load format "sekisho" of vLLM: sealed safetensors files, decrypted into memory of the engine's own.

    vllm serve /config --load-format sekisho

`/config` holds configuration and tokenizer, in memory-backed storage. SEKISHO_LOADER_CIPHERTEXT names the sealed
folder, SEKISHO_LOADER_SOCKET the socket where the agent hands over the keys of its files. No file holds plaintext of
weights. vLLM copies each tensor into its model; what is decrypted ahead of that are two windows of 256 MiB, or two of
the largest tensor.
"""

import functools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.loader.handover import WEIGHTS_SUFFIX, fetch_file_keys, is_handed_over, open_handed_over
from sekisho.loader.opening import SealedModel
from sekisho.loader.tensors import TensorView, stream_tensors
from sekisho.seal.openssl import describe_openssl, warn_of_openssl

LOAD_FORMAT: Final = "sekisho"
SOCKET_VARIABLE: Final = "SEKISHO_LOADER_SOCKET"
CIPHERTEXT_VARIABLE: Final = "SEKISHO_LOADER_CIPHERTEXT"
WAIT_VARIABLE: Final = "SEKISHO_LOADER_WAIT_SECONDS"
_WAIT_SECONDS: Final = 300.0
_CONSOLIDATED: Final = "consolidated"
_DTYPES: Final = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "I16": "int16", "I32": "int32", "I64": "int64", "F16": "float16",
    "BF16": "bfloat16", "F32": "float32", "F64": "float64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


@functools.cache
def register() -> None:
    """Make the load format known to vLLM; vLLM calls this in each of its processes, maybe twice."""
    from vllm.logger import init_logger  # noqa: PLC0415 - only an engine has it
    from vllm.model_executor.model_loader import register_model_loader  # noqa: PLC0415
    from vllm.model_executor.model_loader.default_loader import DefaultModelLoader  # noqa: PLC0415

    logger = init_logger("vllm.sekisho")

    # vLLM takes no other kind; inherited is the check that every parameter of the model got its weights.
    class SealedModelLoader(DefaultModelLoader):  # type: ignore[misc]
        def download_model(self, model_config: Any) -> None:
            """Do nothing: the sealed folder is there."""

        def get_all_weights(self, model_config: Any, model: Any) -> Iterator[tuple[str, Any]]:
            """Yield each tensor once its tag held."""
            self.counter_before_loading_weights = time.perf_counter()
            try:
                if warning := warn_of_openssl(describe_openssl()):
                    logger.warning(warning)
                if getattr(model, "secondary_weights", ()):
                    raise RefusedError(
                        Reason.FORMAT_NOT_SERVED, "models that load weights of a second model are not read sealed"
                    )
                for tensor in read_weights():
                    yield tensor.name, make_tensor(tensor)
            except SekishoError as error:
                logger.error("%s: %s", error.reason.value, error.message)
                raise

    register_model_loader(LOAD_FORMAT)(SealedModelLoader)


def read_weights() -> Iterator[TensorView]:
    """Get the keys, open the sealed folder, and decrypt its weights window by window.

    Raises:
        SekishoError: No keys were handed over, or the folder is not what was sealed.
    """
    handover = fetch_file_keys(Path(_setting(SOCKET_VARIABLE)), seconds=_wait_seconds())
    try:
        model = open_handed_over(Path(_setting(CIPHERTEXT_VARIABLE)), handover)
    finally:
        handover.wipe()
    for path in choose_files(model):
        yield from stream_tensors(model, path)


def choose_files(model: SealedModel) -> list[str]:
    """List the files of weights, as vLLM would take them from a folder.

    Raises:
        RefusedError: There are none.
    """
    found = [file.path for file in model.manifest.files if is_handed_over(file.path)]
    # Some models ship their weights twice; vLLM takes the files of the usual names where there are any.
    usual = [path for path in found if not path.startswith(_CONSOLIDATED)]
    if not found:
        raise RefusedError(
            Reason.FORMAT_NOT_SERVED,
            f'model "{model.manifest.model.name}" has no file {WEIGHTS_SUFFIX}; vLLM is given no other',
        )
    return usual or found


def make_tensor(tensor: TensorView) -> Any:
    """Return a torch tensor over the bytes of `tensor`, without a copy.

    Raises:
        RefusedError: torch has no such type.
    """
    import torch  # noqa: PLC0415 - only an engine has it

    if (name := _DTYPES.get(tensor.dtype)) is None:
        raise RefusedError(
            Reason.FORMAT_NOT_SERVED,
            f'tensor "{tensor.name[:128]}" has the type {tensor.dtype}, which vLLM is not given',
        )
    dtype = getattr(torch, name)
    if tensor.view.nbytes == 0:
        return torch.empty(tensor.shape, dtype=dtype, device="cpu")
    return torch.frombuffer(tensor.view, dtype=dtype).reshape(tensor.shape)


def _setting(variable: str) -> str:
    if not (value := os.environ.get(variable, "")):
        raise RefusedError(Reason.INVALID_SPEC, f"{variable} is not set; the load format {LOAD_FORMAT} needs it")
    return value


def _wait_seconds() -> float:
    text = os.environ.get(WAIT_VARIABLE, "")
    try:
        return min(max(float(text), 0.0), 3600.0) if text else _WAIT_SECONDS
    except ValueError:
        raise RefusedError(Reason.INVALID_SPEC, f'{WAIT_VARIABLE} is "{text[:64]}", a number is needed') from None
