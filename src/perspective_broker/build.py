"""How this installation was built. Results of benchmarks and reports of faults should say it.

``python -c "import perspective_broker as pb; print(pb.__version__, pb.build.COMPILED)"`` prints both facts; so does
``pb --version``.
"""

from .session import COMPILED

__all__ = ["COMPILED"]
