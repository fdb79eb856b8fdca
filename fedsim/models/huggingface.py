"""A model of transformers from a folder on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from torch import Tensor, nn

from fedsim.models._foreign import library
from fedsim.schema.wording import Wording

__all__ = ["Huggingface"]

_AUTO = {
    "next_token": "AutoModelForCausalLM",
    "text": "AutoModelForSequenceClassification",
    "image": "AutoModelForImageClassification",
}


@dataclass(frozen=True)
class Huggingface:
    """A model that ``save_pretrained`` wrote; ``hf:FOLDER`` is short for ``path: FOLDER``.

    The network is never asked and no code of the folder is run.  Its weights, if there are any,
    are what training starts from.
    """

    takes: ClassVar[Literal["tokens, numbers"]] = "tokens, numbers"

    classes: int
    path: Annotated[Path, Wording("a folder with a config.json")]
    """The folder, with a config.json and, but for random weights, a model.safetensors."""
    head: Literal["next_token", "text", "image"] = "next_token"
    """What the model answers: the next token at every place, the class of a text or of an image."""

    def module(self) -> nn.Module:
        """Return the model, as one that gives logits.

        Raises:
            MissingPackage: if transformers is not there.
            OSError: if the folder holds no model.
            ValueError: if it is for another number of classes.
        """
        transformers = library("transformers")
        offline = {"local_files_only": True, "trust_remote_code": False}
        auto = getattr(transformers, _AUTO[self.head])
        config = transformers.AutoConfig.from_pretrained(self.path, **offline)
        if self.head != "next_token":
            config.num_labels = self.classes
        elif config.vocab_size != self.classes:
            raise ValueError(f"it has {config.vocab_size} tokens, and the data {self.classes}")
        if not any(Path(self.path).glob("*.safetensors")):
            return _Logits(auto.from_config(config))
        stored = {"use_safetensors": True, "ignore_mismatched_sizes": self.head != "next_token"}
        return _Logits(auto.from_pretrained(self.path, config=config, **offline, **stored))


class _Logits(nn.Module):
    """A model of transformers that returns its logits alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the model calls logits."""
        logits: Tensor = self.model(inputs).logits
        return logits
