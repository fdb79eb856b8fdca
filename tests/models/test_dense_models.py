"""Models that answer for every place of an example."""

from __future__ import annotations

import pytest
import torch

from fedsim.models.char_lstm import CharLstm
from fedsim.models.transformer import Transformer
from fedsim.models.unet import UNet
from fedsim.seeds import torch_defaults


def test_the_lstm_has_as_many_parameters_as_in_the_paper() -> None:
    """McMahan et al. 2017 say 866,578 with a vocabulary of their own; with 90 tokens 822,570."""
    model = CharLstm((80,), 90)
    assert sum(p.numel() for p in model.parameters()) == 822_570
    small = CharLstm((80,), 66, hidden=128, layers=1)
    assert sum(p.numel() for p in small.parameters()) == 79_698
    assert small(torch.zeros(2, 80, dtype=torch.int64)).shape == (2, 80, 66)


def test_the_lstm_sees_no_token_that_is_still_to_come() -> None:
    with torch_defaults(0, "model"):
        model = CharLstm((6,), 9, hidden=8, layers=1)
    tokens = torch.arange(6)[None]
    changed = tokens.clone()
    changed[0, 4] = 8
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


def test_the_transformer_sees_no_token_that_is_still_to_come() -> None:
    with torch_defaults(0, "model"):
        model = Transformer((6,), 9, width=8, heads=2)
    tokens = torch.arange(6)[None]
    changed = tokens.clone()
    changed[0, 4] = 8
    before, after = model(tokens), model(changed)
    assert torch.allclose(before[:, :4], after[:, :4], atol=1e-6)
    assert not torch.allclose(before[:, 4:], after[:, 4:], atol=1e-3)
    block = 4 * (8 * 8 + 8) + (8 * 32 + 32) + (32 * 8 + 8) + 2 * 16
    head = 9 * 8 + 9
    assert sum(p.numel() for p in model.parameters()) == 9 * 8 + 6 * 8 + 2 * block + 16 + head


def test_the_u_net_answers_for_every_pixel() -> None:
    model = UNet((1, 16, 16), 11, width=8)
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 11, 16, 16)
    with pytest.raises(ValueError, match="cannot be halved"):
        UNet((1, 18, 16), 3)
    with pytest.raises(ValueError, match="multiple of 4"):
        UNet((1, 16, 16), 3, width=6)
