"""Auth across both sides: users, sessions and tokens that are the same on either, whoever made them."""
