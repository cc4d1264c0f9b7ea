"""What may hide in a model: pure checks over streams that are handed in. They parse; nothing of a model is ever run."""
