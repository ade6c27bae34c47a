"""The bench: this library beside what a Python programmer could pick instead, and beside a floor.

``python -m bench`` measures; ``bench/README.md`` explains the table.
"""
