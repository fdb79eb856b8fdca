"""An experiment: the parts of a run, built once, before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from fedsim.client import Client
from fedsim.data.federated import FederatedData
from fedsim.errors import Fault, ScenarioError
from fedsim.flower.parts import client_of, strategy_of
from fedsim.models._check import check_model
from fedsim.models._scenario_model import scenario_model
from fedsim.privacy.privacy_spec import PrivacySpec, settle_privacy
from fedsim.schema.scenario import Scenario
from fedsim.strategy import Strategy
from fedsim.task import Task
from fedsim.tasks._from_scenario import task_of

__all__ = ["Experiment"]


@dataclass(frozen=True)
class Experiment:
    """A scenario with its data, and the objects that it names, each made once."""

    scenario: Scenario
    """With its noise multiplier, and what trials on this machine have settled."""
    data: FederatedData
    privacy: PrivacySpec | None
    """What is promised of the clients' data; None: nothing."""
    strategy: Strategy
    client: Client
    """The local update rule; under privacy that is not central, with noise of its own."""
    model: nn.Module
    """The server's, with the weights that the run starts from."""

    @classmethod
    def settled(cls, scenario: Scenario, data: FederatedData) -> Experiment:
        """Return the experiment that ``scenario`` describes.

        Raises:
            ScenarioError: if a part cannot be made, or the parts do not fit each other; a run is
                refused here, before any worker starts.
        """
        settled, privacy = settle_privacy(scenario, data.clients)
        strategy = strategy_of(settled, privacy)
        task = task_of(scenario, data.targets)
        model = scenario_model(scenario, data.model_shape, task.outputs)
        check_model(model, data.model_shape, data.stored["inputs"].dtype.kind == "i", task)
        client = client_of(settled, strategy)
        _check_gradients(client, model, data, task)
        return cls(settled, data, privacy, strategy, client, model)

    def with_scenario(self, scenario: Scenario) -> Experiment:
        """Return the experiment with other settings of ``compute``: its parts are the same."""
        return replace(self, scenario=scenario)


def _check_gradients(client: Client, model: nn.Module, data: FederatedData, task: Task) -> None:
    """Refuse a model whose gradients cannot be taken example by example, where a rule needs that.

    What the rule finds out of rows is said by the workers, each for its own processor.

    Raises:
        ScenarioError: at ``model``.
    """
    try:
        client.rows_are_exact(model, data.shape, task)
    except Exception as error:  # of torch.func, which cannot follow every layer
        rule = type(client).__name__.lstrip("_")
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        message = f"{rule} cannot take its gradients example by example: {text}"
        recurrent = [n for n, m in model.named_modules() if isinstance(m, nn.RNNBase)]
        hint = f"{recurrent[0]} is recurrent: an LSTM, or attention, works" if recurrent else ""
        raise ScenarioError([Fault("", 0, 0, "model", message, hint)]) from error
