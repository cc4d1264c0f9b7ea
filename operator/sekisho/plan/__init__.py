"""Decide: plan(object, world, settings) → Plan, a pure function per kind."""
