"""What a channel is, without sockets, HTTP or SQL: joins, topics and their members, presence, rates, outgoing queues."""
