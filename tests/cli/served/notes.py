"""The receiving side of the desk's copyables: ``pb call --import notes``."""

import perspective_broker as pb


@pb.copier_for("desk.Note")
class Note(pb.RemoteCopy):
    text: str

    def __repr__(self) -> str:
        return f"<Note {self.text!r}>"


@pb.copier_for("desk.Busy")
class Busy(pb.Error):
    """Arrives as itself."""
