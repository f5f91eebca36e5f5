"""What reactors hand back: rare commands, requests of a session, task management, and the standstill that they need."""
