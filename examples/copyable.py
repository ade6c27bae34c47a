"""Send an object by value: its state is sent, and the other side builds an object of its own from it.

Both sides are in this one program: python examples/copyable.py
"""

import perspective_broker as pb


class Job(pb.Copyable):
    """The sending side's class."""

    def __init__(self, name: str, steps: list[str]) -> None:
        self.name = name
        self.steps = steps
        self.log = "kept at home"

    def get_type_to_copy(self) -> str:
        return "shop.Job"  # the name that both sides agree on; the default is the name of the class

    def get_state_to_copy(self) -> dict[str, object]:
        return {"name": self.name, "steps": self.steps}


@pb.copier_for("shop.Job")
class ReceivedJob(pb.RemoteCopy):
    """The receiving side's class: objects that arrive under the name, with these fields only."""

    name: str
    steps: list[str]


class Shop(pb.Root):
    def remote_next_job(self) -> Job:
        return Job("website", ["fetch", "build", "publish"])


async def main() -> None:
    async with pb.serve(Shop(), "tcp://127.0.0.1:0") as server, pb.connect(server.urls[0]) as shop:
        job = await shop.call("next_job")
        print(type(job).__name__, job.name, job.steps, hasattr(job, "log"))


if __name__ == "__main__":
    pb.run(main())
