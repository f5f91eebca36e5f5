"""From a listening socket to a session: connections are accepted, their logins led, limited and admitted."""
