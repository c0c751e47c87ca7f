"""Commands about FL Alliances."""

from cyclopts import App

from flocknode.cli.alliance_proof import verify_proof

alliance = App(name="alliance")
alliance.command(verify_proof)
