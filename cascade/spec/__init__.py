"""Values that describe a workflow: tasks, lazy results, policies, resources, inputs, protocols. Nothing here runs."""
