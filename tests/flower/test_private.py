"""Flower's private names are where fedsim expects them; this fails first when they move."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import requires, version
from pathlib import Path

from flwr.app import Message, RecordDict

from fedsim.flower import flwr_internals as private


def test_this_flower_is_one_that_was_checked() -> None:
    assert version("flwr").rpartition(".")[0] in private.VERSIONS


def test_the_package_asks_for_the_versions_that_were_checked() -> None:
    wanted = next(line for line in requires("fedsim") or [] if line.startswith("flwr"))
    assert re.findall(r"\d+\.\d+", wanted) == ["1.43", "1.41"]


def test_a_process_with_an_identity_creates_messages() -> None:
    private.identify(77)
    message = Message(RecordDict(), dst_node_id=5, message_type="train")
    private.set_message_id(message, "an id")
    assert message.metadata.run_id == 77
    assert message.metadata.src_node_id == private.SERVER_NODE
    assert message.metadata.message_id == "an id"
    assert Message(RecordDict(), reply_to=message).metadata.reply_to_message_id == "an id"


def test_a_supernode_waits_by_the_name_that_is_replaced() -> None:
    from flwr.supernode import start_client_internal as loop
    from flwr.supernode.cli.flower_supernode import flower_supernode
    from flwr.supernode.cli.flwr_clientapp import flwr_clientapp

    source = inspect.getsource(loop)
    assert set(re.findall(r"\btime\.(\w+)", source)) == {"sleep"}
    assert "time.sleep(3)" in source
    assert callable(flower_supernode)
    assert callable(flwr_clientapp)


def test_the_code_of_a_node_that_is_gone() -> None:
    assert private.NODE_UNAVAILABLE == 5


def test_no_other_file_touches_flowers_private_names() -> None:
    root = Path(private.__file__).parents[1]
    public = re.compile(r"(from|import) flwr\.(?!(app|clientapp|serverapp)(\.strategy)?\b)")
    guilty = [
        path.name
        for path in root.rglob("*.py")
        if path.name != "flwr_internals.py" and public.search(path.read_text())
    ]
    assert guilty == []
