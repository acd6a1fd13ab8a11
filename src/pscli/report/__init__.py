"""What is shown: conversations, curves and tables."""
