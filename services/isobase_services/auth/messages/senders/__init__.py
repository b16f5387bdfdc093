"""Ways for rendered mail to leave: the local mailbox, SMTP, Amazon SES. ``sender_of`` picks the one that is configured."""
