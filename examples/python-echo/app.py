"""An agent in Python: it answers each message with what it was told.

The one idea: the WIT stands alone. No SDK of Lazarus is used here: componentize-py makes the modules imported below from
guest-sdk/wit/cell.wit, and Python itself becomes part of the component.

What it was granted: its home, where it counts its messages.
"""

from pathlib import Path

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.agent import Failure_Park
from wit_world.imports import cell, log, mailbox

HOME = Path("/home")


class Agent(exports.Agent):
    """What Lazarus calls."""

    def start(self, beginning):
        log.write(log.Level.INFO, f"{beginning.name.lower()}: {cell.me().identity} speaks Python")

    def handle_message(self, message):
        if message.text == "park":
            raise Err(Failure_Park("told to"))
        count = HOME / "count"
        told = int(count.read_text()) + 1 if count.exists() else 1
        count.write_text(str(told))
        mailbox.reply(f"{message.text} (message {told}, from Python)")

    def tick(self):
        pass

    def close(self):
        log.write(log.Level.INFO, "closing")
