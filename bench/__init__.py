"""The bench: this library compared with its alternatives for Python, and with a floor.

``python -m bench`` measures; ``bench/README.md`` explains the table.
"""
