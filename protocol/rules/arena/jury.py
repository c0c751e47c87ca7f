"""Who judges an epoch: validators drawn by stake (A16), once more when too few of them revealed their scores.

Who may be drawn is frozen when entering closes, before the blocks that seed a draw exist, and each draw waits for the
beacon to mature. Who is drawn again saw the scores revealed so far; it is one more opinion, not a blind one.
"""

from msgspec.structs import replace

from protocol.formulas import arena as formulas
from protocol.rules import purses
from protocol.rules.arena.judging import count_stakes
from protocol.rules.arena.records import (
    Epoch,
    Juror,
    Task,
    get_epoch,
    get_sheet,
    put_epoch,
    put_task,
    scan_members,
)
from protocol.rules.arena.tasks import get_min_stake
from protocol.rules.context import Context
from protocol.state import Overlay, StateView
from protocol.transactions import Role


def find_candidates(state: StateView, context: Context, task: Task) -> tuple[Juror, ...]:
    """Return the validators that may be drawn, sorted by address."""
    candidates = []
    for address, member in scan_members(state, task.id, Role.VALIDATOR):
        own = purses.get_units(state, purses.stake_of(task.id, address))
        if member.is_attested and not member.is_leaving and own >= get_min_stake(context, Role.VALIDATOR):
            candidates.append(Juror(address, purses.count_stake(state, task.id, address)))
    return tuple(candidates)


def draw_validators(state: Overlay, context: Context, task: Task) -> None:
    """Draw a panel with a likelihood that grows with stake (A16); the phase's deadline counts from here.

    A key that is public already, for the last panel or a complaint brought it out, needs no release.
    """
    epoch = get_epoch(state, task.id, task.epoch)
    stakes = {juror.address: juror.stake for juror in epoch.candidates}
    weights = {
        address: formulas.selection_weight(
            stake,
            min_stake=context.params.min_stake_validator_units,
            max_stake=context.params.max_selection_stake_units,
        )
        for address, stake in stakes.items()
    }
    seed = formulas.draw_seed(context.beacon, task=task.id, epoch=task.epoch)
    chosen = formulas.draw(seed, weights=weights, count=context.params.validators_per_epoch)
    panel = tuple(Juror(address, stakes[address]) for address in chosen)
    clear = epoch.clear_key if task.is_last_epoch() else task.published[0]
    drawn = replace(
        epoch,
        candidates=tuple(juror for juror in epoch.candidates if juror.address not in chosen),
        drawn=(*epoch.drawn, *panel),
        is_drawn=True,
        is_key_released=clear is not None,
        clear_key=clear,
    )
    put_epoch(state, task, drawn)
    put_task(state, replace(task, deadline_ms=context.time_ms + task.spec.settings.open_phase_ms, block_proposers=()))


def is_redraw_needed(state: StateView, task: Task) -> bool:
    """Return whether less than 2/3 of the drawn stake revealed, and others could still be drawn, for the first time."""
    epoch = get_epoch(state, task.id, task.epoch)
    if epoch.earlier or not epoch.candidates:
        return False
    stakes = count_stakes(state, task, epoch)
    revealed = sum(stake for address, stake in stakes.items() if has_revealed(state, task, address))
    return not formulas.is_quorum(revealed, drawn=sum(stakes.values()))


def has_revealed(state: StateView, task: Task, address: bytes) -> bool:
    """Return whether a juror showed its scores of the current epoch."""
    sheet = get_sheet(state, task.id, task.epoch, address)
    return sheet is not None and sheet.entries is not None


def dismiss_panel(state: Overlay, task: Task) -> None:
    """Make way for a second draw: what was revealed stays, and who was absent is slashed when the epoch settles."""
    epoch = get_epoch(state, task.id, task.epoch)
    assert epoch.earlier == 0, "a third draw"
    put_epoch(
        state,
        task,
        replace(
            epoch,
            earlier=len(epoch.drawn),
            is_drawn=False,
            is_key_released=False,
            sealed=(),
            complaints=(),
        ),
    )


def have_all_committed(state: StateView, task: Task, epoch: Epoch) -> bool:
    """Return whether the whole panel bound itself to scores."""
    return all(get_sheet(state, task.id, task.epoch, juror.address) is not None for juror in epoch.panel())


def have_all_revealed(state: StateView, task: Task, epoch: Epoch) -> bool:
    """Return whether the panel's every commitment was revealed."""
    sheets = [get_sheet(state, task.id, task.epoch, juror.address) for juror in epoch.panel()]
    return all(sheet.entries is not None for sheet in sheets if sheet is not None)
