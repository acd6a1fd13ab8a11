"""Dialogue systems: what trains, what answers, and the agent that holds one."""
