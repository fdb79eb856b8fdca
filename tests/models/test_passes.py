"""In bfloat16 a model trains; what is kept, handed on or judged stays float32."""

from __future__ import annotations

import torch
from torch import nn

from fedsim.models._passes import Passes, adapt
from fedsim.models._split import embedded
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_defaults

INPUTS = torch.linspace(-1, 1, 5 * 64).reshape(5, 1, 8, 8)


def built(passes: Passes) -> nn.Module:
    with torch_defaults(1, "model"):
        model = MLP((1, 8, 8), 10)
    adapt(model, passes)
    return model


def test_nothing_is_touched_where_nothing_is_wished() -> None:
    assert "forward" not in vars(built(Passes()))


def test_weights_gradients_and_logits_stay_float32() -> None:
    plain, narrow = built(Passes()), built(Passes(narrow=True))
    logits = narrow(INPUTS)
    assert logits.dtype == torch.float32
    assert not torch.equal(logits, plain(INPUTS))
    torch.testing.assert_close(logits, plain(INPUTS), rtol=0.02, atol=0.02)
    logits.sum().backward()
    for parameter in narrow.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is not None
        assert parameter.grad.dtype == torch.float32


def test_a_model_is_judged_in_float32() -> None:
    plain, narrow = built(Passes()).eval(), built(Passes(narrow=True)).eval()
    assert torch.equal(plain(INPUTS), narrow(INPUTS))


def test_names_of_weights_are_not_touched() -> None:
    assert built(Passes(narrow=True)).state_dict().keys() == built(Passes()).state_dict().keys()


def test_parts_called_by_themselves_are_narrow_where_they_ask() -> None:
    plain, narrow = built(Passes()).eval(), built(Passes(narrow=True)).eval()
    exact, rounded = embedded(plain, INPUTS), embedded(narrow, INPUTS)
    assert torch.equal(narrow.features(INPUTS), plain.features(INPUTS))  # type: ignore[operator]
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)
