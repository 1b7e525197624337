"""The evaluation protocol of unsupervised concept extraction; docs/evaluate.md says what it measures and why."""
