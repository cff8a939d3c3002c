"""A deployment as something to run: command lines of its engine, a Kubernetes manifest, load tests that verify it."""

from __future__ import annotations

from perfmodel.launch.server import Launch, launch, load_test
from perfmodel.launch.sheet import Command

__all__ = ["Command", "Launch", "launch", "load_test"]
