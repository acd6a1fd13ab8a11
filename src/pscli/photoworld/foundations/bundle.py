"""`python -m pscli.photoworld.foundations.bundle RUN`: ships the agent of a run."""

from __future__ import annotations

import sys

from pscli.photoworld.shipped import AGENT
from pscli.systems.agent import Agent

if __name__ == "__main__":
    Agent.from_pretrained(sys.argv[1]).save_pretrained(AGENT, half=True)
