"""Speculation: tokens guessed ahead by something cheap; what guesses yield, cost and bring."""
