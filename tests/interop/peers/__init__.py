"""Programs of the other side: real Twisted processes that the interoperability tests talk to.

`contract.py` describes a server's offer; `server.py` implements it with Twisted; `client.py` uses it with Twisted. They
run under the interpreters of `tests/interop/twisted_env.py`, so they import nothing of ours, and only what Twisted of
2019 and Twisted of today both have.
"""
