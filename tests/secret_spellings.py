"""The ways in which secret bytes can get into text."""

import base64


def spellings(secret):
    """Return the ways in which bytes could have got into text."""
    hexes = (secret.hex(), secret.hex().upper())
    bases = (base64.b64encode(secret), base64.urlsafe_b64encode(secret))
    numbers = (str(int.from_bytes(secret, "big")), str(int.from_bytes(secret, "little")), str(list(secret)))
    return [secret, *bases, *(text.encode() for text in (*hexes, *numbers, repr(secret)[2:-1]))]
