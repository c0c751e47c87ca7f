"""From a request to its response, without a socket."""

import msgspec
import pytest
import structlog
from msgspec import UNSET

from flocknode.errors import KeyLocked
from flocknode.rpc import jsonrpc
from flocknode.rpc.arena_records import Training
from flocknode.rpc.dispatch import Method, answer, make_method
from flocknode.rpc.openrpc import make_document
from flocknode.rpc.records import Count, Hex32, Outcome
from protocol.errors import InsufficientFunds
from storage.errors import Corrupted


async def echo(*, to: Hex32, amount_units: Count = 7, training: Training | None = None) -> str:
    """Return what came in.

    More words.
    """
    return f"{to[:4]} {amount_units} {training.passes if training else None}"


async def refuse() -> Outcome:
    """Refuse."""
    raise InsufficientFunds("the balance does not cover it", have=1, need=2)


async def lock() -> None:
    """Fail on this node."""
    raise KeyLocked("the key is locked", help="Open it.")


async def corrupt() -> None:
    """Fail in storage."""
    raise Corrupted("wal at 17", "bad checksum")


async def crash() -> None:
    """Have a defect."""
    raise ZeroDivisionError("oops")


@pytest.fixture
def methods() -> dict[str, Method]:
    """The handlers above as methods."""
    handlers = {"t.echo": echo, "t.refuse": refuse, "t.lock": lock, "t.corrupt": corrupt, "t.crash": crash}
    return {name: make_method(name, handler) for name, handler in handlers.items()}


async def ask(methods, method, params=UNSET, **rest):
    """Return the response to one request as plain JSON values."""
    message = {"jsonrpc": "2.0", "id": 1, "method": method, **({} if params is UNSET else {"params": params}), **rest}
    return msgspec.to_builtins(await answer(message, methods, None))


async def test_parameters_are_typed_by_the_handlers_annotations(methods):
    """Values are converted to the annotated types, defaults fill what is left out, records are built."""
    assert (await ask(methods, "t.echo", {"to": "a" * 64}))["result"] == "aaaa 7 None"
    nested = await ask(methods, "t.echo", {"to": "a" * 64, "amount_units": 1, "training": {"passes": 3}})
    assert nested["result"] == "aaaa 1 3"


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({}, "`to`"),
        ({"to": "xyz"}, "$.to"),
        ({"to": "a" * 64, "amount_units": -1}, "$.amount_units"),
        ({"to": "a" * 64, "amount_units": "1"}, "$.amount_units"),
        ({"to": "a" * 64, "amuont": 1}, "`amuont`"),
        ({"to": "a" * 64, "training": {"passes": 0}}, "$.training.passes"),
        (["a" * 64], "object"),
        (3, "object"),
    ],
)
async def test_wrong_parameters_are_named(methods, params, named):
    """A missing, unknown or ill-typed parameter is an invalid-params error that names it."""
    error = (await ask(methods, "t.echo", params))["error"]
    assert error["code"] == jsonrpc.INVALID_PARAMS
    assert named in error["message"]


async def test_a_refusal_carries_number_kind_help_and_data(methods):
    """A protocol error becomes its number with what the reader needs to do better."""
    error = (await ask(methods, "t.refuse"))["error"]
    assert error["code"] == InsufficientFunds.number
    assert error["data"] == {"kind": "InsufficientFunds", "help": InsufficientFunds.help, "have": 1, "need": 2}


async def test_local_failures_have_numbers_above_the_protocols(methods):
    """Failures of this node and of its storage are errors of their own, with words that help."""
    assert (await ask(methods, "t.lock"))["error"] == {
        "code": KeyLocked.number,
        "message": "the key is locked",
        "data": {"kind": "KeyLocked", "help": "Open it.", "have": None, "need": None},
    }
    assert "flocknode db repair" in (await ask(methods, "t.corrupt"))["error"]["data"]["help"]


async def test_a_defect_in_a_handler_is_an_internal_error_and_logged(methods):
    """An unexpected exception answers with the standard code and leaves a traceback in the log."""
    with structlog.testing.capture_logs() as lines:
        error = (await ask(methods, "t.crash"))["error"]
    assert error["code"] == jsonrpc.INTERNAL_ERROR
    assert lines[0]["method"] == "t.crash"


@pytest.mark.parametrize(
    "message",
    [3, None, "x", [], {}, {"jsonrpc": "2.0"}, {"method": "t.echo"}, {"jsonrpc": "1.0", "method": "t.echo", "id": 4}],
)
async def test_what_is_no_request_is_refused(methods, message):
    """Anything but a JSON-RPC 2.0 request is an invalid request; its id is repeated if it has one."""
    response = await answer(message, methods, None)
    assert response is not None
    assert response.error is not UNSET
    assert response.error.code == jsonrpc.INVALID_REQUEST
    assert response.id == (4 if isinstance(message, dict) and "id" in message else None)


async def test_unknown_methods_and_notifications(methods):
    """An unknown method is an error of its own; a request without an id is performed and not answered."""
    assert (await ask(methods, "no.such"))["error"]["code"] == jsonrpc.METHOD_NOT_FOUND
    assert await answer({"jsonrpc": "2.0", "method": "t.refuse"}, methods, None) is None


def test_a_handlers_positional_parameters_are_a_defect():
    """Parameters go by name, so a handler that takes them by position is refused at once."""

    async def wrong(height: int) -> int:
        return height

    with pytest.raises(AssertionError, match="by name"):
        make_method("t.wrong", wrong)


def test_the_document_describes_every_method(methods):
    """The OpenRPC document has each method with its summary, parameter schemas and resolvable references."""
    document = make_document(methods)
    described = {method["name"]: method for method in document["methods"]}
    assert described.keys() == methods.keys()
    assert described["t.echo"]["summary"] == "Return what came in."
    first = described["t.echo"]["params"][0]
    assert first == {"name": "to", "required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{64}$"}}
    assert [one["required"] for one in described["t.echo"]["params"]] == [True, False, False]
    references = {one["$ref"].rpartition("/")[2] for one in _find_references(document)}
    assert references == document["components"]["schemas"].keys() != set()


def _find_references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node
        for value in node.values():
            yield from _find_references(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _find_references(value)
