"""How many plain steps a turn's steps are worth, which FedNova and SCAFFOLD divide by."""

from __future__ import annotations

__all__ = ["reach"]


def reach(steps: int, momentum: float = 0.0, pull: float = 0.0) -> float:
    """Return how far ``steps`` steps go along a gradient that stays one, at a rate of one.

    This is the 1-norm of FedNova's ``a_i``, in closed form ``steps`` for plain SGD,
    ``(steps - m (1 - m^steps) / (1 - m)) / (1 - m)`` with momentum ``m``, and
    ``(1 - (1 - pull)^steps) / pull`` with a proximal term; taking the steps covers all three,
    and both at once.

    Args:
        steps: how many there are.
        momentum: of the steps.
        pull: the step size times the strength of the proximal term.
    """
    place = velocity = 0.0
    for _ in range(steps):
        velocity = momentum * velocity + 1 - pull * place
        place += velocity
    return place
