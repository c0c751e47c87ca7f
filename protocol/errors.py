"""The tree of expected refusals: what other people's input can do wrong, each with a number that RPC shows.

The docstring of a class is the condition. `data` carries the values a reader needs to do better; a bug of ours is never
one of these, but an assertion.
"""

from typing import ClassVar


class ProtocolError(Exception):
    """Base of all refusals."""

    number: ClassVar[int] = 1
    help: ClassVar[str] = ""

    def __init__(self, message: str, **data: int | str | None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class Malformed(ProtocolError):
    """Bytes are not the canonical encoding of the record that was expected."""

    number = 10


class InvalidSignature(ProtocolError):
    """A signature does not belong to the key and the message."""

    number = 11


class InvalidProof(ProtocolError):
    """A cryptographic proof (VRF, ring, Merkle path) does not verify."""

    number = 12


class InvalidGenesis(ProtocolError):
    """A genesis document contradicts itself or leaves a parameter's bounds."""

    number = 13


class InvalidBlock(ProtocolError):
    """A block breaks a rule of the log, so that no honest replica prevotes it."""

    number = 20


class InvalidCommit(ProtocolError):
    """A commit does not carry valid precommits of more than 2/3 of the voting power for its block."""

    number = 21


class StateMismatch(ProtocolError):
    """A block with a verified commit contradicts the state this node computed: the node must stop."""

    number = 22


class TransactionRefused(ProtocolError):
    """Base of the refusals of a transaction: it changes nothing but, when it is included, its fee and nonce."""

    number = 30


class WrongNonce(TransactionRefused):
    """The nonce is not the next one of the account."""

    number = 31
    help = "Read the account's next nonce with `flocknode account show` and send again."


class Expired(TransactionRefused):
    """The transaction's expiry height has passed, or lies further ahead than allowed."""

    number = 32
    help = "Send it again with a later expiry height."


class FeeTooLow(TransactionRefused):
    """The fee is below the floor."""

    number = 33
    help = "Raise the fee to the floor that `flocknode chain params` prints."


class InsufficientFunds(TransactionRefused):
    """A balance does not cover what the transaction moves, fee included."""

    number = 34


class NotFound(TransactionRefused):
    """The transaction names a task, submission or account that does not exist."""

    number = 35


class WrongPhase(TransactionRefused):
    """The task is not in the phase this act belongs to."""

    number = 36


class NotEligible(TransactionRefused):
    """The account may not do this: wrong role, not drawn, not the creator, or stake too small."""

    number = 37


class AlreadyDone(TransactionRefused):
    """The act was done before and counts once."""

    number = 38


class OutOfBounds(TransactionRefused):
    """A value of the transaction leaves the bounds of the parameters."""

    number = 39


class TooCostly(TransactionRefused):
    """The proofs of a block would take longer to verify than it may keep its replicas busy."""

    number = 40
