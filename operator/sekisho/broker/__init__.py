"""The broker: releases data keys to pods that prove what they are. It alone can open a wrapped key."""
