"""Jobs down, shares up, and which pool a unit works for. No sockets."""
