"""The process that copies, and can be given up: `child` talks to it, `worker` is what it does."""
