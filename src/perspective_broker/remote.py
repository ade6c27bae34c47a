"""Remote: objects of the peer that are called like objects of this program, without an interface.

::

    from perspective_broker.remote import Remote

    async with pb.connect(url) as reference:
        root = Remote(reference)
        print(await root.greet("world"))
        await root.join("lobby").say("hi")  # one round trip
        async for tick in root.ticks(3):
            print(tick)

It suits prompts, notebooks and short scripts, where names are looked up (``await pb.describe(root)``) instead of
declared. Everywhere else an interface finds mistakes before the program runs. ``pb shell`` wraps the peer's objects in
it.
"""

from .aio import Remote, RemoteAnswer

__all__ = ["Remote", "RemoteAnswer"]
