"""Report errors to the caller, expected and unexpected ones: python examples/errors.py"""

import logging

import perspective_broker as pb


class OutOfStock(pb.Error):
    """An expected condition: the caller gets it, and only a debug line is logged."""


class Shop(pb.Root):
    def remote_buy(self, what: str) -> str:
        if what == "tea":
            raise OutOfStock("no tea before Friday")
        if what == "coffee":
            raise KeyError("beans")  # a defect: it is logged at the server, with its traceback
        return f"one {what}"


async def main() -> None:
    async with pb.serve(Shop(), "tcp://127.0.0.1:0") as server, pb.connect(server.urls[0]) as shop:
        print(await shop.call("buy", "milk"))
        for what in ("tea", "coffee"):
            try:
                await shop.call("buy", what)
            except pb.RemoteError as error:
                print(
                    error.type, "|", error.value, "| a lookup failed:", error.check(LookupError) is not None
                )
        try:
            await shop.call("sell", "milk")
        except pb.NoSuchMethod as error:
            print(error)

        # If the class is registered, the error arrives as itself.
        pb.copier_for()(OutOfStock)
        try:
            await shop.call("buy", "tea")
        except OutOfStock as sorry:
            print("sorry:", sorry)


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)  # without this the traceback of the defect would be printed
    pb.run(main())
