"""The parts that systems are wired from. They never import each other."""
