"""Messages for people: texts, levels and renderers."""
