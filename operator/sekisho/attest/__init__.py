"""Evidence and its appraisal; isolation is the first kind of evidence."""
