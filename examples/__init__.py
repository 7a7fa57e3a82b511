"""Programs to run and to read: ``python examples/<name>.py --help`` tells what each can do."""
