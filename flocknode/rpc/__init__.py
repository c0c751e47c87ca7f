"""JSON-RPC 2.0 over a Unix socket: one line, one message. Methods are thin functions over the node."""
