"""The methods of the socket as an OpenRPC document (spec.open-rpc.org), generated from the handlers' types."""

from collections.abc import Mapping
from typing import get_type_hints

import msgspec

from flocknode import __version__
from flocknode.rpc.dispatch import Method

OPENRPC_VERSION = "1.3.2"
REFERENCE = "#/components/schemas/{name}"


def make_document(methods: Mapping[str, Method]) -> dict[str, object]:
    """Return the OpenRPC document of the methods; every parameter and result carries its JSON schema."""
    kinds = [kind for method in methods.values() for kind in (*_parameter_types(method).values(), method.result)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    remaining = iter(schemas)
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {"title": "flocknode", "version": __version__},
        "methods": [
            {
                "name": method.name,
                "summary": method.summary,
                "paramStructure": "by-name",
                "params": [
                    {"name": name, "required": name in method.required, "schema": next(remaining)}
                    for name in _parameter_types(method)
                ],
                "result": {"name": "result", "schema": next(remaining)},
            }
            for method in methods.values()
        ],
        "components": {"schemas": components},
    }


def _parameter_types(method: Method) -> dict[str, object]:
    return get_type_hints(method.parameters, include_extras=True)
