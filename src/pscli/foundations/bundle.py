"""`python -m pscli.foundations.bundle RUN`: makes a run's agent the one that is shipped."""

from __future__ import annotations

import sys

from pscli.model.agent import BUNDLED, Agent

if __name__ == "__main__":
    Agent.from_pretrained(sys.argv[1]).save_pretrained(BUNDLED, half=True)
