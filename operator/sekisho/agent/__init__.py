"""The agent in the pod: fence, proof of isolation, weights. Standard library only."""
