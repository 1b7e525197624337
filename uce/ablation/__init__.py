"""The same pictures under many configurations, and a table of what each choice is worth."""
