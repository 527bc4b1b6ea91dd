"""Models from a verified folder or a GGUF file, with weights as trained or drawn afresh."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from triaxis.base import provenance
from triaxis.base.errors import UserError
from triaxis.model.causal import require_causal
from triaxis.model.devices import choose_device, describe_device, spread_layers
from triaxis.model.memory import require_memory
from triaxis.model.published import read_config
from triaxis.model.whole import loading, read_headers, require_tables, require_whole
from triaxis.text import sources

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class RopeScaling:
    """A scaling of RoPE that transformers knows, 'yarn', 'linear' or 'dynamic', of a model trained on
    `training_length` tokens, by `factor`."""

    kind: str
    factor: float
    training_length: int

    def apply(self, config: Any) -> None:
        """Change a model's configuration. Raises UserError if it scales its RoPE already, or has none."""
        text = config.get_text_config()
        parameters = getattr(text, "rope_parameters", None)
        if not parameters:
            raise UserError(f"a model of type '{text.model_type}' has no RoPE that '{self.kind}' could scale")
        nested = [part for name, part in parameters.items() if isinstance(part, dict) and name != "sliding_attention"]
        for own in nested or [parameters]:
            if own.get("rope_type", "default") != "default":
                raise UserError(
                    f"this model scales its RoPE already ('{own['rope_type']}'), so '{self.kind}' cannot: leave that "
                    "method out for it"
                )
            own |= {"rope_type": self.kind, "factor": float(self.factor)}
            own["original_max_position_embeddings"] = self.training_length
        # Dynamic scaling counts from this length; of the other two it is how far they reach.
        reach = self.training_length if self.kind == "dynamic" else round(self.factor * self.training_length)
        text.max_position_embeddings = reach


def training_length_of(config: Any) -> int:
    """How many tokens a model's configuration says that it was trained on at once.

    Raises UserError if it does not say.
    """
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or {}
    length = parameters.get("original_max_position_embeddings") or getattr(text, "max_position_embeddings", None)
    if not length:
        raise UserError(
            f"a model of type '{text.model_type}' does not say its training length: set length.training_length"
        )
    return int(length)


def load_model(
    folder: str | Path,
    dtype: str,
    device: torch.device | None,
    random_seed: int | None = None,
    *,
    attention: str | None = None,
    rope_scaling: RopeScaling | None = None,
) -> PreTrainedModel:
    """A causal language model in evaluation mode; with `random_seed`, the same architecture with fresh weights; with
    `rope_scaling`, its RoPE scaled.

    device: None spreads whole layers over the GPUs, and over the CPU what they cannot hold (accelerate). attention:
    the implementation that transformers is to use, None for its own choice. Raises UserError as `read_config` and
    `require_whole` do, if the weights are not safetensors, and if the model is larger than memory.
    """
    options = {"dtype": DTYPES[dtype], "attn_implementation": attention, "trust_remote_code": False}
    config = read_config(folder)
    if rope_scaling is not None:
        rope_scaling.apply(config)
    require_memory(config, DTYPES[dtype], device)
    try:
        if random_seed is None:
            model = _load_weights(folder, config, None if device else "auto", options)
        else:
            torch.manual_seed(random_seed)
            model = AutoModelForCausalLM.from_config(config, **options)
    except (ValueError, OSError, SafetensorError) as error:
        raise UserError(f"no model can be loaded from {folder}: {error}") from error
    if device is None:
        return (model if random_seed is None else spread_layers(model)).eval()
    return model.to(device).eval()  # type: ignore[arg-type]


def _load_weights(
    folder: str | Path, config: PreTrainedConfig, place: str | None, options: Mapping[str, Any]
) -> PreTrainedModel:
    """The model of a folder, every weight as the files have it. place: as transformers' device_map."""
    headers = read_headers(folder)
    with loading(folder, headers):
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            device_map=place,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **options,
        )
    model, report = loaded
    require_whole(folder, report, headers)
    require_tables(folder, model, headers)
    return model


def open_model(
    record: str | Path, options: Mapping[str, Any], random_seed: int | None, attention: str | None = None
) -> PreTrainedModel:
    """The model of a record that fetch_model wrote, its files verified; options: `device` and `dtype` of `run`.

    Raises UserError as `sources.verify`, `choose_device`, `load_model` and `require_causal` do.
    """
    fetched = json.loads(Path(record).read_text())
    sources.verify(fetched)
    model = load_model(
        fetched["folder"], options["dtype"], choose_device(options["device"]), random_seed, attention=attention
    )
    require_causal(model)
    return model


def revision_of(upstream: Mapping[str, str], random_seed: int | None) -> str:
    """The revision that `upstream` metadata name, with the seed of weights that are not its own."""
    return upstream["revision"] + ("" if random_seed is None else f" random weights, seed {random_seed}")


def run_metadata(params: Mapping[str, Any], upstream: Mapping[str, str]) -> dict[str, str]:
    """The key-value metadata of a file that a model made in a run.

    params: the rule's, `device`, `dtype` and `random_seed` among them; upstream: of the file that it read.
    """
    own = dict(upstream) | {"revision": revision_of(upstream, params["random_seed"])}
    return provenance.describe(params, own) | {
        "device": describe_device(choose_device(params["device"])),
        "dtype": params["dtype"],
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
