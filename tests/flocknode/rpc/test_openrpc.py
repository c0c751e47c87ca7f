"""The document of `rpc.discover`, for all methods of a daemon, against the schema that OpenRPC publishes."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, ValidationError
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7

from flocknode.rpc.events import EventHub, make_log_methods
from flocknode.rpc.methods import make_methods
from flocknode.rpc.openrpc import make_document
from flocknode.rpc.server import RpcServer

VECTORS = Path(__file__).parents[2] / "vectors" / "openrpc"
META_SCHEMA = json.loads((VECTORS / "meta-schema.json").read_text())
JSON_SCHEMA = Resource.from_contents(json.loads((VECTORS / "json-schema.json").read_text()), DRAFT7)


@pytest.fixture(scope="module")
def document():
    """The document as clients receive it. Building the table of methods needs no node, calling them would."""
    handlers = {**make_methods(None), **make_log_methods(None)}
    server = RpcServer(Path("unused"), handlers, EventHub())
    return json.loads(json.dumps(make_document(server.methods)))


@pytest.fixture(scope="module")
def validator():
    """The published schema of OpenRPC documents; it names the one of JSON Schema with and without a slash."""
    addresses = ("https://meta.json-schema.tools", "https://meta.json-schema.tools/")
    return Draft7Validator(META_SCHEMA, registry=Registry().with_resources((one, JSON_SCHEMA) for one in addresses))


def test_the_document_is_valid(document, validator):
    """Every method of the daemon is described in a way that any OpenRPC tool understands."""
    validator.validate(document)
    names = {method["name"] for method in document["methods"]}
    assert {"node.status", "tx.transfer", "events.subscribe", "rpc.discover", "keys.unlock", "logs.tail"} <= names


@pytest.mark.parametrize(
    "breach",
    [
        lambda found: found.pop("info"),
        lambda found: found.update(openrpc="9.9.9"),
        lambda found: found.update(extra=1),
        lambda found: found["methods"][0].pop("params"),
        lambda found: found["methods"][0]["params"].append({"name": "x"}),
        lambda found: found["methods"][0]["result"].update(schema={"type": "nonsense"}),
    ],
)
def test_the_schema_notices_a_breach(document, validator, breach):
    """A document that lacks something, or says something else, is not valid."""
    broken = json.loads(json.dumps(document))
    method = next(number for number, one in enumerate(broken["methods"]) if one["name"] == "chain.block")
    broken["methods"].insert(0, broken["methods"].pop(method))
    breach(broken)
    with pytest.raises(ValidationError):
        validator.validate(broken)


def test_every_schema_in_it_is_a_schema_and_every_reference_leads_somewhere(document):
    """Parameter and result schemas are JSON Schema, as are the components that they refer to."""
    schemas = [param["schema"] for method in document["methods"] for param in method["params"]]
    schemas += [method["result"]["schema"] for method in document["methods"]]
    components = document["components"]["schemas"]
    for schema in [*schemas, *components.values()]:
        Draft202012Validator.check_schema(schema)
    text = json.dumps(document)
    assert {part.split('"')[0] for part in text.split('"$ref": "#/components/schemas/')[1:]} <= components.keys()


def test_every_method_says_what_it_does(document):
    """Summaries are sentences, and parameters go by name."""
    for method in document["methods"]:
        assert method["summary"].endswith("."), method["name"]
        assert method["paramStructure"] == "by-name"
