"""The names of ``twisted.spread``: a second driver of the same core, for programs that exist.

``from perspective_broker.compat import pb`` instead of ``from twisted.spread import pb``; likewise ``jelly``,
``banana``, ``flavors``, ``util`` and ``publish``. Twisted's camelCase names, real Deferreds, any reactor (importing
installs none); needs the extra ``[twisted]``. Nothing in the library imports this room.
"""
