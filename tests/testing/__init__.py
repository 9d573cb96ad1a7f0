"""Tests of the conformance checks for rules."""
